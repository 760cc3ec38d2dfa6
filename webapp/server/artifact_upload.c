/*
 * Uploads. The body is the file: its hash is made on a thread, PostgreSQL says whether there is room and under which
 * key to write it (which is in the trash from then on), a thread writes the object, and PostgreSQL takes the key out of
 * the trash and adds the row. Whatever dies in between leaves nothing (docs/decisions/0012). As for downloads, the
 * threads serve nothing else: an object store that hangs holds up uploads alone.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/model/file_name.h"
#include "lib/secrets/digest.h"
#include "webapp/server/api_call.h"
#include "webapp/server/artifact_content.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <stdlib.h>
#include <string.h>

#define THREADS 2
#define WAITING_MOST 16 /* uploads whose bytes lie in this worker's memory */
#define RETRY_S 2

struct upload {
	struct web_task task;
	struct web_request *request;
	const char *name;
	char id[WL_UUID_TEXT];
	char key[OBJECT_KEY_MAX]; /* "" until PostgreSQL gave it */
	struct object_source source;
	int result; /* of a thread's work */
	struct wl_error err;
};

static struct web_thread_pool *writers;

static void free_upload(void *context)
{
	struct upload *upload = context;
	free(upload);
}

/* ---- on a thread ------------------------------------------------------------------------------------------------ */

static void hash_or_put(struct web_task *task)
{
	struct upload *upload = task->context;
	const struct object_store *store = web_artifacts_store();
	upload->result = *upload->key ? store->put(store->self, upload->key, &upload->source, &upload->err)
				      : object_source_hash(&upload->source, &upload->err);
}

/* ---- on the loop ------------------------------------------------------------------------------------------------ */

/* What PostgreSQL is told of the file. NULL: no memory. */
static struct wl_json *call_of(const struct upload *upload, bool stored)
{
	char hash[WL_SHA256_HEX];
	struct wl_json *extra = wl_json_object(), *file = wl_json_object();
	int failed = wl_json_set_string(file, "id", upload->id);
	failed |= wl_json_set_string(file, "name", upload->name);
	failed |= wl_json_set_string(file, "content_type", wl_media_type(upload->name));
	failed |= wl_json_set_number(file, "size", (double)upload->source.length);
	failed |= wl_json_set_string(file, "sha256", wl_hex(upload->source.sha256, WL_SHA256_BYTES, hash));
	failed |= wl_json_set(extra, "file", file);
	if (stored)
		failed |= wl_json_set_bool(extra, "stored", true);
	if (!failed)
		return extra;
	wl_json_free(extra);
	return NULL;
}

static void run(struct upload *upload)
{
	struct wl_error err = { 0 };
	if (!writers && web_thread_pool_open(THREADS, WAITING_MOST, &writers, &err) < 0)
		wl_log(WL_LOG_ERROR, "no threads for uploads: %s", err.text);
	web_request_hold(upload->request);
	if (writers && web_thread_pool_run(writers, &upload->task) == 0)
		return;
	web_answer_unavailable(upload->request, RETRY_S, "too many files are being stored");
	web_request_release(upload->request);
}

/* PostgreSQL gave the key. */
static void begun(struct web_request *request, const struct web_api_answer *answer)
{
	struct upload *upload = request->state;
	_wl_json_ struct wl_json *body = NULL;
	struct wl_error err = { 0 };
	if (!answer->body || wl_json_parse(answer->body, strlen(answer->body), &body, &err) < 0) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	(void)snprintf(upload->key, sizeof(upload->key), "%s", wl_json_get_string(body, "key", ""));
	run(upload);
}

static void hashed_or_put(struct web_task *task)
{
	struct upload *upload = task->context;
	struct web_request *request = upload->request;
	bool stored = *upload->key != '\0';
	if (upload->result < 0) {
		wl_log(WL_LOG_ERROR, "an upload cannot be stored: %s (request %s)", upload->err.text, request->id);
		web_answer_unavailable(request, RETRY_S, "the file cannot be stored now");
	} else {
		struct wl_json *extra = call_of(upload, stored);
		if (extra)
			web_api_call(request, extra, stored ? NULL : begun);
		else
			web_answer_unavailable(request, 1, "no memory");
	}
	web_request_release(request);
}

void web_artifacts_create(struct web_request *request)
{
	const char *name = web_parameter_text(&request->parameters, "name", "");
	if (!wl_file_name_valid(name, strlen(name))) {
		web_answer_errors(
			request, 422, "the file's name is none",
			"[{\"path\":\"name\",\"message\":\"has to be a name, with at most 7 folders before it\"}]");
		return;
	}
	if (!web_artifacts_store()) {
		web_answer_unavailable(request, 60, "this server has no object store");
		return;
	}
	struct upload *upload = calloc(1, sizeof(*upload));
	if (!upload) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	upload->task = (struct web_task){ .run = hash_or_put, .ended = hashed_or_put, .context = upload };
	upload->request = request;
	upload->name = name;
	upload->source = (struct object_source){ .fd = -1,
						 .bytes = request->body ? request->body : "",
						 .length = request->body_length };
	(void)wl_uuid7(wl_clock_wall_ms(), upload->id);
	request->state = upload; /* it lives as long as the request, whose body is the file */
	request->state_free = free_upload;
	run(upload);
}
