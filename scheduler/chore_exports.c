/*
 * Theory of operation
 *
 * control.export_take() claims an export for a time; each page that is read prolongs the claim. The pages go into a
 * file without a name, the file into the object store, and control.export_commit() makes the export ready and counts
 * its size, in one transaction that also takes the object's key out of the trash: export_begin() had put it there
 * before a byte was stored (docs/decisions/0012). So whatever dies, nothing is left that nobody knows of, and another
 * scheduler begins anew when the claim is over. A claim that does not count any more ends the work in silence.
 *
 * What passes (a server that is away, a full disk, the end of this program) gives the claim back, for a day; what does
 * not (the quota, a flow that is gone) fails the export with a sentence for the person who asked for it.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/codec/audit_line.h"
#include "lib/ports/object_store.h"
#include "lib/secrets/digest.h"
#include "scheduler/chores.h"
#include "scheduler/export_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MOST 5	   /* claims that ended without a word */
#define CLAIM_LEAST_S 10   /* of a claim, however short leases are */
#define AGAIN_S 5	   /* after what passes */
#define BUCKETS_A_CLAIM 20 /* of the audit log, between two prolongations */

struct making {
	struct chore_desk *desk;
	struct wl_json *taken; /* what export_take() gave */
	int tenant;
	char id[WL_UUID_TEXT];
	struct export_file file;
	bool storing; /* the object store has its turn: whatever fails there passes */
};

/* ---- calls --------------------------------------------------------------------------------------------------------
 */

static int put_common(const struct chore_desk *desk, struct wl_json *request)
{
	const struct wl_settings *settings = desk->scheduler->settings;
	long lease_s = 2 * settings->lease_ms / 1000;
	int rc = wl_json_set_number(request, "lease_s", (double)(lease_s < CLAIM_LEAST_S ? CLAIM_LEAST_S : lease_s));
	rc = rc ? rc : wl_json_set_number(request, "keep_days", (double)settings->export_keep_days);
	return rc ? rc : wl_json_set_number(request, "tries", TRIES_MOST);
}

static struct wl_json *request_of(const struct making *making)
{
	_wl_json_ struct wl_json *request = wl_json_object();
	int rc = put_common(making->desk, request);
	rc = rc ? rc : wl_json_set_number(request, "tenant", making->tenant);
	rc = rc ? rc : wl_json_set_string(request, "id", making->id);
	rc = rc ? rc : wl_json_set_string(request, "claim", wl_json_get_string(making->taken, "claim", ""));
	return rc ? NULL : wl_steal(request);
}

/* *ret_answer stays NULL where the function gives NULL. */
static int call(struct chore_desk *desk, const char *function, const struct wl_json *request,
		struct wl_json **ret_answer, struct wl_error *err)
{
	_wl_free_ char *text = request ? wl_json_print(request) : NULL;
	_wl_free_ char *answer = NULL;
	if (!text)
		return wl_fail(err, ENOMEM, "no memory for an export");
	int r = wl_postgres_call(&desk->postgres, function, text, &answer, err);
	return r < 0 || !answer ? r : wl_json_parse_deep(answer, strlen(answer), WL_JSON_DEPTH + 8, ret_answer, err);
}

static int fail_quota(const struct wl_json *answer, struct wl_error *err)
{
	return wl_fail(
		err, EDQUOT, "the tenant's storage of %.0f MiB does not suffice for the export: %.1f MiB are used",
		wl_json_get_number(answer, "limit", 0) / 1048576, wl_json_get_number(answer, "used", 0) / 1048576);
}

/* Call a function that judges: 0 when its outcome is ok. */
static int ask(const struct making *making, const char *function, const struct wl_json *request,
	       struct wl_json **ret_answer, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	int r = call(making->desk, function, request, &answer, err);
	if (r < 0)
		return r;
	const char *outcome = wl_json_get_string(answer, "outcome", "");
	if (strcmp(outcome, "quota") == 0)
		return fail_quota(answer, err);
	if (strcmp(outcome, "refused") == 0)
		return wl_fail(err, EPERM, "%s", wl_json_get_string(answer, "error", ""));
	if (strcmp(outcome, "gone") == 0)
		return wl_fail(err, ESTALE, "the export was deleted, or another scheduler makes it");
	if (strcmp(outcome, "ok") != 0)
		return wl_fail(err, ETIMEDOUT, "storing the export took too long");
	*ret_answer = wl_steal(answer);
	return 0;
}

/* ---- pages --------------------------------------------------------------------------------------------------------
 */

/* Read the page behind `after` (NULL: the first), which prolongs the claim. */
static int read_page(const struct making *making, const char *after, struct wl_json **ret_answer, struct wl_error *err)
{
	_wl_json_ struct wl_json *request = request_of(making);
	_wl_json_ struct wl_json *answer = NULL;
	if (scheduler_stopping(making->desk->scheduler))
		return wl_fail(err, EINTR, "the scheduler ends");
	if (!request || wl_json_set_string(request, "after", after) < 0)
		return wl_fail(err, ENOMEM, "no memory for an export");
	int r = ask(making, "control.export_page", request, &answer, err);
	if (r < 0)
		return r;
	/* only the commit counts exactly; this ends what cannot fit before it fills the disk */
	if ((double)making->file.size > wl_json_get_number(answer, "limit", 0) - wl_json_get_number(answer, "used", 0))
		return fail_quota(answer, err);
	*ret_answer = wl_steal(answer);
	return 0;
}

static int write_rows(struct making *making, struct wl_error *err)
{
	_wl_free_ char *after = NULL;
	do {
		_wl_json_ struct wl_json *answer = NULL;
		if (read_page(making, after, &answer, err) < 0)
			return -err->code;
		const struct wl_json *page = wl_json_get(answer, "page");
		const char *next = wl_json_get_string(page, "next", NULL);
		if (export_file_rows(&making->file, wl_json_get(page, "rows"), err) < 0)
			return -err->code;
		free(after);
		after = next ? strdup(next) : NULL;
		if (next && !after)
			return wl_fail(err, ENOMEM, "no memory for an export");
	} while (after);
	return 0;
}

static int write_bucket(struct making *making, const struct wl_audit_filter *filter,
			const struct wl_audit_entry *entries, int count, int64_t last, struct wl_error *err)
{
	bool look = making->file.format == EXPORT_CSV || wl_audit_filter_asks(filter);
	for (int i = 0; i < count && entries[i].seq <= last; i++) {
		_wl_json_ struct wl_json *json = NULL;
		if (look && wl_json_parse(entries[i].entry_json, strlen(entries[i].entry_json), &json, NULL) < 0)
			continue; /* damaged: `verify` is there to tell */
		if (look && !wl_audit_filter_fits(filter, json))
			continue;
		if (export_file_entry(&making->file, &entries[i], json, err) < 0)
			return -err->code;
	}
	return 0;
}

static int write_log(struct making *making, const struct wl_audit_filter *filter, int64_t last, struct wl_error *err)
{
	struct wl_audit_log *log;
	int r = chore_audit_log(making->desk, &log, err);
	for (int64_t bucket = 0; bucket <= last / WL_AUDIT_BUCKET && r == 0; bucket++) {
		struct wl_audit_entry *entries = NULL;
		_wl_json_ struct wl_json *answer = NULL;
		if (bucket % BUCKETS_A_CLAIM == BUCKETS_A_CLAIM - 1 && read_page(making, NULL, &answer, err) < 0)
			return -err->code;
		int count = log->bucket(log->self, making->tenant, bucket, &entries, err);
		r = count < 0 ? count : write_bucket(making, filter, entries, count, last, err);
		wl_audit_entries_free(entries, count < 0 ? 0 : count);
	}
	return r;
}

/* Of the audit log a page says only how far it goes and what is looked for. */
static int write_audit_log(struct making *making, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	if (read_page(making, NULL, &answer, err) < 0)
		return -err->code;
	const struct wl_json *page = wl_json_get(answer, "page");
	const struct wl_json *filters = wl_json_get(page, "filters");
	struct wl_audit_filter filter = { .from = wl_json_get_string(page, "from", NULL),
					  .to = wl_json_get_string(page, "to", NULL),
					  .action = wl_json_get_string(filters, "action", NULL),
					  .user = wl_json_get_string(filters, "user_id", NULL),
					  .type = wl_json_get_string(filters, "resource_type", NULL),
					  .resource = wl_json_get_string(filters, "resource_id", NULL) };
	return write_log(making, &filter, (int64_t)wl_json_get_number(page, "shipped_seq", 0), err);
}

/* ---- the object ---------------------------------------------------------------------------------------------------
 */

static struct wl_json *store_request(const struct making *making, const char *artifact,
				     const struct object_source *source)
{
	_wl_json_ struct wl_json *request = request_of(making);
	char hash[2 * OBJECT_HASH_BYTES + 1];
	int rc = wl_json_set_string(request, "artifact", artifact);
	rc = rc ? rc : wl_json_set_number(request, "size", (double)source->length);
	rc = rc ? rc : wl_json_set_string(request, "sha256", wl_hex(source->sha256, OBJECT_HASH_BYTES, hash));
	rc = rc ? rc : wl_json_set_number(request, "entries", (double)making->file.entries);
	return rc ? NULL : wl_steal(request);
}

static int put_object(struct making *making, const char *artifact, const struct object_source *source,
		      struct wl_error *err)
{
	struct object_store *store;
	char key[OBJECT_KEY_MAX];
	(void)snprintf(key, sizeof(key), "%d/%s/%s", making->tenant, making->id, artifact);
	making->storing = true;
	if (chore_object_store(making->desk, &store, err) < 0 || store->put(store->self, key, source, err) < 0)
		return -err->code;
	making->storing = false;
	return 0;
}

static int store(struct making *making, struct wl_error *err)
{
	struct object_source source = { .fd = making->file.size ? making->file.fd : -1,
					.bytes = "",
					.length = making->file.size };
	_wl_json_ struct wl_json *begun = NULL;
	_wl_json_ struct wl_json *committed = NULL;
	char artifact[WL_UUID_TEXT];
	(void)wl_uuid7(wl_clock_wall_ms(), artifact);
	if (object_source_hash(&source, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *request = store_request(making, artifact, &source);
	int r = ask(making, "control.export_begin", request, &begun, err);
	r = r < 0 ? r : put_object(making, artifact, &source, err);
	return r < 0 ? r : ask(making, "control.export_commit", request, &committed, err);
}

/* ---- one export ---------------------------------------------------------------------------------------------------
 */

static int make(struct making *making, struct wl_error *err)
{
	const struct wl_settings *settings = making->desk->scheduler->settings;
	if (!*settings->objects_dir && !*settings->s3_url)
		return wl_fail(err, EPERM, "this server has no object store");
	int r = export_file_open(settings->exports_dir, wl_json_get_string(making->taken, "kind", ""),
				 wl_json_get_string(making->taken, "format", ""), (uint64_t)settings->export_mb << 20,
				 &making->file, err);
	if (r == 0)
		r = making->file.kind == EXPORT_AUDIT_LOG ? write_audit_log(making, err) : write_rows(making, err);
	if (r == 0)
		r = export_file_end(&making->file, err);
	return r < 0 ? r : store(making, err);
}

static bool passes(const struct making *making, int r)
{
	return making->storing || scheduler_is_away(r) || r == -EINTR || r == -EAGAIN || r == -ENOSPC || r == -ENOMEM;
}

/* Tell what became of a making that did not end well. */
static void tell_failed(const struct making *making, int r, const struct wl_error *why)
{
	_wl_json_ struct wl_json *request = request_of(making);
	_wl_json_ struct wl_json *nothing = NULL;
	struct wl_error err = { 0 };
	bool final = r == -EDQUOT || r == -EPERM || r == -EFBIG;
	bool waits = !final && passes(making, r);
	const char *sentence = final   ? why->text
			       : waits ? "what is needed to make it was away for a day"
				       : "it could not be made; the scheduler's log tells why";
	if (r == -ESTALE)
		return;
	if (!final)
		wl_log(WL_LOG_WARNING, "export %s of tenant %d is not made now: %s", making->id, making->tenant,
		       why->text);
	int rc = wl_json_set_string(request, "error", sentence);
	rc = rc ? rc : wl_json_set_number(request, "delay_s", r == -EINTR ? 0 : AGAIN_S);
	rc = rc ? rc : wl_json_set_bool(request, "count", !waits);
	if (rc == 0 &&
	    call(making->desk, final ? "control.export_fail" : "control.export_release", request, &nothing, &err) < 0)
		wl_log(WL_LOG_WARNING, "export %s of tenant %d: %s", making->id, making->tenant, err.text);
}

static int take(struct chore_desk *desk, struct wl_json **ret_taken, struct wl_error *err)
{
	_wl_json_ struct wl_json *request = wl_json_object();
	if (!request || put_common(desk, request) < 0)
		return wl_fail(err, ENOMEM, "no memory for an export");
	return call(desk, "control.export_take", request, ret_taken, err);
}

int chore_exports(struct chore_desk *desk, struct wl_error *err)
{
	_wl_json_ struct wl_json *taken = NULL;
	int r = take(desk, &taken, err);
	if (r < 0 || !taken)
		return r;
	struct making making = { .desk = desk,
				 .taken = taken,
				 .tenant = (int)wl_json_get_number(taken, "tenant", 0),
				 .file = { .fd = -1 } };
	(void)snprintf(making.id, sizeof(making.id), "%s", wl_json_get_string(taken, "id", ""));
	r = make(&making, err);
	if (r < 0)
		tell_failed(&making, r, err);
	export_file_close(&making.file);
	return scheduler_is_away(r) ? r : 1;
}
