#include "cli/core/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_global_options[] = {
	{ "url", 0, "URL", NULL,
	  "server to talk to (else WINDLASS_URL, else the last login, else http://127.0.0.1:8080)" },
	{ "json", 0, NULL, NULL, "print data as JSON, for programs" },
	{ "help", 'h', NULL, NULL, "show the help of the command" },
	{ NULL, 0, NULL, NULL, NULL },
};

const struct cli_command *cli_command_find(const struct cli_command *table, const char *name)
{
	for (const struct cli_command *command = table; command->name; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

bool cli_choice_has(const char *choices, const char *word)
{
	size_t length = strlen(word);
	if (!length)
		return false;
	for (const char *at = choices; *at;) {
		size_t span = strcspn(at, " ");
		if (span == length && memcmp(at, word, length) == 0)
			return true;
		at += span;
		at += strspn(at, " ");
	}
	return false;
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t length, char letter)
{
	for (const struct cli_option *option = options; option && option->name; option++) {
		if (letter ? option->letter == letter
			   : strlen(option->name) == length && memcmp(option->name, name, length) == 0)
			return option;
	}
	return NULL;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t length,
					    char letter)
{
	const struct cli_option *option = command ? find_in(command->options, name, length, letter) : NULL;
	return option ? option : find_in(cli_global_options, name, length, letter);
}

static int keep_option(struct cli_arguments *arguments, const struct cli_option *option, const char *value,
		       struct wl_error *err)
{
	if (arguments->given_count == CLI_MAX_GIVEN)
		return wl_fail(err, EINVAL, "more than %d options", CLI_MAX_GIVEN);
	if (option->choices && !cli_choice_has(option->choices, value))
		return wl_fail(err, EINVAL, "--%s is one of %s, not '%.64s'", option->name, option->choices, value);
	arguments->given[arguments->given_count++] = (struct cli_given){ option, value };
	return 0;
}

/* Take the option at argv[*at] and its value; *at is left on the last word that was used. */
static int take_option(struct cli_arguments *arguments, int argc, char **argv, int *at, struct wl_error *err)
{
	const char *word = argv[*at];
	bool is_long = word[1] == '-';
	const char *equals = is_long ? strchr(word, '=') : NULL;
	size_t length = !is_long ? 0 : equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
	if (!is_long && word[2])
		return wl_fail(err, EINVAL, "'%.64s' is not an option; short ones stand alone, such as -%c", word,
			       word[1]);
	const struct cli_option *option = find_option(arguments->command, word + 2, length, is_long ? '\0' : word[1]);
	if (!option)
		return wl_fail(err, EINVAL, "there is no option '%.64s'%s%s; try: windlass help %s", word,
			       arguments->command ? " of " : "", arguments->command ? arguments->command->name : "",
			       arguments->command ? arguments->command->name : "");
	if (!option->value) {
		if (equals)
			return wl_fail(err, EINVAL, "--%s takes no value", option->name);
		return keep_option(arguments, option, NULL, err);
	}
	const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
	if (!value)
		return wl_fail(err, EINVAL, "--%s needs a value: %s", option->name, option->value);
	return keep_option(arguments, option, value, err);
}

static int take_word(const struct cli_command *table, struct cli_arguments *arguments, const char *word,
		     struct wl_error *err)
{
	if (!arguments->command) {
		arguments->command = cli_command_find(table, word);
		if (!arguments->command)
			return wl_fail(err, EINVAL, "there is no command '%.64s'; windlass help lists them", word);
		return 0;
	}
	if (arguments->word_count == CLI_MAX_WORDS)
		return wl_fail(err, EINVAL, "more than %d arguments", CLI_MAX_WORDS);
	arguments->words[arguments->word_count++] = word;
	return 0;
}

static int check_counts(const struct cli_arguments *arguments, struct wl_error *err)
{
	const struct cli_command *command = arguments->command;
	if (!command || cli_flag(arguments, "help"))
		return 0;
	if (arguments->word_count < command->least)
		return wl_fail(err, EINVAL, "%s needs %s; try: windlass help %s", command->name, command->arguments,
			       command->name);
	if (arguments->word_count > command->most)
		return wl_fail(err, EINVAL, "%s does not take '%.64s'; try: windlass help %s", command->name,
			       arguments->words[command->most], command->name);
	if (command->choices && arguments->word_count && !cli_choice_has(command->choices, arguments->words[0]))
		return wl_fail(err, EINVAL, "%s takes one of %s, not '%.64s'", command->name, command->choices,
			       arguments->words[0]);
	return 0;
}

int cli_arguments_parse(const struct cli_command *table, int argc, char **argv, struct cli_arguments *arguments,
			struct wl_error *err)
{
	*arguments = (struct cli_arguments){ 0 };
	bool options_end = false;
	for (int at = 1; at < argc; at++) {
		const char *word = argv[at];
		int result;
		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
			continue;
		}
		/* a lone "-" is a word: it means standard input to those who read files */
		if (!options_end && word[0] == '-' && word[1])
			result = take_option(arguments, argc, argv, &at, err);
		else
			result = take_word(table, arguments, word, err);
		if (result < 0)
			return result;
	}
	return check_counts(arguments, err);
}

const char *cli_value(const struct cli_arguments *arguments, const char *name, const char *otherwise)
{
	for (int i = arguments->given_count - 1; i >= 0; i--)
		if (strcmp(arguments->given[i].option->name, name) == 0)
			return arguments->given[i].value;
	return otherwise;
}

bool cli_flag(const struct cli_arguments *arguments, const char *name)
{
	for (int i = 0; i < arguments->given_count; i++)
		if (strcmp(arguments->given[i].option->name, name) == 0)
			return true;
	return false;
}

int cli_number(const struct cli_arguments *arguments, const char *name, long least, long most, long otherwise,
	       long *ret_number, struct wl_error *err)
{
	const char *value = cli_value(arguments, name, NULL);
	if (!value) {
		*ret_number = otherwise;
		return 0;
	}
	char *end = NULL;
	errno = 0;
	long number = strtol(value, &end, 10);
	if (errno || end == value || *end || number < least || number > most)
		return wl_fail(err, EINVAL, "--%s is a whole number from %ld to %ld, not '%.64s'", name, least, most,
			       value);
	*ret_number = number;
	return 0;
}
