/* windlass exchanges, replay and fork: what a run's models and tools said, and runs that go by it. */
#include "cli/actions.h"
#include "cli/commands.h"
#include "cli/core/text.h"
#include "cli/flows.h"
#include "cli/follow.h"
#include "cli/lists.h"
#include "cli/print.h"
#include "cli/run.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <string.h>

#define SHOWN_STANDARD 100
#define TEXT_SHOWN 60 /* columns of an answer in the table */
#define VERSION_MOST 2147483647L

/* ---- exchanges --------------------------------------------------------------------------------------------------- */

/* The beginning of what was answered, or why there is none. */
static void answer_cell(const struct wl_json *answer, char text[TEXT_SHOWN * 4])
{
	const char *said = wl_json_get_string(answer, "text", NULL);
	if (!said)
		said = wl_json_get_string(answer, "message", wl_json_get_string(answer, "code", ""));
	size_t at = 0;
	for (int columns = 0; said[at] && columns < TEXT_SHOWN && at < TEXT_SHOWN * 4 - 5; columns++) {
		text[at] = said[at]; /* a character is a byte and all that continue it */
		for (at++; ((unsigned char)said[at] & 0xC0) == 0x80 && at < TEXT_SHOWN * 4 - 5; at++)
			text[at] = said[at];
	}
	(void)snprintf(text + at, 5, "%s", said[at] ? "…" : "");
}

static int print_exchanges(const struct wl_json *rows, struct wl_error *err)
{
	_cli_rows_ struct cli_rows table = { .columns = 7 };
	cli_rows_add(&table, (const char *const[]){ "NODE", "PLACE", "KIND", "TOOK", "TOKENS", "BYTES", "ANSWER" });
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		const struct wl_json *answer = wl_json_get(row, "answer"), *usage = wl_json_get(answer, "usage");
		char took[CLI_DURATION_TEXT], tokens[64] = "", bytes[32], text[TEXT_SHOWN * 4];
		(void)cli_duration(cli_time_between_ms(wl_json_get_string(row, "start_time", ""),
						       wl_json_get_string(row, "end_time", "")),
				   took);
		if (usage)
			(void)snprintf(tokens, sizeof(tokens), "%.0f+%.0f",
				       wl_json_get_number(usage, "prompt_tokens", 0),
				       wl_json_get_number(usage, "completion_tokens", 0));
		(void)snprintf(bytes, sizeof(bytes), "%.0f", wl_json_get_number(row, "answer_bytes", 0));
		answer_cell(answer, text);
		cli_rows_add(&table,
			     (const char *const[]){ wl_json_get_string(row, "node_id", ""),
						    wl_json_get_string(row, "place", ""),
						    wl_json_get_string(row, "kind", ""), took, tokens, bytes, text });
	}
	return cli_rows_print(&table, err);
}

static void put_filter(struct wl_buffer *path, const char *name, const char *value)
{
	if (!value)
		return;
	(void)wl_buffer_appendf(path, "%s=", name);
	cli_append_encoded(path, value);
	(void)wl_buffer_append_char(path, '&');
}

/* One exchange with all of its answer. */
static int show_exchange(struct cli *cli, const char *path, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	if (cli_get(cli, path, &answer, err) < 0)
		return -err->code;
	return cli_print_json(wl_json_first(wl_json_get(answer, "exchanges")), !cli->json, err);
}

int cli_exchanges(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *node = cli_value(arguments, "node", NULL), *place = cli_value(arguments, "place", NULL);
	struct cli_list_plan plan = { .member = "exchanges", .by_cursor = true };
	_wl_buffer_ struct wl_buffer path;
	_wl_json_ struct wl_json *rows = NULL;
	wl_buffer_init(&path, 8 << 10);
	if (place && !node)
		return wl_fail(err, EINVAL, "--place is one of a node: say which by --node");
	if (cli_need_execution_id(arguments->words[0], err) < 0 ||
	    cli_number(arguments, "limit", 1, CLI_LIST_MOST, SHOWN_STANDARD, &plan.limit, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0)
		return -err->code;
	(void)wl_buffer_appendf(&path, "/executions/%s/exchanges?", arguments->words[0]);
	put_filter(&path, "node", node);
	put_filter(&path, "place", place);
	if (path.failed)
		return wl_fail(err, EINVAL, "the search is too long");
	if (place) {
		path.data[path.length - 1] = '\0'; /* the last & */
		return show_exchange(cli, path.data, err);
	}
	plan.path = path.data;
	if (cli_list_read(cli, &plan, &rows, err) < 0)
		return -err->code;
	return cli->json ? cli_list_print_json(plan.member, wl_steal(rows), err) : print_exchanges(rows, err);
}

/* ---- replay and fork --------------------------------------------------------------------------------------------- */

static int show_accepted(struct cli *cli, const struct cli_arguments *arguments, const char *id, struct wl_error *err)
{
	return cli_flag(arguments, "follow") ? cli_run_follow(cli, arguments, id, err) : cli_run_accepted(cli, id, err);
}

int cli_replay(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	char path[80], header[64], key[WL_UUID_TEXT];
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_need_execution_id(arguments->words[0], err) < 0 || cli_connect(cli, arguments, err) < 0 ||
	    cli_need_token(cli, err) < 0)
		return -err->code;
	(void)snprintf(path, sizeof(path), "/executions/%s/replay", arguments->words[0]);
	(void)snprintf(header, sizeof(header), "Idempotency-Key: %s", wl_uuid7(wl_clock_wall_ms(), key));
	struct cli_call call = { .method = "POST", .path = path, .header = header };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	const char *id = wl_json_get_string(answer.json, "execution_id", "");
	if (!wl_uuid_valid(id))
		return wl_fail(err, EPROTO, "%s answered without an execution_id", cli->login.url);
	return show_accepted(cli, arguments, id, err);
}

static struct wl_json *named_run(const char *eid)
{
	_wl_json_ struct wl_json *named = wl_json_object();
	return named && wl_json_set_string(named, "execution_id", eid) == 0 ? wl_steal(named) : NULL;
}

/* {"version", "fork", "reuse"}: the draft unless a version is named. */
static struct wl_json *fork_config(const char *eid, const char *from, long version)
{
	_wl_json_ struct wl_json *config = wl_json_object();
	struct wl_json *nodes;
	if (!config)
		return NULL;
	int failed = version ? wl_json_set_number(config, "version", (double)version)
			     : wl_json_set_string(config, "version", "draft");
	failed |= wl_json_set(config, "fork", named_run(eid));
	if (from && !failed) {
		_wl_json_ struct wl_json *reuse = named_run(eid);
		failed = !reuse || !(nodes = wl_json_array()) || wl_json_set(reuse, "rerun", nodes) < 0 ||
			 wl_json_append(nodes, wl_json_new_string(from)) < 0 ||
			 wl_json_set(config, "reuse", wl_steal(reuse)) < 0;
	}
	return failed ? NULL : wl_steal(config);
}

/* The inputs of the run, those that are given anew in their place. Of the caller's; NULL with err filled. */
static struct wl_json *fork_inputs(const struct cli_arguments *arguments, const struct wl_json *before,
				   const struct wl_json *schema, struct wl_error *err)
{
	_wl_json_ struct wl_json *given = wl_json_object();
	_wl_json_ struct wl_json *inputs = wl_json_is(before, WL_JSON_OBJECT) ? wl_json_copy(before) : wl_json_object();
	if (given && cli_inputs_given(arguments, schema, given, err) < 0)
		return NULL;
	bool failed = !given || !inputs;
	for (const struct wl_json *one = wl_json_first(given); one && !failed; one = wl_json_next(one))
		failed = wl_json_set(inputs, wl_json_key(one), wl_json_copy(one)) < 0;
	if (failed) {
		(void)wl_fail(err, ENOMEM, "no memory for a request");
		return NULL;
	}
	return wl_steal(inputs);
}

int cli_fork(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *eid = arguments->words[0];
	char id[WL_UUID_TEXT];
	long version;
	_wl_json_ struct wl_json *answer = NULL;
	_wl_json_ struct wl_json *flow = NULL;
	_wl_json_ struct wl_json *body = wl_json_object();
	if (cli_need_execution_id(eid, err) < 0 ||
	    cli_number(arguments, "version", 1, VERSION_MOST, 0, &version, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0 || cli_execution_read(cli, eid, &answer, err) < 0)
		return -err->code;
	const struct wl_json *run = wl_json_get(answer, "execution");
	const char *flow_id = wl_json_get_string(run, "flow_id", ""), *source = wl_json_get_string(run, "source", "");
	if (!wl_uuid_valid(flow_id) || cli_choice_has("tool agent crew", source))
		return wl_fail(err, EINVAL, "%s is no run of a flow: there is nothing to edit; windlass replay runs it",
			       eid);
	if (!body)
		return wl_fail(err, ENOMEM, "no memory for a request");
	if (cli_flow_find(cli, flow_id, &flow, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *inputs =
		fork_inputs(arguments, wl_json_get(run, "inputs"), wl_json_get(flow, "input_schema"), err);
	if (!inputs)
		return -err->code;
	if (wl_json_set(body, "inputs", wl_steal(inputs)) < 0 ||
	    wl_json_set(body, "config", fork_config(eid, cli_value(arguments, "from", NULL), version)) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	if (cli_run_execute(cli, flow_id, body, id, err) < 0)
		return -err->code;
	return show_accepted(cli, arguments, id, err);
}
