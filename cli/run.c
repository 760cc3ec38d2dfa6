#include "cli/run.h"

#include "cli/commands.h"
#include "cli/core/inputs.h"
#include "cli/core/outcome.h"
#include "cli/files.h"
#include "cli/flow_file.h"
#include "cli/flows.h"
#include "cli/follow.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MOST_S 604800L
#define VERSION_MOST 2147483647L

static int merge_file(struct wl_json *inputs, const char *path, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *more = NULL;
	wl_buffer_init(&text, CLI_INPUT_FILE_MAX);
	if (cli_file_read(path, &text, err) < 0)
		return -err->code;
	if (wl_json_parse(text.data ? text.data : "", text.length, &more, err) < 0 ||
	    cli_inputs_merge(inputs, more, err) < 0)
		return wl_fail_within(err, "%.200s", path);
	return 0;
}

int cli_inputs_given(const struct cli_arguments *arguments, const struct wl_json *schema, struct wl_json *inputs,
		     struct wl_error *err)
{
	for (int i = 0; i < arguments->given_count; i++) {
		const struct cli_given *given = &arguments->given[i];
		int result = 0;
		if (strcmp(given->option->name, "input") == 0)
			result = cli_inputs_add(inputs, given->value, schema, cli_file_read, err);
		else if (strcmp(given->option->name, "input-json") == 0)
			result = merge_file(inputs, given->value, err);
		if (result < 0)
			return result;
	}
	return 0;
}

/* {"inputs", "config"} of the execute call. */
static int build_body(const struct cli_arguments *arguments, const struct wl_json *schema, bool of_file,
		      struct wl_json **ret_body, struct wl_error *err)
{
	long version, timeout_s;
	if (cli_number(arguments, "version", 1, VERSION_MOST, 0, &version, err) < 0 ||
	    cli_number(arguments, "timeout", 1, TIMEOUT_MOST_S, 0, &timeout_s, err) < 0)
		return -err->code;
	bool draft = cli_flag(arguments, "draft") || (of_file && !version);
	if (cli_flag(arguments, "draft") && version)
		return wl_fail(err, EINVAL, "--draft and --version exclude each other");
	_wl_json_ struct wl_json *body = wl_json_object();
	_wl_json_ struct wl_json *inputs = wl_json_object();
	_wl_json_ struct wl_json *config = wl_json_object();
	if (!body || !inputs || !config)
		return wl_fail(err, ENOMEM, "no memory for a request");
	if (cli_inputs_given(arguments, schema, inputs, err) < 0)
		return -err->code;
	int failed = wl_json_set(body, "inputs", wl_steal(inputs));
	if (draft)
		failed |= wl_json_set_string(config, "version", "draft");
	else if (version)
		failed |= wl_json_set_number(config, "version", (double)version);
	if (timeout_s)
		failed |= wl_json_set_number(config, "timeout_s", (double)timeout_s);
	failed |= wl_json_set(body, "config", wl_steal(config));
	if (failed)
		return wl_fail(err, ENOMEM, "no memory for a request");
	*ret_body = wl_steal(body);
	return 0;
}

int cli_run_execute(struct cli *cli, const char *flow_id, const struct wl_json *body, char id[WL_UUID_TEXT],
		    struct wl_error *err)
{
	char path[80], header[64], key[WL_UUID_TEXT];
	if (!wl_uuid_valid(flow_id))
		return wl_fail(err, EPROTO, "%s answered with a flow without id", cli->login.url);
	(void)snprintf(path, sizeof(path), "/flows/%s/execute", flow_id);
	/* the key makes the second try behind a refreshed token the same execution */
	(void)snprintf(header, sizeof(header), "Idempotency-Key: %s", wl_uuid7(wl_clock_wall_ms(), key));
	struct cli_call call = { .method = "POST", .path = path, .body = body, .header = header };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	const char *given = wl_json_get_string(answer.json, "execution_id", "");
	if (!wl_uuid_valid(given))
		return wl_fail(err, EPROTO, "%s answered without an execution_id", cli->login.url);
	memcpy(id, given, WL_UUID_TEXT);
	return 0;
}

int cli_run_accepted(const struct cli *cli, const char *id, struct wl_error *err)
{
	if (!cli->json) {
		(void)puts(id);
		return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
	}
	_wl_json_ struct wl_json *line = wl_json_object();
	if (!line || wl_json_set_string(line, "execution_id", id) < 0 ||
	    wl_json_set_string(line, "status", "queued") < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return cli_print_json(line, false, err);
}

static int print_outputs(const struct wl_json *outputs, const char *field, struct wl_error *err)
{
	const struct wl_json *value = field ? wl_json_get(outputs, field) : outputs;
	if (field && !value)
		return wl_fail(err, EIO, "the outputs have no member '%.64s'", field);
	if (!value)
		return 0;
	const char *text = field ? wl_json_string(value, NULL) : NULL;
	if (!text)
		return cli_print_json(value, true, err);
	size_t length = strlen(text);
	if (isatty(STDOUT_FILENO))
		cli_print_text(stdout, text, false);
	else
		(void)fwrite(text, 1, length, stdout);
	if (length == 0 || text[length - 1] != '\n')
		(void)fputc('\n', stdout);
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_run_follow(struct cli *cli, const struct cli_arguments *arguments, const char *id, struct wl_error *err)
{
	struct cli_follow_plan plan = {
		.show = cli->json ? CLI_SHOW_JSON : CLI_SHOW_PROGRESS,
		.cancel_on_interrupt = cli_flag(arguments, "cancel-on-interrupt"),
	};
	memcpy(plan.execution, id, sizeof(plan.execution));
	if (!cli->json)
		(void)fprintf(stderr, "execution %s\n", id);
	_cli_follow_end_ struct cli_follow_end end = { 0 };
	if (cli_follow(cli, &plan, &end, err) < 0)
		return -err->code;
	enum cli_exit outcome = cli_exit_of_status(end.status);
	if (!cli->json) {
		(void)fprintf(stderr, "%s", cli_colour(cli->colour_err, cli_status_colour(end.status)));
		cli_print_text(stderr, end.status, true);
		(void)fprintf(stderr, "%s\n", cli_colour_end(cli->colour_err));
		cli_print_fault(cli, end.error);
		if (outcome == CLI_EXIT_OK && print_outputs(end.outputs, cli_value(arguments, "get", NULL), err) < 0)
			return -err->code;
	}
	return cli_exit_code(outcome);
}

/* The flow to run: made or changed from the file, or found. */
static int settle_flow(struct cli *cli, const char *word, bool is_file, struct wl_json **ret_flow, struct wl_error *err)
{
	if (!is_file)
		return cli_flow_find(cli, word, ret_flow, err);
	_wl_json_ struct wl_json *file = NULL;
	enum cli_applied how;
	if (cli_flow_file_read(word, &file, err) < 0)
		return -err->code;
	return cli_flow_apply(cli, file, ret_flow, &how, err);
}

int cli_run(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *word = arguments->words[0];
	bool is_file = cli_flow_file_named(word);
	if (is_file && cli_value(arguments, "version", NULL))
		return wl_fail(err, EINVAL, "--version goes with a flow's name or id: a file is run as it is");
	if (cli_connect(cli, arguments, err) < 0 || cli_need_token(cli, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *flow = NULL;
	_wl_json_ struct wl_json *body = NULL;
	char id[WL_UUID_TEXT];
	if (settle_flow(cli, word, is_file, &flow, err) < 0 ||
	    build_body(arguments, wl_json_get(flow, "input_schema"), is_file, &body, err) < 0 ||
	    cli_run_execute(cli, wl_json_get_string(flow, "id", ""), body, id, err) < 0)
		return -err->code;
	if (!cli_flag(arguments, "follow"))
		return cli_run_accepted(cli, id, err);
	return cli_run_follow(cli, arguments, id, err);
}
