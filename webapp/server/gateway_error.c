#include "webapp/server/gateway_error.h"

#include "lib/llm/front.h"
#include "webapp/server/request.h"

#include <string.h>

bool web_gateway_is(const char *path)
{
	return path && strncmp(path, "/v1/", 4) == 0;
}

static bool is_anthropic(const struct web_request *request)
{
	return request->path && strcmp(request->path, "/v1/messages") == 0;
}

const char *web_gateway_problem_type(const struct web_request *request)
{
	return is_anthropic(request) ? "error" : "about:blank";
}

void web_gateway_put_error(struct web_request *request, int status, const char *sentence)
{
	if (!web_gateway_is(request->path))
		return;
	const struct wl_front_format *format = is_anthropic(request) ? &wl_front_anthropic : &wl_front_openai;
	wl_buffer_append_char(&request->answer, ',');
	format->error(&request->answer, status, request->fault, sentence);
}
