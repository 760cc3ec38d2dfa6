/* The command table: what is not in it does not exist, and help, completion and docs/guides/cli.md come from it. */
#include "cli/commands.h"

#define STATUSES "queued running succeeded failed cancelled timeout"
#define END                                                                                                            \
	{                                                                                                              \
		NULL, 0, NULL, NULL, NULL                                                                              \
	}

static const struct cli_option run_options[] = {
	{ "input", 'i', "NAME=VALUE", NULL, "an input: name=value, name=@file (- is standard input), name:=json" },
	{ "input-json", 0, "FILE", NULL, "inputs from a JSON object in a file" },
	{ "follow", 'f', NULL, NULL, "show what happens until the end; the exit code tells how it ended" },
	{ "get", 'g', "NAME", NULL, "with --follow: print this member of the outputs only, a text as it is" },
	{ "draft", 0, NULL, NULL, "run the draft, not the newest published version" },
	{ "version", 0, "N", NULL, "run this published version" },
	{ "timeout", 0, "SECONDS", NULL, "end the execution as timeout after this time (default one hour)" },
	{ "cancel-on-interrupt", 0, NULL, NULL, "Ctrl-C cancels the execution; without it, it goes on" },
	END,
};

static const struct cli_option apply_options[] = {
	{ "publish", 0, NULL, NULL, "make the draft an immutable version" },
	{ "note", 0, "TEXT", NULL, "with --publish: what is new in this version" },
	END,
};

static const struct cli_option flows_options[] = {
	{ "status", 0, "STATUS", "draft published archived", "only these" },
	{ "limit", 0, "N", NULL, "at most this many" },
	END,
};

static const struct cli_option executions_options[] = {
	{ "status", 0, "STATUS", STATUSES, "only these" },
	{ "flow", 0, "FLOW", NULL, "only those of this flow, by name or id" },
	{ "limit", 0, "N", NULL, "at most this many (default 20)" },
	END,
};

static const struct cli_option logs_options[] = {
	{ "follow", 'f', NULL, NULL, "go on until the execution has ended; the exit code tells how" },
	{ "node", 0, "NODE", NULL, "only the lines of this node" },
	END,
};

static const struct cli_option register_options[] = {
	{ "tenant", 0, "SLUG", NULL, "short name of the new tenant: a-z, 0-9 and -" },
	{ "tenant-name", 0, "TEXT", NULL, "its name for people (default: the short name)" },
	{ "email", 0, "ADDRESS", NULL, "your address; you become the tenant's admin" },
	{ "password-file", 0, "FILE", NULL, "read the password from the first line of a file (- is standard input)" },
	END,
};

static const struct cli_option login_options[] = {
	{ "email", 0, "ADDRESS", NULL, "your address" },
	{ "tenant", 0, "SLUG", NULL, "needed when the address is known in several tenants" },
	{ "password-file", 0, "FILE", NULL, "read the password from the first line of a file (- is standard input)" },
	END,
};

static const struct cli_option markdown_options[] = {
	{ "markdown", 0, NULL, NULL, "as the reference page" },
	END,
};

static const struct cli_option no_options[] = { END };

static const char password_detail[] =
	"The password is asked for without echo. In scripts it comes from --password-file or WINDLASS_PASSWORD;\n"
	"it is never an argument. The login is kept in $XDG_CONFIG_HOME/windlass/credentials.json (mode 0600).";

const struct cli_command cli_commands[] = {
	{ "run", "FILE|FLOW", NULL, 1, 1, "Execute a flow: a file, or a flow of the server by name or id",
	  "A file (JSON or YAML) is first made or changed on the server under the name in it, then its draft runs.\n"
	  "Without --follow the id of the execution is printed. With it progress goes to standard error and the\n"
	  "outputs to standard output; --json prints each event as one line of JSON instead.\n"
	  "A value becomes the type that the flow's input_schema names: count=3 is a number where it says integer.",
	  run_options, cli_run },
	{ "apply", "FILE...", NULL, 1, CLI_MAX_WORDS, "Make or change flows from files, by the name in each",
	  "Running it again changes nothing. `source_file` in a code node is the path of its source, relative to\n"
	  "the flow file and not outside of its folder.",
	  apply_options, cli_apply },
	{ "flows", "", NULL, 0, 0, "List the tenant's flows", "", flows_options, cli_flows },
	{ "executions", "", NULL, 0, 0, "List executions, newest first", "", executions_options, cli_executions },
	{ "logs", "EXECUTION", NULL, 1, 1, "Print the log lines of an execution", "", logs_options, cli_logs },
	{ "cancel", "EXECUTION", NULL, 1, 1, "Ask for the end of an execution", "", no_options, cli_cancel },
	{ "register", "", NULL, 0, 0, "Make a tenant and its admin, and log in", password_detail, register_options,
	  cli_register },
	{ "login", "", NULL, 0, 0, "Log in to a server",
	  "The access token is renewed by itself. WINDLASS_TOKEN is used instead of a login where it is set.\n"
	  "The password is asked for without echo; in scripts it comes from --password-file or WINDLASS_PASSWORD.",
	  login_options, cli_login_command },
	{ "logout", "", NULL, 0, 0, "End the login, here and on the server", "", no_options, cli_logout },
	{ "whoami", "", NULL, 0, 0, "Tell who is logged in where, and whether the server agrees", "", no_options,
	  cli_whoami },
	{ "doctor", "", NULL, 0, 0, "Tell what this host lacks for Windlass, and what to do",
	  "Looks at the kernel, control groups, crun, the languages of code nodes, and the servers named by\n"
	  "WINDLASS_POSTGRES_URL, WINDLASS_REDIS_URL, WINDLASS_MONGODB_URL or found under WINDLASS_HOME.",
	  no_options, cli_doctor },
	{ "settings", "", NULL, 0, 0, "Print the settings of all programs", "", markdown_options, cli_settings },
	{ "version", "", NULL, 0, 0, "Print the version", "", no_options, cli_version },
	{ "completion", "SHELL", "bash zsh fish", 1, 1, "Print a completion script for a shell",
	  "For bash: source <(windlass completion bash)", no_options, cli_completion_command },
	{ "help", "[COMMAND]", NULL, 0, 1, "Show help", "", markdown_options, cli_help },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};
