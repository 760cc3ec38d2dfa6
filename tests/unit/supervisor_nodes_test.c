/* Node kinds without their servers, and the HTTP node against a server of the test's own. */
#include "lib/base/cleanup.h"
#include "supervisor/log_tail.h"
#include "supervisor/node_pool.h"
#include "supervisor/nodes/node.h"
#include "supervisor/nodes/text.h"
#include "supervisor/nodes/tool_calls.h"
#include "supervisor/run_context.h"
#include "tests/kit/http_script.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define EID "01a209e1-462e-7c05-b1fb-84fb6648b075"

/* ---- running a node ------------------------------------------------------------------------------------------ */

struct stage {
	struct wl_flow_node node;
	struct node_plan plan;
	struct wl_egress_rules egress;
	struct node_world world;
	struct node_call call;
	struct node_outcome outcome;
};

static void set_stage(struct stage *stage, enum wl_node_kind kind, const char *data, const char *egress)
{
	struct wl_error err;
	*stage = (struct stage){ .node = { .id = "n", .kind = kind, .data_json = (char *)data, .retry.attempts = 1 } };
	if (node_plan_make(&stage->node, &stage->plan, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(wl_egress_rules_read(egress, &stage->egress, &err), 0);
	stage->world = (struct node_world){ .egress = &stage->egress };
	stage->call = (struct node_call){ .tenant = 1,
					  .eid = EID,
					  .node = &stage->node,
					  .plan = &stage->plan,
					  .upstream = "{\"a\":1}",
					  .upstream_length = 7,
					  .cancel_fd = -1 };
}

static void clear_stage(struct stage *stage)
{
	node_outcome_release(&stage->outcome);
	node_plan_release(&stage->plan);
	node_world_release(&stage->world);
}

#define _stage_ __attribute__((cleanup(clear_stage)))

static void expect_error(const struct stage *stage, const char *code)
{
	char start[64];
	(void)snprintf(start, sizeof(start), "{\"code\":\"%s\"", code);
	assert_non_null(stage->outcome.error_json);
	if (strncmp(stage->outcome.error_json, start, strlen(start)) != 0)
		fail_msg("%s instead of %s", stage->outcome.error_json, code);
	assert_null(stage->outcome.outputs_json);
}

static void test_choices(void **state)
{
	(void)state;
	static const struct {
		enum wl_node_kind kind;
		const char *data, *handle, *output;
	} rows[] = {
		{ WL_KIND_CONDITION, "{\"if\":true}", "true", "true" },
		{ WL_KIND_CONDITION, "{\"if\":false}", "false", "false" },
		{ WL_KIND_CONDITION, "{\"if\":null}", "false", "false" },
		{ WL_KIND_CONDITION, "{\"if\":\"\"}", "true", "true" },
		{ WL_KIND_CONDITION, "{\"if\":0}", "true", "true" },
		{ WL_KIND_SWITCH,
		  "{\"value\":{\"b\":2,\"a\":1},\"cases\":[{\"name\":\"x\",\"equals\":{\"a\":1,\"b\":2}}]}", "x",
		  "{\"b\":2,\"a\":1}" },
		{ WL_KIND_SWITCH,
		  "{\"value\":2,\"cases\":[{\"name\":\"x\",\"equals\":1},{\"name\":\"y\",\"when\":true},{\"name\":"
		  "\"z\",\"equals\":2}]}",
		  "y", "2" },
		{ WL_KIND_SWITCH, "{\"value\":2,\"cases\":[{\"name\":\"x\",\"equals\":\"2\"}]}", "default", "2" },
		{ WL_KIND_SWITCH, "{\"cases\":[{\"name\":\"x\",\"when\":false}]}", "default", "null" },
		{ WL_KIND_SWITCH, "{\"value\":null,\"cases\":[{\"name\":\"x\",\"equals\":null}]}", "x", "null" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_stage_ struct stage stage;
		set_stage(&stage, rows[i].kind, rows[i].data, "");
		assert_true(node_is_immediate(&stage.node, &stage.plan));
		node_run(&stage.world, &stage.call, &stage.outcome);
		assert_int_equal(stage.outcome.result, NODE_OK);
		assert_string_equal(stage.outcome.handle, rows[i].handle);
		assert_string_equal(stage.outcome.outputs_json, rows[i].output);
	}
}

static void test_values(void **state)
{
	(void)state;
	_stage_ struct stage constant, through;
	set_stage(&constant, WL_KIND_TRANSFORM, "{\"value\":{\"x\":[1,\"two\"]}}", "");
	node_run(&constant.world, &constant.call, &constant.outcome);
	assert_string_equal(constant.outcome.outputs_json, "{\"x\":[1,\"two\"]}");
	set_stage(&through, WL_KIND_JOIN, "{}", "");
	node_run(&through.world, &through.call, &through.outcome);
	assert_string_equal(through.outcome.outputs_json, "{\"a\":1}");
}

static void test_expressions_are_found(void **state)
{
	(void)state;
	struct wl_flow_node node = { .id = "n", .kind = WL_KIND_TRANSFORM };
	static const struct {
		char *data;
		bool found;
	} rows[] = { { "{\"value\":{\"a\":{\"b\":{\"c\":1}}}}", false },
		     { "{\"value\":[[{}],{\"x\":[{\"y\":{}}]}]}", false },
		     { "{\"value\":\"a {{ .inputs }} b\"}", true },
		     { "{\"value\":\"\\u007b\\u007b 1 }}\"}", true } };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct node_plan plan;
		struct wl_error err;
		node.data_json = rows[i].data;
		assert_int_equal(node_plan_make(&node, &plan, &err), 0);
		assert_int_equal(plan.has_expressions, rows[i].found);
		node_plan_release(&plan);
	}
}

static void test_output_cap(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	set_stage(&stage, WL_KIND_TRANSFORM, "{\"value\":1}", "");
	char *large = malloc(NODE_OUTPUT_MAX + 2);
	memset(large, '1', NODE_OUTPUT_MAX + 1);
	large[NODE_OUTPUT_MAX + 1] = '\0';
	node_give(&stage.outcome, &stage.call, large);
	assert_int_equal(stage.outcome.result, NODE_FAILED_FOR_GOOD);
	expect_error(&stage, "output_cap");
}

/* ---- what expressions see ---------------------------------------------------------------------------------------- */

static void add_piece(struct context_piece **newest, const char *head, const char *value)
{
	struct wl_error err;
	assert_int_equal(context_add(newest, head, strlen(head), value, strlen(value), &err), 0);
	assert_string_equal((*newest)->data + (*newest)->value_at, value);
}

static void test_context_of_a_moment(void **state)
{
	(void)state;
	struct context_piece *newest = NULL;
	struct wl_error err;
	size_t length = 0;
	add_piece(&newest, "{\"inputs\":", "{}");
	add_piece(&newest, ",\"nodes\":{", "");
	add_piece(&newest, "\"a\":", "1");
	struct context_piece *then = context_hold(newest);
	add_piece(&newest, ",\"b\":", "[2]");
	_wl_free_ char *before = context_text(then, NULL, &length);
	assert_string_equal(before, "{\"inputs\":{},\"nodes\":{\"a\":1}}");
	assert_int_equal(length, strlen(before));
	_wl_free_ char *large = malloc(RUN_CONTEXT_MAX);
	memset(large, '1', RUN_CONTEXT_MAX);
	struct context_piece *same = newest;
	assert_int_equal(context_add(&newest, "", 0, large, RUN_CONTEXT_MAX - newest->total + 1, &err), -EMSGSIZE);
	assert_ptr_equal(newest, same);
	context_drop(newest); /* the one held keeps those before it */
	_wl_free_ char *still = context_text(then, NULL, &length);
	assert_string_equal(still, before);
	context_drop(then);
}

static void test_parts(void **state)
{
	(void)state;
	static const struct context_part parts[] = { { "a\"", "[1]", 3 }, { "b", NULL, 0 } };
	static const struct {
		int count;
		enum context_shape shape;
		const char *text;
	} rows[] = { { 0, CONTEXT_VALUE, "null" },
		     { 1, CONTEXT_VALUE, "[1]" },
		     { 2, CONTEXT_VALUE, "[1]" },
		     { 0, CONTEXT_LIST, "[]" },
		     { 2, CONTEXT_LIST, "[[1],null]" },
		     { 0, CONTEXT_OBJECT, "{}" },
		     { 2, CONTEXT_OBJECT, "{\"a\\\"\":[1],\"b\":null}" } };
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		size_t length = 0;
		_wl_free_ char *text = context_parts_text(parts, rows[i].count, rows[i].shape, &length);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(length, strlen(text));
	}
}

/* ---- code over a double of the sandbox -------------------------------------------------------------------------- */

struct sandbox_double {
	int result;
	enum sandbox_reason reason;
	int exit_code;
	const char *output, *log;
	char input[256], argv0[64], source[64];
	int calls;
};

static int sandbox_double_run(void *self, const struct sandbox_request *request, struct sandbox_result *ret_result,
			      struct wl_error *err)
{
	struct sandbox_double *twin = self;
	twin->calls++;
	if (twin->result < 0) {
		int result = twin->result;
		if (result == -EBUSY || result == -ECONNREFUSED || result == -EIO)
			twin->result = 0; /* it passes */
		return wl_fail(err, -result, "said by the double");
	}
	(void)snprintf(twin->input, sizeof(twin->input), "%.*s", (int)request->input_length,
		       (const char *)request->input);
	(void)snprintf(twin->argv0, sizeof(twin->argv0), "%s", request->argv[0]);
	(void)snprintf(twin->source, sizeof(twin->source), "%.*s", (int)request->files[0].length,
		       (const char *)request->files[0].content);
	if (request->on_log)
		request->on_log(request->context, twin->log, strlen(twin->log));
	*ret_result = (struct sandbox_result){ .reason = twin->reason,
					       .exit_code = twin->exit_code,
					       .output = strdup(twin->output),
					       .output_length = strlen(twin->output),
					       .log_tail = strdup(twin->log),
					       .log_tail_length = strlen(twin->log) };
	return 0;
}

/* A sandbox that runs until it is told. */
struct slow_sandbox {
	sem_t begun, end;
};

static int slow_sandbox_run(void *self, const struct sandbox_request *request, struct sandbox_result *ret_result,
			    struct wl_error *err)
{
	struct slow_sandbox *slow = self;
	(void)request;
	(void)err;
	(void)sem_post(&slow->begun);
	(void)sem_wait(&slow->end);
	*ret_result = (struct sandbox_result){ .output = strdup("1"), .output_length = 1, .log_tail = strdup("") };
	return 0;
}

static struct node_job *job_of(struct stage *stage)
{
	struct node_job *job = calloc(1, sizeof(*job));
	job->message.kind = MESSAGE_NODE;
	job->cancel_fd = -1;
	job->call = stage->call;
	return job;
}

static void expect_answer(struct mailbox *answers, struct node_job *job, enum node_result result)
{
	int count = 0;
	struct mail *mail = mailbox_take(answers, 1, 10000, &count);
	assert_ptr_equal(mail, &job->message.mail);
	assert_int_equal(job->outcome.result, result);
	node_job_free(job);
}

/* Three wait behind one that runs; the middle one, then the last one, then the first one are told to stop. */
static void test_waiting_jobs_stop_at_once(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct slow_sandbox slow;
	struct sandbox_port port = { .self = &slow, .run = slow_sandbox_run };
	struct mailbox answers;
	struct node_pool pool;
	struct wl_error err;
	struct node_job *jobs[5];
	(void)sem_init(&slow.begun, 0, 0);
	(void)sem_init(&slow.end, 0, 0);
	set_stage(&stage, WL_KIND_CODE, "{\"language\":\"bash\",\"source\":\"x\"}", "");
	stage.world.sandbox = &port;
	mailbox_open(&answers);
	assert_int_equal(node_pool_start(&pool, 1, &stage.world, &answers, &err), 0);
	for (int i = 0; i < 4; i++)
		node_pool_run(&pool, jobs[i] = job_of(&stage));
	(void)sem_wait(&slow.begun);
	node_pool_withdraw(&pool, jobs[0]); /* runs: it is not touched */
	static const int order[] = { 2, 3, 1 };
	for (size_t i = 0; i < WL_COUNT_OF(order); i++) {
		node_pool_withdraw(&pool, jobs[order[i]]);
		expect_answer(&answers, jobs[order[i]], NODE_STOPPED);
	}
	node_pool_run(&pool, jobs[4] = job_of(&stage));
	(void)sem_post(&slow.end);
	(void)sem_post(&slow.end);
	expect_answer(&answers, jobs[0], NODE_OK);
	expect_answer(&answers, jobs[4], NODE_OK);
	node_pool_stop(&pool);
	mailbox_release(&answers);
}

/* As many attempts as begin now; each waits until it is told. */
static int begun_soon(struct slow_sandbox *slow, int least)
{
	int count = 0;
	for (; count < least; count++)
		(void)sem_wait(&slow->begun);
	while (sem_trywait(&slow->begun) == 0)
		count++;
	return count;
}

/* Two tenants have many attempts that take long; whoever comes then need not wait for the end of any. */
static void test_tenants_with_long_attempts_leave_threads_for_others(void **state)
{
	(void)state;
	_stage_ struct stage stage;
	struct slow_sandbox slow;
	struct sandbox_port port = { .self = &slow, .run = slow_sandbox_run };
	struct mailbox answers;
	struct node_pool pool;
	struct wl_error err;
	enum { THREADS = 16, EACH = 20 };
	(void)sem_init(&slow.begun, 0, 0);
	(void)sem_init(&slow.end, 0, 0);
	set_stage(&stage, WL_KIND_CODE, "{\"language\":\"bash\",\"source\":\"x\"}", "");
	stage.world.sandbox = &port;
	mailbox_open(&answers);
	assert_int_equal(node_pool_start(&pool, THREADS, &stage.world, &answers, &err), 0);
	for (int tenant = 1; tenant <= 2; tenant++) {
		stage.call.tenant = tenant;
		for (int i = 0; i < EACH; i++)
			node_pool_run(&pool, job_of(&stage));
		assert_int_equal(begun_soon(&slow, tenant == 1 ? 12 : 3), tenant == 1 ? 12 : 3);
	}
	stage.call.tenant = 3;
	node_pool_run(&pool, job_of(&stage));
	assert_int_equal(begun_soon(&slow, 1), 1); /* it would wait for ever */
	for (int i = 0; i < 2 * EACH + 1; i++)
		(void)sem_post(&slow.end);
	for (int ended = 0; ended < 2 * EACH + 1;) {
		int count = 0;
		for (struct mail *mail = mailbox_take(&answers, 1, 10000, &count), *next; mail; mail = next) {
			next = mail->next;
			node_job_free(container_of(mail, struct node_job, message.mail));
			ended++;
		}
		assert_true(count > 0);
	}
	node_pool_stop(&pool);
	mailbox_release(&answers);
}

static void count_log(void *context, const char *stream, const char *text, size_t length)
{
	assert_string_equal(stream, "stderr");
	assert_non_null(text);
	*(size_t *)context += length;
}

static void test_code(void **state)
{
	(void)state;
	static const struct {
		struct sandbox_double twin;
		const char *parse;
		const char *output, *error; /* one of them */
		enum node_result result;
	} rows[] = {
		{ { .output = " {\"n\": 12345678901234567890} \n", .log = "" },
		  "json",
		  "{\"n\":12345678901234567890}",
		  NULL,
		  NODE_OK },
		{ { .output = "a\xff\"b\n", .log = "l" }, "text", "\"a\xef\xbf\xbd\\\"b\\n\"", NULL, NODE_OK },
		{ { .output = "no json", .log = "" }, "json", NULL, "output_not_json", NODE_FAILED },
		{ { .output = "", .log = "" }, "json", NULL, "output_not_json", NODE_FAILED },
		{ { .output = "{} {}", .log = "" }, "json", NULL, "output_not_json", NODE_FAILED },
		{ { .output = "{}", .log = "oops", .exit_code = 3 }, "json", NULL, "exit", NODE_FAILED },
		{ { .output = "", .log = "", .reason = SANDBOX_SIGNALLED }, "json", NULL, "signal", NODE_FAILED },
		{ { .output = "", .log = "", .reason = SANDBOX_OOM }, "json", NULL, "oom", NODE_FAILED },
		{ { .output = "", .log = "", .reason = SANDBOX_TIMEOUT }, "json", NULL, "timeout", NODE_FAILED },
		{ { .output = "", .log = "", .reason = SANDBOX_OUTPUT_CAP }, "json", NULL, "output_cap", NODE_FAILED },
		{ { .output = "", .log = "", .reason = SANDBOX_CANCELLED }, "json", NULL, "cancelled", NODE_STOPPED },
		{ { .result = -EINVAL }, "json", NULL, "sandbox", NODE_FAILED_FOR_GOOD },
		{ { .result = -EPERM }, "json", NULL, "sandbox", NODE_FAILED_FOR_GOOD },
		{ { .result = -ECANCELED }, "json", NULL, "cancelled", NODE_STOPPED },
		{ { .result = -EBUSY, .output = "1", .log = "" }, "json", "1", NULL, NODE_OK },
		{ { .result = -ECONNREFUSED, .output = "3", .log = "" }, "json", "3", NULL, NODE_OK },
		{ { .result = -EIO, .output = "2", .log = "" }, "json", "2", NULL, NODE_OK },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_stage_ struct stage stage;
		struct sandbox_double twin = rows[i].twin;
		struct sandbox_port port = { .self = &twin, .run = sandbox_double_run };
		size_t logged = 0;
		char data[128];
		(void)snprintf(data, sizeof(data),
			       "{\"language\":\"bash\",\"source\":\"echo {{ x }}\",\"parse\":\"%s\"}", rows[i].parse);
		set_stage(&stage, WL_KIND_CODE, data, "");
		stage.world.sandbox = &port;
		stage.call.on_log = count_log;
		stage.call.log_context = &logged;
		node_run(&stage.world, &stage.call, &stage.outcome);
		assert_int_equal(stage.outcome.result, rows[i].result);
		if (rows[i].output)
			assert_string_equal(stage.outcome.outputs_json, rows[i].output);
		else
			expect_error(&stage, rows[i].error);
		if (rows[i].twin.result == 0) {
			assert_string_equal(twin.input, "{\"a\":1}");
			assert_string_equal(twin.source, "echo {{ x }}");
			assert_string_equal(twin.argv0, SANDBOX_BASH);
			assert_non_null(stage.outcome.receipt_json);
			assert_true(logged == strlen(rows[i].twin.log));
		}
	}
}

/* ---- http ------------------------------------------------------------------------------------------------------- */

static void test_http_refusals(void **state)
{
	(void)state;
	static const char *const urls[] = { "http://127.0.0.1:9/",
					    "http://localhost:9/",
					    "http://0x7f.1:9/",
					    "http://0177.0.0.1:9/",
					    "http://2130706433:9/",
					    "http://127.1:9/",
					    "http://0:9/",
					    "http://10.1.2.3/",
					    "http://169.254.169.254/latest",
					    "http://[::1]:9/",
					    "http://[::]:9/",
					    "http://[::ffff:127.0.0.1]:9/",
					    "http://[::ffff:7f00:1]:9/",
					    "https://192.168.1.1/" };
	for (size_t i = 0; i < WL_COUNT_OF(urls); i++) {
		_stage_ struct stage stage;
		char data[128];
		(void)snprintf(data, sizeof(data), "{\"url\":\"%s\"}", urls[i]);
		set_stage(&stage, WL_KIND_HTTP, data, "");
		node_run(&stage.world, &stage.call, &stage.outcome);
		expect_error(&stage, "http_refused");
		assert_int_equal(stage.outcome.result, NODE_FAILED_FOR_GOOD);
	}
}

static void test_http_bad_requests(void **state)
{
	(void)state;
	static const char *const requests[] = {
		"{\"url\":\"file:///etc/passwd\"}",
		"{\"url\":\"gopher://127.0.0.1/\"}",
		"{\"url\":\"\"}",
		"{\"url\":5}",
		"{\"url\":\"http://user:pw@127.0.0.1:9/\"}",
		"{\"url\":\"http://[fe80::1%25lo]/\"}",
		"{\"url\":\"http://x/\",\"method\":\"CONNECT\"}",
		"{\"url\":\"http://x/\",\"headers\":{\"Host\":\"y\"}}",
		"{\"url\":\"http://x/\",\"headers\":{\"A\":\"b\\r\\nC: d\"}}",
		"{\"url\":\"http://x/\",\"headers\":{\"A:B\":\"c\"}}",
		"{\"url\":\"http://x/\",\"headers\":{\"\":\"c\"}}",
		"{\"url\":\"http://x/\",\"headers\":{\"Transfer-Encoding\":\"chunked\"}}",
		"{\"url\":\"http://x/\",\"headers\":{\"Content-Length\":\"5\"}}",
	};
	for (size_t i = 0; i < WL_COUNT_OF(requests); i++) {
		_stage_ struct stage stage;
		set_stage(&stage, WL_KIND_HTTP, requests[i], "127.0.0.0/8");
		node_run(&stage.world, &stage.call, &stage.outcome);
		expect_error(&stage, "input_invalid");
	}
}

static const struct http_script answers[] = {
	{ "/json", "HTTP/1.1 200 OK\r\nContent-Type: application/problem+json\r\nX-Two: a\r\nX-Two: b\r\n"
		   "Content-Length: 13\r\n\r\n{ \"a\" : 1.0 }" },
	{ "/text", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nh\xff\"i" },
	{ "/liar", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{a}" },
	{ "/gone", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" },
	{ "/away", "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/x\r\nContent-Length: 0\r\n\r\n" },
	{ "/file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n" },
	{ "/turn", "HTTP/1.1 303 See Other\r\nLocation: /text\r\nContent-Length: 0\r\n\r\n" },
	{ "/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n" },
	{ "/other",
	  "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.2:%d/text\r\nContent-Length: 0\r\n\r\n" },
	{ "/huge", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" },
	{ "/hang", "" },
	{ NULL, NULL },
};

static bool send_more(int connection, const char *path)
{
	char block[65536];
	memset(block, 'x', sizeof(block));
	for (int i = 0; strcmp(path, "/huge") == 0 && i < 100; i++)
		if (send(connection, block, sizeof(block), MSG_NOSIGNAL) < 0)
			return false;
	return strcmp(path, "/other") != 0 && strcmp(path, "/huge") != 0;
}

static void ask(struct stage *stage, const struct http_server *server, const char *path, const char *more)
{
	static char data[512];
	(void)snprintf(data, sizeof(data), "{\"url\":\"http://127.0.0.1:%d%s\"%s}", server->port, path, more);
	set_stage(stage, WL_KIND_HTTP, data, "127.0.0.0/8");
	node_run(&stage->world, &stage->call, &stage->outcome);
}

static void test_http_answers(void **state)
{
	(void)state;
	static const struct {
		const char *path, *more, *output, *error;
	} rows[] = {
		{ "/json", "", "\"x-two\":\"a\"", NULL },
		{ "/text", "", "\"body\":\"h\xef\xbf\xbd\\\"i\"", NULL },
		{ "/liar", "", "\"body\":\"{a}\"", NULL },
		{ "/gone", "", NULL, "http_status" },
		{ "/gone", ",\"expect\":[404]", "\"status\":404", NULL },
		{ "/text", ",\"expect\":[404]", NULL, "http_status" },
		{ "/away", "", NULL, "http_refused" },
		{ "/file", "", NULL, "http_refused" },
		{ "/turn", ",\"method\":\"POST\",\"body\":{\"a\":1}", "\"status\":200", NULL },
		{ "/loop", "", NULL, "http" },
		{ "/huge", "", NULL, "output_cap" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct http_server server;
		http_server_start(&server, answers, send_more);
		{
			_stage_ struct stage stage;
			ask(&stage, &server, rows[i].path, rows[i].more);
			if (rows[i].error)
				expect_error(&stage, rows[i].error);
			else if (!stage.outcome.outputs_json || !strstr(stage.outcome.outputs_json, rows[i].output))
				fail_msg("%s: %s %s", rows[i].path, stage.outcome.outputs_json,
					 stage.outcome.error_json);
		}
		http_server_stop(&server);
	}
}

static int give_tool(void *self, int tenant, const char *tool_id, char **ret_json, struct wl_error *err)
{
	const struct http_server *server = self;
	(void)tenant;
	(void)tool_id;
	(void)err;
	int length =
		asprintf(ret_json,
			 "{\"name\":\"t\",\"state\":\"active\",\"version\":1,\"execution_config\":{\"kind\":\"http\","
			 "\"method\":\"POST\",\"url\":\"http://127.0.0.1:%d/json\"}}",
			 server->port);
	return length < 0 ? -ENOMEM : 0;
}

/* The Idempotency-Key of a tool's call with these arguments, in a round of an agent that begins anew. */
static void key_of(const char *arguments, char key[128])
{
	struct http_server server;
	const struct wl_tool_request request = {
		.tool_id = EID, .arguments = arguments, .place = "task/0/agent/turn/1/tool/0", .cancel_fd = -1
	};
	http_server_start(&server, answers, send_more);
	{
		_stage_ struct stage stage;
		struct wl_tool_source source = { .self = &server, .tool = give_tool };
		struct node_record record;
		struct node_tools tools;
		struct wl_tool_answer answer = { 0 };
		struct wl_error err = { 0 };
		set_stage(&stage, WL_KIND_HTTP, "{\"url\":\"http://x/\"}", "127.0.0.0/8");
		stage.world.tools = &source;
		assert_int_equal(node_record_open(&stage.world, &stage.call, &record, &err), 0);
		node_tools_open(&stage.world, &stage.call, &record, &tools);
		assert_int_equal(tools.port.call(tools.port.self, &request, &answer, &err), 0);
		assert_null(answer.code);
		wl_tool_answer_release(&answer);
		node_record_close(&record);
	}
	http_server_stop(&server);
	const char *found = strstr(server.seen, "Idempotency-Key: ");
	assert_non_null(found);
	(void)snprintf(key, 128, "%.*s", (int)strcspn(found, "\r"), found);
}

/* A round that begins anew asks the same thing under the same key, and another thing under another one. */
static void test_a_tools_call_is_told_apart_by_what_it_asks(void **state)
{
	(void)state;
	char first[128], same[128], other[128];
	key_of("{\"amount\":1}", first);
	key_of("{\"amount\":1}", same);
	key_of("{\"amount\":2}", other);
	assert_string_equal(first, same);
	assert_string_not_equal(first, other);
}

/* What an unsafe request sends, and what does not go along to another origin. */
static void test_http_headers(void **state)
{
	(void)state;
	struct http_server server;
	http_server_start(&server, answers, send_more);
	{
		_stage_ struct stage stage;
		ask(&stage, &server, "/other",
		    ",\"method\":\"POST\",\"body\":{\"a\":[1]},\"headers\":{\"X-Secret-Key\":\"hidden\"},"
		    "\"query\":{\"q\":\"a b&c\",\"n\":2,\"none\":null}");
		assert_int_equal(stage.outcome.result, NODE_OK);
		assert_non_null(strstr(stage.outcome.inputs_json, "\"X-Secret-Key\":\"***\""));
		assert_null(strstr(stage.outcome.inputs_json, "hidden"));
	}
	http_server_stop(&server);
	assert_non_null(strstr(server.seen, "POST /other?q=a%20b%26c&n=2 HTTP/1.1"));
	assert_non_null(strstr(server.seen, "Idempotency-Key: " EID "-"));
	assert_non_null(strstr(server.seen, "Content-Type: application/json"));
	assert_non_null(strstr(server.seen, "{\"a\":[1]}"));
	char *second = strstr(server.seen, "POST /text");
	assert_non_null(second);
	assert_non_null(strstr(second, "{\"a\":[1]}"));
	assert_null(strstr(second, "hidden"));
	second[0] = '\0';
	assert_non_null(strstr(server.seen, "X-Secret-Key: hidden"));
}

static void *write_later(void *context)
{
	uint64_t one = 1;
	(void)poll(NULL, 0, 50);
	assert_int_equal(write(*(int *)context, &one, sizeof(one)), sizeof(one));
	return NULL;
}

static void test_http_cancel(void **state)
{
	(void)state;
	struct http_server server;
	pthread_t canceller;
	http_server_start(&server, answers, send_more);
	{
		_stage_ struct stage stage;
		static char data[128];
		(void)snprintf(data, sizeof(data), "{\"url\":\"http://127.0.0.1:%d/hang\"}", server.port);
		set_stage(&stage, WL_KIND_HTTP, data, "127.0.0.0/8");
		int stop = eventfd(0, EFD_CLOEXEC);
		stage.call.cancel_fd = stop;
		assert_int_equal(pthread_create(&canceller, NULL, write_later, &stop), 0);
		node_run(&stage.world, &stage.call, &stage.outcome);
		(void)pthread_join(canceller, NULL);
		assert_int_equal(stage.outcome.result, NODE_STOPPED);
		(void)close(stop);
	}
	http_server_stop(&server);
}

static void test_http_timeout(void **state)
{
	(void)state;
	struct http_server server;
	http_server_start(&server, answers, send_more);
	{
		_stage_ struct stage stage;
		static char data[128];
		(void)snprintf(data, sizeof(data), "{\"url\":\"http://127.0.0.1:%d/hang\"}", server.port);
		set_stage(&stage, WL_KIND_HTTP, data, "127.0.0.0/8");
		stage.node.timeout_ms = 80;
		node_run(&stage.world, &stage.call, &stage.outcome);
		expect_error(&stage, "timeout");
	}
	http_server_stop(&server);
}

/* ---- texts and logs ------------------------------------------------------------------------------------------------
 */

static void test_texts(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t length;
		const char *json;
	} rows[] = {
		{ "gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\"" },
		{ "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },		   /* overlong */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
		{ "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"" },
		{ "a\0b", 3,
		  "\"a\xef\xbf\xbd"
		  "b\"" },
		{ "\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" }, /* cut off */
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_wl_buffer_ struct wl_buffer out;
		wl_buffer_init(&out, 0);
		assert_int_equal(text_append_json(&out, rows[i].bytes, rows[i].length), 0);
		assert_string_equal(out.data, rows[i].json);
	}
	char json[] = " { \"a b\\\" \" : [ 1 , 2.50 ,\n\t\"\\\\\" ] } ";
	text_compact_json(json);
	assert_string_equal(json, "{\"a b\\\" \":[1,2.50,\"\\\\\"]}");
}

static void collect(void *context, const char *piece)
{
	strcat(context, piece);
}

static void test_log_tail(void **state)
{
	(void)state;
	struct log_tail tail = { 0 };
	char emitted[4096] = "";
	log_tail_write(&tail, "stderr", "one\ntwo\nthr", 11, 0, collect, emitted);
	assert_string_equal(emitted,
			    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"stream\":\"stderr\",\"text\":\"one\\ntwo\"}");
	emitted[0] = '\0';
	log_tail_write(&tail, "stderr", "ee\n", 3, 0, collect, emitted);
	log_tail_flush(&tail, "stderr", 0, collect, emitted);
	assert_non_null(strstr(emitted, "\"three\""));
	log_tail_release(&tail);
	char line[1001];
	memset(line, 'y', 1000);
	line[999] = '\n';
	for (int i = 0; i < 500; i++)
		log_tail_write(&tail, "stderr", line, 1000, i, NULL, NULL);
	_wl_free_ char *text = log_tail_text(&tail);
	assert_true(strlen(text) < LOG_TAIL_KEPT + 4096 && strlen(text) > LOG_TAIL_KEPT / 2);
	assert_non_null(strstr(text, "00.499Z"));
	assert_null(strstr(text, "00.001Z"));
	log_tail_release(&tail);
	memset(line, 'z', 1000);
	for (int i = 0; i < 20; i++)
		log_tail_write(&tail, "stderr", line, 1000, i, NULL, NULL);
	assert_int_equal(tail.count, 2); /* a line without an end goes out in pieces */
	log_tail_release(&tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_expressions_are_found),
		cmocka_unit_test(test_output_cap),
		cmocka_unit_test(test_context_of_a_moment),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_waiting_jobs_stop_at_once),
		cmocka_unit_test(test_tenants_with_long_attempts_leave_threads_for_others),
		cmocka_unit_test(test_http_refusals),
		cmocka_unit_test(test_http_bad_requests),
		cmocka_unit_test(test_http_answers),
		cmocka_unit_test(test_http_headers),
		cmocka_unit_test(test_a_tools_call_is_told_apart_by_what_it_asks),
		cmocka_unit_test(test_http_cancel),
		cmocka_unit_test(test_http_timeout),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_log_tail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
