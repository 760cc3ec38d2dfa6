/* windlass settings, version, completion, help. */
#include "cli/commands.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/settings.h"

#include <errno.h>
#include <stdint.h>

#define CLI_VERSION "0.1.0"

struct setting_row {
	const char *name;
	const char *text; /* default of a text setting, NULL for a number */
	long standard, least, most;
	const char *unit, *meaning;
};

static const struct setting_row setting_rows[] = {
#define X(name, standard, programs, meaning) { #name, standard, 0, 0, 0, NULL, meaning },
	WL_TEXT_SETTINGS(X)
#undef X
#define X(name, standard, least, most, unit, programs, meaning) { #name, NULL, standard, least, most, unit, meaning },
		WL_NUMBER_SETTINGS(X)
#undef X
};

static struct wl_json *setting_json(const struct setting_row *row)
{
	_wl_json_ struct wl_json *made = wl_json_object();
	int failed = made ? 0 : -ENOMEM;
	failed |= failed ? 0 : wl_json_set_string(made, "name", row->name);
	if (!failed && row->text) {
		failed |= wl_json_set_string(made, "default", row->text);
	} else if (!failed) {
		failed |= wl_json_set_number(made, "default", (double)row->standard);
		failed |= wl_json_set_number(made, "least", (double)row->least);
		failed |= wl_json_set_number(made, "most", (double)row->most);
		failed |= wl_json_set_string(made, "unit", row->unit);
	}
	failed |= failed ? 0 : wl_json_set_string(made, "meaning", row->meaning);
	return failed ? NULL : wl_steal(made);
}

static int settings_json(struct wl_error *err)
{
	_wl_json_ struct wl_json *whole = wl_json_object();
	_wl_json_ struct wl_json *rows = wl_json_array();
	int failed = whole && rows ? 0 : -ENOMEM;
	for (size_t i = 0; !failed && i < WL_COUNT_OF(setting_rows); i++)
		failed = wl_json_append(rows, setting_json(&setting_rows[i]));
	if (failed || wl_json_set(whole, "settings", wl_steal(rows)) < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return cli_print_json(whole, false, err);
}

int cli_settings(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	if (cli->json)
		return settings_json(err);
	if (cli_flag(arguments, "markdown"))
		wl_settings_markdown(stdout);
	else
		wl_settings_help(stdout, 0);
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_version(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	(void)arguments;
	_wl_buffer_ struct wl_buffer out;
	wl_buffer_init(&out, 0);
	(void)wl_buffer_appendf(&out, cli->json ? "{\"version\":\"%s\"}\n" : "windlass %s\n", CLI_VERSION);
	return cli_print_buffer(&out, err);
}

int cli_completion_command(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer out;
	wl_buffer_init(&out, 0);
	if (cli_completion(&out, cli->table, arguments->words[0], err) < 0)
		return -err->code;
	return cli_print_buffer(&out, err);
}

int cli_help(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer out;
	wl_buffer_init(&out, 0);
	const char *name = arguments->word_count ? arguments->words[0] : NULL;
	const struct cli_command *command = name ? cli_command_find(cli->table, name) : NULL;
	if (name && !command)
		return wl_fail(err, EINVAL, "there is no command '%.64s'; windlass help lists them", name);
	if (command)
		cli_help_command(&out, command);
	else if (cli_flag(arguments, "markdown"))
		cli_help_markdown(&out, cli->table);
	else
		cli_help_overview(&out, cli->table);
	return cli_print_buffer(&out, err);
}
