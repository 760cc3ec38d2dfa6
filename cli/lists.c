/* windlass flows, executions, logs, cancel. */
#include "cli/lists.h"
#include "cli/actions.h"
#include "cli/commands.h"
#include "cli/core/outcome.h"
#include "cli/core/text.h"
#include "cli/flows.h"
#include "cli/follow.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/model/states.h"

#include <errno.h>
#include <string.h>

#define LIST_STANDARD 20
#define PAGE_MOST 100
#define CURSOR_MOST 1000

/* The rest of the query for the page behind `answer` (NULL: the first); false when there is none. */
static bool next_page(const struct cli_list_plan *plan, const struct wl_json *answer, long page, struct wl_buffer *path)
{
	const struct wl_json *info = wl_json_get(answer, "page_info");
	long size = plan->limit < PAGE_MOST ? plan->limit : PAGE_MOST;
	wl_buffer_clear(path);
	(void)wl_buffer_appendf(path, "%slimit=%ld", plan->path, size);
	if (!plan->by_cursor) {
		(void)wl_buffer_appendf(path, "&page=%ld", page);
		return page == 1 || page <= (long)wl_json_get_number(info, "pages", 0);
	}
	if (page == 1)
		return true;
	const char *cursor = wl_json_get_string(info, "next_cursor", "");
	(void)wl_buffer_append_text(path, "&cursor=");
	cli_append_encoded(path, cursor);
	return *cursor && strlen(cursor) <= CURSOR_MOST;
}

int cli_list_read(struct cli *cli, const struct cli_list_plan *plan, struct wl_json **ret_rows, struct wl_error *err)
{
	_wl_json_ struct wl_json *rows = wl_json_array();
	_wl_json_ struct wl_json *answer = NULL;
	_wl_buffer_ struct wl_buffer path;
	wl_buffer_init(&path, 8 << 10);
	if (!rows)
		return wl_fail(err, ENOMEM, "no memory for the list");
	long count = 0;
	for (long page = 1; count < plan->limit && next_page(plan, answer, page, &path); page++) {
		wl_json_free(answer);
		answer = NULL;
		if (path.failed)
			return wl_fail(err, EINVAL, "the search is too long");
		if (cli_get(cli, path.data, &answer, err) < 0)
			return -err->code;
		const struct wl_json *row = wl_json_first(wl_json_get(answer, plan->member));
		if (!row)
			break;
		for (; row && count < plan->limit; row = wl_json_next(row), count++)
			if (wl_json_append(rows, wl_json_copy(row)) < 0)
				return wl_fail(err, ENOMEM, "no memory for the list");
	}
	*ret_rows = wl_steal(rows);
	return 0;
}

int cli_list_print_json(const char *member, struct wl_json *rows, struct wl_error *err)
{
	_wl_json_ struct wl_json *whole = wl_json_object();
	if (!whole) {
		wl_json_free(rows);
		return wl_fail(err, ENOMEM, "no memory for the list");
	}
	if (wl_json_set(whole, member, rows) < 0)
		return wl_fail(err, ENOMEM, "no memory for the list");
	return cli_print_json(whole, false, err);
}

int cli_flows(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct cli_list_plan plan = { .path = "/flows?sort=name&", .member = "flows" };
	const char *status = cli_value(arguments, "status", NULL);
	char path[64];
	(void)snprintf(path, sizeof(path), "/flows?sort=name&%s%s%s", status ? "status=" : "", status ? status : "",
		       status ? "&" : "");
	plan.path = path;
	_wl_json_ struct wl_json *rows = NULL;
	if (cli_number(arguments, "limit", 1, CLI_LIST_MOST, CLI_LIST_MOST, &plan.limit, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0 || cli_list_read(cli, &plan, &rows, err) < 0)
		return -err->code;
	if (cli->json)
		return cli_list_print_json(plan.member, wl_steal(rows), err);
	_cli_rows_ struct cli_rows table = { .columns = 5 };
	cli_rows_add(&table, (const char *const[]){ "NAME", "STATUS", "VERSION", "CHANGED", "ID" });
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		char version[32] = "-";
		if (wl_json_is(wl_json_get(row, "version"), WL_JSON_NUMBER))
			(void)snprintf(version, sizeof(version), "%.0f", wl_json_get_number(row, "version", 0));
		cli_rows_add(&table, (const char *const[]){ wl_json_get_string(row, "name", ""),
							    wl_json_get_string(row, "status", ""), version,
							    wl_json_get_string(row, "updated_at", ""),
							    wl_json_get_string(row, "id", "") });
	}
	return cli_rows_print(&table, err);
}

/* The name of a flow among the flows of the server, or its id. */
static const char *name_of_flow(const struct wl_json *flows, const char *id)
{
	for (const struct wl_json *flow = wl_json_first(flows); flow; flow = wl_json_next(flow))
		if (strcmp(wl_json_get_string(flow, "id", ""), id) == 0)
			return wl_json_get_string(flow, "name", id);
	return id;
}

static int print_executions(const struct wl_json *rows, const struct wl_json *flows, struct wl_error *err)
{
	_cli_rows_ struct cli_rows table = { .columns = 5 };
	cli_rows_add(&table, (const char *const[]){ "ID", "FLOW", "STATUS", "ACCEPTED", "TOOK" });
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		char took[CLI_DURATION_TEXT];
		(void)cli_duration(cli_time_between_ms(wl_json_get_string(row, "start_time", ""),
						       wl_json_get_string(row, "end_time", "")),
				   took);
		cli_rows_add(&table, (const char *const[]){ wl_json_get_string(row, "id", ""),
							    name_of_flow(flows, wl_json_get_string(row, "flow_id", "")),
							    wl_json_get_string(row, "status", ""),
							    wl_json_get_string(row, "created_at", ""), took });
	}
	return cli_rows_print(&table, err);
}

int cli_executions(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer path;
	_wl_json_ struct wl_json *flow = NULL;
	_wl_json_ struct wl_json *rows = NULL;
	_wl_json_ struct wl_json *flows = NULL;
	struct cli_list_plan plan = { .member = "executions", .by_cursor = true };
	const char *status = cli_value(arguments, "status", NULL), *wanted = cli_value(arguments, "flow", NULL);
	wl_buffer_init(&path, 1024);
	if (cli_number(arguments, "limit", 1, CLI_LIST_MOST, LIST_STANDARD, &plan.limit, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0 || (wanted && cli_flow_find(cli, wanted, &flow, err) < 0))
		return -err->code;
	(void)wl_buffer_append_text(&path, "/executions?");
	if (status)
		(void)wl_buffer_appendf(&path, "status=%s&", status);
	if (flow)
		(void)wl_buffer_appendf(&path, "flow_id=%s&", wl_json_get_string(flow, "id", ""));
	if (path.failed)
		return wl_fail(err, path.failed, "no memory for a request");
	plan.path = path.data;
	if (cli_list_read(cli, &plan, &rows, err) < 0)
		return -err->code;
	if (cli->json)
		return cli_list_print_json(plan.member, wl_steal(rows), err);
	struct cli_list_plan names = { .path = "/flows?", .member = "flows", .limit = CLI_LIST_MOST };
	if (cli_list_read(cli, &names, &flows, err) < 0)
		return -err->code;
	return print_executions(rows, flows, err);
}

int cli_need_execution_id(const char *id, struct wl_error *err)
{
	if (wl_uuid_valid(id))
		return 0;
	return wl_fail(err, EINVAL, "'%.64s' is not the id of an execution; windlass executions lists them", id);
}

static int print_logs(const struct cli *cli, const struct wl_json *logs, const char *node, struct wl_error *err)
{
	_wl_json_ struct wl_json *kept = wl_json_array();
	if (!kept)
		return wl_fail(err, ENOMEM, "no memory for the log");
	for (const struct wl_json *line = wl_json_first(logs); line; line = wl_json_next(line)) {
		if (node && strcmp(wl_json_get_string(line, "node_id", ""), node) != 0)
			continue;
		if (!cli->json)
			cli_print_log(stdout, cli->colour_out, line);
		else if (wl_json_append(kept, wl_json_copy(line)) < 0)
			return wl_fail(err, ENOMEM, "no memory for the log");
	}
	if (cli->json)
		return cli_list_print_json("logs", wl_steal(kept), err);
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_logs(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct cli_follow_plan plan = { .show = cli->json ? CLI_SHOW_JSON : CLI_SHOW_LOGS,
					.node = cli_value(arguments, "node", NULL) };
	if (cli_need_execution_id(arguments->words[0], err) < 0 || cli_connect(cli, arguments, err) < 0)
		return -err->code;
	memcpy(plan.execution, arguments->words[0], sizeof(plan.execution));
	if (!cli_flag(arguments, "follow")) {
		_wl_json_ struct wl_json *answer = NULL;
		if (cli_execution_read(cli, plan.execution, &answer, err) < 0)
			return -err->code;
		return print_logs(cli, wl_json_get(answer, "logs"), plan.node, err);
	}
	_cli_follow_end_ struct cli_follow_end end = { 0 };
	if (cli_follow(cli, &plan, &end, err) < 0)
		return -err->code;
	if (!cli->json)
		cli_print_fault(cli, end.error);
	return cli_exit_code(cli_exit_of_status(end.status));
}

int cli_cancel(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	char status[32];
	const char *id = arguments->words[0];
	if (cli_need_execution_id(id, err) < 0 || cli_connect(cli, arguments, err) < 0 ||
	    cli_execution_cancel(cli, id, status, err) < 0)
		return -err->code;
	if (!cli->json) {
		cli_print_text(stdout, status, true);
		(void)fputc('\n', stdout);
		return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
	}
	_wl_json_ struct wl_json *line = wl_json_object();
	if (!line || wl_json_set_string(line, "execution_id", id) < 0 || wl_json_set_string(line, "status", status) < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return cli_print_json(line, false, err);
}
