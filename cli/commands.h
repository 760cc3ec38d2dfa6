/* The commands. Each does its work and returns an exit code, or -errno with err filled. */
#ifndef WL_CLI_COMMANDS_H
#define WL_CLI_COMMANDS_H

#include "cli/session.h"

/* X(function): declared here, defined in the file of its resource, named in the table of commands.c */
#define CLI_COMMANDS(X)                                                                                                \
	X(cli_run)                                                                                                     \
	X(cli_apply)                                                                                                   \
	X(cli_flows)                                                                                                   \
	X(cli_executions)                                                                                              \
	X(cli_logs)                                                                                                    \
	X(cli_cancel)                                                                                                  \
	X(cli_import)                                                                                                  \
	X(cli_trace)                                                                                                   \
	X(cli_exchanges)                                                                                               \
	X(cli_replay)                                                                                                  \
	X(cli_fork)                                                                                                    \
	X(cli_group_run)                                                                                               \
	X(cli_register)                                                                                                \
	X(cli_login_command)                                                                                           \
	X(cli_logout)                                                                                                  \
	X(cli_whoami)                                                                                                  \
	X(cli_doctor)                                                                                                  \
	X(cli_settings)                                                                                                \
	X(cli_version)                                                                                                 \
	X(cli_completion_command)                                                                                      \
	X(cli_help)

#define X(function) int function(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
CLI_COMMANDS(X)
#undef X

extern const struct cli_command cli_commands[];

#endif
