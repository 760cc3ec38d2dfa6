#include "cli/core/command.h"

#include "cli/core/outcome.h"

#include <stdio.h>
#include <string.h>

/* "-f, --follow" or "    --input K=V" */
static void option_form(const struct cli_option *option, char form[96])
{
	char letter[8] = "    ";
	if (option->letter)
		(void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	(void)snprintf(form, 96, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
		       option->value ? option->value : "");
}

static void write_options(struct wl_buffer *out, const struct cli_option *options)
{
	for (const struct cli_option *option = options; option && option->name; option++) {
		char form[96];
		option_form(option, form);
		(void)wl_buffer_appendf(out, "  %-28s %s%s%s\n", form, option->meaning, option->choices ? ": " : "",
					option->choices ? option->choices : "");
	}
}

void cli_help_overview(struct wl_buffer *out, const struct cli_command *table)
{
	(void)wl_buffer_append_text(out, "usage: windlass COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
	for (const struct cli_command *command = table; command->name; command++)
		(void)wl_buffer_appendf(out, "  %-12s %s\n", command->name, command->summary);
	(void)wl_buffer_append_text(out, "\noptions of every command:\n");
	write_options(out, cli_global_options);
	(void)wl_buffer_append_text(out, "\nexit codes:\n");
	for (int code = 0; code < CLI_EXIT_COUNT; code++)
		(void)wl_buffer_appendf(out, "  %-3d %s\n", cli_exit_code((enum cli_exit)code),
					cli_exit_meaning((enum cli_exit)code));
	(void)wl_buffer_append_text(out, "\nwindlass help COMMAND tells more about one command.\n");
}

static void write_usage(struct wl_buffer *out, const struct cli_command *command)
{
	(void)wl_buffer_appendf(out, "windlass %s%s%s [OPTIONS]\n", command->name, *command->arguments ? " " : "",
				command->arguments);
}

void cli_help_command(struct wl_buffer *out, const struct cli_command *command)
{
	(void)wl_buffer_append_text(out, "usage: ");
	write_usage(out, command);
	(void)wl_buffer_appendf(out, "\n%s.\n", command->summary);
	if (*command->detail)
		(void)wl_buffer_appendf(out, "\n%s\n", command->detail);
	if (command->options && command->options->name) {
		(void)wl_buffer_append_text(out, "\noptions:\n");
		write_options(out, command->options);
	}
	(void)wl_buffer_append_text(out, "\noptions of every command:\n");
	write_options(out, cli_global_options);
}

static void append_cell(struct wl_buffer *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			(void)wl_buffer_append_char(out, '\\');
		(void)wl_buffer_append_char(out, *text);
	}
}

static void markdown_options(struct wl_buffer *out, const struct cli_option *options)
{
	(void)wl_buffer_append_text(out, "| option | meaning |\n|---|---|\n");
	for (const struct cli_option *option = options; option->name; option++) {
		(void)wl_buffer_append_text(out, "| ");
		if (option->letter)
			(void)wl_buffer_appendf(out, "`-%c`, ", option->letter);
		(void)wl_buffer_appendf(out, "`--%s%s", option->name, option->value ? " " : "");
		append_cell(out, option->value ? option->value : "");
		(void)wl_buffer_append_text(out, "` | ");
		append_cell(out, option->meaning);
		if (option->choices)
			(void)wl_buffer_appendf(out, ": %s", option->choices);
		(void)wl_buffer_append_text(out, " |\n");
	}
	(void)wl_buffer_append_char(out, '\n');
}

/* Sentences as they are; what stands in columns keeps them as a code block. */
static void markdown_detail(struct wl_buffer *out, const char *detail)
{
	const char *indent = strstr(detail, "   ") ? "    " : "";
	while (*detail) {
		size_t length = strcspn(detail, "\n");
		(void)wl_buffer_append_text(out, indent);
		(void)wl_buffer_append(out, detail, length);
		(void)wl_buffer_append_char(out, '\n');
		detail += length + (detail[length] == '\n');
	}
	(void)wl_buffer_append_char(out, '\n');
}

void cli_help_markdown(struct wl_buffer *out, const struct cli_command *table)
{
	for (const struct cli_command *command = table; command->name; command++) {
		(void)wl_buffer_appendf(out, "### windlass %s\n\n    ", command->name);
		write_usage(out, command);
		(void)wl_buffer_appendf(out, "\n%s.\n\n", command->summary);
		if (*command->detail)
			markdown_detail(out, command->detail);
		if (command->options && command->options->name)
			markdown_options(out, command->options);
	}
	(void)wl_buffer_append_text(out, "### Options of every command\n\n");
	markdown_options(out, cli_global_options);
	(void)wl_buffer_append_text(out, "### Exit codes\n\n| code | meaning |\n|---|---|\n");
	for (int code = 0; code < CLI_EXIT_COUNT; code++)
		(void)wl_buffer_appendf(out, "| %d | %s |\n", cli_exit_code((enum cli_exit)code),
					cli_exit_meaning((enum cli_exit)code));
}
