#include "cli/doctor.h"

#include "cli/commands.h"
#include "cli/core/outcome.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

static const char *const health_names[] = {
	[CLI_HEALTH_OK] = "ok",
	[CLI_HEALTH_NOTE] = "note",
	[CLI_HEALTH_MISSING] = "missing",
};

void cli_finding(struct cli_checkup *checkup, enum cli_health health, const char *name, const char *advice,
		 const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	checkup->missing += health == CLI_HEALTH_MISSING;
	struct wl_json *row = wl_json_object();
	int failed = row ? 0 : -ENOMEM;
	failed |= failed ? 0 : wl_json_set_string(row, "name", name);
	failed |= failed ? 0 : wl_json_set_string(row, "health", health_names[health]);
	failed |= failed ? 0 : wl_json_set_string(row, "text", text);
	failed |= failed ? 0 : wl_json_set_string(row, "advice", advice);
	if (failed) {
		wl_json_free(row);
		checkup->failed = true;
		return;
	}
	checkup->failed |= wl_json_append(checkup->findings, row) < 0;
}

static void print_finding(const struct cli *cli, const struct wl_json *row)
{
	const char *health = wl_json_get_string(row, "health", ""), *advice = wl_json_get_string(row, "advice", NULL);
	enum cli_colour colour = strcmp(health, "ok") == 0     ? CLI_GREEN
				 : strcmp(health, "note") == 0 ? CLI_YELLOW
							       : CLI_RED;
	(void)printf("%s%-8s%s%-18s ", cli_colour(cli->colour_out, colour), health, cli_colour_end(cli->colour_out),
		     wl_json_get_string(row, "name", ""));
	cli_print_text(stdout, wl_json_get_string(row, "text", ""), true);
	(void)fputc('\n', stdout);
	if (advice) {
		(void)printf("%-27s-> ", "");
		cli_print_text(stdout, advice, true);
		(void)fputc('\n', stdout);
	}
}

static int print_findings(const struct cli *cli, struct cli_checkup *checkup, struct wl_error *err)
{
	if (cli->json) {
		_wl_json_ struct wl_json *whole = wl_json_object();
		if (!whole || wl_json_set_bool(whole, "healthy", checkup->missing == 0) < 0 ||
		    wl_json_set(whole, "findings", wl_steal(checkup->findings)) < 0)
			return wl_fail(err, ENOMEM, "no memory for the findings");
		return cli_print_json(whole, false, err);
	}
	for (const struct wl_json *row = wl_json_first(checkup->findings); row; row = wl_json_next(row))
		print_finding(cli, row);
	if (checkup->missing)
		(void)printf("\n%d thing%s missing.\n", checkup->missing, checkup->missing == 1 ? " is" : "s are");
	else
		(void)printf("\nThis host has what Windlass needs.\n");
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_doctor(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct cli_checkup checkup = { .cli = cli, .findings = wl_json_array() };
	if (!checkup.findings)
		return wl_fail(err, ENOMEM, "no memory for the findings");
	cli_doctor_host(&checkup);
	cli_doctor_servers(&checkup, arguments);
	int result = checkup.failed ? wl_fail(err, ENOMEM, "no memory for the findings")
				    : print_findings(cli, &checkup, err);
	wl_json_free(checkup.findings);
	return result < 0 ? result : cli_exit_code(checkup.missing ? CLI_EXIT_FAILED : CLI_EXIT_OK);
}
