/* Servers and security of the OpenAPI reader. */
#include "lib/base/cleanup.h"
#include "lib/codec/openapi_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ADDRESS_MOST 4096

/* ---- servers ------------------------------------------------------------------------------------------------------
 */

/* Append the default of the variable {name}. */
static bool put_variable(struct openapi_reader *reader, const struct wl_json *server, const char *name, size_t length,
			 const struct openapi_place *place, struct wl_buffer *address)
{
	char key[128];
	const struct wl_json *variables = wl_json_get(server, "variables");
	(void)snprintf(key, sizeof(key), "%.*s", (int)length, name);
	const char *value = wl_json_get_string(wl_json_get(variables, key), "default", NULL);
	if (!value) {
		openapi_fault(reader, place, "its variable {%.80s} has no default", key);
		return false;
	}
	wl_buffer_append_text(address, value);
	return true;
}

static bool fill_in(struct openapi_reader *reader, const struct wl_json *server, const struct openapi_place *place,
		    struct wl_buffer *address)
{
	const char *text = wl_json_get_string(server, "url", "");
	while (*text) {
		size_t plain = strcspn(text, "{");
		wl_buffer_append(address, text, plain);
		text += plain;
		if (*text != '{')
			continue;
		size_t length = strcspn(text + 1, "}");
		if (text[1 + length] != '}') {
			openapi_fault(reader, place, "has a brace that is not closed");
			return false;
		}
		if (!put_variable(reader, server, text + 1, length, place, address))
			return false;
		text += length + 2;
	}
	return true;
}

/* An address that calls can be made to: absolute, http or https, without query and fragment; "/" at its end goes. */
static char *usable_address(struct openapi_reader *reader, struct wl_buffer *address, const struct openapi_place *place)
{
	const char *text = address->data ? address->data : "";
	while (address->length > 0 && address->data[address->length - 1] == '/')
		address->data[--address->length] = '\0';
	if (!strstr(text, "://"))
		openapi_fault(reader, place, "'%.100s' is relative: 'server' must say where it is", text);
	else if (strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0)
		openapi_fault(reader, place, "'%.100s' is neither http nor https", text);
	else if (strpbrk(text, "?#{}"))
		openapi_fault(reader, place, "'%.100s' has a query, a fragment or braces", text);
	else if (address->failed || address->length > ADDRESS_MOST)
		openapi_fault(reader, place, "is too long");
	else
		return wl_buffer_steal(address);
	return NULL;
}

static char *address_of(struct openapi_reader *reader, const struct wl_json *server, const struct openapi_place *place)
{
	_wl_buffer_ struct wl_buffer address;
	const struct openapi_place at = { place, "url", NULL, 0 };
	wl_buffer_init(&address, ADDRESS_MOST + 1);
	if (!wl_json_is(wl_json_get(server, "url"), WL_JSON_STRING)) {
		openapi_fault(reader, &at, "is missing");
		return NULL;
	}
	return fill_in(reader, server, &at, &address) ? usable_address(reader, &address, &at) : NULL;
}

static char *chosen_address(struct openapi_reader *reader)
{
	_wl_buffer_ struct wl_buffer address;
	const struct openapi_place place = { NULL, "server", NULL, 0 };
	wl_buffer_init(&address, ADDRESS_MOST + 1);
	wl_buffer_append_text(&address, reader->choice->server);
	return usable_address(reader, &address, &place);
}

char *openapi_server(struct openapi_reader *reader, const struct openapi_operation *operation)
{
	const struct openapi_place places[] = { operation->place, operation->item_place, { NULL, NULL, "", 0 } };
	const struct wl_json *owners[] = { operation->object, operation->item, reader->document };
	if (reader->choice->server)
		return chosen_address(reader);
	for (size_t i = 0; i < WL_COUNT_OF(owners); i++) {
		const struct wl_json *servers = wl_json_get(owners[i], "servers");
		const struct openapi_place list = { i < 2 ? &places[i] : NULL, "servers", NULL, 0 };
		const struct openapi_place first = { &list, NULL, NULL, 0 };
		if (servers && !wl_json_is(servers, WL_JSON_ARRAY)) {
			openapi_fault(reader, &list, "must be a list");
			return NULL;
		}
		if (wl_json_first(servers))
			return address_of(reader, wl_json_first(servers), &first);
	}
	const struct openapi_place missing = { NULL, "servers", NULL, 0 };
	openapi_fault(reader, &missing, "is missing: 'server' must say where the API is");
	return NULL;
}

struct wl_json *openapi_servers(struct openapi_reader *reader)
{
	struct wl_json *made = openapi_new(reader, WL_JSON_ARRAY);
	const struct wl_json *servers = wl_json_get(reader->document, "servers");
	int count = 0;
	for (const struct wl_json *one = wl_json_first(servers); one && made && count < 100;
	     one = wl_json_next(one), count++)
		if (wl_json_get_string(one, "url", NULL))
			openapi_append(reader, made, wl_json_new_string(wl_json_get_string(one, "url", "")));
	return made;
}

/* ---- security -----------------------------------------------------------------------------------------------------
 */

static struct wl_json *auth_type(struct openapi_reader *reader, const char *type)
{
	struct wl_json *auth = openapi_new(reader, WL_JSON_OBJECT);
	if (auth)
		openapi_put(reader, auth, "type", wl_json_new_string(type));
	return auth;
}

/* How a scheme's credentials are sent; NULL (with a warning) when we cannot. */
static struct wl_json *auth_of(struct openapi_reader *reader, const struct wl_json *scheme,
			       const struct openapi_place *place)
{
	const char *type = wl_json_get_string(scheme, "type", ""), *http = wl_json_get_string(scheme, "scheme", "");
	if (strcmp(type, "http") == 0 && strcasecmp(http, "bearer") == 0)
		return auth_type(reader, "bearer");
	if (strcmp(type, "http") == 0 && strcasecmp(http, "basic") == 0)
		return auth_type(reader, "basic");
	if (strcmp(type, "oauth2") == 0 || strcmp(type, "openIdConnect") == 0) {
		openapi_warn(reader, place, "%s: a token is sent as bearer, but getting and renewing it is up to you",
			     type);
		return auth_type(reader, "bearer");
	}
	const char *in = wl_json_get_string(scheme, "in", ""), *name = wl_json_get_string(scheme, "name", "");
	bool place_known = strcmp(in, "header") == 0 || strcmp(in, "query") == 0 || strcmp(in, "cookie") == 0;
	if (strcmp(type, "apiKey") == 0 && place_known && *name) {
		struct wl_json *auth = auth_type(reader, "api_key");
		openapi_put(reader, auth, "in", wl_json_new_string(in));
		openapi_put(reader, auth, "name", wl_json_new_string(name));
		return auth;
	}
	openapi_warn(reader, place, "security of type '%.40s' %.40s cannot be used", type, http);
	return NULL;
}

/* The one scheme of a requirement; NULL when it names several, or one that we cannot use. */
static struct wl_json *auth_of_requirement(struct openapi_reader *reader, const struct wl_json *requirement,
					   const struct openapi_place *place)
{
	const struct wl_json *named = wl_json_first(requirement);
	const struct wl_json *schemes = wl_json_get(wl_json_get(reader->document, "components"), "securitySchemes");
	const struct openapi_place at = { place, named ? wl_json_key(named) : "", NULL, 0 };
	const struct wl_json *scheme = wl_json_get(schemes, at.key);
	struct openapi_place scheme_place = at;
	if (wl_json_next(named)) {
		openapi_warn(reader, place, "wants several kinds of credentials at once, which a tool does not have");
		return NULL;
	}
	if (!wl_json_is(scheme, WL_JSON_OBJECT)) {
		openapi_fault(reader, &at, "is none of components.securitySchemes");
		return NULL;
	}
	scheme = openapi_resolve(reader, scheme, &scheme_place);
	return scheme ? auth_of(reader, scheme, &scheme_place) : NULL;
}

struct wl_json *openapi_auth(struct openapi_reader *reader, const struct openapi_operation *operation)
{
	const struct wl_json *own = wl_json_get(operation->object, "security");
	const struct wl_json *list = own ? own : wl_json_get(reader->document, "security");
	const struct openapi_place place = { own ? &operation->place : NULL, "security", NULL, 0 };
	struct openapi_place at = { &place, NULL, NULL, 0 };
	if (list && !wl_json_is(list, WL_JSON_ARRAY))
		openapi_fault(reader, &place, "must be a list");
	if (!wl_json_is(list, WL_JSON_ARRAY))
		return NULL;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one), at.index++) {
		if (!wl_json_is(one, WL_JSON_OBJECT))
			openapi_fault(reader, &at, "must be an object");
		if (!wl_json_first(one))
			continue; /* {}: it also works without */
		struct wl_json *auth = auth_of_requirement(reader, one, &at);
		if (auth)
			return auth;
	}
	return NULL;
}
