/*
 * Following an execution. The stream is the source while it holds: each event is shown once, and after a lost
 * connection the server goes on behind the last id we saw. When the server says `reset`, older events are gone: the
 * execution is read whole, and what had not been shown yet is shown from there.
 */
#include "cli/follow.h"

#include "cli/core/outcome.h"
#include "cli/core/sse.h"
#include "cli/core/text.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/model/flow_graph.h"
#include "lib/model/states.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#define IDLE_MS 45000	   /* the server sends a comment every 15 s */
#define AWAY_MS 60000	   /* how long a server may stay away */
#define RETRY_FIRST_MS 200 /* first delay before a new connection */
#define RETRY_MOST_MS 5000
#define STDERR_TAIL 4096

struct seen_node {
	char id[WL_FLOW_MAX_ID + 1];
	char since[WL_RFC3339_SIZE]; /* when it was last seen running */
	enum wl_node_state state;
};

struct follow {
	struct cli *cli;
	const struct cli_follow_plan *plan;
	struct cli_http *stream; /* a connection of its own: calls are made while the stream is open */
	struct cli_sse sse;
	struct seen_node *nodes; /* at most WL_FLOW_MAX_NODES */
	size_t node_count;
	char last_log[64]; /* time of the newest log line shown */
	uint64_t heard_ms; /* when the server was last heard of */
	bool ended, must_read, cancelled;
	struct cli_follow_end end;
};

void cli_follow_end_release(struct cli_follow_end *end)
{
	wl_json_free(end->outputs);
	wl_json_free(end->error);
}

int cli_execution_read(struct cli *cli, const char *id, struct wl_json **ret_answer, struct wl_error *err)
{
	char path[72];
	(void)snprintf(path, sizeof(path), "/executions/%s", id);
	return cli_get(cli, path, ret_answer, err);
}

int cli_execution_cancel(struct cli *cli, const char *id, char ret_status[32], struct wl_error *err)
{
	char path[80];
	(void)snprintf(path, sizeof(path), "/executions/%s/cancel", id);
	struct cli_call call = { .method = "POST", .path = path };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	if (ret_status)
		(void)snprintf(ret_status, 32, "%s", wl_json_get_string(answer.json, "status", "cancelling"));
	return 0;
}

void cli_print_log(FILE *out, bool colour, const struct wl_json *line)
{
	const char *node = wl_json_get_string(line, "node_id", ""), *text = wl_json_get_string(line, "text", "");
	_wl_buffer_ struct wl_buffer safe;
	wl_buffer_init(&safe, 0);
	do { /* an event may carry several lines */
		size_t length = strcspn(text, "\n");
		(void)wl_buffer_append_text(&safe, cli_colour(colour, CLI_DIM));
		cli_text_append_safe(&safe, node, strlen(node), true);
		(void)wl_buffer_appendf(&safe, " |%s ", cli_colour_end(colour));
		cli_text_append_safe(&safe, text, length - (length && text[length - 1] == '\r'), false);
		(void)wl_buffer_append_char(&safe, '\n');
		text += length + (text[length] == '\n');
	} while (*text);
	if (!safe.failed)
		(void)fwrite(safe.data, 1, safe.length, out);
}

void cli_print_fault(const struct cli *cli, const struct wl_json *fault)
{
	if (!wl_json_is(fault, WL_JSON_OBJECT))
		return;
	const char *node = wl_json_get_string(fault, "node_id", NULL);
	const char *path = wl_json_get_string(fault, "path", NULL);
	(void)fprintf(stderr, "%s", cli_colour(cli->colour_err, CLI_RED));
	if (node) {
		(void)fputs("node ", stderr);
		cli_print_text(stderr, node, true);
		(void)fputs(": ", stderr);
	}
	cli_print_text(stderr, wl_json_get_string(fault, "message", "failed"), false);
	(void)fputs(" (", stderr);
	cli_print_text(stderr, wl_json_get_string(fault, "code", "?"), true);
	if (path) {
		(void)fputs(" at ", stderr);
		cli_print_text(stderr, path, true);
	}
	(void)fprintf(stderr, ")%s\n", cli_colour_end(cli->colour_err));
	const char *tail = wl_json_get_string(wl_json_get(fault, "detail"), "stderr", "");
	size_t length = strlen(tail);
	if (!length)
		return;
	cli_print_text(stderr, tail + (length > STDERR_TAIL ? length - STDERR_TAIL : 0), false);
	if (tail[length - 1] != '\n')
		(void)fputc('\n', stderr);
}

/* The record of a node; NULL when there are more than a flow can have, or no memory: then it is shown without time. */
static struct seen_node *find_node(struct follow *follow, const char *id)
{
	for (size_t i = 0; i < follow->node_count; i++)
		if (strcmp(follow->nodes[i].id, id) == 0)
			return &follow->nodes[i];
	if (follow->node_count == WL_FLOW_MAX_NODES || strlen(id) > WL_FLOW_MAX_ID)
		return NULL;
	struct seen_node *grown = reallocarray(follow->nodes, follow->node_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	follow->nodes = grown;
	struct seen_node *node = &grown[follow->node_count++];
	*node = (struct seen_node){ .state = WL_NODE_PENDING };
	(void)snprintf(node->id, sizeof(node->id), "%s", id);
	return node;
}

static void print_state(const struct follow *follow, const char *id, const char *status, int64_t took_ms, int attempt)
{
	bool colour = follow->cli->colour_err;
	char duration[CLI_DURATION_TEXT];
	_wl_buffer_ struct wl_buffer line;
	wl_buffer_init(&line, 0);
	(void)wl_buffer_appendf(&line, "%s", cli_colour(colour, cli_status_colour(status)));
	size_t before = line.length;
	cli_text_append_safe(&line, status, strlen(status), true);
	size_t width = line.length - before;
	(void)wl_buffer_appendf(&line, "%s%*s ", cli_colour_end(colour), width < 10 ? (int)(10 - width) : 0, "");
	cli_text_append_safe(&line, id, strlen(id), true);
	if (*cli_duration(took_ms, duration))
		(void)wl_buffer_appendf(&line, "  %s", duration);
	if (attempt > 1)
		(void)wl_buffer_appendf(&line, "  attempt %d", attempt);
	(void)wl_buffer_append_char(&line, '\n');
	if (!line.failed)
		(void)fwrite(line.data, 1, line.length, stderr);
}

/* `data` is a node event, or a node of GET /executions/{id} when `is_event` is false. */
static void show_node(struct follow *follow, const struct wl_json *data, bool is_event)
{
	const char *id = wl_json_get_string(data, "node_id", "");
	const char *status = wl_json_get_string(data, "status", "");
	int state = wl_node_state_of(status), attempt = (int)wl_json_get_number(data, "attempt", 0);
	const char *time = wl_json_get_string(data, is_event ? "time" : "end_time", "");
	struct seen_node *node = find_node(follow, id);
	if (!*id || state < 0)
		return;
	bool is_new = !node || (int)node->state != state || (is_event && attempt > 1);
	int64_t took_ms = -1;
	if (!is_event)
		took_ms = cli_time_between_ms(wl_json_get_string(data, "start_time", ""), time);
	else if (node && wl_node_state_final((enum wl_node_state)state))
		took_ms = cli_time_between_ms(node->since, time);
	if (node) {
		node->state = (enum wl_node_state)state;
		if (state == WL_NODE_RUNNING)
			(void)snprintf(node->since, sizeof(node->since), "%.*s", WL_RFC3339_SIZE - 1, time);
	}
	if (follow->plan->show == CLI_SHOW_PROGRESS && is_new && state != WL_NODE_PENDING)
		print_state(follow, id, status, took_ms, attempt);
}

static void show_log(struct follow *follow, const struct wl_json *line)
{
	const char *node = follow->plan->node;
	(void)snprintf(follow->last_log, sizeof(follow->last_log), "%.63s", wl_json_get_string(line, "time", ""));
	if (node && strcmp(wl_json_get_string(line, "node_id", ""), node) != 0)
		return;
	bool to_out = follow->plan->show == CLI_SHOW_LOGS;
	cli_print_log(to_out ? stdout : stderr, to_out ? follow->cli->colour_out : follow->cli->colour_err, line);
	if (to_out)
		(void)fflush(stdout);
}

static int print_event(const char *type, const char *id, const struct wl_json *data, struct wl_error *err)
{
	_wl_json_ struct wl_json *line = wl_json_object();
	if (!line || wl_json_set_string(line, "event", type) < 0 || wl_json_set_string(line, "id", id) < 0 ||
	    wl_json_set(line, "data", wl_json_copy(data)) < 0)
		return wl_fail(err, ENOMEM, "no memory for an event");
	return cli_print_json(line, false, err);
}

/* Take the end out of an `end` event or an execution. */
static int take_end(struct follow *follow, const struct wl_json *from, struct wl_error *err)
{
	const struct wl_json *outputs = wl_json_get(from, "outputs"), *error = wl_json_get(from, "error");
	const char *status = wl_json_get_string(from, "status", "");
	cli_follow_end_release(&follow->end);
	follow->end = (struct cli_follow_end){ 0 };
	(void)snprintf(follow->end.status, sizeof(follow->end.status), "%.31s", status);
	bool has_outputs = outputs && !wl_json_is(outputs, WL_JSON_NULL);
	bool has_error = wl_json_is(error, WL_JSON_OBJECT);
	follow->end.outputs = has_outputs ? wl_json_copy(outputs) : NULL;
	follow->end.error = has_error ? wl_json_copy(error) : NULL;
	if ((has_outputs && !follow->end.outputs) || (has_error && !follow->end.error))
		return wl_fail(err, ENOMEM, "no memory for the outputs");
	follow->ended = true;
	return 0;
}

/* Read the execution whole: after a reset, and for outputs that were too large for an event. */
static int read_whole(struct follow *follow, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	follow->must_read = true; /* until it has worked */
	if (cli_execution_read(follow->cli, follow->plan->execution, &answer, err) < 0)
		return -err->code;
	follow->must_read = false;
	const struct wl_json *execution = wl_json_get(answer, "execution"), *one;
	for (one = wl_json_first(wl_json_get(answer, "nodes")); one; one = wl_json_next(one))
		show_node(follow, one, false);
	one = wl_json_first(wl_json_get(answer, "logs"));
	for (; one && follow->plan->show != CLI_SHOW_JSON; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "time", ""), follow->last_log) > 0)
			show_log(follow, one);
	int state = wl_run_state_of(wl_json_get_string(execution, "status", ""));
	if (state < 0)
		return wl_fail(err, EPROTO, "%s answered without a status", follow->cli->login.url);
	if (!wl_run_state_final((enum wl_run_state)state))
		return 0;
	if (follow->plan->show == CLI_SHOW_JSON && print_event("end", follow->sse.id, execution, err) < 0)
		return -err->code;
	return take_end(follow, execution, err);
}

static int on_end(struct follow *follow, const struct cli_sse_event *event, const struct wl_json *data,
		  struct wl_error *err)
{
	bool succeeded = strcmp(wl_json_get_string(data, "status", ""), wl_run_state_name(WL_RUN_SUCCEEDED)) == 0;
	if (succeeded && !wl_json_get(data, "outputs")) /* they were too large for an event */
		return read_whole(follow, err) < 0 ? -err->code : -ECANCELED;
	if (follow->plan->show == CLI_SHOW_JSON && print_event("end", event->id, data, err) < 0)
		return -err->code;
	return take_end(follow, data, err) < 0 ? -err->code : -ECANCELED;
}

static int on_event(void *self, const struct cli_sse_event *event, struct wl_error *err)
{
	struct follow *follow = self;
	_wl_json_ struct wl_json *data = NULL;
	if (wl_json_parse(event->data, event->length, &data, err) < 0)
		return wl_fail(err, EPROTO, "an event of the stream is no JSON");
	if (strcmp(event->type, "end") == 0)
		return on_end(follow, event, data, err);
	if (strcmp(event->type, "close") == 0)
		return 0; /* of this connection, not of the run: the next one needs a new token */
	if (follow->plan->show == CLI_SHOW_JSON && print_event(event->type, event->id, data, err) < 0)
		return -err->code;
	if (strcmp(event->type, "reset") == 0) {
		int result = read_whole(follow, err);
		return result < 0 ? result : follow->ended ? -ECANCELED : 0;
	}
	if (strcmp(event->type, "node") == 0)
		show_node(follow, data, true);
	else if (strcmp(event->type, "log") == 0 && follow->plan->show != CLI_SHOW_JSON)
		show_log(follow, data);
	return 0;
}

static int on_bytes(void *self, const char *bytes, size_t length, struct wl_error *err)
{
	struct follow *follow = self;
	follow->heard_ms = wl_clock_boot_ms();
	int result = cli_sse_feed(&follow->sse, bytes, length, on_event, follow, err);
	return result == -EMSGSIZE ? wl_fail(err, EPROTO, "an event of the stream is too long") : result;
}

/* A failure that a server which comes back heals. */
static bool is_away(int result)
{
	return result == -EHOSTDOWN || (cli_exit_of_error(-result) == CLI_EXIT_UNREACHABLE && result != -EPROTO &&
					result != -EACCES && result != -EPERM);
}

/* One connection of the stream. 0: the execution has ended; -EAGAIN: connect again; else an error to report. */
static int listen_once(struct follow *follow, int wake_fd, struct wl_error *err)
{
	char path[96], last_id[CLI_SSE_ID + 32];
	(void)snprintf(path, sizeof(path), "/api/v1/executions/%s/stream", follow->plan->execution);
	(void)snprintf(last_id, sizeof(last_id), "Last-Event-ID: %s", follow->sse.id);
	struct cli_request request = {
		.method = "GET",
		.path = path,
		.token = follow->cli->login.access_token,
		.headers = { follow->sse.id[0] ? last_id : NULL },
	};
	cli_sse_restart(&follow->sse);
	_cli_response_ struct cli_response response = { 0 };
	int result = cli_http_stream(follow->stream, &request, wake_fd, IDLE_MS, on_bytes, follow, &response, err);
	if (result == -ECANCELED)
		return 0;
	if (result == 0 && response.status == 401)
		result = cli_refresh(follow->cli, err) < 0 ? -err->code : -EAGAIN;
	else if (result == 0 && response.status == 200)
		result = -EAGAIN; /* closed without an end: the server drains, or a proxy was impatient */
	else if (result == 0)
		result = cli_refused(follow->cli, &response, err);
	return is_away(result) ? -EAGAIN : result;
}

/* A Ctrl-C: ask for the end of the execution, or leave. 0: go on following. */
static int on_interrupt(struct follow *follow, int wake_fd, struct wl_error *err)
{
	struct signalfd_siginfo about;
	const char *id = follow->plan->execution;
	if (read(wake_fd, &about, sizeof(about)) < 0 && errno != EAGAIN)
		return wl_fail_errno(err, errno, "read the signals");
	if (!follow->plan->cancel_on_interrupt || follow->cancelled)
		return wl_fail(err, EINTR,
			       "interrupted; execution %s goes on: windlass logs %s --follow comes back to it, "
			       "windlass cancel %s ends it",
			       id, id, id);
	follow->cancelled = true;
	(void)fprintf(stderr, "cancelling; Ctrl-C again leaves it\n");
	/* a refusal means that it has ended just now, which the stream is about to tell */
	int result = cli_execution_cancel(follow->cli, id, NULL, err);
	return result == -EREMOTEIO ? 0 : result;
}

/* Wait before a new connection; -EINTR on Ctrl-C. */
static int wait_retry(const struct follow *follow, int wake_fd, int failures, struct wl_error *err)
{
	int delay_ms = RETRY_FIRST_MS << (failures < 5 ? failures : 5);
	delay_ms = delay_ms < follow->sse.retry_ms ? follow->sse.retry_ms : delay_ms;
	struct pollfd wake = { .fd = wake_fd, .events = POLLIN };
	if (poll(&wake, 1, delay_ms < RETRY_MOST_MS ? delay_ms : RETRY_MOST_MS) > 0)
		return wl_fail(err, EINTR, "interrupted");
	return 0;
}

static int follow_all(struct follow *follow, int wake_fd, struct wl_error *err)
{
	follow->heard_ms = wl_clock_boot_ms();
	for (int failures = 0; !follow->ended;) {
		uint64_t before_ms = follow->heard_ms;
		int result = follow->must_read ? read_whole(follow, err) : 0;
		if (result == 0 && !follow->ended)
			result = listen_once(follow, wake_fd, err);
		else if (is_away(result))
			result = -EAGAIN;
		if (follow->heard_ms != before_ms)
			failures = 0;
		if (result == -EAGAIN && wl_clock_boot_ms() - follow->heard_ms > AWAY_MS)
			return wl_fail(
				err, EHOSTDOWN,
				"%s stayed away; the execution goes on: windlass logs %s --follow comes back to it",
				follow->cli->login.url, follow->plan->execution);
		if (result == -EAGAIN)
			result = wait_retry(follow, wake_fd, failures++, err);
		if (result == -EINTR)
			result = on_interrupt(follow, wake_fd, err);
		if (result < 0)
			return result;
	}
	return 0;
}

int cli_follow(struct cli *cli, const struct cli_follow_plan *plan, struct cli_follow_end *ret_end,
	       struct wl_error *err)
{
	sigset_t interrupt, before;
	(void)sigemptyset(&interrupt);
	(void)sigaddset(&interrupt, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &interrupt, &before);
	_wl_close_ int wake_fd = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
	if (wake_fd < 0) {
		int code = errno;
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return wl_fail_errno(err, code, "watch for Ctrl-C");
	}
	struct follow follow = { .cli = cli, .plan = plan };
	cli_sse_init(&follow.sse);
	int result = cli_need_token(cli, err);
	if (result == 0)
		result = cli_http_open(cli->login.url, &follow.stream, err);
	if (result == 0)
		result = follow_all(&follow, wake_fd, err);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	cli_http_close(follow.stream);
	cli_sse_release(&follow.sse);
	free(follow.nodes);
	if (result < 0) {
		cli_follow_end_release(&follow.end);
		return result;
	}
	*ret_end = follow.end;
	return 0;
}
