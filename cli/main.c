/* windlass: the command line of Windlass. */
#include "cli/commands.h"
#include "cli/core/outcome.h"
#include "cli/print.h"

#include <curl/curl.h>
#include <signal.h>
#include <string.h>

/* The sentence of a failure, and every fault with its path when the server told them. */
static void report(const struct cli *cli, const struct wl_error *err)
{
	(void)fprintf(stderr, "%swindlass: ", cli_colour(cli->colour_err, CLI_RED));
	cli_print_text(stderr, err->text, false);
	(void)fprintf(stderr, "%s\n", cli_colour_end(cli->colour_err));
	const struct wl_json *fault = wl_json_first(wl_json_get(cli->problem, "errors"));
	for (; fault; fault = wl_json_next(fault)) {
		(void)fputs("  ", stderr);
		cli_print_text(stderr, wl_json_get_string(fault, "path", ""), true);
		(void)fputs(": ", stderr);
		cli_print_text(stderr, wl_json_get_string(fault, "message", ""), true);
		(void)fputc('\n', stderr);
	}
}

static int run_command(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	if (arguments->command && !cli_flag(arguments, "help"))
		return arguments->command->run(cli, arguments, err);
	_wl_buffer_ struct wl_buffer help;
	wl_buffer_init(&help, 0);
	if (arguments->command)
		cli_help_command(&help, arguments->command);
	else
		cli_help_overview(&help, cli->table);
	int result = cli_print_buffer(&help, err);
	bool asked = arguments->command || cli_flag(arguments, "help");
	return result < 0 ? result : cli_exit_code(asked ? CLI_EXIT_OK : CLI_EXIT_USAGE);
}

int main(int argc, char **argv)
{
	struct cli cli = { .table = cli_commands };
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	(void)signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of the write */
	cli_print_setup(&cli);
	int result = cli_arguments_parse(cli_commands, argc, argv, &arguments, &err);
	if (result == 0) {
		cli.json = cli_flag(&arguments, "json");
		(void)curl_global_init(CURL_GLOBAL_DEFAULT);
		result = run_command(&cli, &arguments, &err);
	}
	if (result < 0) {
		report(&cli, &err);
		result = cli_exit_code(cli_exit_of_error(-result));
	}
	cli_release(&cli);
	curl_global_cleanup();
	return result;
}
