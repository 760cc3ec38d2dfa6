#include "cli/commands.h"
#include "cli/flow_file.h"
#include "cli/flows.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"

#include <errno.h>

static const char *const applied_names[] = {
	[CLI_CREATED] = "created",
	[CLI_UPDATED] = "updated",
	[CLI_UNCHANGED] = "unchanged",
};

static int report(struct cli *cli, struct wl_json *results, const struct wl_json *flow, const char *how, long version,
		  struct wl_error *err)
{
	const char *name = wl_json_get_string(flow, "name", ""), *id = wl_json_get_string(flow, "id", "");
	if (!cli->json) {
		(void)printf("%s ", how);
		cli_print_text(stdout, name, true);
		(void)fputc(' ', stdout);
		cli_print_text(stdout, id, true);
		if (version)
			(void)printf(", version %ld", version);
		(void)fputc('\n', stdout);
		return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
	}
	_wl_json_ struct wl_json *row = wl_json_object();
	int failed = row ? 0 : -ENOMEM;
	failed |= failed ? 0 : wl_json_set_string(row, "name", name);
	failed |= failed ? 0 : wl_json_set_string(row, "id", id);
	failed |= failed ? 0 : wl_json_set_string(row, "result", how);
	failed |= failed    ? 0
		  : version ? wl_json_set_number(row, "version", (double)version)
			    : wl_json_set(row, "version", wl_json_new_null());
	if (failed || wl_json_append(results, wl_steal(row)) < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return 0;
}

static int apply_one(struct cli *cli, const struct cli_arguments *arguments, const char *path, struct wl_json *results,
		     struct wl_error *err)
{
	_wl_json_ struct wl_json *file = NULL;
	_wl_json_ struct wl_json *flow = NULL;
	enum cli_applied how;
	long version = 0;
	if (cli_flow_file_read(path, &file, err) < 0)
		return -err->code;
	if (cli_flow_apply(cli, file, &flow, &how, err) < 0)
		return wl_fail_within(err, "%.200s", path);
	if (cli_flag(arguments, "publish") && cli_flow_publish(cli, wl_json_get_string(flow, "id", ""),
							       cli_value(arguments, "note", NULL), &version, err) < 0)
		return wl_fail_within(err, "%.200s", path);
	return report(cli, results, flow, applied_names[how], version, err);
}

int cli_apply(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_json_ struct wl_json *results = wl_json_array();
	if (!results)
		return wl_fail(err, ENOMEM, "no memory for the output");
	if (cli_connect(cli, arguments, err) < 0 || cli_need_token(cli, err) < 0)
		return -err->code;
	for (int i = 0; i < arguments->word_count; i++)
		if (apply_one(cli, arguments, arguments->words[i], results, err) < 0)
			return -err->code;
	if (!cli->json)
		return 0;
	_wl_json_ struct wl_json *whole = wl_json_object();
	if (!whole || wl_json_set(whole, "flows", wl_steal(results)) < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return cli_print_json(whole, false, err);
}
