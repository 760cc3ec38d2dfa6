/*
 * The command line as one table: parser, help, completion and the reference page all walk it.
 * A row is a command with its options; the functions live in cli/, the walkers here.
 */
#ifndef WL_CLI_CORE_COMMAND_H
#define WL_CLI_CORE_COMMAND_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct cli;
struct cli_arguments;

struct cli_option {
	const char *name;    /* without the dashes; NULL ends a list */
	char letter;	     /* the short form, 0 for none */
	const char *value;   /* what the value is called in help; NULL: a flag */
	const char *choices; /* words with blanks between them that the value must be one of; NULL: anything */
	const char *meaning; /* half a sentence without a full stop */
};

struct cli_command {
	const char *name;      /* NULL ends a table */
	const char *arguments; /* as in help: "FILE|FLOW"; "" for none */
	const char *choices;   /* words that the first argument must be one of; NULL: anything */
	int least, most;       /* how many arguments */
	const char *summary;   /* half a sentence */
	const char *detail;    /* lines of text below the options; "" for none */
	const struct cli_option *options;
	/* Does the work and returns 0 or more as exit code, or -errno with err filled. */
	int (*run)(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
};

/* The options that every command takes. */
extern const struct cli_option cli_global_options[];

#define CLI_MAX_WORDS 256
#define CLI_MAX_GIVEN 256

struct cli_given {
	const struct cli_option *option;
	const char *value; /* NULL for a flag */
};

/* What was typed; texts belong to argv. */
struct cli_arguments {
	const struct cli_command *command; /* NULL when no command was named */
	const char *words[CLI_MAX_WORDS];
	int word_count;
	struct cli_given given[CLI_MAX_GIVEN];
	int given_count;
};

/*
 * Read argv[1] on. The first word is the command, the rest are its arguments; options may stand anywhere behind the
 * command (global ones also before it), as `--name value`, `--name=value`, `-n value`; `--` ends them.
 * With --help or for the missing command the counts are not checked. Returns 0, or -EINVAL with a sentence that names
 * the wrong word and what helps.
 */
int cli_arguments_parse(const struct cli_command *table, int argc, char **argv, struct cli_arguments *arguments,
			struct wl_error *err);

/* The last value given for that option, or `otherwise`. */
const char *cli_value(const struct cli_arguments *arguments, const char *name, const char *otherwise);
bool cli_flag(const struct cli_arguments *arguments, const char *name);
/* The whole number of that option in [least, most]; `otherwise` when it was not given; -EINVAL. */
int cli_number(const struct cli_arguments *arguments, const char *name, long least, long most, long otherwise,
	       long *ret_number, struct wl_error *err);

const struct cli_command *cli_command_find(const struct cli_command *table, const char *name);
/* True when `word` is one of the blank-separated words of `choices`. */
bool cli_choice_has(const char *choices, const char *word);

/* Help for people: of everything, and of one command. */
void cli_help_overview(struct wl_buffer *out, const struct cli_command *table);
void cli_help_command(struct wl_buffer *out, const struct cli_command *command);
/* The reference in docs/guides/cli.md, as Markdown. */
void cli_help_markdown(struct wl_buffer *out, const struct cli_command *table);

/* A completion script for bash, zsh or fish; -EINVAL for another shell. */
int cli_completion(struct wl_buffer *out, const struct cli_command *table, const char *shell, struct wl_error *err);

#endif
