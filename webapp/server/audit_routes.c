/*
 * Reading the audit log. PostgreSQL says how far the log goes (api.audit_log_*, specs/sql/0013_audit.sql); its entries
 * are read from the document server on a thread, bucket by bucket.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/audit_line.h"
#include "lib/secrets/audit_chain.h"
#include "lib/store/mongo_audit_log.h"
#include "webapp/server/api_call.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BUCKETS 50		      /* looked through for one page; then the page says how to go on */
#define EXPORT_MOST 10000	      /* lines of one answer */
#define EXPORT_BYTES_MOST (32u << 20) /* and bytes */

/* How far the log goes, as PostgreSQL says. */
struct head {
	int64_t seq, shipped_seq;
	char hash[WL_AUDIT_HASH], shipped_hash[WL_AUDIT_HASH];
};

struct reading {
	struct web_task task;
	struct web_request *request;
	struct wl_audit_log *log;
	struct head head;
	void (*read)(struct reading *reading);
	/* what is looked for; texts are the request's, or the two below */
	struct wl_audit_filter filter;
	char from[40], to[40];
	int64_t begin; /* list: numbers below it; export: above it */
	int limit;
	/* what came of it */
	struct wl_buffer body;
	const char *content_type;
	int rc;
	struct wl_error err;
};

static int open_log(struct wl_audit_log **ret_log, struct wl_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct wl_audit_log log;
	(void)pthread_mutex_lock(&lock);
	int rc = log.self ? 0 : mongo_audit_log_open(web.settings.mongodb_url, &log, err);
	(void)pthread_mutex_unlock(&lock);
	*ret_log = &log;
	return rc;
}

static int read_bucket(struct reading *reading, int64_t bucket, struct wl_audit_entry **ret_entries)
{
	int count = reading->log->bucket(reading->log->self, reading->request->identity.tenant, bucket, ret_entries,
					 &reading->err);
	if (count < 0)
		reading->rc = count;
	return count;
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

/* The entry's own members, and its place in the chain. */
static void write_entry(struct reading *reading, const struct wl_audit_entry *entry)
{
	struct wl_buffer *body = &reading->body;
	if (body->data[body->length - 1] == '}')
		wl_buffer_append_char(body, ',');
	wl_buffer_append(body, entry->entry_json, strlen(entry->entry_json) - 1);
	web_member_text(body, "prev", entry->prev);
	web_member_text(body, "hash", entry->hash);
	wl_buffer_append_char(body, '}');
}

/* The entries of a bucket from `below` down. Returns false when nothing older is asked for. */
static bool list_bucket(struct reading *reading, const struct wl_audit_entry *entries, int count, int64_t *below,
			int *shown)
{
	for (int i = count - 1; i >= 0 && *shown < reading->limit; i--) {
		if (entries[i].seq >= *below)
			continue;
		_wl_json_ struct wl_json *entry = NULL;
		*below = entries[i].seq;
		if (wl_json_parse(entries[i].entry_json, strlen(entries[i].entry_json), &entry, NULL) < 0)
			continue; /* damaged: `verify` is there to tell */
		if (*reading->from && strcmp(wl_json_get_string(entry, "time", ""), reading->from) < 0)
			return false;
		if (!wl_audit_filter_fits(&reading->filter, entry))
			continue;
		write_entry(reading, &entries[i]);
		(*shown)++;
	}
	return true;
}

static void read_list(struct reading *reading)
{
	int64_t below = reading->begin;
	int shown = 0, looked = 0;
	bool more = below > 1;
	wl_buffer_append_text(&reading->body, "{\"entries\":[");
	while (more && shown < reading->limit && looked++ < LIST_BUCKETS) {
		struct wl_audit_entry *entries = NULL;
		int64_t bucket = (below - 1) / WL_AUDIT_BUCKET;
		int count = read_bucket(reading, bucket, &entries);
		if (count < 0)
			return;
		more = list_bucket(reading, entries, count, &below, &shown);
		wl_audit_entries_free(entries, count);
		if (shown < reading->limit && below > bucket * WL_AUDIT_BUCKET)
			below = bucket * WL_AUDIT_BUCKET; /* nothing is left in this one, or never was */
		more = more && below > 1;
	}
	wl_buffer_appendf(&reading->body, "],\"page_info\":{\"limit\":%d,\"next_cursor\":", reading->limit);
	wl_buffer_appendf(&reading->body, more ? "\"%" PRId64 "\"}}" : "null}}", below);
}

/* ---- export ----------------------------------------------------------------------------------------------------- */

static void read_export(struct reading *reading)
{
	int64_t next = reading->begin + 1;
	int lines = 0;
	reading->content_type = "application/x-ndjson";
	while (next <= reading->head.shipped_seq && lines < EXPORT_MOST && reading->body.length < EXPORT_BYTES_MOST) {
		struct wl_audit_entry *entries = NULL;
		int64_t bucket = next / WL_AUDIT_BUCKET;
		int count = read_bucket(reading, bucket, &entries);
		if (count < 0)
			return;
		for (int i = 0; i < count && lines < EXPORT_MOST; i++) {
			if (entries[i].seq < next || entries[i].seq > reading->head.shipped_seq)
				continue;
			wl_audit_line_write(&reading->body, entries[i].seq, entries[i].prev, entries[i].hash,
					    entries[i].entry_json);
			next = entries[i].seq + 1;
			lines++;
		}
		wl_audit_entries_free(entries, count);
		if (lines < EXPORT_MOST && next < (bucket + 1) * WL_AUDIT_BUCKET)
			next = (bucket + 1) * WL_AUDIT_BUCKET;
	}
}

/* ---- verify ----------------------------------------------------------------------------------------------------- */

static void write_verdict(struct reading *reading, const struct wl_audit_walk *walk, bool ends_right)
{
	struct wl_buffer *body = &reading->body;
	bool holds = !walk->broken && walk->seq == reading->head.shipped_seq && ends_right;
	char detail[256];
	if (holds)
		(void)snprintf(detail, sizeof(detail), "every entry holds%s",
			       reading->head.seq > reading->head.shipped_seq
				       ? "; the newest ones are still on their way"
				       : "");
	else if (walk->broken)
		(void)snprintf(detail, sizeof(detail), "%s", walk->fault);
	else if (walk->seq < reading->head.shipped_seq)
		(void)snprintf(detail, sizeof(detail), "entry %" PRId64 " and what follows it are missing",
			       walk->seq + 1);
	else
		(void)snprintf(detail, sizeof(detail), "the last entry is not the one that PostgreSQL knows");
	wl_buffer_appendf(body, "{\"ok\":%s,\"entries\":%" PRId64 ",\"head_seq\":%" PRId64, holds ? "true" : "false",
			  walk->seq, reading->head.seq);
	web_member_text(body, "head_hash", reading->head.hash);
	if (holds)
		wl_buffer_append_text(body, ",\"first_bad_seq\":null");
	else
		wl_buffer_appendf(body, ",\"first_bad_seq\":%" PRId64,
				  walk->broken || walk->seq < reading->head.shipped_seq ? walk->seq + 1 : walk->seq);
	web_member_text(body, "detail", detail);
	wl_buffer_append_char(body, '}');
}

static void read_verify(struct reading *reading)
{
	struct wl_audit_walk walk = { 0 };
	int64_t last = reading->head.shipped_seq;
	for (int64_t bucket = 0; bucket <= last / WL_AUDIT_BUCKET && !walk.broken; bucket++) {
		struct wl_audit_entry *entries = NULL;
		int count = read_bucket(reading, bucket, &entries);
		if (count < 0)
			return;
		for (int i = 0; i < count && entries[i].seq <= last; i++)
			(void)wl_audit_walk_next(&walk, entries[i].seq, entries[i].prev, entries[i].hash,
						 entries[i].entry_json);
		wl_audit_entries_free(entries, count);
	}
	write_verdict(reading, &walk, strcmp(walk.hash, reading->head.shipped_hash) == 0);
}

/* ---- the way of a request --------------------------------------------------------------------------------------- */

static void run_reading(struct web_task *task)
{
	struct reading *reading = task->context;
	reading->rc = open_log(&reading->log, &reading->err);
	if (reading->rc == 0)
		reading->read(reading);
}

static void free_reading(struct reading *reading)
{
	wl_buffer_release(&reading->body);
	web_request_release(reading->request);
	free(reading);
}

static void reading_ended(struct web_task *task)
{
	struct reading *reading = task->context;
	struct web_request *request = reading->request;
	if (reading->rc < 0 || reading->body.failed) {
		web_answer_unavailable(request, 1, "the audit log cannot be read now: %s",
				       reading->rc < 0 ? reading->err.text : "no memory");
	} else {
		if (reading->body.length)
			wl_buffer_append(&request->answer, reading->body.data, reading->body.length);
		web_answer_text(request, 200, reading->content_type);
	}
	free_reading(reading);
}

static bool read_head(const char *body, struct reading *reading)
{
	struct head *head = &reading->head;
	_wl_json_ struct wl_json *json = NULL;
	if (!body || wl_json_parse(body, strlen(body), &json, NULL) < 0)
		return false;
	head->seq = (int64_t)wl_json_get_number(json, "seq", 0);
	head->shipped_seq = (int64_t)wl_json_get_number(json, "shipped_seq", 0);
	(void)snprintf(head->hash, sizeof(head->hash), "%s", wl_json_get_string(json, "hash", ""));
	(void)snprintf(head->shipped_hash, sizeof(head->shipped_hash), "%s",
		       wl_json_get_string(json, "shipped_hash", ""));
	(void)snprintf(reading->from, sizeof(reading->from), "%s", wl_json_get_string(json, "from", ""));
	(void)snprintf(reading->to, sizeof(reading->to), "%s", wl_json_get_string(json, "to", ""));
	return true;
}

static void start(struct web_request *request, const struct web_api_answer *answer,
		  void (*read)(struct reading *reading))
{
	const struct web_parameters *parameters = &request->parameters;
	struct reading *reading = calloc(1, sizeof(*reading));
	if (!reading || !read_head(answer->body, reading)) {
		free(reading);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	wl_buffer_init(&reading->body, 0);
	reading->request = web_request_hold(request);
	reading->read = read;
	reading->content_type = "application/json";
	reading->filter = (struct wl_audit_filter){ .from = reading->from,
						    .to = reading->to,
						    .action = web_parameter_text(parameters, "action", NULL),
						    .user = web_parameter_text(parameters, "user_id", NULL),
						    .type = web_parameter_text(parameters, "resource_type", NULL),
						    .resource = web_parameter_text(parameters, "resource_id", NULL) };
	reading->limit = (int)web_parameter_number(parameters, "limit", 20);
	reading->begin = web_parameter_number(parameters, "after_seq", 0);
	if (read == read_list)
		reading->begin = web_parameter_number(parameters, "cursor", reading->head.shipped_seq + 1);
	reading->task = (struct web_task){ .run = run_reading, .ended = reading_ended, .context = reading };
	if (web_thread_pool_run(web.threads, &reading->task) == 0)
		return;
	web_answer_unavailable(request, 1, "too many logs are being read");
	free_reading(reading);
}

static void list_taken(struct web_request *request, const struct web_api_answer *answer)
{
	start(request, answer, read_list);
}

static void export_taken(struct web_request *request, const struct web_api_answer *answer)
{
	start(request, answer, read_export);
}

static void verify_taken(struct web_request *request, const struct web_api_answer *answer)
{
	start(request, answer, read_verify);
}

void web_audit_log_list(struct web_request *request)
{
	const char *cursor = web_parameter_text(&request->parameters, "cursor", NULL);
	if (cursor && (strlen(cursor) > 17 || strspn(cursor, "0123456789") != strlen(cursor)))
		web_answer_errors(request, 400, "a parameter is wrong",
				  "[{\"path\":\"cursor\",\"message\":\"is not one that this server gave\"}]");
	else
		web_api_call(request, NULL, list_taken);
}

void web_audit_log_export(struct web_request *request)
{
	web_api_call(request, NULL, export_taken);
}

void web_audit_log_verify(struct web_request *request)
{
	web_api_call(request, NULL, verify_taken);
}
