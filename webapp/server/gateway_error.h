/*
 * Errors on the gateway's paths: problems (RFC 9457) that also hold what clients of OpenAI's or Anthropic's API read of
 * an error, as the member "error".
 */
#ifndef WL_WEBAPP_GATEWAY_ERROR_H
#define WL_WEBAPP_GATEWAY_ERROR_H

#include <stdbool.h>

struct web_request;

/* Is it a path of the gateway? NULL is none. */
bool web_gateway_is(const char *path);
/* The "type" of a problem: Anthropic's clients look for "error". */
const char *web_gateway_problem_type(const struct web_request *request);
/* Append the member to the answer of a request on such a path, else nothing. */
void web_gateway_put_error(struct web_request *request, int status, const char *sentence);

#endif
