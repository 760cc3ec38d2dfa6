/*
 * Tools of servers that are programs: each call starts the program in a sandbox of its own, speaks with it over its
 * standard input and output, a message a line, and ends it when the answer is there. What it writes to standard error
 * are log lines. It has no network and is given no credentials.
 */
#include "lib/base/byte_queue.h"
#include "lib/base/cleanup.h"
#include "supervisor/nodes/code.h"
#include "supervisor/nodes/tool_mcp.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GRACE_MS 2000		  /* for a program to end by itself after its standard input has */
#define LINE_MAX_BYTES (8u << 20) /* of one message */
#define STRAY_LINES_MAX 100	  /* lines that are no messages */
#define SAID_MAX (16u << 20)	  /* bytes that are said to it */
#define FILES_MAX 51		  /* its source among them */
#define ENV_MAX 100
#define WORDS_MAX 100

/* One program under way. */
struct dialogue {
	const struct tool_call *tool;
	struct wl_mcp_session *session;
	struct wl_byte_queue *input;
	struct wl_buffer line;
	int stray;
	bool over;  /* nothing more is read */
	int result; /* what the session failed with */
	struct wl_error err;
	int stop_fd;  /* readable when the program is to be ended: the node's own, or the timer */
	int timer_fd; /* set when all was said */
};

static void finish(struct dialogue *dialogue)
{
	const struct itimerspec grace = { .it_value = { .tv_sec = GRACE_MS / 1000,
							.tv_nsec = GRACE_MS % 1000 * 1000000 } };
	if (dialogue->over)
		return;
	dialogue->over = true;
	wl_byte_queue_end(dialogue->input);
	(void)timerfd_settime(dialogue->timer_fd, 0, &grace, NULL);
}

static void fail(struct dialogue *dialogue, int result)
{
	dialogue->result = result;
	finish(dialogue);
}

/* Say all that is to be said now. A program that does not listen any more tells by its end. */
static void say(struct dialogue *dialogue)
{
	struct wl_mcp_message message;
	while (!dialogue->over && !wl_mcp_session_waits(dialogue->session) &&
	       wl_mcp_session_take(dialogue->session, false, &message)) {
		struct wl_error err = { 0 };
		int result = wl_byte_queue_put(dialogue->input, message.text, strlen(message.text), &err);
		if (result == 0)
			result = wl_byte_queue_put(dialogue->input, "\n", 1, &err);
		free(message.text);
		if (result < 0 && result != -EPIPE) {
			dialogue->err = err;
			fail(dialogue, result == -EFBIG ? -EMSGSIZE : result);
		}
	}
}

static void reply(struct dialogue *dialogue)
{
	struct wl_mcp_message message;
	while (wl_mcp_session_take(dialogue->session, true, &message)) {
		(void)wl_byte_queue_put(dialogue->input, message.text, strlen(message.text), NULL);
		(void)wl_byte_queue_put(dialogue->input, "\n", 1, NULL);
		free(message.text);
	}
}

static void take_line(struct dialogue *dialogue, const char *line, size_t length)
{
	const struct node_call *call = dialogue->tool->call;
	while (length > 0 && strchr(" \t\r", line[length - 1]))
		length--;
	if (length == 0)
		return;
	/* programs print what they should not, such as a greeting: that is a log line */
	if (*line != '{' && *line != '[') {
		if (++dialogue->stray > STRAY_LINES_MAX)
			fail(dialogue, wl_fail(&dialogue->err, EPROTO, "the program prints what is no MCP"));
		else if (call->on_log)
			call->on_log(call->log_context, "stderr", line, length);
		return;
	}
	int result = wl_mcp_session_feed(dialogue->session, line, length, &dialogue->err);
	if (result < 0)
		fail(dialogue, result);
	else if (wl_mcp_session_ended(dialogue->session))
		finish(dialogue);
	reply(dialogue);
	say(dialogue);
}

static void take_output(void *context, const char *bytes, size_t length)
{
	struct dialogue *dialogue = context;
	while (length > 0 && !dialogue->over) {
		const char *end = memchr(bytes, '\n', length);
		size_t piece = end ? (size_t)(end - bytes) : length;
		if (wl_buffer_append(&dialogue->line, bytes, piece) < 0) {
			fail(dialogue, wl_fail(&dialogue->err, EMSGSIZE,
					       "the program wrote a line of more than %u bytes", LINE_MAX_BYTES));
			return;
		}
		bytes += end ? piece + 1 : piece;
		length -= end ? piece + 1 : piece;
		if (!end)
			return;
		if (dialogue->line.length > 0)
			take_line(dialogue, dialogue->line.data, dialogue->line.length);
		wl_buffer_clear(&dialogue->line);
	}
}

static void forward_log(void *context, const char *bytes, size_t length)
{
	const struct node_call *call = ((const struct dialogue *)context)->tool->call;
	if (call->on_log)
		call->on_log(call->log_context, "stderr", bytes, length);
}

/* ---- what is run ------------------------------------------------------------------------------------------------- */

/* The texts of a run that are not the configuration's. */
struct program {
	const char *argv[WORDS_MAX + 1];
	char *path; /* of argv[0], when it was found */
	char *env[ENV_MAX + 1];
	char *paths[FILES_MAX];
	struct sandbox_file files[FILES_MAX];
	size_t file_count;
	struct node_plan plan; /* limits, profile and source */
};

static void release_program(struct program *program)
{
	for (size_t i = 0; i < ENV_MAX; i++)
		free(program->env[i]);
	for (size_t i = 0; i < FILES_MAX; i++)
		free(program->paths[i]);
	free(program->path);
	node_plan_release(&program->plan);
}
#define _program_ __attribute__((cleanup(release_program)))

static int read_files(const struct wl_json *config, struct program *program)
{
	const struct wl_json *one = wl_json_first(wl_json_get(config, "files"));
	for (; one && program->file_count < FILES_MAX; one = wl_json_next(one)) {
		size_t at = program->file_count;
		const char *text = wl_json_string(one, "");
		if (asprintf(&program->paths[at], "in/%s", wl_json_key(one)) < 0) {
			program->paths[at] = NULL;
			return -ENOMEM;
		}
		program->files[program->file_count++] =
			(struct sandbox_file){ .path = program->paths[at], .content = text, .length = strlen(text) };
	}
	return 0;
}

static int read_env(const struct wl_json *config, struct program *program)
{
	size_t count = 0;
	const struct wl_json *one = wl_json_first(wl_json_get(config, "env"));
	for (; one && count < ENV_MAX; one = wl_json_next(one), count++) {
		if (asprintf(&program->env[count], "%s=%s", wl_json_key(one), wl_json_string(one, "")) < 0) {
			program->env[count] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

/* A program is named by its path; without a folder it is an interpreter, or one of the system's. */
static int find_program(struct program *program)
{
	static const char *const known[][2] = { { "python", SANDBOX_PYTHON },
						{ "python3", SANDBOX_PYTHON },
						{ "node", SANDBOX_NODE },
						{ "bash", SANDBOX_BASH } };
	const char *name = program->argv[0];
	if (strchr(name, '/'))
		return 0;
	for (size_t i = 0; i < WL_COUNT_OF(known); i++)
		if (strcmp(name, known[i][0]) == 0)
			program->argv[0] = known[i][1];
	if (program->argv[0] != name)
		return 0;
	if (asprintf(&program->path, "/usr/bin/%s", name) < 0) {
		program->path = NULL;
		return -ENOMEM;
	}
	program->argv[0] = program->path;
	return 0;
}

static int read_command(const struct wl_json *config, struct program *program)
{
	const struct wl_json *command = wl_json_get(config, "command");
	size_t count = 0;
	if (!command) {
		const char *file = NULL;
		const char *const *argv = node_runtime(program->plan.language, &file);
		for (; argv[count]; count++)
			program->argv[count] = argv[count];
		program->files[program->file_count++] = (struct sandbox_file){ .path = file,
									       .content = program->plan.source,
									       .length = strlen(program->plan.source) };
		return 0;
	}
	for (const struct wl_json *one = wl_json_first(command); one && count < WORDS_MAX; one = wl_json_next(one))
		program->argv[count++] = wl_json_string(one, "");
	return count > 0 ? find_program(program) : -EINVAL;
}

static int read_program(const struct wl_json *config, struct program *program)
{
	int result = node_plan_sandbox(config, &program->plan);
	if (result == 0 && !wl_json_get(config, "command"))
		result = node_plan_program(config, &program->plan);
	result = result ? result : read_command(config, program);
	result = result ? result : read_files(config, program);
	return result ? result : read_env(config, program);
}

/* ---- one run ------------------------------------------------------------------------------------------------------
 */

static void close_dialogue(struct dialogue *dialogue)
{
	wl_mcp_session_free(dialogue->session);
	wl_byte_queue_free(dialogue->input);
	wl_buffer_release(&dialogue->line);
	if (dialogue->stop_fd >= 0)
		(void)close(dialogue->stop_fd);
	if (dialogue->timer_fd >= 0)
		(void)close(dialogue->timer_fd);
}

/* False: the outcome tells why. */
static bool open_dialogue(struct dialogue *dialogue, const struct tool_call *tool, struct node_outcome *outcome)
{
	struct wl_error err = { 0 };
	struct epoll_event readable = { .events = EPOLLIN };
	*dialogue = (struct dialogue){ .tool = tool,
				       .stop_fd = epoll_create1(EPOLL_CLOEXEC),
				       .timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK) };
	wl_buffer_init(&dialogue->line, LINE_MAX_BYTES);
	dialogue->session = tool_mcp_session(tool, outcome);
	if (!dialogue->session)
		return false;
	bool opened = dialogue->stop_fd >= 0 && dialogue->timer_fd >= 0 &&
		      epoll_ctl(dialogue->stop_fd, EPOLL_CTL_ADD, dialogue->timer_fd, &readable) == 0;
	if (opened && tool->call->cancel_fd >= 0)
		opened = epoll_ctl(dialogue->stop_fd, EPOLL_CTL_ADD, tool->call->cancel_fd, &readable) == 0;
	if (!opened || wl_byte_queue_new(SAID_MAX, &dialogue->input, &err) < 0) {
		node_fail(outcome, tool->call, NODE_FAILED, "internal", NULL, "a server's pipes cannot be made");
		return false;
	}
	say(dialogue);
	return true;
}

/* The program is over before it gave what was wanted. */
static void judge_end(const struct tool_call *tool, const struct sandbox_result *ended, struct node_outcome *outcome)
{
	char message[128];
	switch (ended->reason) {
	case SANDBOX_EXITED:
		(void)snprintf(message, sizeof(message), "the server ended with exit code %d before it answered",
			       ended->exit_code);
		node_sandbox_failed(outcome, tool->call, ended, "exit", message);
		break;
	case SANDBOX_SIGNALLED:
		(void)snprintf(message, sizeof(message), "the server was ended by signal %d before it answered",
			       ended->signal);
		node_sandbox_failed(outcome, tool->call, ended, "signal", message);
		break;
	case SANDBOX_CANCELLED:
		node_fail(outcome, tool->call, NODE_STOPPED, "cancelled", NULL, "the execution was stopped");
		break;
	default:
		node_sandbox_failed(outcome, tool->call, ended, sandbox_reason_word(ended->reason),
				    sandbox_reason_text(ended->reason));
	}
}

static void judge(const struct dialogue *dialogue, const struct sandbox_result *ended, struct node_outcome *outcome)
{
	const struct tool_call *tool = dialogue->tool;
	_wl_buffer_ struct wl_buffer text;
	_wl_free_ char *receipt = node_sandbox_receipt(ended, NULL);
	wl_buffer_init(&text, 0);
	tool_begin_receipt(tool, &text);
	(void)wl_buffer_append_text(&text, ",\"transport\":\"stdio\",");
	(void)wl_buffer_append_text(&text, receipt ? receipt + 1 : "}");
	outcome->receipt_json = text.failed || !receipt ? NULL : wl_buffer_steal(&text);
	if (dialogue->result < 0)
		tool_mcp_broke(tool, dialogue->result, &dialogue->err, outcome);
	else if (wl_mcp_session_ended(dialogue->session))
		tool_mcp_finish(tool, dialogue->session, outcome);
	else
		judge_end(tool, ended, outcome);
}

/* True: it is to be run again. */
static bool run_once(const struct tool_call *tool, struct sandbox_request *request, struct node_sandbox_tries *tries,
		     struct node_outcome *outcome)
{
	struct dialogue dialogue;
	struct sandbox_result ended = { 0 };
	struct wl_error err = { 0 };
	bool again = false;
	if (open_dialogue(&dialogue, tool, outcome)) {
		request->dialogue = dialogue.input;
		request->cancel_fd = dialogue.stop_fd;
		request->context = &dialogue;
		int result = sandbox_run(tool->world->sandbox, request, &ended, &err);
		again = result < 0 && node_sandbox_again(tool->call, tries, result);
		if (result == 0)
			judge(&dialogue, &ended, outcome);
		else if (!again)
			node_sandbox_refused(outcome, tool->call, result, &err);
		sandbox_result_release(&ended);
	}
	close_dialogue(&dialogue);
	return again;
}

void tool_mcp_call_stdio(const struct tool_call *tool, struct node_outcome *outcome)
{
	_program_ struct program program = { .file_count = 0 };
	char id[96];
	(void)snprintf(id, sizeof(id), "%s/%.50s", tool->call->eid, node_call_path(tool->call));
	int failed = read_program(tool->config, &program);
	if (failed) {
		node_fail(outcome, tool->call, failed == -ENOMEM ? NODE_FAILED : NODE_FAILED_FOR_GOOD, "tool_invalid",
			  NULL, "the tool's command, or its language and source, are missing");
		return;
	}
	struct sandbox_request request = {
		.tenant = tool->call->tenant,
		.id = id,
		.profile = program.plan.profile,
		.argv = program.argv,
		.env = (const char *const *)program.env,
		.files = program.files,
		.file_count = program.file_count,
		.limits = program.plan.limits,
		.kill_grace_ms = tool->world->kill_grace_ms,
		.on_log = forward_log,
		.on_output = take_output,
	};
	request.limits.wall_ms = tool->timeout_ms;
	struct node_sandbox_tries tries = node_sandbox_begin();
	while (run_once(tool, &request, &tries, outcome))
		continue;
}
