/* What the exit code of `windlass` says: one table, from which help, the reference page and the code all read. */
#ifndef WL_CLI_CORE_OUTCOME_H
#define WL_CLI_CORE_OUTCOME_H

#include "lib/base/error.h"

/* X(NAME, code, meaning) */
#define CLI_EXITS(X)                                                                                                   \
	X(OK, 0, "done; with --follow: the execution succeeded")                                                       \
	X(FAILED, 1, "the execution failed; doctor: something needed is missing")                                      \
	X(USAGE, 2, "wrong arguments, or a file that cannot be read or understood")                                    \
	X(CANCELLED, 3, "the execution was cancelled")                                                                 \
	X(TIMEOUT, 4, "the execution passed its deadline")                                                             \
	X(UNREACHABLE, 5, "the server cannot be reached, or does not accept who asks")                                 \
	X(REFUSED, 6, "the server refused the request: not found, not valid, over quota")                              \
	X(DETACHED, 130, "interrupted while following: the execution goes on")

enum cli_exit {
#define X(NAME, code, meaning) CLI_EXIT_##NAME,
	CLI_EXITS(X)
#undef X
		CLI_EXIT_COUNT
};

int cli_exit_code(enum cli_exit outcome);
const char *cli_exit_meaning(enum cli_exit outcome);

/* The exit of a final execution status; FAILED for a status this program does not know. */
enum cli_exit cli_exit_of_status(const char *status);

/* The exit for a failure by its errno. */
enum cli_exit cli_exit_of_error(int code);

/* The errno that an HTTP status is turned into; 0 for 2xx. */
int cli_errno_of_http(long status);

#endif
