#include "lib/store/redis_event_stream.h"

#include "lib/base/clock.h"
#include "lib/store/redis_connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 1000
#define RECONNECT_MS 500
#define WINDOW 64    /* events that are looked through for those of one execution */
#define FIXED_ARGS 8 /* of a call with one event */

struct event_stream {
	struct wl_redis_address address;
	redisContext *context;
	uint64_t next_try_ms;
	char most[16], keep_s[16];
};

static int stream_connect(struct event_stream *stream, struct wl_error *err)
{
	if (stream->context)
		return 0;
	uint64_t now = wl_clock_boot_ms();
	if (now < stream->next_try_ms)
		return wl_fail(err, ECONNREFUSED, "Redis is away; the next attempt to connect follows soon");
	stream->next_try_ms = now + RECONNECT_MS;
	return wl_redis_connect(&stream->address, ANSWER_MS, &stream->context, err);
}

static void stream_drop(struct event_stream *stream)
{
	if (stream->context)
		redisFree(stream->context);
	stream->context = NULL;
}

/*
 * Send the first event that was not sent yet and, in the same call, the others of its execution: what a call costs is
 * paid once for them. *sent has a bit for each of the up to WINDOW events.
 */
static int append_execution(struct event_stream *stream, const struct wl_event *events, int count, uint64_t *sent)
{
	int first = __builtin_ctzll(~*sent), used = FIXED_ARGS;
	char key[64];
	(void)snprintf(key, sizeof(key), "ev:{%s}", events[first].eid);
	const char *args[FIXED_ARGS + 2 * (WINDOW - 1)] = { "FCALL",	  "wl1_event",	      "1",
							    key,	  events[first].type, events[first].data_json,
							    stream->most, stream->keep_s };
	*sent |= UINT64_C(1) << first;
	for (int i = first + 1; i < count; i++) {
		if (*sent & UINT64_C(1) << i || strcmp(events[i].eid, events[first].eid) != 0)
			continue;
		args[used++] = events[i].type;
		args[used++] = events[i].data_json;
		*sent |= UINT64_C(1) << i;
	}
	return redisAppendCommandArgv(stream->context, used, args, NULL);
}

/* Send up to WINDOW events; how many answers are to come, -1 when memory is short. */
static int append_window(struct event_stream *stream, const struct wl_event *events, int count)
{
	const uint64_t all = count < WINDOW ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
	uint64_t sent = 0;
	int calls = 0;
	for (; sent != all; calls++)
		if (append_execution(stream, events, count, &sent) != REDIS_OK)
			return -1;
	return calls;
}

/* Read the answers; the first error of a call is what is told. */
static int read_answers(struct event_stream *stream, int count, struct wl_error *err)
{
	int result = 0;
	for (int i = 0; i < count; i++) {
		void *answer = NULL;
		if (redisGetReply(stream->context, &answer) != REDIS_OK) {
			(void)wl_redis_fail_context(stream->context, err);
			stream_drop(stream);
			return -err->code;
		}
		_wl_redis_reply_ redisReply *reply = answer;
		if (reply->type == REDIS_REPLY_ERROR && result == 0)
			result = wl_redis_fail_reply(reply, err);
	}
	return result;
}

static int stream_publish(void *self, const struct wl_event *events, int count, struct wl_error *err)
{
	struct event_stream *stream = self;
	if (stream_connect(stream, err) < 0)
		return -err->code;
	int answers = 0;
	for (int from = 0; from < count; from += WINDOW) {
		int calls = append_window(stream, &events[from], count - from < WINDOW ? count - from : WINDOW);
		if (calls < 0) {
			stream_drop(stream);
			return wl_fail(err, ENOMEM, "no memory for %d events", count);
		}
		answers += calls;
	}
	return read_answers(stream, answers, err);
}

static void stream_close(void *self)
{
	stream_drop(self);
	free(self);
}

int wl_redis_event_stream_open(const char *url, int most, int keep_s, struct wl_event_stream *ret_stream,
			       struct wl_error *err)
{
	struct event_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return wl_fail(err, ENOMEM, "no memory for the event stream");
	if (wl_redis_address_parse(url, &stream->address, err) < 0) {
		free(stream);
		return -err->code;
	}
	(void)snprintf(stream->most, sizeof(stream->most), "%d", most);
	(void)snprintf(stream->keep_s, sizeof(stream->keep_s), "%d", keep_s);
	*ret_stream = (struct wl_event_stream){ stream, stream_publish, stream_close };
	return 0;
}
