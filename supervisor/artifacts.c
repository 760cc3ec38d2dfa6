/*
 * The way of a batch: artifacts_begin() notes the keys in the trash, due later, so that whatever is written and never
 * registered goes away by itself; then the objects are written; then artifacts_commit() adds all rows at once and takes
 * the keys out of the trash. Both say whether the files fit into the tenant's storage: the first so that nothing is
 * written in vain, the second because only it counts exactly.
 */
#include "supervisor/artifacts.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/json.h"
#include "lib/model/file_name.h"
#include "lib/store/object_store.h"
#include "lib/store/postgres_session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct artifacts {
	const struct wl_settings *settings;
	struct object_store store;
	pthread_mutex_t lock; /* of the session */
	struct wl_postgres_session postgres;
};

struct item {
	char id[WL_UUID_TEXT];
	const char *content_type;
	struct object_source source;
};

/* ---- the database ---------------------------------------------------------------------------------------- */

static int append_items(struct wl_json *request, const struct artifact_batch *batch, const struct item *items)
{
	struct wl_json *list = wl_json_array();
	int rc = list ? 0 : -ENOMEM;
	for (size_t i = 0; i < batch->count && rc == 0; i++) {
		struct wl_json *one = wl_json_object();
		char hash[2 * OBJECT_HASH_BYTES + 1];
		for (size_t at = 0; at < OBJECT_HASH_BYTES; at++)
			(void)snprintf(hash + 2 * at, 3, "%02x", items[i].source.sha256[at]);
		rc = wl_json_append(list, one);
		rc = rc ? rc : wl_json_set_string(one, "id", items[i].id);
		rc = rc ? rc : wl_json_set_string(one, "name", batch->files[i].name);
		rc = rc ? rc : wl_json_set_number(one, "size", (double)batch->files[i].length);
		rc = rc ? rc : wl_json_set_string(one, "sha256", hash);
		rc = rc ? rc : wl_json_set_string(one, "content_type", items[i].content_type);
	}
	if (rc == 0)
		return wl_json_set(request, "items", list);
	wl_json_free(list);
	return rc;
}

static char *request_text(const struct artifact_batch *batch, const struct item *items)
{
	_wl_json_ struct wl_json *request = wl_json_object();
	int rc = wl_json_set_number(request, "tenant", batch->tenant);
	rc = rc ? rc : wl_json_set_string(request, "eid", batch->eid);
	rc = rc ? rc : wl_json_set_number(request, "epoch", batch->epoch);
	rc = rc ? rc : wl_json_set_string(request, "node", batch->node);
	rc = rc ? rc : append_items(request, batch, items);
	return rc ? NULL : wl_json_print(request);
}

/* Call one of the two functions and judge what it says. */
static int ask(struct artifacts *artifacts, const char *function, const char *request, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *answer = NULL;
	(void)pthread_mutex_lock(&artifacts->lock);
	int result = wl_postgres_call(&artifacts->postgres, function, request, &text, err);
	(void)pthread_mutex_unlock(&artifacts->lock);
	if (result == 0)
		result = wl_json_parse(text ? text : "null", text ? strlen(text) : 4, &answer, err);
	if (result < 0)
		return result;
	const char *outcome = wl_json_get_string(answer, "outcome", "");
	if (strcmp(outcome, "ok") == 0)
		return 0;
	if (strcmp(outcome, "quota") == 0)
		return wl_fail(err, EDQUOT,
			       "the tenant's storage of %.0f MiB does not suffice for these files: %.1f MiB are used",
			       wl_json_get_number(answer, "limit", 0) / 1048576,
			       wl_json_get_number(answer, "used", 0) / 1048576);
	if (strcmp(outcome, "gone") == 0)
		return wl_fail(err, ESTALE, "another attempt of the execution has begun, or it has ended");
	return wl_fail(err, ETIMEDOUT, "storing the files took too long");
}

/* ---- the port -------------------------------------------------------------------------------------------- */

/* On disk when there is a folder for that, else in memory. */
static int artifacts_place(void *self, struct wl_error *err)
{
	const struct artifacts *artifacts = self;
	const char *folder = artifacts->settings->spool_dir;
	int fd = *folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		fd = memfd_create("artifacts", MFD_CLOEXEC);
	return fd < 0 ? wl_fail_errno(err, errno, "no place for a node's files") : fd;
}

static int prepare(const struct artifact_batch *batch, struct item *items, struct wl_error *err)
{
	for (size_t i = 0; i < batch->count; i++) {
		const struct sandbox_out_file *file = &batch->files[i];
		struct item *item = &items[i];
		(void)wl_uuid7(wl_clock_wall_ms(), item->id);
		item->content_type = wl_media_type(file->name);
		item->source = (struct object_source){ .fd = file->length > 0 ? batch->fd : -1,
						       .offset = file->offset,
						       .bytes = "",
						       .length = file->length };
		if (object_source_hash(&item->source, err) < 0)
			return -err->code;
	}
	return 0;
}

static int put_objects(const struct artifacts *artifacts, const struct artifact_batch *batch, const struct item *items,
		       struct wl_error *err)
{
	for (size_t i = 0; i < batch->count; i++) {
		char key[OBJECT_KEY_MAX];
		(void)snprintf(key, sizeof(key), "%d/%s/%s", batch->tenant, batch->eid, items[i].id);
		if (artifacts->store.put(artifacts->store.self, key, &items[i].source, err) < 0)
			return wl_fail_within(err, "a node's file was not stored");
	}
	return 0;
}

/* What the node's receipt tells of them. */
static char *receipt_text(const struct artifact_batch *batch, const struct item *items)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append_char(&text, '[');
	for (size_t i = 0; i < batch->count; i++) {
		const struct sandbox_out_file *file = &batch->files[i];
		(void)wl_buffer_appendf(&text, "%s{\"id\":\"%s\",\"name\":", i ? "," : "", items[i].id);
		(void)wl_buffer_append_json_string(&text, file->name, strlen(file->name));
		(void)wl_buffer_appendf(&text, ",\"size\":%llu,\"content_type\":\"%s\"}",
					(unsigned long long)file->length, items[i].content_type);
	}
	(void)wl_buffer_append_char(&text, ']');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

static int artifacts_keep(void *self, const struct artifact_batch *batch, char **ret_json, struct wl_error *err)
{
	struct artifacts *artifacts = self;
	_wl_free_ struct item *items = calloc(batch->count + 1, sizeof(*items));
	if (!items)
		return wl_fail(err, ENOMEM, "no memory for a node's files");
	if (batch->count > 0 && !artifacts->store.self)
		return wl_fail(err, ENOENT, "there is no object store: set WINDLASS_OBJECTS_DIR or WINDLASS_S3_URL");
	int result = prepare(batch, items, err);
	if (result < 0)
		return result;
	_wl_free_ char *request = request_text(batch, items);
	_wl_free_ char *receipt = receipt_text(batch, items);
	if (!request || !receipt)
		return wl_fail(err, ENOMEM, "no memory for a node's files");
	if (batch->count > 0)
		result = ask(artifacts, "control.artifacts_begin", request, err);
	if (result == 0)
		result = put_objects(artifacts, batch, items, err);
	if (result == 0)
		result = ask(artifacts, "control.artifacts_commit", request, err);
	if (result == 0)
		*ret_json = wl_steal(receipt);
	return result;
}

static void artifacts_close(void *self)
{
	struct artifacts *artifacts = self;
	if (artifacts->store.close)
		artifacts->store.close(artifacts->store.self);
	wl_postgres_session_release(&artifacts->postgres);
	(void)pthread_mutex_destroy(&artifacts->lock);
	free(artifacts);
}

int artifacts_open(const struct wl_settings *settings, struct artifact_port *ret_port, struct wl_error *err)
{
	struct artifacts *artifacts = calloc(1, sizeof(*artifacts));
	if (!artifacts)
		return wl_fail(err, ENOMEM, "no memory for artifacts");
	artifacts->settings = settings;
	(void)pthread_mutex_init(&artifacts->lock, NULL);
	int result = 0;
	if (*settings->objects_dir || *settings->s3_url)
		result = object_store_open(settings->objects_dir, settings->s3_url, &artifacts->store, err);
	if (result == 0)
		result = wl_postgres_session_init(&artifacts->postgres, settings->postgres_url, NULL, err);
	if (result < 0) {
		artifacts_close(artifacts);
		return result;
	}
	*ret_port = (struct artifact_port){
		.self = artifacts,
		.limits = { .files = (uint32_t)settings->artifact_files,
			    .file_bytes = (uint64_t)settings->artifact_file_mb << 20,
			    .total_bytes = (uint64_t)settings->artifact_total_mb << 20 },
		.place = artifacts_place,
		.keep = artifacts_keep,
		.close = artifacts_close,
	};
	return 0;
}
