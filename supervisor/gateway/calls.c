#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/gateway/exchange.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#define REFUSED 422		  /* a request of the right form that asks for what cannot be */
#define WAITING_MOST (256u << 10) /* bytes that a client has not taken yet: then the model waits */
#define BLOCK 16384		  /* bytes given to the connection at once */
#define STACK (512u << 10)
#define VALUES_MAX 500000 /* of one body */

static void fail(struct exchange *exchange, int status, const char *code, uint64_t retry_after_ms)
{
	exchange->status = status;
	exchange->code = code;
	exchange->retry_after_ms = retry_after_ms;
}

static enum MHD_Result answer_failure(struct exchange *exchange)
{
	return exchange_refuse(exchange, exchange->status, exchange->code, exchange->err.text);
}

/* A parsed value takes far more memory than its two bytes of text: how many there are is bounded before. */
static bool has_few_values(const char *text, size_t length)
{
	bool in_string = false;
	size_t values = 0;
	for (size_t i = 0; i < length; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
			values++;
	}
	return values <= VALUES_MAX;
}

/* The body as JSON; it is the front's then. */
static int read_front(struct exchange *exchange)
{
	const struct wl_front_format *format = exchange->route->format;
	struct wl_json *body = NULL;
	const char *text = exchange->body.data ? exchange->body.data : "";
	int result = has_few_values(text, exchange->body.length)
			     ? wl_json_parse(text, exchange->body.length, &body, &exchange->err)
			     : wl_fail(&exchange->err, E2BIG, "the body has more than %d values", VALUES_MAX);
	wl_buffer_release(&exchange->body);
	if (result < 0) {
		fail(exchange, result == -ENOMEM ? 503 : 400, NULL, 0);
		return result;
	}
	result = format ? wl_front_read(format, body, &exchange->front, &exchange->err)
			: wl_front_read_embeddings(body, &exchange->front, &exchange->err);
	if (result < 0)
		fail(exchange, result == -ENOMEM ? 503 : REFUSED, NULL, 0);
	exchange->front.request.cancel_fd = exchange->cancel_fd;
	exchange->reply = (struct wl_front_reply){ .id = exchange->id,
						   .model = exchange->front.model,
						   .created_s = wl_clock_wall_ms() / 1000,
						   .include_usage = exchange->front.include_usage };
	return result;
}

/* ---- streams --------------------------------------------------------------------------------------------- */

/* Give what was made to the connection's thread; waits while that has enough. */
static void send_pieces(struct exchange *exchange)
{
	(void)pthread_mutex_lock(&exchange->lock);
	while (exchange->pieces.length > WAITING_MOST && !exchange->gone)
		(void)pthread_cond_wait(&exchange->changed, &exchange->lock);
	exchange->has_sent = true;
	if (!exchange->gone)
		(void)wl_buffer_append(&exchange->pieces, exchange->making.data, exchange->making.length);
	exchange->pieces.failed |= exchange->making.failed;
	(void)pthread_cond_broadcast(&exchange->changed);
	(void)pthread_mutex_unlock(&exchange->lock);
	wl_buffer_clear(&exchange->making);
}

static void tell_text(void *context, const char *text, size_t length)
{
	struct exchange *exchange = context;
	exchange->route->format->text(&exchange->reply, text, length);
	send_pieces(exchange);
}

static void tell_tool_begin(void *context, size_t index, const char *id, const char *name)
{
	struct exchange *exchange = context;
	exchange->route->format->tool_begin(&exchange->reply, index, id, name);
	send_pieces(exchange);
}

static void tell_tool_arguments(void *context, size_t index, const char *text, size_t length)
{
	struct exchange *exchange = context;
	exchange->route->format->tool_arguments(&exchange->reply, index, text, length);
	send_pieces(exchange);
}

/* An answer from the record was streamed to nobody but for its text. */
static void tell_tools(struct exchange *exchange, const struct wl_model_answer *answer)
{
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		const struct wl_model_tool_use *use = &answer->tool_uses[i];
		tell_tool_begin(exchange, i, use->id, use->name);
		tell_tool_arguments(exchange, i, use->arguments, strlen(use->arguments));
	}
}

static void *run_stream(void *argument)
{
	struct exchange *exchange = argument;
	const struct gateway_host *host = &exchange->gateway->host;
	const struct wl_front_format *format = exchange->route->format;
	const struct wl_model_stream stream = { exchange, tell_text, tell_tool_begin, tell_tool_arguments };
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	exchange->reply.out = &exchange->making;
	exchange->front.request.stream = &stream;
	int result = host->chat(host->self, &exchange->front, &answer, &exchange->err);
	if (result == 0) {
		if (answer.replayed)
			tell_tools(exchange, &answer);
		format->end(&exchange->reply, &answer);
		send_pieces(exchange);
	} else {
		fail(exchange, wl_front_status(answer.fault), wl_front_code(answer.fault), answer.retry_after_ms);
		if (exchange->has_sent) {
			format->fail(&exchange->reply, exchange->status, exchange->code, exchange->err.text);
			send_pieces(exchange);
		}
	}
	(void)pthread_mutex_lock(&exchange->lock);
	exchange->ended = true;
	(void)pthread_cond_broadcast(&exchange->changed);
	(void)pthread_mutex_unlock(&exchange->lock);
	return NULL;
}

/* Runs on the connection's thread, which may wait. */
static ssize_t pull(void *context, uint64_t position, char *into, size_t room)
{
	struct exchange *exchange = context;
	(void)position;
	(void)pthread_mutex_lock(&exchange->lock);
	while (exchange->pieces.length == 0 && !exchange->ended)
		(void)pthread_cond_wait(&exchange->changed, &exchange->lock);
	size_t length = exchange->pieces.length < room ? exchange->pieces.length : room;
	ssize_t result = length > 0 ? (ssize_t)length : MHD_CONTENT_READER_END_OF_STREAM;
	if (exchange->pieces.failed)
		result = MHD_CONTENT_READER_END_WITH_ERROR;
	else if (length > 0) {
		memcpy(into, exchange->pieces.data, length);
		exchange->pieces.length -= length;
		memmove(exchange->pieces.data, exchange->pieces.data + length, exchange->pieces.length);
	}
	(void)pthread_cond_broadcast(&exchange->changed);
	(void)pthread_mutex_unlock(&exchange->lock);
	return result;
}

/* The client has had all of it, or has gone. */
static void stream_over(void *context)
{
	struct exchange *exchange = context;
	(void)pthread_mutex_lock(&exchange->lock);
	exchange->gone = true;
	(void)pthread_cond_broadcast(&exchange->changed);
	(void)pthread_mutex_unlock(&exchange->lock);
	(void)eventfd_write(exchange->gone_fd, 1);
	(void)pthread_join(exchange->thread, NULL);
	exchange_release(exchange);
}

static bool start_thread(struct exchange *exchange)
{
	pthread_attr_t attributes;
	if (pthread_attr_init(&attributes) != 0)
		return false;
	(void)pthread_attr_setstacksize(&attributes, STACK);
	exchange->has_thread = pthread_create(&exchange->thread, &attributes, run_stream, exchange) == 0;
	(void)pthread_attr_destroy(&attributes);
	return exchange->has_thread;
}

static enum MHD_Result queue_stream(struct exchange *exchange)
{
	struct MHD_Response *response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, pull, exchange, stream_over);
	if (!response) {
		stream_over(exchange);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
	(void)MHD_add_response_header(response, "x-request-id", exchange->id);
	enum MHD_Result result = MHD_queue_response(exchange->connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}

/* Whatever fails before the first piece has an HTTP status of its own. */
static enum MHD_Result stream(struct exchange *exchange)
{
	if (!start_thread(exchange))
		return exchange_refuse(exchange, 503, NULL, "no thread for the call");
	(void)pthread_mutex_lock(&exchange->lock);
	while (!exchange->has_sent && !exchange->ended)
		(void)pthread_cond_wait(&exchange->changed, &exchange->lock);
	bool has_sent = exchange->has_sent;
	exchange->references++;
	(void)pthread_mutex_unlock(&exchange->lock);
	if (has_sent)
		return queue_stream(exchange);
	stream_over(exchange);
	exchange->has_thread = false;
	return answer_failure(exchange);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

static enum MHD_Result converse(struct exchange *exchange)
{
	const struct gateway_host *host = &exchange->gateway->host;
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	_wl_buffer_ struct wl_buffer json = { 0 };
	if (read_front(exchange) < 0)
		return answer_failure(exchange);
	if (exchange->front.stream)
		return stream(exchange);
	if (host->chat(host->self, &exchange->front, &answer, &exchange->err) < 0) {
		fail(exchange, wl_front_status(answer.fault), wl_front_code(answer.fault), answer.retry_after_ms);
		return answer_failure(exchange);
	}
	exchange->reply.out = &json;
	exchange->route->format->answer(&exchange->reply, &answer);
	return exchange_answer(exchange, 200, &json);
}

static enum MHD_Result embed(struct exchange *exchange)
{
	const struct gateway_host *host = &exchange->gateway->host;
	_wl_free_ float *vectors = NULL;
	_wl_buffer_ struct wl_buffer json = { 0 };
	size_t dimensions = 0;
	struct wl_model_usage usage = { 0 };
	enum wl_model_fault fault = WL_MODEL_FAULT_NONE;
	if (read_front(exchange) < 0)
		return answer_failure(exchange);
	if (host->embed(host->self, &exchange->front, &vectors, &dimensions, &usage, &fault, &exchange->err) < 0) {
		fail(exchange, wl_front_status(fault), wl_front_code(fault), 0);
		return answer_failure(exchange);
	}
	wl_front_put_embeddings(&json, &exchange->front, vectors, exchange->front.text_count, dimensions, &usage);
	return exchange_answer(exchange, 200, &json);
}

static enum MHD_Result list(struct exchange *exchange)
{
	const struct gateway_host *host = &exchange->gateway->host;
	_wl_buffer_ struct wl_buffer json = { 0 };
	if (host->list(host->self, exchange->cancel_fd, &json, &exchange->err) < 0)
		return exchange_refuse(exchange, 503, NULL, exchange->err.text);
	return exchange_answer(exchange, 200, &json);
}

const struct gateway_route gateway_routes[] = {
	{ "/v1/chat/completions", "POST", &wl_front_openai, converse },
	{ "/v1/messages", "POST", &wl_front_anthropic, converse },
	{ "/v1/embeddings", "POST", NULL, embed },
	{ "/v1/models", "GET", NULL, list },
	{ 0 },
};
