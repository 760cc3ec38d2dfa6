/* windlass-eval and its client, together: the real program, killed and overfed. */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/expression_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CONTEXT                                                                                                        \
	"{\"inputs\":{\"a\":{\"b\":5},\"s\":\"x \\\"y\\\"\",\"list\":[1,2,3],\"big\":9007199254740993,\"n\":null,"     \
	"\"odd key\":true},\"nodes\":{\"n-1\":{\"v\":7}},\"vars\":{},\"item\":null,\"index\":0,"                       \
	"\"execution\":{\"id\":\"e\"}}"

static char folder[] = "/tmp/windlass-expression-XXXXXX";
static char socket_path[PATH_MAX];
static pid_t server = -1;
static struct wl_expression_pool *pool;

/* bin/windlass-eval beside one of the folders above this test. */
static void find_program(char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 32);
	assert_true(length > 0);
	path[length] = '\0';
	for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		strcpy(slash, "/windlass-eval");
		if (access(path, X_OK) == 0)
			return;
		*slash = '\0';
	}
	fail_msg("windlass-eval was not built beside this test");
}

/* Start the server and wait until it has said on standard error that it listens. */
static void start_server(const char *memory)
{
	char program[PATH_MAX];
	int ends[2];
	find_program(program);
	assert_int_equal(pipe(ends), 0);
	pid_t parent = getpid();
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		char socket_setting[PATH_MAX + 32];
		(void)snprintf(socket_setting, sizeof(socket_setting), "--eval_socket=%s", socket_path);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(ends[1], STDERR_FILENO);
		(void)close(ends[0]);
		if (getppid() == parent)
			(void)execl(program, program, socket_setting, "--eval_ms=1500", memory, (char *)NULL);
		_exit(127);
	}
	(void)close(ends[1]);
	char line[512] = "";
	size_t used = 0;
	while (!strstr(line, "listening") && used < sizeof(line) - 1) {
		ssize_t got = read(ends[0], line + used, sizeof(line) - 1 - used);
		if (got <= 0)
			fail_msg("windlass-eval did not start: %s", line);
		used += (size_t)got;
		line[used] = '\0';
	}
	/* kept open: what the server says later must not meet a closed pipe */
}

static int stop_server(int signal_number)
{
	int status = 0;
	assert_int_equal(kill(server, signal_number), 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	server = -1;
	return status;
}

static int set_up(void **state)
{
	(void)state;
	struct wl_error err;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(socket_path, sizeof(socket_path), "%s/eval.sock", folder);
	(void)setenv("WINDLASS_TEST_SECRET", "do not show", 1);
	start_server("--eval_memory_mb=96");
	return wl_expression_pool_open(socket_path, 4, &pool, &err);
}

static int tear_down(void **state)
{
	(void)state;
	wl_expression_pool_close(pool);
	int status = stop_server(SIGTERM);
	bool gone = access(socket_path, F_OK) < 0;
	(void)rmdir(folder);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && gone ? 0 : -1;
}

static int evaluate(const char *template, char **ret_json, struct wl_error *err)
{
	return wl_expression_eval(pool, template, strlen(template), CONTEXT, strlen(CONTEXT), 1000, ret_json, err);
}

static void gives(const char *template, const char *value)
{
	struct wl_error err = { 0 };
	_wl_free_ char *json = NULL;
	if (evaluate(template, &json, &err) < 0)
		fail_msg("%s: %s", template, err.text);
	assert_string_equal(json, value);
}

static void refuses(const char *template, int code, const char *part)
{
	struct wl_error err = { 0 };
	_wl_free_ char *json = NULL;
	int result = evaluate(template, &json, &err);
	if (result == 0)
		fail_msg("%s gave %s", template, json);
	if (result != -code || !strstr(err.text, part))
		fail_msg("%s: %d, '%s' should be %d and name '%s'", template, result, err.text, -code, part);
}

static void values_keep_their_types(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{ "\"{{ .inputs.a.b }}\"", "5" },
		{ "\"{{.inputs.a}}\"", "{\"b\":5}" },
		{ "\"{{ .inputs.list[1] }}\"", "2" },
		{ "\"{{ .inputs.list[-1] }}\"", "3" },
		{ "\"{{ .inputs.list[9] }}\"", "null" },
		{ "\"{{ .inputs[\\\"odd key\\\"] }}\"", "true" },
		{ "\"{{ .nodes[\\\"n-1\\\"].v }}\"", "7" },
		{ "\"{{ .inputs.none.none.x }}\"", "null" },
		{ "\"{{ .inputs.big }}\"", "9007199254740993" },
		{ "\"{{ .inputs.list | map(. * 2) | add }}\"", "12" },
		{ "\"{{ {a: {b: 1}} }}\"", "{\"a\":{\"b\":1}}" },
		{ "\"{{ .inputs.s | ascii_upcase }}\"", "\"X \\\"Y\\\"\"" },
		{ "\"a {{ .inputs.s }} b {{ .inputs.list }} {{ .inputs.n }}\"", "\"a x \\\"y\\\" b [1,2,3] null\"" },
		{ "\"{{ .inputs.a.b }}{{ .inputs.a.b }}\"", "\"55\"" },
		{ "\"plain\"", "\"plain\"" },
		{ "{\"k {{ 1 }}\":[1,true,null,\"{{ .index }}\",\"\"]}", "{\"k {{ 1 }}\":[1,true,null,0,\"\"]}" },
		{ "\"\\u007b\\u007b 1 + 1 }}\"", "2" },
		{ "\"{{ \\\"}}\\\" }}\"", "\"}}\"" },
		{ "\"{{ 1 # comment }}\\n }}\"", "1" },
		{ "\"{{ \\\"\\\\(.inputs.a.b) and \\\\(.inputs.list | length)\\\" }}\"", "\"5 and 3\"" },
		{ "\"{{ def f: . + 1; .inputs.a.b | f }}\"", "6" },
		{ "\"{{ [.inputs.list[] | select(. > 1)] }}\"", "[2,3]" },
		{ "\"{{ now > 1000000000 }}\"", "true" },
		{ "\"{{ 0 | strftime(\\\"%Y-%m-%d\\\") }}\"", "\"1970-01-01\"" },
		{ "\"{{ 0 | localtime | mktime }}\"", "0" },
		{ "\"{{ \\\"abc\\\" | test(\\\"B\\\"; \\\"i\\\") }}\"", "true" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		gives(rows[i][0], rows[i][1]);
}

static const char *const plain_paths[] = {
	".",
	".inputs",
	".inputs.a",
	".inputs.a.b",
	".inputs.n.x",
	".inputs.n[0]",
	".inputs.list[0]",
	".inputs.list[-3]",
	".inputs.list[-4]",
	".inputs.list[3]",
	".inputs[\\\"s\\\"]",
	".inputs.\\\"odd key\\\"",
	".[\\\"inputs\\\"].list[1]",
	".nodes[\\\"n-1\\\"]",
	".inputs.s",
	".missing",
	".inputs.list",
	/* a path and a program behind it */
	".inputs.list | length",
	".inputs.a|.b",
	".|.inputs.a.b",
	".inputs.s | ascii_upcase | length",
	".inputs.a |= 1",
	".inputs.list | .[0] as $x | $x + 1",
	".missing | length",
	".inputs.n | type",
	".inputs.a | def f: .b; f",
	".inputs.list[1] // 5",
	".inputs.list | map(. + 1) | add",
	".inputs.list | ",
	".inputs.a.b || 1",
	".inputs.s | error",
	".inputs.list | .[]",
	/* and what jq refuses */
	".inputs.s.x",
	".inputs.a[0]",
	".inputs.list.x",
	".inputs.a.b.c",
	".inputs.list[\\\"x\\\"]",
	".inputs.",
	".inputs.list[",
	".inputs..a",
	"..[0]",
	".[",
	".1",
	".inputs.a b",
	".inputs.list[1",
	".inputs.list[--1]",
	".inputs.list[]x",
	".inputs.[\\\"a\\\"]",
};

static void plain_paths_mean_what_jq_means(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(plain_paths); i++) {
		char plain[256], through_jq[256];
		struct wl_error err_plain = { 0 }, err_jq = { 0 };
		_wl_free_ char *one = NULL, *two = NULL;
		(void)snprintf(plain, sizeof(plain), "\"{{ %s }}\"", plain_paths[i]);
		(void)snprintf(through_jq, sizeof(through_jq), "\"{{ ((%s)) }}\"", plain_paths[i]);
		int first = evaluate(plain, &one, &err_plain), second = evaluate(through_jq, &two, &err_jq);
		if (first != second)
			fail_msg("%s: %d '%s', in jq %d '%s'", plain_paths[i], first, err_plain.text, second,
				 err_jq.text);
		/* jq rounds the one large number of the context */
		if (first == 0 && !strstr(one, "9007199254740993"))
			assert_string_equal(one, two);
	}
}

/* glibc sorts 1 KiB and more in memory whose size it asks the kernel for */
static void long_lists_and_wide_objects_are_sorted(void **state)
{
	(void)state;
	gives("\"{{ [range(20000)] | sort | length }}\"", "20000");
	gives("\"{{ [range(500) | {key: tostring, value: .}] | from_entries | keys | length }}\"", "500");
	gives("\"{{ [range(500) | {key: tostring, value: .}] | from_entries | tojson | length > 0 }}\"", "true");
}

static void wrong_expressions_are_explained(void **state)
{
	(void)state;
	static const struct {
		const char *template;
		int code;
		const char *part;
	} rows[] = {
		{ "\"{{ .inputs.s + 1 }}\"", EINVAL, "cannot be added" },
		{ "{\"a\":{\"b\":[0,\"{{ .inputs.s.x }}\"]}}", EINVAL, "a.b[1]: Cannot index string" },
		{ "\"{{ foo }}\"", EINVAL, "foo/0 is not defined" },
		{ "\"{{ 1 + }}\"", EINVAL, "syntax error" },
		{ "\"{{ $x }}\"", EINVAL, "$x is not defined" },
		{ "\"{{ }}\"", EINVAL, "empty" },
		{ "\"{{ 1\"", EINVAL, "has no }}" },
		{ "\"{{ empty }}\"", EINVAL, "no value" },
		{ "\"{{ 1, 2 }}\"", EINVAL, "more than one value" },
		{ "\"{{ 1, error(\\\"late\\\") }}\"", EINVAL, "late" },
		{ "\"{{ error(\\\"mine\\\") }}\"", EINVAL, "mine" },
		{ "\"{{ error({a: 1}) }}\"", EINVAL, "{\"a\":1}" },
		{ "\"{{ \\\"\\\\u0000\\\" }}\"", EINVAL, "U+0000" },
		{ "\"a {{ [0] | implode }}\"", EINVAL, "U+0000" },
		{ "\"{{ reduce range(70) as $i (0; [.]) }}\"", EINVAL, "64 deep" },
		{ "\"{{ input }}\"", EINVAL, "not available" },
		{ "\"{{ [inputs] }}\"", EINVAL, "not available" },
		{ "\"{{ halt }}\"", EINVAL, "not available" },
		{ "\"{{ \\\"x\\\" | halt_error(3) }}\"", EINVAL, "not available" },
		{ "\"{{ import \\\"a\\\" as a; 1 }}\"", EINVAL, "syntax error" },
		{ "\"{{ include \\\"a\\\"; 1 }}\"", EINVAL, "syntax error" },
		{ "\"{{ \\\"a\\\" | modulemeta }}\"", EINVAL, "not available" },
		{ "[\"{{ 1 }}\",", EINVAL, "the template" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		refuses(rows[i].template, rows[i].code, rows[i].part);
}

static void the_environment_is_not_there(void **state)
{
	(void)state;
	gives("\"{{ env }}\"", "{}");
	gives("\"{{ $ENV }}\"", "{}");
	gives("\"{{ $ENV.WINDLASS_TEST_SECRET }}\"", "null");
	gives("\"{{ 1 | debug | stderr }}\"", "1");
	gives("\"{{ input_filename }}\"", "null");
}

/* True when /proc shows each process of the server sealed: filter, no new privileges, no processes of its own. */
static bool all_sealed(void)
{
	char path[64], text[8192];
	int children = 0, child;
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)server, (int)server);
	_wl_fclose_ FILE *list = fopen(path, "re");
	assert_non_null(list);
	while (fscanf(list, "%d", &child) == 1) {
		(void)snprintf(path, sizeof(path), "/proc/%d/status", child);
		_wl_fclose_ FILE *status = fopen(path, "re");
		if (!status)
			return false;
		text[fread(text, 1, sizeof(text) - 1, status)] = '\0';
		(void)snprintf(path, sizeof(path), "/proc/%d/limits", child);
		_wl_fclose_ FILE *limits = fopen(path, "re");
		char bounds[8192];
		if (!limits || !strstr(text, "NoNewPrivs:\t1"))
			return false;
		bounds[fread(bounds, 1, sizeof(bounds) - 1, limits)] = '\0';
		if (!strstr(bounds, "Max processes             0 ") || !strstr(bounds, "Max open files            8 "))
			return false;
#ifndef WL_SANITIZED
		if (!strstr(text, "Seccomp:\t2"))
			return false;
#endif
		children++;
	}
	return children > 0;
}

static void every_process_is_sealed(void **state)
{
	(void)state;
	gives("\"{{ 1 }}\"", "1");
	/* a process that was forked just now needs a moment: wait for the state, with an end */
	uint64_t last = wl_clock_boot_ms() + 10000;
	while (!all_sealed()) {
		assert_true(wl_clock_boot_ms() < last);
		(void)poll(NULL, 0, 5);
	}
}

/* A request that ends its process fails alone: the next one works. */
static void endless_and_huge_ones_fail_alone(void **state)
{
	(void)state;
#ifdef WL_SANITIZED
	skip(); /* a sanitizer meets the end of memory and of the stack in its own way */
#endif
	static const struct {
		const char *template;
		int code, other_code;
	} rows[] = {
		{ "\"{{ last(repeat(1)) }}\"", ETIMEDOUT, 0 },
		{ "\"{{ def f: f; f }}\"", ETIMEDOUT, E2BIG },
		{ "\"{{ [range(1e9)] }}\"", E2BIG, ETIMEDOUT },
		{ "\"{{ [recurse] | length }}\"", 0, 0 },
		{ "\"{{ [1 | recurse(. + 1)] }}\"", E2BIG, ETIMEDOUT },
		{ "\"{{ \\\"xxxxxxxxxxxxxxxx\\\" * 100000000 }}\"", E2BIG, ETIMEDOUT },
		{ "\"{{ reduce range(60) as $i (\\\"x\\\"; . + .) }}\"", E2BIG, ETIMEDOUT },
		{ "\"{{ [range(1000000)] | map(\\\"abcdef\\\") }}\"", E2BIG, ETIMEDOUT },
		{ "\"{{ reduce range(1000000) as $i (0; [.]) | tojson | length }}\"", E2BIG, ETIMEDOUT },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		struct wl_error err = { 0 };
		_wl_free_ char *json = NULL;
		uint64_t before = wl_clock_monotonic_us();
		int result = wl_expression_eval(pool, rows[i].template, strlen(rows[i].template), CONTEXT,
						strlen(CONTEXT), 400, &json, &err);
		uint64_t took_ms = (wl_clock_monotonic_us() - before) / 1000;
		if (result != -rows[i].code && (!rows[i].other_code || result != -rows[i].other_code))
			fail_msg("%s: %d %s", rows[i].template, result, err.text);
		if (took_ms > 1500)
			fail_msg("%s took %d ms", rows[i].template, (int)took_ms);
		gives("\"{{ .inputs.a.b + 1 }}\"", "6");
	}
}

static void time_is_bounded_by_the_server_too(void **state)
{
	(void)state;
	static const char template[] = "\"{{ last(repeat(1)) }}\"";
	struct wl_error err = { 0 };
	_wl_free_ char *json = NULL;
	uint64_t before = wl_clock_monotonic_us();
	assert_int_equal(
		wl_expression_eval(pool, template, strlen(template), CONTEXT, strlen(CONTEXT), 60000, &json, &err),
		-ETIMEDOUT);
	assert_true(wl_clock_monotonic_us() - before < 5000000);
}

static void templates_are_checked_without_running(void **state)
{
	(void)state;
	static const char good[] = "{\"a\":\"{{ .x | error(\\\"not run\\\") }}\",\"b\":\"{{ last(repeat(1)) }}\"}";
	static const char bad[] = "{\"a\":1,\"b\":[\"{{ 1 | nothing }}\"]}";
	struct wl_error err = { 0 };
	assert_int_equal(wl_expression_check(pool, good, strlen(good), 1000, &err), 0);
	assert_int_equal(wl_expression_check(pool, "[1]", 3, 1000, &err), 0);
	assert_int_equal(wl_expression_check(pool, bad, strlen(bad), 1000, &err), -EINVAL);
	assert_non_null(strstr(err.text, "b[0]: nothing/0 is not defined"));
	/* paths take no compiling, but what is behind one does, and what only looks like one */
	static const char *const rows[][2] = {
		{ "[\"{{ .inputs.a[\\\"b c\\\"][0].d }}\"]", NULL },
		{ "[\"{{ .inputs.a | length }}\"]", NULL },
		{ "[\"{{ .inputs.a | nothing }}\"]", "[0]: nothing/0 is not defined" },
		{ "[\"{{ .inputs.a | }}\"]", "[0]: " },
		{ "[\"{{ .inputs..a. }}\"]", "[0]: " },
		{ "[\"{{ .inputs.a b }}\"]", "[0]: " },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		int result = wl_expression_check(pool, rows[i][0], strlen(rows[i][0]), 1000, &err);
		if (result != (rows[i][1] ? -EINVAL : 0) || (rows[i][1] && !strstr(err.text, rows[i][1])))
			fail_msg("%s: %d, %s", rows[i][0], result, err.text);
	}
}

static int check_schema(const char *schema, const char *instance, char **ret_faults, struct wl_error *err)
{
	return wl_expression_schema(pool, schema, strlen(schema), instance, instance ? strlen(instance) : 0, 1000,
				    ret_faults, err);
}

static void schemas_are_checked(void **state)
{
	(void)state;
	static const char schema[] =
		"{\"type\":\"object\",\"required\":[\"n\"],\"properties\":{\"n\":{\"type\":\"integer\"},"
		"\"p\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\"}}}";
	struct wl_error err = { 0 };
	_wl_free_ char *found = NULL, *none = NULL;
	assert_int_equal(check_schema(schema, NULL, &none, &err), 0);
	assert_int_equal(check_schema(schema, "{\"n\":1,\"p\":\"abc\"}", &none, &err), 0);
	assert_int_equal(check_schema(schema, "{\"n\":\"x\",\"p\":\"ABC\"}", &found, &err), -EINVAL);
	assert_string_equal(found, "[{\"path\":\"n\",\"message\":\"the value must be of type integer\"},"
				   "{\"path\":\"p\",\"message\":\"the text does not have the required form\"}]");
	assert_null(none);
	assert_int_equal(check_schema("{\"type\":5}", NULL, &none, &err), -ENOEXEC);
	assert_int_equal(check_schema("{\"type\":", NULL, &none, &err), -ENOEXEC);
	assert_int_equal(check_schema("[]", "{}", &none, &err), -ENOEXEC);
	assert_int_equal(check_schema("{\"$ref\":\"http://127.0.0.1/x.json\"}", "{}", &none, &err), -ENOEXEC);
	assert_int_equal(check_schema("{}", "{", &none, &err), -EINVAL);
	assert_null(none);
}

static void a_greedy_schema_fails_alone(void **state)
{
	(void)state;
#ifdef WL_SANITIZED
	skip(); /* a sanitizer meets the end of memory and of the stack in its own way */
#endif
	struct wl_error err = { 0 };
	_wl_free_ char *none = NULL;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	wl_buffer_append_char(&text, '"');
	for (int i = 0; i < 200000; i++)
		wl_buffer_append_char(&text, 'a');
	wl_buffer_append_char(&text, '"');
	/* std::regex recurses once a character: the stack ends */
	int result = check_schema("{\"pattern\":\"^(a|b)*$\"}", text.data, &none, &err);
	assert_true(result == -E2BIG || result == -ETIMEDOUT);
	result = check_schema("{\"$ref\":\"#\"}", "{}", &none, &err);
	assert_true(result == -E2BIG || result == -ETIMEDOUT || result == -EINVAL || result == -ENOEXEC);
	assert_int_equal(check_schema("{}", "{}", &none, &err), 0);
}

static void sizes_are_bounded(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	_wl_free_ char *json = NULL;
	size_t length = 33u << 20;
	_wl_free_ char *text = malloc(length);
	memset(text, ' ', length);
	memcpy(text, "\"{{ . }}\"", 9);
	assert_int_equal(wl_expression_eval(pool, text, length, "{}", 2, 1000, &json, &err), -E2BIG);
	refuses("\"{{ \\\"abcdefghij\\\" * 500000 }}\"", E2BIG, "more than 4194304 bytes");
	gives("\"{{ .inputs.a.b }}\"", "5");
}

/* Whoever breaks the protocol loses the connection and nothing else. */
static void broken_frames_end_the_connection(void **state)
{
	(void)state;
	static const uint32_t frames[][5] = {
		{ 0, 1, 100, 2, 2 },
		{ 0x31454c57u, 9, 100, 0, 0 },
		{ 0x31454c57u, 1, 100, 0xffffffffu, 0xffffffffu },
		{ 0x31454c57u, 1, 100, 30u << 20, 30u << 20 },
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", socket_path);
	for (size_t i = 0; i < WL_COUNT_OF(frames); i++) {
		char byte;
		_wl_close_ int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(send(fd, frames[i], sizeof(frames[i]), MSG_NOSIGNAL), sizeof(frames[i]));
		assert_true(recv(fd, &byte, 1, 0) <= 0);
	}
	gives("\"{{ .inputs.a.b }}\"", "5");
}

struct worker {
	pthread_t thread;
	int number;
	int wrong;
};

static void *work(void *self)
{
	struct worker *worker = self;
	for (int i = 0; i < 200; i++) {
		char context[64], expected[32];
		struct wl_error err;
		static const char template[] = "\"{{ .inputs.n * 2 }}\"";
		_wl_free_ char *json = NULL;
		int number = worker->number * 1000 + i;
		(void)snprintf(context, sizeof(context), "{\"inputs\":{\"n\":%d}}", number);
		(void)snprintf(expected, sizeof(expected), "%d", number * 2);
		if (wl_expression_eval(pool, template, strlen(template), context, strlen(context), 1000, &json, &err) <
			    0 ||
		    strcmp(json, expected) != 0)
			worker->wrong++;
	}
	return NULL;
}

static void many_threads_share_the_pool(void **state)
{
	(void)state;
	struct worker workers[12];
	for (int i = 0; i < 12; i++) {
		workers[i] = (struct worker){ .number = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 12; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_int_equal(workers[i].wrong, 0);
	}
}

static void a_restarted_server_is_found_again(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	_wl_free_ char *json = NULL;
	(void)stop_server(SIGKILL);
	assert_int_equal(evaluate("\"{{ 1 }}\"", &json, &err), -EIO);
	start_server("--eval_memory_mb=96");
	gives("\"{{ 1 }}\"", "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_keep_their_types),
		cmocka_unit_test(plain_paths_mean_what_jq_means),
		cmocka_unit_test(long_lists_and_wide_objects_are_sorted),
		cmocka_unit_test(wrong_expressions_are_explained),
		cmocka_unit_test(the_environment_is_not_there),
		cmocka_unit_test(every_process_is_sealed),
		cmocka_unit_test(endless_and_huge_ones_fail_alone),
		cmocka_unit_test(time_is_bounded_by_the_server_too),
		cmocka_unit_test(templates_are_checked_without_running),
		cmocka_unit_test(schemas_are_checked),
		cmocka_unit_test(a_greedy_schema_fails_alone),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(broken_frames_end_the_connection),
		cmocka_unit_test(many_threads_share_the_pool),
		cmocka_unit_test(a_restarted_server_is_found_again),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
