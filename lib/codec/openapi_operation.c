/* One operation of an OpenAPI document as a tool: parameters, body, answer. */
#include "lib/base/cleanup.h"
#include "lib/codec/openapi_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DESCRIPTION_MOST 4000
#define NAME_MOST 200

/* What a tool is made of while its operation is read. */
struct making {
	struct openapi_reader *reader;
	const struct openapi_operation *operation;
	struct wl_json *properties, *required; /* of the input */
	struct wl_json *parameters;	       /* of the execution_config */
	const char *body;		       /* json, form, text or NULL */
};

/* ---- parameters -----------------------------------------------------------------------------------------------------
 */

static bool is_reserved_header(const char *name)
{
	return strcasecmp(name, "accept") == 0 || strcasecmp(name, "content-type") == 0 ||
	       strcasecmp(name, "authorization") == 0; /* OpenAPI 3.1 §4.8.12.2: shall be ignored */
}

/* The member of the input that a parameter comes from: its name, with the place before it when that is taken. */
static void member_name(const struct making *making, const char *in, const char *name, char member[NAME_MOST + 16])
{
	(void)snprintf(member, NAME_MOST + 16, "%.200s", name);
	if (strcmp(name, "body") == 0 || wl_json_get(making->properties, name))
		(void)snprintf(member, NAME_MOST + 16, "%s_%.190s", in, name);
}

static void put_style(struct making *making, struct wl_json *made, const struct wl_json *parameter,
		      const struct openapi_place *place)
{
	static const char *const styles[] = { "simple",		"form",		 "label",     "matrix",
					      "spaceDelimited", "pipeDelimited", "deepObject" };
	const struct wl_json *style = wl_json_get(parameter, "style"), *explode = wl_json_get(parameter, "explode");
	const struct openapi_place at = { place, "style", NULL, 0 };
	bool known = !style;
	for (size_t i = 0; i < WL_COUNT_OF(styles) && !known; i++)
		known = strcmp(wl_json_string(style, ""), styles[i]) == 0;
	if (!known)
		openapi_fault(making->reader, &at, "'%.40s' is no style", wl_json_string(style, "?"));
	else if (style)
		openapi_put(making->reader, made, "style", wl_json_copy(style));
	if (wl_json_is(explode, WL_JSON_BOOL))
		openapi_put(making->reader, made, "explode", wl_json_copy(explode));
}

static void put_parameter(struct making *making, const struct wl_json *parameter, const struct openapi_place *place,
			  const char *in, const char *name)
{
	struct openapi_reader *reader = making->reader;
	const struct wl_json *schema = wl_json_get(parameter, "schema");
	const struct openapi_place at = { place, "schema", NULL, 0 };
	bool required = strcmp(in, "path") == 0 || wl_json_get_bool(parameter, "required", false);
	char member[NAME_MOST + 16];
	member_name(making, in, name, member);
	if (wl_json_get(making->properties, member)) {
		openapi_fault(reader, place, "an earlier parameter is named '%.100s' and goes to the same place", name);
		return;
	}
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	struct wl_json *property =
		schema ? openapi_schema(reader, schema, &at, true) : openapi_new(reader, WL_JSON_OBJECT);
	const char *description = wl_json_get_string(parameter, "description", NULL);
	if (!made || !property) {
		wl_json_free(made);
		wl_json_free(property);
		return;
	}
	if (description && !wl_json_get(property, "description"))
		openapi_put(reader, property, "description", wl_json_new_string(description));
	openapi_put(reader, making->properties, member, property);
	if (required)
		openapi_append(reader, making->required, wl_json_new_string(member));
	openapi_put(reader, made, "name", wl_json_new_string(member));
	openapi_put(reader, made, "in", wl_json_new_string(in));
	if (strcmp(member, name) != 0)
		openapi_put(reader, made, "as", wl_json_new_string(name));
	openapi_put(reader, made, "required", wl_json_new_bool(required));
	put_style(making, made, parameter, place);
	openapi_append(reader, making->parameters, made);
}

static bool place_of_parameter_known(const char *in)
{
	return strcmp(in, "path") == 0 || strcmp(in, "query") == 0 || strcmp(in, "header") == 0 ||
	       strcmp(in, "cookie") == 0;
}

static void read_parameter(struct making *making, const struct wl_json *parameter, const struct openapi_place *place)
{
	struct openapi_reader *reader = making->reader;
	const char *name = wl_json_get_string(parameter, "name", ""), *in = wl_json_get_string(parameter, "in", "");
	const struct openapi_place name_place = { place, "name", NULL, 0 }, in_place = { place, "in", NULL, 0 };
	if (!wl_json_is(parameter, WL_JSON_OBJECT)) {
		openapi_fault(reader, place, "must be an object");
	} else if (!*name || strlen(name) > NAME_MOST) {
		openapi_fault(reader, &name_place, *name ? "is too long" : "is missing");
	} else if (!place_of_parameter_known(in)) {
		openapi_fault(reader, &in_place, "'%.40s' is none of path, query, header and cookie", in);
	} else if (wl_json_count(making->parameters) >= WL_OPENAPI_PARAMETERS_MAX) {
		openapi_fault(reader, place, "an operation has at most %d parameters", WL_OPENAPI_PARAMETERS_MAX);
	} else if (wl_json_get(parameter, "content")) {
		openapi_warn(reader, place,
			     "is sent as a document of its own (content), which cannot be done: left out");
	} else if (strcmp(in, "header") != 0 || !is_reserved_header(name)) {
		if (wl_json_get_bool(parameter, "allowReserved", false))
			openapi_warn(reader, place, "reserved characters are escaped all the same");
		put_parameter(making, parameter, place, in, name);
	}
}

/* Whether one of the operation's own parameters has this name and place: it stands in for the path's. */
static bool overridden(struct making *making, const struct wl_json *parameter)
{
	const struct wl_json *own = wl_json_get(making->operation->object, "parameters");
	int looked = 0;
	for (const struct wl_json *one = wl_json_first(own); one && looked < 2 * WL_OPENAPI_PARAMETERS_MAX;
	     one = wl_json_next(one), looked++) {
		struct openapi_place ignored = { NULL, "", NULL, 0 };
		const struct wl_json *other =
			wl_json_get(one, "$ref") ? openapi_resolve(making->reader, one, &ignored) : one;
		if (strcmp(wl_json_get_string(other, "name", ""), wl_json_get_string(parameter, "name", "")) == 0 &&
		    strcmp(wl_json_get_string(other, "in", ""), wl_json_get_string(parameter, "in", "")) == 0)
			return true;
	}
	return false;
}

static void read_parameters(struct making *making, const struct wl_json *owner, const struct openapi_place *owner_place,
			    bool shared)
{
	const struct wl_json *list = wl_json_get(owner, "parameters");
	const struct openapi_place place = { owner_place, "parameters", NULL, 0 };
	if (list && !wl_json_is(list, WL_JSON_ARRAY)) {
		openapi_fault(making->reader, &place, "must be a list");
		return;
	}
	if (wl_json_count(list) > 2 * WL_OPENAPI_PARAMETERS_MAX) {
		openapi_fault(making->reader, &place, "an operation has at most %d parameters",
			      WL_OPENAPI_PARAMETERS_MAX);
		return;
	}
	struct openapi_place item = { &place, NULL, NULL, 0 };
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one), item.index++) {
		struct openapi_place target = item;
		const struct wl_json *parameter = openapi_resolve(making->reader, one, &target);
		if (parameter && !(shared && overridden(making, parameter)))
			read_parameter(making, parameter, &target);
	}
}

/* ---- bodies -------------------------------------------------------------------------------------------------------
 */

/* Whether a media type (RFC 6838, parameters ignored) is JSON. */
static bool is_json(const char *type)
{
	size_t length = strcspn(type, "; \t");
	return (length == 16 && strncasecmp(type, "application/json", 16) == 0) ||
	       (length > 5 && strncasecmp(type + length - 5, "+json", 5) == 0);
}

/* How a body of this type is sent; NULL when it cannot be. */
static const char *body_way(const char *type)
{
	if (is_json(type))
		return "json";
	if (strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0)
		return "form";
	return strncasecmp(type, "text/", 5) == 0 ? "text" : NULL;
}

/* The first media type that can be sent, JSON before forms before text. */
static const struct wl_json *pick_media(const struct wl_json *content, const char **ret_way)
{
	static const char *const ways[] = { "json", "form", "text" };
	for (size_t i = 0; i < WL_COUNT_OF(ways); i++)
		for (const struct wl_json *one = wl_json_first(content); one; one = wl_json_next(one)) {
			const char *way = body_way(wl_json_key(one));
			if (!way || strcmp(way, ways[i]) != 0)
				continue;
			*ret_way = way;
			return one;
		}
	return NULL;
}

/* The schema of a media type: what is there, or what its way of sending wants. */
static struct wl_json *media_schema(struct making *making, const struct wl_json *media,
				    const struct openapi_place *place, const char *way, bool request)
{
	const struct openapi_place media_place = { place, wl_json_key(media), NULL, 0 };
	const struct openapi_place at = { &media_place, "schema", NULL, 0 };
	const struct wl_json *schema = wl_json_get(media, "schema");
	if (schema)
		return openapi_schema(making->reader, schema, &at, request);
	struct wl_json *made = openapi_new(making->reader, WL_JSON_OBJECT);
	if (made && strcmp(way, "json") != 0)
		openapi_put(making->reader, made, "type",
			    wl_json_new_string(strcmp(way, "form") == 0 ? "object" : "string"));
	return made;
}

static void read_body(struct making *making)
{
	struct openapi_reader *reader = making->reader;
	const struct openapi_operation *operation = making->operation;
	struct openapi_place place = { &operation->place, "requestBody", NULL, 0 };
	const struct wl_json *body = wl_json_get(operation->object, "requestBody");
	if (body)
		body = openapi_resolve(reader, body, &place);
	if (!body)
		return;
	const struct openapi_place content_place = { &place, "content", NULL, 0 };
	const struct wl_json *content = wl_json_get(body, "content");
	if (!wl_json_is(content, WL_JSON_OBJECT)) {
		openapi_fault(reader, &content_place, content ? "must be an object" : "is missing");
		return;
	}
	if (strcmp(operation->method, "GET") == 0 || strcmp(operation->method, "HEAD") == 0) {
		openapi_warn(reader, &place, "%s has no body: it is left out", operation->method);
		return;
	}
	const struct wl_json *media = pick_media(content, &making->body);
	if (!media) {
		openapi_warn(reader, &content_place,
			     "none of its types can be sent (JSON, forms, text): no body is sent");
		return;
	}
	openapi_put(reader, making->properties, "body",
		    media_schema(making, media, &content_place, making->body, true));
	if (wl_json_get_bool(body, "required", false))
		openapi_append(reader, making->required, wl_json_new_string("body"));
}

/* The schema of the first answer of the class 2xx that is JSON; an empty one when there is none. */
static struct wl_json *read_answer(struct making *making)
{
	struct openapi_reader *reader = making->reader;
	const struct wl_json *responses = wl_json_get(making->operation->object, "responses");
	const struct openapi_place place = { &making->operation->place, "responses", NULL, 0 };
	if (responses && !wl_json_is(responses, WL_JSON_OBJECT))
		openapi_fault(reader, &place, "must be an object");
	for (const struct wl_json *one = wl_json_first(responses); one; one = wl_json_next(one)) {
		struct openapi_place at = { &place, wl_json_key(one), NULL, 0 };
		if (!wl_json_key(one) || wl_json_key(one)[0] != '2')
			continue;
		const struct wl_json *response = openapi_resolve(reader, one, &at);
		const struct wl_json *content = wl_json_get(response, "content");
		const struct openapi_place content_place = { &at, "content", NULL, 0 };
		for (const struct wl_json *media = wl_json_first(content); media; media = wl_json_next(media))
			if (is_json(wl_json_key(media)))
				return media_schema(making, media, &content_place, "json", false);
	}
	return openapi_new(reader, WL_JSON_OBJECT);
}

/* ---- the tool -----------------------------------------------------------------------------------------------------
 */

static struct wl_json *make_input(struct making *making)
{
	struct openapi_reader *reader = making->reader;
	struct wl_json *input = openapi_new(reader, WL_JSON_OBJECT);
	if (!input)
		return NULL;
	openapi_put(reader, input, "type", wl_json_new_string("object"));
	openapi_put(reader, input, "properties", wl_steal(making->properties));
	if (wl_json_count(making->required))
		openapi_put(reader, input, "required", wl_steal(making->required));
	openapi_put(reader, input, "additionalProperties", wl_json_new_bool(false));
	return input;
}

/* {"hosts": [host of the address]}: calls go nowhere else. */
static struct wl_json *make_egress(struct openapi_reader *reader, const char *address)
{
	const char *authority = strstr(address, "://") + 3;
	size_t length = strcspn(authority, "/");
	const char *user = memchr(authority, '@', length);
	char host[256];
	(void)snprintf(host, sizeof(host), "%.*s", (int)(user ? length - (size_t)(user + 1 - authority) : length),
		       user ? user + 1 : authority);
	struct wl_json *egress = openapi_new(reader, WL_JSON_OBJECT), *hosts = openapi_new(reader, WL_JSON_ARRAY);
	openapi_append(reader, hosts, wl_json_new_string(host));
	openapi_put(reader, egress, "hosts", hosts);
	return egress;
}

static struct wl_json *make_config(struct making *making)
{
	struct openapi_reader *reader = making->reader;
	const struct openapi_operation *operation = making->operation;
	_wl_free_ char *address = openapi_server(reader, operation);
	if (!address)
		return NULL;
	struct wl_json *config = openapi_new(reader, WL_JSON_OBJECT), *auth = openapi_auth(reader, operation);
	openapi_put(reader, config, "kind", wl_json_new_string("openapi"));
	openapi_put(reader, config, "method", wl_json_new_string(operation->method));
	openapi_put(reader, config, "url", wl_json_new_string(address));
	openapi_put(reader, config, "path", wl_json_new_string(operation->path));
	if (operation->id && strlen(operation->id) <= NAME_MOST)
		openapi_put(reader, config, "operation_id", wl_json_new_string(operation->id));
	openapi_put(reader, config, "parameters", wl_steal(making->parameters));
	if (making->body)
		openapi_put(reader, config, "body", wl_json_new_string(making->body));
	if (auth)
		openapi_put(reader, config, "auth", auth);
	openapi_put(reader, config, "egress", make_egress(reader, address));
	return config;
}

static void put_description(struct making *making, struct wl_json *tool)
{
	const char *summary = wl_json_get_string(making->operation->object, "summary", "");
	const char *description = wl_json_get_string(making->operation->object, "description", "");
	char text[DESCRIPTION_MOST];
	int length =
		snprintf(text, sizeof(text), "%s%s%s", summary, *summary && *description ? "\n\n" : "", description);
	size_t end = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
	/* not in the middle of a character */
	while ((size_t)length >= sizeof(text) && end > 0 && ((unsigned char)text[end - 1] & 0x80)) {
		bool lead = (unsigned char)text[--end] >= 0xc0;
		if (lead)
			break;
	}
	text[end] = '\0';
	openapi_put(making->reader, tool, "description", wl_json_new_string(text));
}

struct wl_json *openapi_tool(struct openapi_reader *reader, const struct openapi_operation *operation)
{
	char named[WL_OPENAPI_NAME_MAX * 8];
	_wl_json_ struct wl_json *properties = openapi_new(reader, WL_JSON_OBJECT);
	_wl_json_ struct wl_json *required = openapi_new(reader, WL_JSON_ARRAY);
	_wl_json_ struct wl_json *parameters = openapi_new(reader, WL_JSON_ARRAY);
	struct making making = { reader, operation, properties, required, parameters, NULL };
	if (!properties || !required || !parameters)
		return NULL;
	properties = required = parameters = NULL; /* they are `making`'s from here on */
	read_parameters(&making, operation->item, &operation->item_place, true);
	read_parameters(&making, operation->object, &operation->place, false);
	read_body(&making);
	struct wl_json *output = read_answer(&making), *config = make_config(&making);
	struct wl_json *input = make_input(&making), *tool = openapi_new(reader, WL_JSON_OBJECT);
	(void)snprintf(named, sizeof(named), "%s %.480s", operation->method, operation->path);
	openapi_put(reader, tool, "operation", wl_json_new_string(operation->id ? operation->id : named));
	put_description(&making, tool);
	openapi_put(reader, tool, "method", wl_json_new_string(operation->method));
	openapi_put(reader, tool, "path", wl_json_new_string(operation->path));
	openapi_put(reader, tool, "input_schema", input);
	openapi_put(reader, tool, "output_schema", output);
	wl_json_free(making.properties);
	wl_json_free(making.required);
	wl_json_free(making.parameters);
	if (config) {
		openapi_put(reader, tool, "execution_config", config);
		return tool;
	}
	wl_json_free(tool);
	return NULL;
}
