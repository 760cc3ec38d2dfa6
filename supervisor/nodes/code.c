/*
 * code: a tenant's program in a fresh sandbox. Its input comes as JSON on standard input, its output is what it
 * prints on standard output, and what it writes to standard error are log lines. The files that it leaves under
 * /work/out are kept before the node counts as done.
 */
#include "supervisor/nodes/code.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "supervisor/nodes/code_models.h"
#include "supervisor/nodes/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A host that is full, or whose warden is being started anew, is waited for so long. */
#define SANDBOX_WAIT_MS 60000
/* A sandbox that was lost with its warden is tried again so often. */
#define SANDBOX_LOST_TRIES 3
/* The object store and the database are waited for so long. */
#define KEEP_WAIT_MS 60000

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

/* One attempt under way. */
struct attempt {
	struct node_world *world;
	const struct node_call *call;
	int fd;			    /* what the program left; -1: nothing came */
	struct code_models *models; /* NULL: it has none */
	char *artifacts_json;
};

static void forward_log(void *context, const char *bytes, size_t length)
{
	const struct node_call *call = ((const struct attempt *)context)->call;
	if (call->on_log)
		call->on_log(call->log_context, "stderr", bytes, length);
}

static int listen_for_models(void *context, const int *fds, struct wl_error *err)
{
	return code_models_listen(((const struct attempt *)context)->models, fds[0], err);
}

static int open_out(void *context)
{
	struct attempt *attempt = context;
	const struct artifact_port *artifacts = attempt->world->artifacts;
	if (attempt->fd < 0)
		attempt->fd = artifacts->place(artifacts->self, NULL);
	return attempt->fd;
}

char *node_sandbox_receipt(const struct sandbox_result *ended, const char *artifacts_json)
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
		&text, ",\"wall_us\":%llu,\"cpu_us\":%llu,\"memory_peak\":%llu,\"pids_peak\":%u,\"warm\":%s",
		(unsigned long long)receipt->wall_us, (unsigned long long)receipt->cpu_us,
		(unsigned long long)receipt->memory_peak, receipt->pids_peak, receipt->warm ? "true" : "false");
	if (artifacts_json)
		(void)wl_buffer_appendf(&text, ",\"artifacts\":%s", artifacts_json);
	if (ended->files_passed_over > 0)
		(void)wl_buffer_appendf(&text, ",\"files_passed_over\":%llu",
					(unsigned long long)ended->files_passed_over);
	(void)wl_buffer_append_char(&text, '}');
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

void node_sandbox_failed(struct node_outcome *outcome, const struct node_call *call, const struct sandbox_result *ended,
			 const char *code, const char *message)
{
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	size_t tail = ended->log_tail_length < 4096 ? ended->log_tail_length : 4096;
	(void)wl_buffer_appendf(&detail, "{\"exit_code\":%d,\"stderr\":", ended->exit_code);
	(void)text_append_json(&detail, ended->log_tail + ended->log_tail_length - tail, tail);
	(void)wl_buffer_append_char(&detail, '}');
	node_fail(outcome, call, NODE_FAILED, code, detail.failed ? NULL : detail.data, "%s", message);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static bool may_pass(int result)
{
	return result == -ECONNREFUSED || result == -EPIPE || result == -ETIMEDOUT || result == -EAGAIN ||
	       result == -EIO;
}

int node_keep_files(struct node_world *world, const struct node_call *call, int fd,
		    const struct sandbox_out_file *files, size_t count, char **ret_json, struct wl_error *err)
{
	const struct artifact_port *artifacts = world->artifacts;
	struct artifact_batch batch = { .tenant = call->tenant,
					.eid = call->eid,
					.epoch = call->epoch,
					.node = node_call_path(call),
					.fd = fd,
					.files = files,
					.count = count };
	uint64_t give_up_ms = wl_clock_boot_ms() + KEEP_WAIT_MS;
	for (;;) {
		int result = artifacts->keep(artifacts->self, &batch, ret_json, err);
		if (!may_pass(result) || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (node_pause(call, 500))
			return -ECANCELED;
	}
}

void node_files_failed(struct node_outcome *outcome, const struct node_call *call, int result,
		       const struct wl_error *err)
{
	free(outcome->outputs_json);
	outcome->outputs_json = NULL;
	if (result == -EDQUOT)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "storage_quota", NULL, "%s", err->text);
	else if (result == -ESTALE || result == -ECANCELED)
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "the execution was stopped");
	else
		node_fail(outcome, call, NODE_FAILED, "artifact_store", NULL, "%s", err->text);
}

static void finish(struct node_outcome *outcome, struct attempt *attempt, struct sandbox_result *ended)
{
	const struct node_call *call = attempt->call;
	struct wl_error err = { 0 };
	if (ended->out_fault) {
		bool named = *ended->out_fault_name;
		node_fail(outcome, call, NODE_FAILED, sandbox_out_fault_code(ended->out_fault), NULL, "%s%s%s",
			  sandbox_out_fault_text(ended->out_fault), named ? ": " : "", ended->out_fault_name);
		return;
	}
	give_output(outcome, call, ended);
	if (outcome->result == NODE_OK && !node_check_output(attempt->world, call, outcome))
		return;
	/* a former attempt of the execution may have kept files of a program that now left none */
	bool has_files = attempt->world->artifacts && (ended->file_count > 0 || call->epoch > 1);
	if (outcome->result != NODE_OK || !has_files)
		return;
	int result = node_keep_files(attempt->world, call, attempt->fd, ended->files, ended->file_count,
				     &attempt->artifacts_json, &err);
	if (result < 0)
		node_files_failed(outcome, call, result, &err);
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void judge(struct node_outcome *outcome, struct attempt *attempt, struct sandbox_result *ended)
{
	char message[128];
	const struct node_call *call = attempt->call;
	switch (ended->reason) {
	case SANDBOX_EXITED:
		if (ended->exit_code == 0) {
			finish(outcome, attempt, ended);
			return;
		}
		(void)snprintf(message, sizeof(message), "the program ended with exit code %d", ended->exit_code);
		node_sandbox_failed(outcome, call, ended, "exit", message);
		return;
	case SANDBOX_SIGNALLED:
		(void)snprintf(message, sizeof(message), "the program was ended by signal %d", ended->signal);
		node_sandbox_failed(outcome, call, ended, "signal", message);
		return;
	case SANDBOX_OOM:
	case SANDBOX_TIMEOUT:
	case SANDBOX_OUTPUT_CAP:
		node_sandbox_failed(outcome, call, ended, sandbox_reason_word(ended->reason),
				    sandbox_reason_text(ended->reason));
		return;
	case SANDBOX_CANCELLED:
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "the execution was stopped");
	}
}

struct node_sandbox_tries node_sandbox_begin(void)
{
	return (struct node_sandbox_tries){ .give_up_ms = wl_clock_boot_ms() + SANDBOX_WAIT_MS };
}

bool node_sandbox_again(const struct node_call *call, struct node_sandbox_tries *tries, int result)
{
	bool away = result == -EBUSY || result == -ECONNREFUSED;
	if (result == -EIO)
		away = ++tries->lost < SANDBOX_LOST_TRIES;
	return away && wl_clock_boot_ms() <= tries->give_up_ms && !node_pause(call, 200);
}

static int run_somewhere(struct node_world *world, const struct node_call *call, const struct sandbox_request *request,
			 struct sandbox_result *ended, struct wl_error *err)
{
	struct node_sandbox_tries tries = node_sandbox_begin();
	int result;
	do
		result = sandbox_run(world->sandbox, request, ended, err);
	while (result < 0 && node_sandbox_again(call, &tries, result));
	return result < 0 && node_pause(call, 0) ? -ECANCELED : result;
}

void node_sandbox_refused(struct node_outcome *outcome, const struct node_call *call, int result,
			  const struct wl_error *err)
{
	bool for_good = result == -EINVAL || result == -ENOENT || result == -EPERM;
	if (result == -ECANCELED)
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	else
		node_fail(outcome, call, for_good ? NODE_FAILED_FOR_GOOD : NODE_FAILED, "sandbox", NULL, "%s",
			  err->text);
}

const char *const *node_runtime(enum node_language language, const char **ret_file)
{
	*ret_file = runtimes[language].file;
	return runtimes[language].argv;
}

void node_run_code(struct node_world *world, const struct node_call *call, struct node_outcome *outcome)
{
	_wl_free_ char *input = NULL;
	if (!node_evaluate(world, call, outcome, &input))
		return;
	size_t length = strlen(input);
	node_keep_inputs(outcome, input, length);
	struct attempt attempt = { .world = world, .call = call, .fd = -1 };
	if (call->plan->models.wanted && !code_models_open(world, call, outcome, &attempt.models))
		return;
	char id[96];
	(void)snprintf(id, sizeof(id), "%s/%.50s", call->eid, node_call_path(call));
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
		.open_out = open_out,
		.context = &attempt,
	};
	if (world->artifacts)
		request.out = world->artifacts->limits;
	if (attempt.models) {
		request.listen[0] = SANDBOX_MODELS_PORT;
		request.on_listen = listen_for_models;
		request.env = code_models_env(attempt.models);
	}
	request.limits.wall_ms = call->node->timeout_ms > 0 ? (uint32_t)call->node->timeout_ms : 0;
	struct sandbox_result ended = { 0 };
	struct wl_error err = { 0 };
	int result = run_somewhere(world, call, &request, &ended, &err);
	if (result == 0) {
		bool failed = ended.reason != SANDBOX_EXITED || ended.exit_code != 0;
		if (!attempt.models || !code_models_end(attempt.models, failed, outcome))
			judge(outcome, &attempt, &ended);
		outcome->receipt_json = node_sandbox_receipt(&ended, attempt.artifacts_json);
		sandbox_result_release(&ended);
	} else {
		node_sandbox_refused(outcome, call, result, &err);
	}
	if (attempt.models)
		code_models_tell(attempt.models, outcome);
	code_models_free(attempt.models);
	if (attempt.fd >= 0)
		(void)close(attempt.fd);
	free(attempt.artifacts_json);
}
