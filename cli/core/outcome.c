#include "cli/core/outcome.h"

#include "lib/model/states.h"

#include <errno.h>

struct exit_row {
	int code;
	const char *meaning;
};

static const struct exit_row exit_rows[] = {
#define X(NAME, code, meaning) [CLI_EXIT_##NAME] = { code, meaning },
	CLI_EXITS(X)
#undef X
};

int cli_exit_code(enum cli_exit outcome)
{
	return exit_rows[outcome].code;
}

const char *cli_exit_meaning(enum cli_exit outcome)
{
	return exit_rows[outcome].meaning;
}

enum cli_exit cli_exit_of_status(const char *status)
{
	switch (wl_run_state_of(status)) {
	case WL_RUN_SUCCEEDED:
		return CLI_EXIT_OK;
	case WL_RUN_CANCELLED:
		return CLI_EXIT_CANCELLED;
	case WL_RUN_TIMEOUT:
		return CLI_EXIT_TIMEOUT;
	default:
		return CLI_EXIT_FAILED;
	}
}

enum cli_exit cli_exit_of_error(int code)
{
	switch (code) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ETIMEDOUT:
	case EPROTO:
	case EACCES:
	case EPERM:
		return CLI_EXIT_UNREACHABLE;
	case EREMOTEIO:
		return CLI_EXIT_REFUSED;
	case EINTR:
		return CLI_EXIT_DETACHED;
	case ENOMEM:
	case EIO:
		return CLI_EXIT_FAILED;
	default:
		return CLI_EXIT_USAGE;
	}
}

int cli_errno_of_http(long status)
{
	if (status >= 200 && status < 300)
		return 0;
	if (status == 401)
		return EACCES;
	if (status == 403)
		return EPERM;
	if (status >= 400 && status < 500)
		return EREMOTEIO;
	if (status == 502 || status == 503 || status == 504)
		return EHOSTDOWN;
	return status >= 500 ? EREMOTEIO : EPROTO;
}
