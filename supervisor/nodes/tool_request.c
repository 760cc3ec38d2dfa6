#include "supervisor/nodes/tool_request.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define PARAMETERS_MAX 100

/* What the making of one request needs beside the request. */
struct maker {
	const struct wl_json *config;
	const struct wl_json *input; /* an object */
	const struct wl_json *whole; /* of an input that is no object: it is all body */
	struct tool_parameter parameters[PARAMETERS_MAX];
	int parameter_count;
	struct wl_json *used; /* an object whose keys are the members of the input that have their place */
	struct tool_request *request;
	struct wl_error *err;
};

static int out_of_memory(struct maker *maker)
{
	return wl_fail(maker->err, ENOMEM, "no memory for a request");
}

static const struct wl_json *take(struct maker *maker, const char *name)
{
	(void)wl_json_set_bool(maker->used, name, true);
	const struct wl_json *value = wl_json_get(maker->input, name);
	return wl_json_is(value, WL_JSON_NULL) ? NULL : value;
}

/* ---- the URL ---------------------------------------------------------------------------------------------- */

/* Would a server read the text as a way up or to where it stands? Some read %2F and \ as / do. */
static bool has_dot_segment(const char *path)
{
	while (*path) {
		size_t length = strcspn(path, "/\\");
		if ((length == 1 && path[0] == '.') || (length == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += length + (path[length] != '\0');
	}
	return false;
}

static bool value_has_dot_segment(const struct wl_json *value)
{
	const char *text = wl_json_string(value, NULL);
	bool found = text && has_dot_segment(text);
	bool container = wl_json_is(value, WL_JSON_ARRAY) || wl_json_is(value, WL_JSON_OBJECT);
	for (const struct wl_json *one = container ? wl_json_first(value) : NULL; one && !found;
	     one = wl_json_next(one))
		found = value_has_dot_segment(one) || (wl_json_key(one) && has_dot_segment(wl_json_key(one)));
	return found;
}

/* The parameter that fills {name}; one that is not listed is the input's member of that name. */
static struct tool_parameter parameter_of(const struct maker *maker, const char *name)
{
	for (int i = 0; i < maker->parameter_count; i++)
		if (maker->parameters[i].place == TOOL_PATH && strcmp(maker->parameters[i].as, name) == 0)
			return maker->parameters[i];
	return (struct tool_parameter){ .name = name, .as = name, .place = TOOL_PATH, .required = true };
}

static int fill_place(struct maker *maker, const char *name)
{
	struct tool_parameter parameter = parameter_of(maker, name);
	struct wl_buffer *url = &maker->request->url;
	size_t before = url->length;
	const struct wl_json *value = take(maker, parameter.name);
	bool in_path = !url->data || !strchr(url->data, '?');
	if (in_path && value_has_dot_segment(value))
		return wl_fail(maker->err, EINVAL, "'%.100s' must not lead to another path", parameter.name);
	if (tool_style_append(url, &parameter, value) < 0)
		return wl_fail(maker->err, EINVAL, "the url has more than %d characters", WL_HTTP_URL_MAX);
	if (!value || (in_path && url->length == before))
		return wl_fail(maker->err, EINVAL, "'%.100s' is missing: it is a part of the url", parameter.name);
	return 0;
}

/* Copy the template with its {places} filled. */
static int fill_places(struct maker *maker, const char *template, size_t length)
{
	const char *end = template + length;
	while (template <end) {
		const char *open = memchr(template, '{', (size_t)(end - template));
		const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
		if (!close) {
			(void)wl_buffer_append(&maker->request->url, template, (size_t)(end - template));
			break;
		}
		(void)wl_buffer_append(&maker->request->url, template, (size_t)(open - template));
		_wl_free_ char *name = strndup(open + 1, (size_t)(close - open - 1));
		if (!name)
			return out_of_memory(maker);
		if (fill_place(maker, name) < 0)
			return -maker->err->code;
		template = close + 1;
	}
	return 0;
}

/* After all is filled: two parts may make a dot segment together that none makes alone. */
static int check_path(struct maker *maker, size_t path_at)
{
	struct wl_buffer *url = &maker->request->url;
	if (url->failed)
		return wl_fail(maker->err, EINVAL, "the url has more than %d characters", WL_HTTP_URL_MAX);
	const char *path = url->data + path_at;
	_wl_free_ char *alone = strndup(path, strcspn(path, "?"));
	if (!alone)
		return out_of_memory(maker);
	return has_dot_segment(alone) ? wl_fail(maker->err, EINVAL, "the url's path must not hold . or ..") : 0;
}

static int make_url(struct maker *maker)
{
	struct wl_buffer *url = &maker->request->url;
	const char *base = wl_json_get_string(maker->config, "url", "");
	const char *path = wl_json_get_string(maker->config, "path", NULL);
	const char *authority = strstr(base, "://");
	if (!authority)
		return wl_fail(maker->err, ENOEXEC, "the tool's url must begin with http:// or https://");
	size_t host_end = (size_t)(authority + 3 - base) + strcspn(authority + 3, "/?#");
	if (memchr(base, '{', host_end))
		return wl_fail(maker->err, ENOEXEC, "the tool's url must not take its host from the input");
	(void)wl_buffer_append(url, base, host_end);
	size_t rest = strcspn(base + host_end, "#");
	/* of openapi the path goes behind the server's own one */
	while (path && rest > 0 && base[host_end + rest - 1] == '/')
		rest--;
	if (fill_places(maker, base + host_end, rest) < 0)
		return -maker->err->code;
	if (path && (*path == '/' || wl_buffer_append_char(url, '/') == 0) &&
	    fill_places(maker, path, strcspn(path, "#")) < 0)
		return -maker->err->code;
	return check_path(maker, host_end);
}

int tool_request_add_query(struct tool_request *request, const char *pairs)
{
	if (!*pairs)
		return 0;
	struct wl_buffer *url = &request->url;
	(void)wl_buffer_append_char(url, url->data && strchr(url->data, '?') ? '&' : '?');
	return wl_buffer_append_text(url, pairs);
}

int tool_request_add_cookie(struct tool_request *request, const char *pairs)
{
	if (!*pairs)
		return 0;
	if (request->cookies.length > 0)
		(void)wl_buffer_append_text(&request->cookies, "; ");
	return wl_buffer_append_text(&request->cookies, pairs);
}

/* ---- parameters ------------------------------------------------------------------------------------------- */

static int put_header(struct maker *maker, const char *name, const char *value)
{
	if (!wl_http_header_valid(name, value))
		return wl_fail(maker->err, EINVAL, "'%.64s' is no header that may be sent", name);
	if (header_list_has(&maker->request->headers, name))
		return 0;
	return header_list_add(&maker->request->headers, name, value) < 0 ? out_of_memory(maker) : 0;
}

static int place_parameter(struct maker *maker, const struct tool_parameter *parameter)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, WL_HTTP_URL_MAX);
	const struct wl_json *value = take(maker, parameter->name);
	if (!value && parameter->required)
		return wl_fail(maker->err, EINVAL, "'%.100s' is missing", parameter->name);
	if (!value)
		return 0;
	if (tool_style_append(&text, parameter, value) < 0)
		return wl_fail(maker->err, EINVAL, "'%.100s' is too long", parameter->name);
	const char *pairs = text.data ? text.data : "";
	int failed = 0;
	if (parameter->place == TOOL_QUERY)
		failed = tool_request_add_query(maker->request, pairs);
	else if (parameter->place == TOOL_COOKIE)
		failed = tool_request_add_cookie(maker->request, pairs);
	else if (parameter->place == TOOL_HEADER)
		return put_header(maker, parameter->as, pairs);
	return failed ? wl_fail(maker->err, EINVAL, "the url has more than %d characters", WL_HTTP_URL_MAX) : 0;
}

static int read_parameters(struct maker *maker)
{
	const struct wl_json *one = wl_json_first(wl_json_get(maker->config, "parameters"));
	for (; one; one = wl_json_next(one)) {
		if (maker->parameter_count == PARAMETERS_MAX)
			return wl_fail(maker->err, ENOEXEC, "the tool has more than %d parameters", PARAMETERS_MAX);
		tool_parameter_read(one, &maker->parameters[maker->parameter_count++]);
	}
	return 0;
}

static int place_parameters(struct maker *maker)
{
	for (int i = 0; i < maker->parameter_count; i++)
		if (maker->parameters[i].place != TOOL_PATH && place_parameter(maker, &maker->parameters[i]) < 0)
			return -maker->err->code;
	return 0;
}

/* The tool's own headers come first: the input does not replace them. */
static int put_own_headers(struct maker *maker)
{
	const struct wl_json *one = wl_json_first(wl_json_get(maker->config, "headers"));
	for (; one; one = wl_json_next(one))
		if (put_header(maker, wl_json_key(one), wl_json_string(one, "")) < 0)
			return wl_fail(maker->err, ENOEXEC, "'%.64s' is no header that a tool may send",
				       wl_json_key(one));
	return 0;
}

/* ---- the body --------------------------------------------------------------------------------------------- */

/* The members of the input that have no place yet, allocated. NULL without memory. */
static struct wl_json *left_over(const struct maker *maker)
{
	struct wl_json *left = wl_json_object();
	for (const struct wl_json *one = wl_json_first(maker->input); one; one = wl_json_next(one))
		if (!wl_json_get(maker->used, wl_json_key(one)))
			(void)wl_json_set(left, wl_json_key(one), wl_json_copy(one));
	return left;
}

static void append_pair(struct wl_buffer *text, const char *name, const struct wl_json *value)
{
	_wl_free_ char *plain = http_plain_text(value);
	if (!plain) {
		text->failed = ENOMEM;
		return;
	}
	if (text->length > 0)
		(void)wl_buffer_append_char(text, '&');
	(void)wl_http_append_escaped(text, name, strlen(name));
	(void)wl_buffer_append_char(text, '=');
	(void)wl_http_append_escaped(text, plain, strlen(plain));
}

/* application/x-www-form-urlencoded: a list gives a pair for each item, other values inside become JSON text. */
static int append_form(struct maker *maker, const struct wl_json *value)
{
	if (!wl_json_is(value, WL_JSON_OBJECT))
		return wl_fail(maker->err, EINVAL, "the body of a form must be an object");
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one)) {
		if (!wl_json_is(one, WL_JSON_ARRAY)) {
			if (!wl_json_is(one, WL_JSON_NULL))
				append_pair(&maker->request->body, wl_json_key(one), one);
			continue;
		}
		for (const struct wl_json *item = wl_json_first(one); item; item = wl_json_next(item))
			append_pair(&maker->request->body, wl_json_key(one), item);
	}
	return 0;
}

static int append_plain(struct maker *maker, const struct wl_json *value)
{
	_wl_free_ char *plain = http_plain_text(value);
	return plain ? wl_buffer_append_text(&maker->request->body, plain) : out_of_memory(maker);
}

static const char *body_mode(const struct wl_json *config)
{
	const char *method = wl_json_get_string(config, "method", "GET");
	bool sends = !wl_http_method_safe(method) && strcmp(method, "DELETE") != 0;
	return wl_json_get_string(config, "body", sends ? "json" : "none");
}

static int make_body(struct maker *maker)
{
	struct tool_request *request = maker->request;
	const char *mode = body_mode(maker->config);
	if (strcmp(mode, "none") == 0)
		return 0;
	_wl_json_ struct wl_json *left = left_over(maker);
	if (!left)
		return out_of_memory(maker);
	const struct wl_json *value = maker->whole ? maker->whole : wl_json_get(left, "body");
	value = value ? value : left;
	if (value == left && wl_json_count(left) == 0)
		return 0;
	int result = 0;
	if (strcmp(mode, "form") == 0) {
		request->content_type = "application/x-www-form-urlencoded";
		result = append_form(maker, value);
	} else if (strcmp(mode, "text") == 0) {
		request->content_type = "text/plain; charset=utf-8";
		result = append_plain(maker, value);
	} else {
		request->content_type = "application/json";
		result = wl_json_write(&request->body, value);
	}
	request->has_body = true;
	if (header_list_has(&request->headers, "content-type"))
		request->content_type = NULL;
	if (result == -EINVAL)
		return result;
	return request->body.failed ? wl_fail(maker->err, EINVAL, "the body has more than %u bytes", TOOL_BODY_MAX)
				    : result;
}

/* ---- all of it -------------------------------------------------------------------------------------------- */

int tool_request_make(const struct wl_json *config, const struct wl_json *input, struct tool_request *request,
		      struct wl_error *err)
{
	*request = (struct tool_request){ .method = wl_json_get_string(config, "method", "GET") };
	wl_buffer_init(&request->url, WL_HTTP_URL_MAX);
	wl_buffer_init(&request->cookies, WL_HTTP_URL_MAX);
	wl_buffer_init(&request->body, TOOL_BODY_MAX);
	_wl_json_ struct wl_json *nothing = wl_json_object();
	_wl_json_ struct wl_json *used = wl_json_object();
	_wl_free_ struct maker *maker = calloc(1, sizeof(*maker));
	if (!maker || !used || !nothing)
		return wl_fail(err, ENOMEM, "no memory for a request");
	bool object = wl_json_is(input, WL_JSON_OBJECT);
	*maker = (struct maker){
		.config = config, .input = object ? input : nothing, .used = used, .request = request, .err = err
	};
	if (input && !object && !wl_json_is(input, WL_JSON_NULL))
		maker->whole = input;
	if (read_parameters(maker) < 0 || make_url(maker) < 0 || put_own_headers(maker) < 0 ||
	    place_parameters(maker) < 0)
		return -err->code;
	return make_body(maker);
}

static void wipe(struct wl_buffer *buffer)
{
	if (buffer->data)
		explicit_bzero(buffer->data, buffer->capacity);
	wl_buffer_release(buffer);
}

void tool_request_release(struct tool_request *request)
{
	wipe(&request->url);
	wipe(&request->cookies);
	wipe(&request->body);
	header_list_release(&request->headers);
}
