#include "webapp/server/request.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/gateway_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	int status;
	const char *title;
} titles[] = {
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 409, "Conflict" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 422, "Unprocessable Content" },
	{ 426, "Upgrade Required" },
	{ 416, "Range Not Satisfiable" },
	{ 429, "Too Many Requests" },
	{ 500, "Internal Server Error" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

struct web_request *web_request_new(void)
{
	struct web_request *request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	request->references = 1;
	request->route_index = -1;
	request->began_us = wl_clock_monotonic_us();
	wl_uuid7(wl_clock_wall_ms(), request->id);
	return request;
}

struct web_request *web_request_hold(struct web_request *request)
{
	request->references++;
	return request;
}

void web_request_release(struct web_request *request)
{
	if (!request || --request->references > 0)
		return;
	if (!request->answered && request->inner_answered)
		request->inner_answered(request);
	if (request->state_free)
		request->state_free(request->state);
	if (request->stream_gone && !request->stream_taken)
		request->stream_gone(request->stream_context);
	web_parameters_release(&request->parameters);
	wl_json_free(request->json);
	wl_buffer_release(&request->answer);
	for (int i = 0; i < request->header_count; i++)
		free(request->headers[i].long_value);
	free(request->path);
	free(request->query);
	free(request->body);
	free(request);
}

void web_answer_header(struct web_request *request, const char *name, const char *fmt, ...)
{
	if (request->answered || request->header_count == WEB_ANSWER_HEADERS)
		return;
	struct web_answer_header *header = &request->headers[request->header_count++];
	va_list args;
	va_start(args, fmt);
	header->name = name;
	int length = vsnprintf(header->value, sizeof(header->value), fmt, args);
	va_end(args);
	if (length < (int)sizeof(header->value))
		return;
	va_start(args, fmt);
	if (vasprintf(&header->long_value, fmt, args) < 0)
		header->long_value = NULL;
	va_end(args);
}

/* The answer is complete; without memory for its body it becomes a bare 503. */
static void answer(struct web_request *request, int status)
{
	if (request->answered)
		return;
	if (request->answer.failed) {
		wl_buffer_clear(&request->answer);
		status = 503;
	}
	request->status = status;
	request->answered = true;
	if (request->exchange)
		web_exchange_wake(request->exchange);
	else if (request->inner_answered)
		request->inner_answered(request);
}

void web_answer_text(struct web_request *request, int status, const char *content_type)
{
	web_answer_header(request, "content-type", "%s", content_type);
	answer(request, status);
}

void web_answer_json(struct web_request *request, int status)
{
	web_answer_text(request, status, "application/json");
}

void web_answer_empty(struct web_request *request, int status)
{
	wl_buffer_clear(&request->answer);
	answer(request, status);
}

static const char *title_of(int status)
{
	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

/* Sentences quote what came in, and a quotation that was cut may end inside a character: that becomes U+FFFD. */
static void put_sentence(struct wl_buffer *body, const char *name, const char *text)
{
	_wl_json_ struct wl_json *clean = wl_json_new_string(text);
	_wl_free_ char *printed = clean ? wl_json_print(clean) : NULL;
	web_member_raw(body, name, printed);
}

/* Put the members that every problem has, without the closing brace. */
static void begin_problem(struct web_request *request, int status, const char *detail)
{
	struct wl_buffer *body = &request->answer;
	wl_buffer_clear(body);
	wl_buffer_appendf(body, "{\"type\":\"%s\"", web_gateway_problem_type(request));
	web_member_text(body, "title", title_of(status));
	wl_buffer_appendf(body, ",\"status\":%d", status);
	put_sentence(body, "detail", detail);
	web_member_text(body, "request_id", request->id);
	web_gateway_put_error(request, status, detail);
}

static void end_problem(struct web_request *request, int status)
{
	wl_buffer_append_char(&request->answer, '}');
	web_answer_text(request, status, "application/problem+json");
}

void web_answer_problem(struct web_request *request, int status, const char *fmt, ...)
{
	char detail[WL_ERROR_TEXT];
	va_list args;
	if (request->answered)
		return;
	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	begin_problem(request, status, detail);
	end_problem(request, status);
}

void web_answer_errors(struct web_request *request, int status, const char *detail, const char *errors_json)
{
	if (request->answered)
		return;
	begin_problem(request, status, detail);
	web_member_raw(&request->answer, "errors", errors_json);
	end_problem(request, status);
}

void web_answer_faults(struct web_request *request, int status, const struct wl_flow_faults *faults, const char *detail)
{
	struct wl_buffer *body = &request->answer;
	if (request->answered)
		return;
	begin_problem(request, status, detail);
	wl_buffer_append_text(body, ",\"errors\":[");
	for (int i = 0; i < faults->count; i++) {
		wl_buffer_append_text(body, i ? ",{" : "{");
		put_sentence(body, "path", faults->items[i].path);
		put_sentence(body, "message", faults->items[i].text);
		wl_buffer_append_char(body, '}');
	}
	if (faults->skipped)
		wl_buffer_appendf(body, ",{\"path\":\"\",\"message\":\"and %d more\"}", faults->skipped);
	wl_buffer_append_char(body, ']');
	end_problem(request, status);
}

void web_answer_unavailable(struct web_request *request, int retry_s, const char *fmt, ...)
{
	char detail[WL_ERROR_TEXT];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	web_answer_header(request, "retry-after", "%d", retry_s);
	web_answer_problem(request, 503, "%s", detail);
}

void web_answer_too_many(struct web_request *request, int retry_s, const char *fmt, ...)
{
	char detail[WL_ERROR_TEXT];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	web_answer_header(request, "retry-after", "%d", retry_s);
	web_answer_problem(request, 429, "%s", detail);
}

void web_answer_stream(struct web_request *request, void (*opened)(struct web_request *, struct web_stream *),
		       void (*gone)(void *context), void *context)
{
	if (request->answered)
		return;
	request->stream_opened = opened;
	request->stream_gone = gone;
	request->stream_context = context;
	web_answer_header(request, "x-accel-buffering", "no");
	web_answer_text(request, 200, "text/event-stream");
}

void web_answer_upgrade(struct web_request *request, const char *protocol,
			void (*opened)(struct web_request *, struct web_stream *), web_stream_received *received,
			void (*gone)(void *context), void *context)
{
	if (request->answered)
		return;
	request->stream_opened = opened;
	request->stream_received = received;
	request->stream_gone = gone;
	request->stream_context = context;
	web_answer_header(request, "upgrade", "%s", protocol);
	web_answer_header(request, "connection", "Upgrade");
	answer(request, 101);
}

void web_answer_download(struct web_request *request, const char *content_type,
			 void (*opened)(struct web_request *, struct web_stream *), void (*gone)(void *context),
			 void *context)
{
	request->stream_opened = opened;
	request->stream_gone = gone;
	request->stream_context = context;
	web_exchange_close_after(request->exchange);
	web_answer_text(request, request->status, content_type);
}

static void comma(struct wl_buffer *buffer)
{
	if (buffer->length && buffer->data[buffer->length - 1] != '{')
		wl_buffer_append_char(buffer, ',');
}

void web_member_text(struct wl_buffer *buffer, const char *name, const char *text)
{
	comma(buffer);
	wl_buffer_append_json_string(buffer, name, strlen(name));
	wl_buffer_append_char(buffer, ':');
	if (text)
		wl_buffer_append_json_string(buffer, text, strlen(text));
	else
		wl_buffer_append_text(buffer, "null");
}

void web_member_raw(struct wl_buffer *buffer, const char *name, const char *json)
{
	comma(buffer);
	wl_buffer_append_json_string(buffer, name, strlen(name));
	wl_buffer_append_char(buffer, ':');
	wl_buffer_append_text(buffer, json ? json : "null");
}
