#include "supervisor/nodes/tool_style.h"

#include "lib/base/cleanup.h"
#include "lib/net/http_client.h"
#include "supervisor/nodes/http_parts.h"

#include <errno.h>
#include <string.h>

void tool_parameter_read(const struct wl_json *json, struct tool_parameter *ret_parameter)
{
	static const char *const places[] = {
		[TOOL_PATH] = "path", [TOOL_QUERY] = "query", [TOOL_HEADER] = "header", [TOOL_COOKIE] = "cookie"
	};
	static const char *const styles[] = { [TOOL_SIMPLE] = "simple",
					      [TOOL_FORM] = "form",
					      [TOOL_LABEL] = "label",
					      [TOOL_MATRIX] = "matrix",
					      [TOOL_SPACE_DELIMITED] = "spaceDelimited",
					      [TOOL_PIPE_DELIMITED] = "pipeDelimited",
					      [TOOL_DEEP_OBJECT] = "deepObject" };
	const char *name = wl_json_get_string(json, "name", "");
	struct tool_parameter found = { .name = name, .as = wl_json_get_string(json, "as", name) };
	const char *place = wl_json_get_string(json, "in", "query");
	const char *style = wl_json_get_string(json, "style", "");
	for (size_t i = 0; i < WL_COUNT_OF(places); i++)
		if (strcmp(places[i], place) == 0)
			found.place = (enum tool_place)i;
	bool queries = found.place == TOOL_QUERY || found.place == TOOL_COOKIE;
	found.style = queries ? TOOL_FORM : TOOL_SIMPLE;
	for (size_t i = 0; i < WL_COUNT_OF(styles); i++)
		if (strcmp(styles[i], style) == 0)
			found.style = (enum tool_style)i;
	found.explode = wl_json_get_bool(json, "explode", found.style == TOOL_FORM);
	found.required = wl_json_get_bool(json, "required", found.place == TOOL_PATH);
	*ret_parameter = found;
}

/* What a style puts where. */
struct marks {
	const char *first;   /* before everything */
	const char *between; /* items that stand for themselves */
	const char *inside;  /* items of one list */
	bool named;	     /* "name=" goes before a value */
	bool raw;	     /* of a header: nothing is encoded */
};

static struct marks marks_of(const struct tool_parameter *parameter)
{
	const char *between = parameter->place == TOOL_COOKIE ? "; " : "&";
	switch (parameter->style) {
	case TOOL_SIMPLE:
		return (struct marks){ "", ",", ",", false, parameter->place == TOOL_HEADER };
	case TOOL_LABEL:
		return (struct marks){ ".", ".", ",", false, false };
	case TOOL_MATRIX:
		return (struct marks){ ";", ";", ",", true, false };
	case TOOL_SPACE_DELIMITED:
		return (struct marks){ "", between, "%20", true, false };
	case TOOL_PIPE_DELIMITED:
		return (struct marks){ "", between, "%7C", true, false };
	case TOOL_FORM:
	case TOOL_DEEP_OBJECT:
		break;
	}
	return (struct marks){ "", between, ",", true, false };
}

static void append_text(struct wl_buffer *text, const struct marks *marks, const char *value)
{
	if (marks->raw)
		(void)wl_buffer_append_text(text, value);
	else
		(void)wl_http_append_escaped(text, value, strlen(value));
}

static void append_value(struct wl_buffer *text, const struct marks *marks, const struct wl_json *value)
{
	_wl_free_ char *plain = http_plain_text(value);
	if (plain)
		append_text(text, marks, plain);
	else
		text->failed = ENOMEM;
}

static void append_name(struct wl_buffer *text, const struct marks *marks, const struct tool_parameter *parameter)
{
	if (!marks->named)
		return;
	append_text(text, marks, parameter->as);
	(void)wl_buffer_append_char(text, '=');
}

/* name=value; matrix writes one without a value as ";name" (RFC 6570 §3.2.7) */
static void append_single(struct wl_buffer *text, const struct marks *marks, const struct tool_parameter *parameter,
			  const struct wl_json *value)
{
	const char *string = wl_json_string(value, NULL);
	(void)wl_buffer_append_text(text, marks->first);
	if (parameter->style == TOOL_MATRIX && string && !*string) {
		append_text(text, marks, parameter->as);
		return;
	}
	append_name(text, marks, parameter);
	append_value(text, marks, value);
}

static void append_list(struct wl_buffer *text, const struct marks *marks, const struct tool_parameter *parameter,
			const struct wl_json *list)
{
	bool some = false;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		if (wl_json_is(one, WL_JSON_NULL))
			continue;
		(void)wl_buffer_append_text(text, !some		       ? marks->first
						  : parameter->explode ? marks->between
								       : marks->inside);
		if (!some || parameter->explode)
			append_name(text, marks, parameter);
		append_value(text, marks, one);
		some = true;
	}
}

static void append_object(struct wl_buffer *text, const struct marks *marks, const struct tool_parameter *parameter,
			  const struct wl_json *object)
{
	bool some = false, deep = parameter->style == TOOL_DEEP_OBJECT;
	bool apart = deep || parameter->explode;
	for (const struct wl_json *one = wl_json_first(object); one; one = wl_json_next(one)) {
		if (wl_json_is(one, WL_JSON_NULL))
			continue;
		(void)wl_buffer_append_text(text, !some ? marks->first : apart ? marks->between : marks->inside);
		if (deep) {
			append_text(text, marks, parameter->as);
			(void)wl_buffer_append_text(text, "%5B");
		} else if (!some && !apart) {
			append_name(text, marks, parameter);
		}
		append_text(text, marks, wl_json_key(one));
		(void)wl_buffer_append_text(text, deep ? "%5D=" : apart ? "=" : marks->inside);
		append_value(text, marks, one);
		some = true;
	}
}

int tool_style_append(struct wl_buffer *text, const struct tool_parameter *parameter, const struct wl_json *value)
{
	struct marks marks = marks_of(parameter);
	if (wl_json_is(value, WL_JSON_ARRAY))
		append_list(text, &marks, parameter, value);
	else if (wl_json_is(value, WL_JSON_OBJECT))
		append_object(text, &marks, parameter, value);
	else if (value && !wl_json_is(value, WL_JSON_NULL))
		append_single(text, &marks, parameter, value);
	return text->failed ? -text->failed : 0;
}
