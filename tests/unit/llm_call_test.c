/*
 * Calls of models against a server of the test's own: retries, failover, breakers, rates, cancels, and servers that
 * mean no good. The server answers by path, each path with answers of its own in their order.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/llm.h"
#include "tests/kit/http_script.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#define KEY "sk-planted-3f91c2"
#define OK(type, body) "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " type "\r\n\r\n" body
#define REFUSED(status, more, body) "HTTP/1.1 " status "\r\nConnection: close\r\n" more "\r\n" body
#define CHAT(text)                                                                                                     \
	OK("application/json", "{\"model\":\"m-2\",\"choices\":[{\"message\":{\"content\":\"" text                     \
			       "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,"                     \
			       "\"completion_tokens\":2}}")
#define PIECE(text, reason)                                                                                            \
	"data: {\"choices\":[{\"delta\":{\"content\":\"" text "\"},\"finish_reason\":" reason "}]}\n\n"
#define STREAM(pieces) OK("text/event-stream", pieces)
#define BUSY REFUSED("500 Oops", "", "{\"error\":{\"message\":\"try later\"}}")

static const struct scenario {
	const char *path;
	const char *answers[8]; /* the last one for all that follow; "" hangs */
} scenarios[] = {
	{ "/ok/chat/completions", { CHAT("fine") } },
	{ "/rate/chat/completions",
	  { REFUSED("429 Slow", "Retry-After-Ms: 30\r\n", "{\"error\":{\"message\":\"rate limit\"}}"), CHAT("then") } },
	{ "/rate9/chat/completions", { REFUSED("429 Slow", "Retry-After: 90\r\n", "") } },
	{ "/busy/chat/completions", { BUSY, BUSY, CHAT("third") } },
	{ "/down/chat/completions", { BUSY } },
	{ "/filter/chat/completions",
	  { REFUSED("400 Bad", "", "{\"error\":{\"code\":\"content_filter\",\"message\":\"no\"}}") } },
	{ "/long/chat/completions",
	  { REFUSED("400 Bad", "", "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"too long\"}}") } },
	{ "/tools/chat/completions",
	  { REFUSED("400 Bad", "", "{\"error\":{\"message\":\"registry/library/x does not support tools\"}}") } },
	{ "/model/chat/completions",
	  { REFUSED("404 No", "", "{\"error\":{\"message\":\"The model `x` does not exist\"}}") } },
	{ "/key/chat/completions",
	  { REFUSED("401 No", "", "{\"error\":{\"message\":\"Incorrect API key provided: " KEY "\"}}") } },
	{ "/echo/chat/completions",
	  { REFUSED("400 Bad", "", "{\"error\":{\"message\":\"bad header " KEY " and sk-other-99887766\"}}") } },
	{ "/hang/chat/completions", { "" } },
	{ "/broken/chat/completions", { STREAM(PIECE("Hel", "null")), STREAM(PIECE("Hello", "\"stop\"")) } },
	{ "/other/chat/completions", { STREAM(PIECE("Hel", "null")), STREAM(PIECE("Bye", "\"stop\"")) } },
	{ "/half/chat/completions", { STREAM(PIECE("Hel", "null")) } },
	{ "/page/chat/completions", { OK("text/html", "<html>hello</html>") } },
	{ "/garbage/chat/completions", { OK("application/json", "{{{{") } },
	{ "/moved/chat/completions", { REFUSED("302 Moved", "Location: http://127.0.0.1/\r\n", "") } },
	{ "/short/chat/completions", { "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nConnection: close\r\n\r\n{" } },
	{ "/words/chat/completions",
	  { REFUSED("400 Bad", "",
		    "{\"error\":{\"message\":\"Unsupported parameter: 'max_tokens' is not supported with this model. "
		    "Use "
		    "'max_completion_tokens' instead.\"}}"),
	    CHAT("learned") } },
	{ "/newer/chat/completions",
	  { REFUSED("404 No", "", "{\"error\":{\"message\":\"This model is only supported in v1/responses\"}}") } },
	{ "/newer/responses",
	  { OK("application/json",
	       "{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\","
	       "\"text\":\"new\"}]}]}") } },
	{ "/ok/models", { OK("application/json", "{\"data\":[{\"id\":\"a\"},{\"id\":\"" KEY "\"},{\"id\":\"b\"}]}") } },
	{ "/api/tags", { OK("application/json", "{\"models\":[{\"name\":\"x\"}]}") } },
	{ "/ok/embeddings",
	  { OK("application/json", "{\"data\":[{\"index\":1,\"embedding\":[0,5]},{\"index\":0,\"embedding\":[3,4]}],"
				   "\"usage\":{\"prompt_tokens\":6}}") } },
	{ "/few/embeddings", { OK("application/json", "{\"data\":[{\"index\":0,\"embedding\":[3,4]}]}") } },
	{ "/ragged/embeddings",
	  { OK("application/json",
	       "{\"data\":[{\"index\":0,\"embedding\":[3,4]},{\"index\":1,\"embedding\":[3]}]}") } },
	{ "/zero/embeddings",
	  { OK("application/json",
	       "{\"data\":[{\"index\":0,\"embedding\":[0,0]},{\"index\":1,\"embedding\":[3,1]}]}") } },
	{ "/twice/embeddings",
	  { OK("application/json",
	       "{\"data\":[{\"index\":0,\"embedding\":[3,4]},{\"index\":0,\"embedding\":[3,1]}]}") } },
	{ "/api/embed", { OK("application/json", "{\"embeddings\":[[1,0],[0,2]],\"prompt_eval_count\":3}") } },
};
static int asked[WL_COUNT_OF(scenarios)]; /* how often each path was */

static const struct http_script nothing[] = { { NULL, NULL } };

static bool answer(int connection, const char *path)
{
	for (size_t i = 0; i < WL_COUNT_OF(scenarios); i++) {
		if (strcmp(path, scenarios[i].path) != 0)
			continue;
		int at = asked[i]++;
		at = at < 8 ? at : 7;
		while (at > 0 && !scenarios[i].answers[at])
			at--;
		const char *text = scenarios[i].answers[at];
		(void)send(connection, text, strlen(text), MSG_NOSIGNAL);
		return !*text;
	}
	if (strcmp(path, "/kept/chat/completions") == 0) {
		static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n{\"choices\":[{\"message\":{"
					   "\"content\":\"a\"},\"finish_reason\":\"stop\"}]}";
		(void)send(connection, text, strlen(text), MSG_NOSIGNAL);
		return true;
	}
	for (int i = 0; strcmp(path, "/endless/chat/completions") == 0; i++) {
		static const char piece[] = PIECE("and on and on and on and on and on and on and on and on", "null");
		const char *text = i ? piece : STREAM("");
		if (send(connection, text, strlen(text), MSG_NOSIGNAL) < 0)
			return false;
	}
	return false;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

struct stage {
	struct http_server server;
	struct wl_egress_rules rules;
	struct wl_llm *llm;
	struct wl_llm_provider chain[2];
	char urls[2][128];
	struct wl_model_request request;
	struct wl_model_answer answer;
	struct wl_model_stream stream;
	struct wl_buffer heard;
	struct wl_error err;
};

static const struct wl_model_message question = { .role = WL_MODEL_USER, .text = "What?" };

static void hear(void *context, const char *text, size_t length)
{
	wl_buffer_append(context, text, length);
}

static void aim(struct stage *stage, int at, const char *path)
{
	(void)snprintf(stage->urls[at], sizeof(stage->urls[at]), "http://127.0.0.1:%d%s", stage->server.port, path);
	stage->chain[at] = (struct wl_llm_provider){ .id = stage->urls[at],
						     .type = WL_LLM_VLLM,
						     .base_url = stage->urls[at],
						     .api_key = KEY,
						     .default_model = "m",
						     .timeout_ms = 20000 };
}

static void set_stage(struct stage *stage, const char *path)
{
	*stage = (struct stage){ .request = { .messages = &question,
					      .message_count = 1,
					      .temperature = NAN,
					      .top_p = NAN,
					      .cancel_fd = -1 } };
	memset(asked, 0, sizeof(asked));
	wl_buffer_init(&stage->heard, 0);
	stage->stream = (struct wl_model_stream){ .context = &stage->heard, .text = hear };
	http_server_start(&stage->server, nothing, answer);
	assert_int_equal(wl_egress_rules_read("127.0.0.0/8", &stage->rules, &stage->err), 0);
	assert_int_equal(wl_llm_new(&stage->rules, &stage->llm, &stage->err), 0);
	aim(stage, 0, path);
}

static void clear_stage(struct stage *stage)
{
	wl_llm_free(stage->llm);
	wl_model_answer_release(&stage->answer);
	wl_buffer_release(&stage->heard);
	http_server_stop(&stage->server);
}

#define _stage_ __attribute__((cleanup(clear_stage)))

/* Ask the first `count` providers; what never changes is checked here. */
static int ask(struct stage *stage, size_t count)
{
	wl_model_answer_release(&stage->answer);
	stage->err = (struct wl_error){ 0 };
	int result = wl_llm_call(stage->llm, stage->chain, count, &stage->request, &stage->answer, &stage->err);
	assert_true((result == 0) == (stage->answer.fault == WL_MODEL_FAULT_NONE));
	assert_true(stage->answer.first_us <= stage->answer.total_us);
	if (result < 0) {
		assert_true(stage->err.text[0] && stage->err.code == -result);
		assert_null(strstr(stage->err.text, KEY));
		assert_null(stage->answer.text);
	}
	return result;
}

static int requests_of(const char *path)
{
	for (size_t i = 0; i < WL_COUNT_OF(scenarios); i++)
		if (strcmp(scenarios[i].path, path) == 0)
			return asked[i];
	fail_msg("there is no path %s", path);
	return 0;
}

static void test_a_call_answers(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/ok/");
	assert_int_equal(ask(&stage, 1), 0);
	assert_string_equal(stage.answer.text, "fine");
	assert_string_equal(stage.answer.model, "m-2");
	assert_string_equal(stage.answer.provider_id, stage.urls[0]);
	assert_int_equal(stage.answer.attempts, 1);
	assert_int_equal(stage.answer.usage.prompt, 10);
	assert_true(stage.answer.first_us > 0);
	assert_non_null(strstr(stage.server.seen, "authorization: Bearer " KEY));
	assert_non_null(strstr(stage.server.seen, "\"model\":\"m\""));
	assert_int_equal(ask(&stage, 0), -ENOENT);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_PROVIDER);
}

static void test_connections_are_kept(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/kept");
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(&stage, 1), 0);
	const char *first = strchr(stage.server.seen, '@');
	assert_non_null(first);
	assert_null(strchr(first + 1, '@')); /* one connection */
	assert_int_equal(atomic_load(&stage.server.requests), 3);
	wl_llm_free(stage.llm); /* the server waits for its end */
	stage.llm = NULL;
}

static void test_what_may_pass_is_tried_again(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/rate");
	stage.chain[0].max_retries = 1;
	uint64_t begin_us = wl_clock_monotonic_us();
	assert_int_equal(ask(&stage, 1), 0);
	assert_string_equal(stage.answer.text, "then");
	assert_int_equal(stage.answer.attempts, 2);
	assert_true(wl_clock_monotonic_us() - begin_us >= 30000);
	aim(&stage, 0, "/busy");
	stage.chain[0].max_retries = 2;
	assert_int_equal(ask(&stage, 1), 0);
	assert_string_equal(stage.answer.text, "third");
	assert_int_equal(stage.answer.attempts, 3);
	aim(&stage, 0, "/down");
	assert_int_equal(ask(&stage, 1), -ECONNREFUSED);
	assert_int_equal(stage.answer.attempts, 1);
	/* a pause that is longer than the time left is not begun */
	aim(&stage, 0, "/rate9");
	stage.chain[0].max_retries = 5;
	assert_int_equal(ask(&stage, 1), -EAGAIN);
	assert_int_equal(stage.answer.attempts, 1);
	assert_int_equal(stage.answer.retry_after_ms, 90000);
}

static void test_another_provider_stands_in(void **state)
{
	(void)state;
	static const char *const firsts[] = { "/down", "/model", "/key", "/rate9", "/page", "/long" };
	for (size_t i = 0; i < WL_COUNT_OF(firsts); i++) {
		_stage_ struct stage stage;
		set_stage(&stage, firsts[i]);
		aim(&stage, 1, "/ok");
		assert_int_equal(ask(&stage, 2), 0);
		assert_string_equal(stage.answer.text, "fine");
		assert_string_equal(stage.answer.provider_id, stage.urls[1]);
		assert_int_equal(stage.answer.attempts, 2);
	}
	/* a server that wants to be left alone for long is */
	{
		_stage_ struct stage stage;
		set_stage(&stage, "/rate9");
		stage.chain[0].max_retries = 5;
		stage.chain[0].timeout_ms = 600000;
		aim(&stage, 1, "/ok");
		assert_int_equal(ask(&stage, 2), 0);
		assert_int_equal(stage.answer.attempts, 2);
		assert_true(stage.answer.total_us < 60000000);
	}
	_stage_ struct stage stage;
	set_stage(&stage, "/filter");
	aim(&stage, 1, "/ok");
	assert_int_equal(ask(&stage, 2), -EINVAL);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_FILTER);
	assert_int_equal(stage.answer.attempts, 1);
}

static void test_who_stands_in_is_asked_for_a_model_of_its_own(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/down");
	aim(&stage, 1, "/ok");
	stage.request.model = "named";
	stage.chain[1].default_model = "own";
	assert_int_equal(ask(&stage, 2), 0);
	const char *named = strstr(stage.server.seen, "\"model\":\"named\"");
	assert_non_null(named);
	assert_non_null(strstr(named, "\"model\":\"own\""));
	stage.chain[1] = (struct wl_llm_provider){ .id = "demo", .type = WL_LLM_DEMO };
	assert_int_equal(ask(&stage, 2), 0);
	assert_string_equal(stage.answer.model, "demo");
}

static void test_refusals_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		enum wl_model_fault fault;
	} rows[] = {
		{ "/key", WL_MODEL_FAULT_KEY },	       { "/echo", WL_MODEL_FAULT_REQUEST },
		{ "/model", WL_MODEL_FAULT_MODEL },    { "/tools", WL_MODEL_FAULT_TOOLS },
		{ "/long", WL_MODEL_FAULT_CONTEXT },   { "/page", WL_MODEL_FAULT_ANSWER },
		{ "/garbage", WL_MODEL_FAULT_ANSWER }, { "/moved", WL_MODEL_FAULT_ANSWER },
		{ "/short", WL_MODEL_FAULT_AWAY },     { "/nothing", WL_MODEL_FAULT_AWAY },
	};
	_stage_ struct stage stage;
	set_stage(&stage, "/ok");
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		aim(&stage, 0, rows[i].path);
		assert_true(ask(&stage, 1) < 0);
		if (stage.answer.fault != rows[i].fault)
			fail_msg("%s: %s, %s", rows[i].path, wl_model_fault_word(stage.answer.fault), stage.err.text);
	}
	aim(&stage, 0, "/echo");
	assert_true(ask(&stage, 1) < 0);
	assert_null(strstr(stage.err.text, "99887766"));
	stage.chain[0].default_model = NULL;
	assert_int_equal(ask(&stage, 1), -ENOENT);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_MODEL);
}

static void test_addresses_are_checked(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/ok");
	stage.rules.count = 0;
	assert_int_equal(ask(&stage, 1), -EACCES);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_EGRESS);
	assert_int_equal(requests_of("/ok/chat/completions"), 0);
}

static void test_a_stream_is_told_once_over_its_tries(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/broken");
	stage.request.stream = &stage.stream;
	stage.chain[0].max_retries = 1;
	assert_int_equal(ask(&stage, 1), 0);
	assert_string_equal(stage.answer.text, "Hello");
	assert_string_equal(stage.heard.data, "Hello");
	assert_int_equal(stage.answer.attempts, 2);
	assert_true(stage.answer.usage.estimated && stage.answer.usage.completion > 2); /* both tries */
	wl_buffer_clear(&stage.heard);
	aim(&stage, 0, "/other");
	stage.chain[0].max_retries = 1;
	assert_int_equal(ask(&stage, 1), -ECONNREFUSED);
	assert_string_equal(stage.heard.data, "Hel");
	assert_non_null(strstr(stage.err.text, "began otherwise"));
	/* nor by another provider */
	wl_buffer_clear(&stage.heard);
	aim(&stage, 0, "/half");
	aim(&stage, 1, "/broken");
	memset(asked, 0, sizeof(asked));
	assert_int_equal(ask(&stage, 2), -ECONNREFUSED);
	assert_string_equal(stage.heard.data, "Hel");
}

static void test_an_endless_answer_ends(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/endless");
	stage.request.stream = &stage.stream;
	assert_int_equal(ask(&stage, 1), -EPROTO);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_ANSWER);
	assert_true(stage.heard.length <= WL_MODEL_ANSWER_MAX);
	assert_true(stage.answer.usage.completion > 0); /* it was spent all the same */
}

static void test_time_is_bounded(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/hang");
	stage.request.timeout_ms = 150;
	stage.chain[0].max_retries = 3;
	uint64_t begin_ms = wl_clock_boot_ms();
	assert_int_equal(ask(&stage, 1), -ETIMEDOUT);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_LATE);
	assert_true(wl_clock_boot_ms() - begin_ms < 10000);
}

static void *cancel_soon(void *context)
{
	(void)poll(NULL, 0, 50);
	(void)eventfd_write(*(int *)context, 1);
	return NULL;
}

static void test_a_cancel_ends_a_call_at_any_time(void **state)
{
	(void)state;
	static const char *const paths[] = { "/hang", "/rate9" }; /* in a request, and in a pause */
	for (size_t i = 0; i < WL_COUNT_OF(paths); i++) {
		_stage_ struct stage stage;
		_wl_close_ int fd = eventfd(0, EFD_CLOEXEC);
		pthread_t thread;
		set_stage(&stage, paths[i]);
		stage.chain[0].max_retries = 3;
		stage.chain[0].timeout_ms = 600000;
		stage.request.cancel_fd = fd;
		assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &fd), 0);
		assert_int_equal(ask(&stage, 1), -ECANCELED);
		assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_STOPPED);
		(void)pthread_join(thread, NULL);
		stage.chain[0].type = WL_LLM_DEMO; /* nor does the next one begin */
		stage.chain[0].default_model = NULL;
		assert_int_equal(ask(&stage, 1), -ECANCELED);
		assert_int_equal(stage.answer.attempts, 0);
	}
}

static void test_a_provider_that_fails_is_left_alone(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/down");
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(&stage, 1), -ECONNREFUSED);
	assert_int_equal(requests_of("/down/chat/completions"), 5);
	assert_int_equal(ask(&stage, 1), -ECONNREFUSED);
	assert_int_equal(stage.answer.attempts, 0);
	assert_true(stage.answer.retry_after_ms > 0);
	assert_int_equal(requests_of("/down/chat/completions"), 5);
	stage.chain[0].version++; /* it was changed: that may have helped */
	assert_int_equal(ask(&stage, 1), -ECONNREFUSED);
	assert_int_equal(requests_of("/down/chat/completions"), 6);
}

static void test_rates_are_kept(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/ok");
	stage.chain[0].max_rpm = 2;
	stage.request.timeout_ms = 2000;
	assert_int_equal(ask(&stage, 1), 0);
	assert_int_equal(ask(&stage, 1), 0);
	assert_int_equal(ask(&stage, 1), -EAGAIN);
	assert_int_equal(stage.answer.fault, WL_MODEL_FAULT_RATE);
	assert_int_equal(stage.answer.attempts, 0);
	assert_true(stage.answer.retry_after_ms > 2000 && stage.answer.retry_after_ms <= 30001);
	assert_int_equal(requests_of("/ok/chat/completions"), 2);
}

static void test_what_a_server_wants_otherwise_is_learned(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, "/words");
	stage.request.max_tokens = 9;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(&stage, 1), 0);
		assert_string_equal(stage.answer.text, "learned");
		assert_int_equal(stage.answer.attempts, i ? 1 : 2);
	}
	assert_non_null(strstr(stage.server.seen, "\"max_completion_tokens\":9"));
	aim(&stage, 0, "/newer");
	assert_int_equal(ask(&stage, 1), 0);
	assert_string_equal(stage.answer.text, "new");
	assert_true(stage.answer.usage.estimated);
	assert_int_equal(ask(&stage, 1), 0);
	assert_int_equal(requests_of("/newer/chat/completions"), 1);
	assert_int_equal(requests_of("/newer/responses"), 2);
}

static void test_models_are_listed(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	enum wl_model_fault fault;
	char *json = NULL;
	set_stage(&stage, "/ok");
	assert_int_equal(wl_llm_models(stage.llm, stage.chain, 0, &json, &fault, &stage.err), 0);
	assert_string_equal(json, "[\"a\",\"b\"]");
	free(json);
	stage.chain[0].type = WL_LLM_OLLAMA;
	aim(&stage, 1, "");
	stage.chain[1].type = WL_LLM_OLLAMA;
	assert_int_equal(wl_llm_models(stage.llm, &stage.chain[1], 0, &json, &fault, &stage.err), 0);
	assert_string_equal(json, "[\"x\"]");
	free(json);
	aim(&stage, 0, "/page");
	assert_true(wl_llm_models(stage.llm, stage.chain, 0, &json, &fault, &stage.err) < 0);
	assert_int_equal(fault, WL_MODEL_FAULT_AWAY);
}

static int embed(struct stage *stage, float **ret_vectors, size_t *ret_dimensions, struct wl_model_usage *usage)
{
	static const char *const texts[] = { "one", "two" };
	enum wl_model_fault fault;
	int result = wl_llm_embed(stage->llm, stage->chain, NULL, texts, 2, 5000, -1, ret_vectors, ret_dimensions,
				  usage, &fault, &stage->err);
	assert_true((result == 0) == (fault == WL_MODEL_FAULT_NONE));
	return result;
}

static void test_texts_become_vectors(void **state)
{
	(void)state;
	static const char *const bad[] = { "/few", "/ragged", "/zero", "/twice" };
	_stage_ struct stage stage;
	float *vectors = NULL;
	size_t dimensions = 0;
	struct wl_model_usage usage;
	set_stage(&stage, "/ok");
	assert_int_equal(embed(&stage, &vectors, &dimensions, &usage), 0);
	assert_int_equal(dimensions, 2);
	assert_int_equal(usage.prompt, 6);
	const float wanted[] = { 0.6f, 0.8f, 0, 1 };
	for (size_t i = 0; i < 4; i++)
		assert_float_equal(vectors[i], wanted[i], 1e-6);
	free(vectors);
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		aim(&stage, 0, bad[i]);
		assert_int_equal(embed(&stage, &vectors, &dimensions, &usage), -EPROTO);
	}
	aim(&stage, 0, "");
	stage.chain[0].type = WL_LLM_OLLAMA;
	assert_int_equal(embed(&stage, &vectors, &dimensions, &usage), 0);
	assert_float_equal(vectors[3], 1, 1e-6);
	assert_int_equal(usage.prompt, 3);
	free(vectors);
	stage.chain[0].type = WL_LLM_ANTHROPIC;
	assert_int_equal(embed(&stage, &vectors, &dimensions, &usage), -EINVAL);
	stage.chain[0].type = WL_LLM_DEMO;
	assert_int_equal(embed(&stage, &vectors, &dimensions, &usage), 0);
	double square = 0;
	for (size_t i = 0; i < dimensions; i++)
		square += (double)vectors[i] * (double)vectors[i];
	assert_float_equal(square, 1, 1e-4);
	free(vectors);
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

static void *ask_often(void *context)
{
	struct stage *stage = context;
	for (int i = 0; i < 20; i++) {
		_wl_model_answer_ struct wl_model_answer answer = { 0 };
		struct wl_error err = { 0 };
		int result = wl_llm_call(stage->llm, stage->chain, 1, &stage->request, &answer, &err);
		if (result < 0 || strcmp(answer.text, "fine") != 0) {
			print_error("call %d: %s\n", i, err.text);
			return stage;
		}
	}
	return NULL;
}

static void test_many_threads_ask_at_once(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	pthread_t threads[6];
	set_stage(&stage, "/ok");
	stage.chain[0].max_rpm = 100000;
	for (size_t i = 0; i < WL_COUNT_OF(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &stage), 0);
	for (size_t i = 0; i < WL_COUNT_OF(threads); i++) {
		void *failed = NULL;
		(void)pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(requests_of("/ok/chat/completions"), 120);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call_answers),
		cmocka_unit_test(test_connections_are_kept),
		cmocka_unit_test(test_what_may_pass_is_tried_again),
		cmocka_unit_test(test_another_provider_stands_in),
		cmocka_unit_test(test_who_stands_in_is_asked_for_a_model_of_its_own),
		cmocka_unit_test(test_refusals_are_told_apart),
		cmocka_unit_test(test_addresses_are_checked),
		cmocka_unit_test(test_a_stream_is_told_once_over_its_tries),
		cmocka_unit_test(test_an_endless_answer_ends),
		cmocka_unit_test(test_time_is_bounded),
		cmocka_unit_test(test_a_cancel_ends_a_call_at_any_time),
		cmocka_unit_test(test_a_provider_that_fails_is_left_alone),
		cmocka_unit_test(test_rates_are_kept),
		cmocka_unit_test(test_what_a_server_wants_otherwise_is_learned),
		cmocka_unit_test(test_models_are_listed),
		cmocka_unit_test(test_texts_become_vectors),
		cmocka_unit_test(test_many_threads_ask_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
