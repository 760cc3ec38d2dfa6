/*
 * code: a tenant's program in a fresh sandbox. Its input comes as JSON on standard input, its output is what it
 * prints on standard output, and what it writes to standard error are log lines.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/node.h"
#include "supervisor/nodes/text.h"

#include <errno.h>
#include <string.h>

/* A host that is full, or whose warden is being started anew, is waited for so long. */
#define SANDBOX_WAIT_MS 60000
/* A sandbox that was lost with its warden is tried again so often. */
#define SANDBOX_LOST_TRIES 3

static const char *const python_argv[] = { SANDBOX_PYTHON, "-B", "-E", "-s", "-X", "utf8", "/work/main.py", NULL };
static const char *const javascript_argv[] = { SANDBOX_NODE, "/work/main.mjs", NULL };
static const char *const bash_argv[] = { SANDBOX_BASH, "--noprofile", "--norc", "/work/main.sh", NULL };

static const struct {
	const char *file;
	const char *const *argv;
} runtimes[] = {
	[NODE_PYTHON] = { "main.py", python_argv },
	[NODE_JAVASCRIPT] = { "main.mjs", javascript_argv },
	[NODE_BASH] = { "main.sh", bash_argv },
};

static void forward_log(void *context, const char *bytes, size_t length)
{
	const struct node_call *call = context;
	if (call->on_log)
		call->on_log(call->log_context, "stderr", bytes, length);
}

static char *receipt_text(const struct sandbox_result *ended)
{
	const struct sandbox_receipt *receipt = &ended->receipt;
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_append_text(&text, "{\"profile\":");
	(void)text_append_json(&text, receipt->profile, strnlen(receipt->profile, sizeof(receipt->profile)));
	(void)wl_buffer_append_text(&text, ",\"profile_hash\":");
	(void)text_append_json(&text, receipt->profile_hash, strnlen(receipt->profile_hash, SANDBOX_HASH_TEXT));
	(void)wl_buffer_appendf(&text,
				",\"limits\":{\"memory_mb\":%u,\"cpu_milli\":%u,\"pids\":%u,\"wall_ms\":%u,"
				"\"output_kb\":%u},\"reason\":\"%s\",\"exit_code\":%d,\"signal\":%d",
				receipt->limits.memory_mb, receipt->limits.cpu_milli, receipt->limits.pids,
				receipt->limits.wall_ms, receipt->limits.output_kb, sandbox_reason_word(ended->reason),
				ended->exit_code, ended->signal);
	(void)wl_buffer_appendf(
		&text, ",\"wall_us\":%llu,\"cpu_us\":%llu,\"memory_peak\":%llu,\"pids_peak\":%u,\"warm\":%s}",
		(unsigned long long)receipt->wall_us, (unsigned long long)receipt->cpu_us,
		(unsigned long long)receipt->memory_peak, receipt->pids_peak, receipt->warm ? "true" : "false");
	return text.failed ? NULL : wl_buffer_steal(&text);
}

static void give_output(struct node_outcome *outcome, const struct node_call *call, struct sandbox_result *ended)
{
	if (call->plan->parse_text) {
		_wl_buffer_ struct wl_buffer text;
		wl_buffer_init(&text, 0);
		int failed = text_append_json(&text, ended->output, ended->output_length);
		node_give(outcome, call, failed ? NULL : wl_buffer_steal(&text));
		return;
	}
	_wl_json_ struct wl_json *parsed = NULL;
	struct wl_error err = { 0 };
	if (wl_json_parse(ended->output, ended->output_length, &parsed, &err) == 0) {
		text_compact_json(ended->output);
		node_give(outcome, call, wl_steal(ended->output));
		return;
	}
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	size_t shown = ended->output_length < 1024 ? ended->output_length : 1024;
	(void)wl_buffer_append_text(&detail, "{\"stdout\":");
	(void)text_append_json(&detail, ended->output, shown);
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, call, NODE_FAILED, "output_not_json", detail.failed ? NULL : detail.data,
		  "standard output is not one JSON value (%s); print JSON, or set parse to text", err.text);
}

/* The detail of a program that failed: its exit code and the last lines of standard error. */
static void fail_with_tail(struct node_outcome *outcome, const struct node_call *call,
			   const struct sandbox_result *ended, const char *code, const char *message)
{
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	size_t tail = ended->log_tail_length < 4096 ? ended->log_tail_length : 4096;
	(void)wl_buffer_appendf(&detail, "{\"exit_code\":%d,\"stderr\":", ended->exit_code);
	(void)text_append_json(&detail, ended->log_tail + ended->log_tail_length - tail, tail);
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, call, NODE_FAILED, code, detail.failed ? NULL : detail.data, "%s", message);
}

static void judge(struct node_outcome *outcome, const struct node_call *call, struct sandbox_result *ended)
{
	char message[128];
	outcome->receipt_json = receipt_text(ended);
	switch (ended->reason) {
	case SANDBOX_EXITED:
		if (ended->exit_code == 0) {
			give_output(outcome, call, ended);
			return;
		}
		(void)snprintf(message, sizeof(message), "the program ended with exit code %d", ended->exit_code);
		fail_with_tail(outcome, call, ended, "exit", message);
		return;
	case SANDBOX_SIGNALLED:
		(void)snprintf(message, sizeof(message), "the program was ended by signal %d", ended->signal);
		fail_with_tail(outcome, call, ended, "signal", message);
		return;
	case SANDBOX_OOM:
	case SANDBOX_TIMEOUT:
	case SANDBOX_OUTPUT_CAP:
		fail_with_tail(outcome, call, ended, sandbox_reason_word(ended->reason),
			       sandbox_reason_text(ended->reason));
		return;
	case SANDBOX_CANCELLED:
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "the execution was stopped");
	}
}

/*
 * Run it, and again where not the program but its place failed: the warden was away or had no room, or a sandbox was
 * lost with its warden. 0 or -errno.
 */
static int run_somewhere(struct node_world *world, const struct node_call *call, const struct sandbox_request *request,
			 struct sandbox_result *ended, struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + SANDBOX_WAIT_MS;
	int lost = 0;
	for (;;) {
		int result = sandbox_run(world->sandbox, request, ended, err);
		bool away = result == -EBUSY || result == -ECONNREFUSED;
		if (result == -EIO)
			away = ++lost < SANDBOX_LOST_TRIES;
		if (!away || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (node_pause(call, 200))
			return -ECANCELED;
	}
}

void node_run_code(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *input = NULL;
	if (!node_evaluate(world, call, outcome, &input))
		return;
	size_t length = strlen(input);
	node_keep_inputs(outcome, input, length);
	char id[96];
	(void)snprintf(id, sizeof(id), "%s/%.50s", call->eid, call->node->id);
	struct sandbox_file file = { .path = runtimes[call->plan->language].file,
				     .content = call->plan->source,
				     .length = strlen(call->plan->source) };
	struct sandbox_request request = {
		.tenant = call->tenant,
		.id = id,
		.profile = call->plan->profile,
		.argv = runtimes[call->plan->language].argv,
		.files = &file,
		.file_count = 1,
		.input = input,
		.input_length = length,
		.limits = call->plan->limits,
		.cancel_fd = call->cancel_fd,
		.kill_grace_ms = world->kill_grace_ms,
		.on_log = forward_log,
		.context = (void *)call,
	};
	request.limits.wall_ms = call->node->timeout_ms > 0 ? (uint32_t)call->node->timeout_ms : 0;
	struct sandbox_result ended = { 0 };
	struct wl_error err = { 0 };
	int result = run_somewhere(world, call, &request, &ended, &err);
	if (result == 0) {
		judge(outcome, call, &ended);
		sandbox_result_release(&ended);
	} else if (result == -ECANCELED) {
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	} else if (result == -EINVAL || result == -ENOENT || result == -EPERM) {
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "sandbox", NULL, "%s", err.text);
	} else {
		node_fail(outcome, call, NODE_FAILED, "sandbox", NULL, "%s", err.text);
	}
}
