/* One HTTP connection to one Windlass server, by libcurl. Answers are bounded; redirects are not followed, so that a
 * token goes nowhere but to the server that was named. */
#ifndef WL_CLI_HTTP_H
#define WL_CLI_HTTP_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CLI_ANSWER_MAX (64u << 20) /* bytes */
#define CLI_URL_MAX 1024

struct cli_http;

struct cli_request {
	const char *method;
	const char *path;  /* with its query, from the slash on */
	const char *body;  /* JSON text or NULL */
	const char *token; /* for Authorization, or NULL */
	const char *headers[4];
};

struct cli_response {
	long status;
	struct wl_buffer body;
	char etag[80]; /* "" when there was none */
	int retry_after_s;
};

void cli_response_release(struct cli_response *response);
#define _cli_response_ __attribute__((cleanup(cli_response_release)))

/*
 * Check and normalise a server's URL: http or https, no user, query or fragment, no slash at the end.
 * -EINVAL with a sentence.
 */
int cli_url_normalise(const char *text, char url[CLI_URL_MAX], struct wl_error *err);

/* True when a normalised URL names this very host: what is sent there passes no network. */
bool cli_url_is_loopback(const char *url);

/* Nothing is connected yet. `url` is a normalised one. -ENOMEM. */
int cli_http_open(const char *url, struct cli_http **ret_http, struct wl_error *err);
void cli_http_close(struct cli_http *http);

/*
 * One request. 0 with the answer, whatever its status. -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -ECONNRESET, -EPROTO:
 * there was none, or (the last one) it was larger than CLI_ANSWER_MAX. The caller releases `response`.
 */
int cli_http_send(struct cli_http *http, const struct cli_request *request, struct cli_response *response,
		  struct wl_error *err);

/* Bytes of a stream as they come; a negative return ends it. */
typedef int (*cli_http_sink)(void *self, const char *bytes, size_t length, struct wl_error *err);

/*
 * A GET whose answer is handed on piece by piece until the server ends it (0) or the sink does (its value). An answer
 * with another status than 200 goes into `response` instead. -EINTR: wake_fd became readable; -ETIMEDOUT: nothing came
 * for idle_ms; else as cli_http_send. wake_fd -1: none.
 */
int cli_http_stream(struct cli_http *http, const struct cli_request *request, int wake_fd, int idle_ms,
		    cli_http_sink sink, void *self, struct cli_response *response, struct wl_error *err);

#endif
