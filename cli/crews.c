/* windlass crews test, crews kickoff and agents test: agents and crews without a flow. */
#include "cli/actions.h"
#include "cli/core/outcome.h"
#include "cli/print.h"
#include "cli/run.h"
#include "lib/base/cleanup.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIAL_MOST_S 3600L

static const struct cli_group crews = { "crews", "/crews", "crews", "name", NULL };
static const struct cli_group agents = { "agents", "/agents", "agents", "name", NULL };

/* {"inputs", "timeout_s"} from the options. */
static struct wl_json *trial_body(const struct cli_arguments *arguments, struct wl_error *err)
{
	long timeout_s;
	if (cli_number(arguments, "timeout", 1, TRIAL_MOST_S, 0, &timeout_s, err) < 0)
		return NULL;
	_wl_json_ struct wl_json *body = wl_json_object();
	_wl_json_ struct wl_json *inputs = wl_json_object();
	if (inputs && cli_inputs_given(arguments, NULL, inputs, err) < 0)
		return NULL;
	if (!body || !inputs || wl_json_set(body, "inputs", wl_steal(inputs)) < 0 ||
	    (timeout_s && wl_json_set_number(body, "timeout_s", (double)timeout_s) < 0)) {
		(void)wl_fail(err, ENOMEM, "no memory for a request");
		return NULL;
	}
	return wl_steal(body);
}

/* Print what a trial came to; its status is the exit code. Of one that goes on its id. */
static int show_trial(const struct cli *cli, const struct wl_json *answer, bool ended, struct wl_error *err)
{
	const char *status = wl_json_get_string(answer, "status", "");
	if (!ended && !cli->json) {
		(void)fputs("it goes on; windlass logs --follow shows how\n", stderr);
		cli_print_text(stdout, wl_json_get_string(answer, "execution_id", ""), true);
		(void)fputc('\n', stdout);
		return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
	}
	if (cli_print_json(answer, !cli->json, err) < 0)
		return -err->code;
	return ended ? cli_exit_code(cli_exit_of_status(status)) : 0;
}

/* POST to `path`; waits as the server does, or follows the run to its end. */
static int run_trial(struct cli *cli, const struct cli_arguments *arguments, const char *path,
		     const struct wl_json *body, struct wl_error *err)
{
	bool follow = cli_flag(arguments, "follow");
	struct cli_call call = {
		.method = "POST", .path = path, .body = body, .header = follow ? "Prefer: wait=0" : NULL
	};
	_cli_answer_ struct cli_answer answer = { 0 };
	if (!follow && cli_value(arguments, "get", NULL))
		return wl_fail(err, EINVAL, "--get goes with --follow");
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	const char *id = wl_json_get_string(answer.json, "execution_id", "");
	if (!follow)
		return show_trial(cli, answer.json, answer.status == 200, err);
	if (!wl_uuid_valid(id))
		return wl_fail(err, EPROTO, "%s answered without an execution_id", cli->login.url);
	return cli_run_follow(cli, arguments, id, err);
}

static int trial_path(struct cli *cli, const struct cli_arguments *arguments, const struct cli_group *group,
		      char path[80], struct wl_error *err)
{
	char id[WL_UUID_TEXT];
	if (cli_connect(cli, arguments, err) < 0 || cli_need_token(cli, err) < 0 ||
	    cli_thing_find(cli, group, arguments->words[1], id, err) < 0)
		return -err->code;
	(void)snprintf(path, 80, "%s/%s/test", group->path, id);
	return 0;
}

int cli_crew_test(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	char path[80];
	_wl_json_ struct wl_json *body = trial_body(arguments, err);
	if (!body || trial_path(cli, arguments, &crews, path, err) < 0)
		return -err->code;
	return run_trial(cli, arguments, path, body, err);
}

int cli_agent_test(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	char path[80];
	const char *expected = cli_value(arguments, "expected", NULL);
	_wl_json_ struct wl_json *body = trial_body(arguments, err);
	if (!body)
		return -err->code;
	if (wl_json_set_string(body, "task", arguments->words[2]) < 0 ||
	    (expected && wl_json_set_string(body, "expected_output", expected) < 0))
		return wl_fail(err, ENOMEM, "no memory for a request");
	if (trial_path(cli, arguments, &agents, path, err) < 0)
		return -err->code;
	return run_trial(cli, arguments, path, body, err);
}
