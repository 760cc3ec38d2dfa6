/*
 * Completion scripts, written from the table. Words are plain lower-case names, so they need no quoting; meanings are
 * put inside single quotes, in which a single quote is the only character with a meaning.
 */
#include "cli/core/command.h"

#include <errno.h>
#include <string.h>

static void quoted(struct wl_buffer *out, const char *text, const char *also_escape)
{
	(void)wl_buffer_append_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'') {
			(void)wl_buffer_append_text(out, "'\\''");
			continue;
		}
		if (strchr(also_escape, *text))
			(void)wl_buffer_append_char(out, '\\');
		(void)wl_buffer_append_char(out, *text);
	}
	(void)wl_buffer_append_char(out, '\'');
}

static void command_names(struct wl_buffer *out, const struct cli_command *table)
{
	for (const struct cli_command *command = table; command->name; command++)
		(void)wl_buffer_appendf(out, "%s%s", command == table ? "" : " ", command->name);
}

static void option_names(struct wl_buffer *out, const struct cli_option *options)
{
	for (const struct cli_option *option = options; option && option->name; option++)
		(void)wl_buffer_appendf(out, " --%s", option->name);
}

/* Words for the first argument: the choices, or the commands where another command is asked for. */
static void first_words(struct wl_buffer *out, const struct cli_command *table, const struct cli_command *command)
{
	if (command->choices)
		(void)wl_buffer_append_text(out, command->choices);
	else if (strstr(command->arguments, "COMMAND"))
		command_names(out, table);
}

static void bash_values(struct wl_buffer *out, const struct cli_command *command)
{
	for (const struct cli_option *option = command->options; option && option->name; option++)
		if (option->choices)
			(void)wl_buffer_appendf(out,
						"    %s:--%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n",
						command->name, option->name, option->choices);
}

static void bash_script(struct wl_buffer *out, const struct cli_command *table)
{
	(void)wl_buffer_append_text(
		out, "# bash completion of windlass: source <(windlass completion bash)\n_windlass() {\n"
		     "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" command='' i\n"
		     "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
		     "    if [[ ${COMP_WORDS[i]} != -* ]]; then command=\"${COMP_WORDS[i]}\"; break; fi\n  done\n"
		     "  case \"$command:$before\" in\n");
	for (const struct cli_command *command = table; command->name; command++)
		bash_values(out, command);
	(void)wl_buffer_append_text(out,
				    "  esac\n  local words='' options=''\n  case \"$command\" in\n    '') words='");
	command_names(out, table);
	(void)wl_buffer_append_text(out, "' ;;\n");
	for (const struct cli_command *command = table; command->name; command++) {
		(void)wl_buffer_appendf(out, "    %s) words='", command->name);
		first_words(out, table, command);
		(void)wl_buffer_append_text(out, "' options='");
		option_names(out, command->options);
		(void)wl_buffer_append_text(out, "' ;;\n");
	}
	(void)wl_buffer_append_text(out, "  esac\n  if [[ $word == -* ]]; then\n    words=\"$options");
	option_names(out, cli_global_options);
	(void)wl_buffer_append_text(out, "\"\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
					 "complete -o default -o bashdefault -F _windlass windlass\n");
}

static void zsh_options(struct wl_buffer *out, const struct cli_option *options)
{
	for (const struct cli_option *option = options; option && option->name; option++) {
		_wl_buffer_ struct wl_buffer row;
		wl_buffer_init(&row, 0);
		(void)wl_buffer_appendf(&row, "*--%s[%s]", option->name, option->meaning);
		if (option->value && option->choices)
			(void)wl_buffer_appendf(&row, ":%s:(%s)", option->name, option->choices);
		else if (option->value)
			(void)wl_buffer_appendf(&row, ":%s:_files", option->name);
		(void)wl_buffer_append_char(out, ' ');
		quoted(out, row.data ? row.data : "", "");
	}
}

static void zsh_script(struct wl_buffer *out, const struct cli_command *table)
{
	(void)wl_buffer_append_text(out, "#compdef windlass\n"
					 "# zsh completion of windlass: source <(windlass completion zsh)\n"
					 "_windlass() {\n  local -a commands\n  commands=(\n");
	for (const struct cli_command *command = table; command->name; command++) {
		_wl_buffer_ struct wl_buffer row;
		wl_buffer_init(&row, 0);
		(void)wl_buffer_appendf(&row, "%s:%s", command->name, command->summary);
		(void)wl_buffer_append_text(out, "    ");
		quoted(out, row.data ? row.data : "", "");
		(void)wl_buffer_append_char(out, '\n');
	}
	(void)wl_buffer_append_text(out,
				    "  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
				    "  local command=$words[2]\n  shift words; (( CURRENT-- ))\n  case $command in\n");
	for (const struct cli_command *command = table; command->name; command++) {
		_wl_buffer_ struct wl_buffer words;
		wl_buffer_init(&words, 0);
		first_words(&words, table, command);
		(void)wl_buffer_appendf(out, "    %s) _arguments", command->name);
		zsh_options(out, command->options);
		zsh_options(out, cli_global_options);
		if (words.length)
			(void)wl_buffer_appendf(out, " '1:word:(%s)' ;;\n", words.data);
		else
			(void)wl_buffer_append_text(out, " '*:file:_files' ;;\n");
	}
	(void)wl_buffer_append_text(out, "  esac\n}\ncompdef _windlass windlass\n");
}

static void fish_options(struct wl_buffer *out, const char *condition, const struct cli_option *options)
{
	for (const struct cli_option *option = options; option && option->name; option++) {
		(void)wl_buffer_appendf(out, "complete -c windlass%s -l %s", condition, option->name);
		if (option->letter)
			(void)wl_buffer_appendf(out, " -s %c", option->letter);
		if (option->value)
			(void)wl_buffer_append_text(out, " -r");
		if (option->choices)
			(void)wl_buffer_appendf(out, " -f -a '%s'", option->choices);
		(void)wl_buffer_append_text(out, " -d ");
		quoted(out, option->meaning, "");
		(void)wl_buffer_append_char(out, '\n');
	}
}

static void fish_script(struct wl_buffer *out, const struct cli_command *table)
{
	(void)wl_buffer_append_text(out, "# fish completion of windlass: windlass completion fish | source\n");
	for (const struct cli_command *command = table; command->name; command++) {
		(void)wl_buffer_appendf(out, "complete -c windlass -n __fish_use_subcommand -f -a %s -d ",
					command->name);
		quoted(out, command->summary, "");
		(void)wl_buffer_append_char(out, '\n');
		_wl_buffer_ struct wl_buffer condition;
		wl_buffer_init(&condition, 0);
		(void)wl_buffer_appendf(&condition, " -n '__fish_seen_subcommand_from %s'", command->name);
		fish_options(out, condition.data ? condition.data : "", command->options);
		_wl_buffer_ struct wl_buffer words;
		wl_buffer_init(&words, 0);
		first_words(&words, table, command);
		if (words.length)
			(void)wl_buffer_appendf(out, "complete -c windlass%s -f -a '%s'\n", condition.data, words.data);
	}
	fish_options(out, "", cli_global_options);
}

int cli_completion(struct wl_buffer *out, const struct cli_command *table, const char *shell, struct wl_error *err)
{
	if (strcmp(shell, "bash") == 0)
		bash_script(out, table);
	else if (strcmp(shell, "zsh") == 0)
		zsh_script(out, table);
	else if (strcmp(shell, "fish") == 0)
		fish_script(out, table);
	else
		return wl_fail(err, EINVAL, "there is completion for bash, zsh and fish, not for '%.64s'", shell);
	return out->failed ? wl_fail(err, out->failed, "no memory for the script") : 0;
}
