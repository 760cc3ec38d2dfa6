/* What every command works with: the arguments, how to print, and the server with its tokens. */
#ifndef WL_CLI_SESSION_H
#define WL_CLI_SESSION_H

#include "cli/core/command.h"
#include "cli/credentials.h"
#include "cli/http.h"
#include "lib/codec/json.h"

#include <stdbool.h>

struct cli {
	const struct cli_command *table;
	bool json;		     /* --json */
	bool colour_out, colour_err; /* a terminal, and NO_COLOR is not set */
	struct cli_http *http;	     /* opened by cli_connect() */
	struct cli_login login;	     /* its url is always set after cli_connect() */
	bool token_given;	     /* WINDLASS_TOKEN: no login behind it, nothing to refresh */
	struct wl_json *problem;     /* the last refusal of the server, to be shown with its paths */
};

void cli_release(struct cli *cli);

/* The server's URL: --url, WINDLASS_URL, the last login's, the local one. Opens the connection. */
int cli_connect(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);

struct cli_call {
	const char *method;
	const char *path;	    /* below /api/v1, from the slash on */
	const struct wl_json *body; /* NULL: none */
	const char *header;	    /* one more header, or NULL */
	bool anonymous;		    /* without a token */
};

struct cli_answer {
	struct wl_json *json; /* NULL for an empty answer */
	char etag[80];
	long status;
};

void cli_answer_release(struct cli_answer *answer);
#define _cli_answer_ __attribute__((cleanup(cli_answer_release)))

/*
 * Call the API. An access token that has ended is renewed once. 0 with the answer of a 2xx; else -errno as
 * cli_errno_of_http() says, with the server's sentence in err and its problem document in cli->problem.
 */
int cli_call(struct cli *cli, const struct cli_call *call, struct cli_answer *ret_answer, struct wl_error *err);

/* A GET. */
int cli_get(struct cli *cli, const char *path, struct wl_json **ret_json, struct wl_error *err);

/* A GET whose answer is no JSON: *ret_response is a 2xx, released by the caller. `header`: one more, or NULL. */
int cli_get_raw(struct cli *cli, const char *path, const char *header, struct cli_response *ret_response,
		struct wl_error *err);

/* Change the refresh token for new tokens, unless another process has just done so. -EACCES: log in again. */
int cli_refresh(struct cli *cli, struct wl_error *err);

/* -EACCES with what to do when there is no token at all. */
int cli_need_token(const struct cli *cli, struct wl_error *err);

/* Turn an answer that is no 2xx into an error. */
int cli_refused(struct cli *cli, const struct cli_response *response, struct wl_error *err);

/* Take the tokens of an answer into `login`; -EPROTO when they are missing or too long. */
int cli_take_tokens(struct cli_login *login, const struct wl_json *answer, struct wl_error *err);

#endif
