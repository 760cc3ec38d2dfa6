/*
 * Theory of operation
 *
 * A download reads its object in pieces of PIECE bytes on a thread and hands each to the connection on the loop. The
 * threads serve nothing else, so an object store that hangs holds up downloads alone. The next piece is read when most
 * of the last one has gone out, so a client that reads slowly costs one piece of memory, twice, and never the loop's
 * time. The head is sent only when the first piece is there: an object that cannot be read is still answered with a
 * proper error. Later a failure can only cut the connection, and the client sees by Content-Length that bytes are
 * missing.
 *
 * kore tells nobody when a connection has room again. So while downloads wait for that, a timer looks at them; one
 * whose bytes do not move at all for STALLED_MS is cut.
 */
#include "webapp/server/artifact_content.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/object_store.h"
#include "webapp/server/api_call.h"
#include "webapp/server/artifact_range.h"
#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20)
#define WAITING_LITTLE (256u << 10)
#define LOOK_MS 20
#define STALLED_MS 60000
#define DOWNLOADS_MOST 32 /* at once in this worker */
#define DOWNLOADS_EACH 16 /* of one tenant */
#define THREADS 2
#define RETRY_S 2

struct download {
	struct download *next;
	struct web_task task;
	struct web_request *request; /* held until the head is sent */
	struct web_stream *stream;   /* NULL: not open yet, or gone */
	int tenant;
	char key[OBJECT_KEY_MAX];
	char content_type[64];
	uint64_t at, end; /* the next byte to read, and the one after the last */
	size_t have;	  /* bytes in `piece` */
	bool reading;	  /* a thread has the download */
	bool gone;	  /* nobody waits for it any more */
	bool finished;
	int result; /* of the read */
	struct wl_error err;
	size_t queued_before;
	uint64_t moved_ms;
	char piece[PIECE];
};

static struct object_store store;
static struct web_thread_pool *readers;
static struct download *downloads;
static bool timer_set;

int web_artifacts_open(const struct wl_settings *settings, struct wl_error *err)
{
	if (!*settings->objects_dir && !*settings->s3_url)
		return 0;
	return object_store_open(settings->objects_dir, settings->s3_url, &store, err);
}

const struct object_store *web_artifacts_store(void)
{
	return store.self ? &store : NULL;
}

bool web_artifacts_sending(void)
{
	return downloads != NULL;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static bool too_many(int tenant)
{
	int all = 0, own = 0;
	for (const struct download *other = downloads; other; other = other->next) {
		all++;
		own += other->tenant == tenant;
	}
	return all >= DOWNLOADS_MOST || own >= DOWNLOADS_EACH;
}

/* Free it unless a thread still has it: then that comes back here. */
static void let_go(struct download *download)
{
	struct download **link = &downloads;
	if (download->reading || !download->gone)
		return;
	while (*link != download)
		link = &(*link)->next;
	*link = download->next;
	free(download);
}

static void gone(void *context)
{
	struct download *download = context;
	download->gone = true;
	download->stream = NULL;
	let_go(download);
}

/* Give it to a thread; false when there is none. */
static bool read_next(struct download *download)
{
	struct wl_error err = { 0 };
	if (!readers && web_thread_pool_open(THREADS, DOWNLOADS_MOST, &readers, &err) < 0) {
		wl_log(WL_LOG_ERROR, "no threads for downloads: %s", err.text);
		return false;
	}
	download->reading = web_thread_pool_run(readers, &download->task) == 0;
	return download->reading;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static void go_on(struct download *download);

static void read_piece(struct web_task *task)
{
	struct download *download = task->context;
	uint64_t left = download->end - download->at;
	download->have = left < PIECE ? (size_t)left : PIECE;
	download->result =
		store.read(store.self, download->key, download->at, download->piece, download->have, &download->err);
}

static void look_around(void *context)
{
	(void)context;
	timer_set = false;
	for (struct download *download = downloads, *next; download; download = next) {
		next = download->next;
		go_on(download);
	}
}

static void look_later(void)
{
	if (!timer_set)
		web_timer_once(LOOK_MS, look_around, NULL);
	timer_set = true;
}

/* Whether enough has gone out for the next piece; cuts a client that takes nothing. */
static bool has_room(struct download *download)
{
	size_t queued = web_stream_queued(download->stream);
	uint64_t now_ms = wl_clock_boot_ms();
	if (queued <= WAITING_LITTLE)
		return true;
	if (queued != download->queued_before)
		download->moved_ms = now_ms;
	download->queued_before = queued;
	if (now_ms - download->moved_ms > STALLED_MS)
		web_stream_cut(download->stream);
	else
		look_later();
	return false;
}

/* Take the next step of one that is open: read a piece, wait, or end. It may be freed by that. */
static void go_on(struct download *download)
{
	if (download->reading || download->gone || download->finished || !download->stream)
		return;
	if (download->at == download->end) {
		download->finished = true;
		web_stream_finish(download->stream);
		return;
	}
	if (!has_room(download))
		return;
	if (!read_next(download))
		look_later();
}

/* Hand the piece to the connection; false when that is gone, and the download with it. */
static bool send_piece(struct download *download)
{
	size_t have = download->have;
	download->at += have;
	download->have = 0;
	download->moved_ms = wl_clock_boot_ms();
	return have == 0 || web_stream_send(download->stream, download->piece, have);
}

static void opened(struct web_request *request, struct web_stream *stream)
{
	struct download *download = request->stream_context;
	download->stream = stream;
	if (send_piece(download))
		go_on(download);
}

/* They were those of the content. */
static void drop_headers(struct web_request *request)
{
	for (int i = 0; i < request->header_count; i++)
		free(request->headers[i].long_value);
	request->header_count = 0;
}

static void fail(struct download *download, struct web_request *request)
{
	if (request)
		drop_headers(request);
	wl_log(WL_LOG_ERROR, "object %s cannot be read: %s (request %s)", download->key, download->err.text,
	       request ? request->id : "under way");
	if (!request)
		web_stream_cut(download->stream);
	else if (download->result == -ENOENT)
		web_answer_problem(request, 404, "the content is gone");
	else
		web_answer_unavailable(request, RETRY_S, "the content cannot be read now");
}

/* The first piece is there: send the head, which opens the stream. Later ones go out as they come. */
static void piece_read(struct web_task *task)
{
	struct download *download = task->context;
	struct web_request *request = wl_steal(download->request);
	download->reading = false;
	if (download->gone) {
		let_go(download);
	} else if (download->result < 0) {
		fail(download, request);
		if (request)
			gone(download); /* no stream will ever tell */
	} else if (request) {
		web_answer_download(request, download->content_type, opened, gone, download);
	} else if (send_piece(download)) {
		go_on(download);
	}
	web_request_release(request);
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

/* Make the first read; the status and headers of the answer stand already. */
static void begin(struct web_request *request, const struct wl_json *content, uint64_t first, uint64_t end)
{
	struct download *download = too_many(request->identity.tenant) ? NULL : malloc(sizeof(*download));
	if (!download) {
		drop_headers(request);
		web_answer_unavailable(request, RETRY_S, "too many downloads are under way");
		return;
	}
	memset(download, 0, offsetof(struct download, piece));
	download->task = (struct web_task){ .run = read_piece, .ended = piece_read, .context = download };
	download->tenant = request->identity.tenant;
	(void)snprintf(download->key, sizeof(download->key), "%s", wl_json_get_string(content, "key", ""));
	(void)snprintf(download->content_type, sizeof(download->content_type), "%s",
		       wl_json_get_string(content, "content_type", "application/octet-stream"));
	download->at = first;
	download->end = end;
	download->next = downloads;
	downloads = download;
	download->request = web_request_hold(request);
	if (read_next(download))
		return;
	drop_headers(request);
	web_answer_unavailable(request, RETRY_S, "too many files are being read");
	web_request_release(wl_steal(download->request));
	gone(download);
}

static void put_headers(struct web_request *request, const char *name, const char *etag)
{
	_wl_buffer_ struct wl_buffer disposition;
	wl_buffer_init(&disposition, 0);
	web_disposition_append(&disposition, name);
	web_answer_header(request, "etag", "\"%s\"", etag);
	web_answer_header(request, "accept-ranges", "bytes");
	if (!disposition.failed)
		web_answer_header(request, "content-disposition", "%s", disposition.data);
}

/* Which bytes are wanted. A range that hangs on another content is none (RFC 9110 §13.1.5). */
static enum web_range range_of(const struct web_request *request, const char *etag, uint64_t size, uint64_t *ret_first,
			       uint64_t *ret_last)
{
	const char *range = web_parameter_text(&request->parameters, "Range", NULL);
	const char *condition = web_parameter_text(&request->parameters, "If-Range", NULL);
	if (condition && (strncmp(condition, "W/", 2) == 0 || !web_etag_listed(condition, etag)))
		range = NULL;
	return web_range_read(range, size, ret_first, ret_last);
}

static void answer_content(struct web_request *request, const struct wl_json *content, const char *etag)
{
	uint64_t size = (uint64_t)wl_json_get_number(content, "size", 0), first = 0, last = size - 1;
	enum web_range range = range_of(request, etag, size, &first, &last);
	if (web_etag_listed(web_parameter_text(&request->parameters, "If-None-Match", NULL), etag)) {
		web_answer_header(request, "etag", "\"%s\"", etag);
		web_answer_empty(request, 304);
		return;
	}
	if (range == WEB_RANGE_OUTSIDE) {
		web_answer_header(request, "content-range", "bytes */%llu", (unsigned long long)size);
		web_answer_problem(request, 416, "there are %llu bytes", (unsigned long long)size);
		return;
	}
	put_headers(request, wl_json_get_string(content, "name", ""), etag);
	if (range == WEB_RANGE_PART)
		web_answer_header(request, "content-range", "bytes %llu-%llu/%llu", (unsigned long long)first,
				  (unsigned long long)last, (unsigned long long)size);
	uint64_t end = size == 0 ? 0 : last + 1;
	web_answer_header(request, "content-length", "%llu", (unsigned long long)(end - first));
	request->status = range == WEB_RANGE_PART ? 206 : 200;
	begin(request, content, first, end);
}

void web_content_answer(struct web_request *request, const struct web_api_answer *answer)
{
	_wl_json_ struct wl_json *content = NULL;
	struct wl_error err = { 0 };
	if (!answer->body || !answer->etag || wl_json_parse(answer->body, strlen(answer->body), &content, &err) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else if (!store.self)
		web_answer_unavailable(request, 60, "this server has no object store");
	else
		answer_content(request, content, answer->etag);
}

void web_artifacts_content(struct web_request *request)
{
	web_api_call(request, NULL, web_content_answer);
}
