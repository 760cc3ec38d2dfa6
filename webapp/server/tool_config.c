#include "webapp/server/tool_config.h"

#include "lib/base/cleanup.h"
#include "lib/mcp/http.h"
#include "lib/net/egress.h"
#include "lib/net/http_client.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATH_MAX_TEXT 256
#define HOSTS_MOST 100
#define PARAMETERS_MOST 100

struct check {
	const struct wl_json *config;
	const char *prefix;
	struct wl_flow_faults *faults;
	int added;
};

static void fault(struct check *check, const char *message, const char *path_fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void fault(struct check *check, const char *message, const char *path_fmt, ...)
{
	char path[PATH_MAX_TEXT], place[PATH_MAX_TEXT];
	va_list args;
	va_start(args, path_fmt);
	(void)vsnprintf(place, sizeof(place), path_fmt, args);
	va_end(args);
	(void)snprintf(path, sizeof(path), "%.60s%s%.190s", check->prefix, *place ? "." : "", place);
	wl_flow_fault_add(check->faults, path, "%s", message);
	check->added++;
}

/* ---- members of each kind ---------------------------------------------------------------------------------------- */

enum { CODE = 1, HTTP = 2, OPENAPI = 4, MCP_HTTP = 8, MCP_STDIO = 16 };

#define MCP (MCP_HTTP | MCP_STDIO)

/* X(member, kinds that may have it, kinds that need it) */
#define MEMBERS(X)                                                                                                     \
	X("kind", CODE | HTTP | OPENAPI | MCP, 0)                                                                      \
	X("language", CODE | MCP_STDIO, CODE)                                                                          \
	X("source", CODE | MCP_STDIO, CODE)                                                                            \
	X("limits", CODE | MCP_STDIO, 0)                                                                               \
	X("profile", CODE | MCP_STDIO, 0)                                                                              \
	X("models", CODE, 0)                                                                                           \
	X("method", HTTP | OPENAPI, OPENAPI)                                                                           \
	X("transport", MCP, MCP)                                                                                       \
	X("tool", MCP, MCP)                                                                                            \
	X("pin", MCP, 0)                                                                                               \
	X("command", MCP_STDIO, 0)                                                                                     \
	X("files", MCP_STDIO, 0)                                                                                       \
	X("env", MCP_STDIO, 0)                                                                                         \
	X("url", HTTP | OPENAPI | MCP_HTTP, HTTP | OPENAPI | MCP_HTTP)                                                 \
	X("path", OPENAPI, OPENAPI)                                                                                    \
	X("operation_id", OPENAPI, 0)                                                                                  \
	X("parameters", HTTP | OPENAPI, 0)                                                                             \
	X("body", HTTP | OPENAPI, 0)                                                                                   \
	X("headers", HTTP | OPENAPI | MCP_HTTP, 0)                                                                     \
	X("expect", HTTP | OPENAPI, 0)                                                                                 \
	X("auth", HTTP | OPENAPI | MCP_HTTP, 0)                                                                        \
	X("egress", HTTP | OPENAPI | MCP_HTTP, 0)                                                                      \
	X("max_response_kb", HTTP | OPENAPI | MCP_HTTP, 0)                                                             \
	X("timeout_s", CODE | HTTP | OPENAPI | MCP, 0)

static const struct {
	const char *name;
	unsigned may, must;
} members[] = {
#define X(name, may, must) { name, may, must },
	MEMBERS(X)
#undef X
};

static void check_members(struct check *check, unsigned kind, const char *kind_name)
{
	char message[96];
	for (size_t i = 0; i < WL_COUNT_OF(members); i++) {
		bool there = wl_json_get(check->config, members[i].name) != NULL;
		if (there && !(members[i].may & kind))
			(void)snprintf(message, sizeof(message), "a tool of kind %.30s has no such member", kind_name);
		else if (!there && (members[i].must & kind))
			(void)snprintf(message, sizeof(message), "is missing: a tool of kind %.30s needs it",
				       kind_name);
		else
			continue;
		fault(check, message, "%s", members[i].name);
	}
}

/* ---- the address ---------------------------------------------------------------------------------------------------
 */

bool web_tool_origin(const char *url, char *ret_origin, size_t size)
{
	const char *authority = strstr(url, "://");
	if (!authority)
		return false;
	size_t length = (size_t)(authority + 3 - url) + strcspn(authority + 3, "/?#");
	int written = snprintf(ret_origin, size, "%.*s/", (int)length, url);
	return written > 0 && (size_t)written < size;
}

static const char *parameter_target(const struct wl_json *parameter)
{
	return wl_json_get_string(parameter, "as", wl_json_get_string(parameter, "name", ""));
}

static bool is_path_parameter(const struct wl_json *config, const char *name, size_t length)
{
	const struct wl_json *list = wl_json_get(config, "parameters");
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		const char *target = parameter_target(one);
		if (strcmp(wl_json_get_string(one, "in", ""), "path") == 0 && strlen(target) == length &&
		    memcmp(target, name, length) == 0)
			return true;
	}
	return false;
}

/* Each {name} of a template must be a parameter of the path. */
static void check_template(struct check *check, const char *text, const char *member)
{
	for (const char *at = strpbrk(text, "{}"); at; at = strpbrk(at, "{}")) {
		size_t length = *at == '{' ? strcspn(at + 1, "{}") : 0;
		if (*at == '}' || at[1 + length] != '}' || length == 0) {
			fault(check, "braces do not enclose a parameter's name", "%s", member);
			return;
		}
		if (!is_path_parameter(check->config, at + 1, length))
			fault(check, "names a part in braces that is no parameter of the path", "%s", member);
		at += length + 2;
	}
}

static bool in_template(const char *text, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = strchr(text, '{'); at; at = strchr(at + 1, '{'))
		if (strncmp(at + 1, name, length) == 0 && at[1 + length] == '}')
			return true;
	return false;
}

/* The address with its parts in braces filled in, so that it reads as one. */
static void fill_template(const char *text, char *filled, size_t size)
{
	size_t used = 0;
	for (const char *at = text; *at && used + 1 < size; at++) {
		filled[used++] = *at == '{' ? 'x' : *at;
		if (*at == '{' && strchr(at, '}'))
			at = strchr(at, '}');
	}
	filled[used] = '\0';
}

/* Host and port of the address; false (with a fault) when it is none. */
static bool check_url(struct check *check, const char *url, bool openapi, char host[256], int *port)
{
	char origin[4200], filled[8400];
	struct wl_error err = { 0 };
	if (!web_tool_origin(url, origin, sizeof(origin))) {
		fault(check, "is no http or https address", "url");
		return false;
	}
	if (strpbrk(origin, "{}")) {
		fault(check, "the host cannot come from the input", "url");
		return false;
	}
	if (openapi && strpbrk(url, "?#{}")) {
		fault(check, "the server's address has no query, fragment or parts in braces", "url");
		return false;
	}
	fill_template(url, filled, sizeof(filled));
	if (wl_http_url_check(filled, host, port, &err) < 0) {
		fault(check, err.text, "url");
		return false;
	}
	return true;
}

/* ---- parameters ---------------------------------------------------------------------------------------------------
 */

static bool style_fits(const char *in, const char *style)
{
	static const char *const fitting[][5] = { { "path", "simple", "label", "matrix" },
						  { "query", "form", "spaceDelimited", "pipeDelimited", "deepObject" },
						  { "header", "simple" },
						  { "cookie", "form" } };
	for (size_t i = 0; i < WL_COUNT_OF(fitting); i++)
		for (int s = 1; strcmp(fitting[i][0], in) == 0 && s < 5 && fitting[i][s]; s++)
			if (strcmp(fitting[i][s], style) == 0)
				return true;
	return false;
}

static bool is_cookie_name(const char *name)
{
	return *name && !name[strcspn(name, "()<>@,;:\\\"/[]?={} \t\r\n")] && wl_http_header_valid("cookie", name);
}

static bool same_place(const struct wl_json *a, const struct wl_json *b)
{
	const char *in = wl_json_get_string(a, "in", "");
	if (strcmp(in, wl_json_get_string(b, "in", "")) != 0)
		return false;
	if (strcmp(in, "header") == 0)
		return strcasecmp(parameter_target(a), parameter_target(b)) == 0;
	return strcmp(parameter_target(a), parameter_target(b)) == 0;
}

static void check_parameter(struct check *check, const struct wl_json *one, int index)
{
	const char *in = wl_json_get_string(one, "in", ""), *target = parameter_target(one);
	const char *style = wl_json_get_string(one, "style", NULL);
	if (style && !style_fits(in, style))
		fault(check, "parameters of this kind do not have this style", "parameters[%d].style", index);
	if (strcmp(in, "header") == 0 && !wl_http_header_valid(target, ""))
		fault(check, "is no header that may be set", "parameters[%d].name", index);
	if (strcmp(in, "cookie") == 0 && !is_cookie_name(target))
		fault(check, "is no name of a cookie", "parameters[%d].name", index);
	if (strcmp(in, "path") == 0 && !in_template(wl_json_get_string(check->config, "path", ""), target) &&
	    !in_template(wl_json_get_string(check->config, "url", ""), target))
		fault(check, "the address has no part of this name in braces", "parameters[%d].name", index);
	for (const struct wl_json *other = wl_json_first(wl_json_get(check->config, "parameters")); other != one;
	     other = wl_json_next(other)) {
		if (!same_place(one, other))
			continue;
		fault(check, "an earlier parameter goes to the same place", "parameters[%d]", index);
		break;
	}
}

/* ---- the rest ------------------------------------------------------------------------------------------------------
 */

static void check_headers(struct check *check)
{
	const struct wl_json *headers = wl_json_get(check->config, "headers");
	for (const struct wl_json *one = wl_json_first(headers); one; one = wl_json_next(one))
		if (!wl_http_header_valid(wl_json_key(one), wl_json_string(one, "")))
			fault(check, "is no header that may be set", "headers.%.100s", wl_json_key(one));
}

static void check_auth(struct check *check)
{
	const struct wl_json *auth = wl_json_get(check->config, "auth");
	const char *type = wl_json_get_string(auth, "type", "none");
	const char *in = wl_json_get_string(auth, "in", NULL), *name = wl_json_get_string(auth, "name", NULL);
	if (strcmp(type, "api_key") != 0) {
		if (in || name)
			fault(check, "in and name belong to the type api_key alone", "auth");
		return;
	}
	if (!in)
		fault(check, "is missing: where the key goes", "auth.in");
	if (!name)
		fault(check, "is missing: the name under which the key goes", "auth.name");
	else if (in && strcmp(in, "header") == 0 && !wl_http_header_valid(name, ""))
		fault(check, "is no header that may be set", "auth.name");
	else if (in && strcmp(in, "cookie") == 0 && !is_cookie_name(name))
		fault(check, "is no name of a cookie", "auth.name");
}

static bool port_valid(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	int number = 0;
	return digits > 0 && digits < 6 && !text[digits] && sscanf(text, "%d", &number) == 1 && number > 0 &&
	       number < 65536;
}

/* A name, an address, "*.name", an IPv6 address in brackets; each with ":port" behind it (lib/net/egress.h). */
static bool host_pattern_valid(const char *pattern)
{
	const char *host = strncmp(pattern, "*.", 2) == 0 ? pattern + 2 : pattern;
	bool bracket = *host == '[';
	size_t length = strcspn(host, bracket ? "]" : ":");
	if (bracket && (host != pattern || !host[length++]))
		return false;
	if (length == 0 || length > 253 || *host == '.')
		return false;
	for (size_t i = 0; i < length; i++) {
		bool fits = bracket ? strchr("[]:.0123456789abcdefABCDEF", host[i]) != NULL
				    : isalnum((unsigned char)host[i]) || strchr("-._", host[i]);
		if (!fits || (host[i] == '.' && host[i + 1] == '.'))
			return false;
	}
	return !host[length] || (host[length] == ':' && port_valid(host + length + 1));
}

static void check_egress(struct check *check, const char *url, const char *host, int port)
{
	const struct wl_json *list = wl_json_get(wl_json_get(check->config, "egress"), "hosts");
	const char *patterns[HOSTS_MOST];
	size_t count = 0;
	int index = 0, before = check->added;
	for (const struct wl_json *one = wl_json_first(list); one && count < HOSTS_MOST;
	     one = wl_json_next(one), index++) {
		patterns[count++] = wl_json_string(one, "");
		if (!host_pattern_valid(patterns[count - 1]))
			fault(check,
			      "is no host: a name, *.name or an address, with :port when it is not the usual one",
			      "egress.hosts[%d]", index);
	}
	if (count && host && check->added == before &&
	    !wl_egress_host_matches(patterns, count, host, port, strncasecmp(url, "https:", 6) == 0 ? 443 : 80))
		fault(check, "the address's own host is not among them", "egress.hosts");
}

static void check_call(struct check *check, bool openapi)
{
	const char *url = wl_json_get_string(check->config, "url", "");
	const char *path = wl_json_get_string(check->config, "path", "");
	const char *method = wl_json_get_string(check->config, "method", "GET");
	char host[256];
	int port = 0, index = 0;
	bool known = *url && check_url(check, url, openapi, host, &port);
	if (openapi && *path && *path != '/')
		fault(check, "must begin with /", "path");
	if (openapi && strpbrk(path, "?#"))
		fault(check, "has no query or fragment: parameters go into the query", "path");
	check_template(check, openapi ? path : url, openapi ? "path" : "url");
	const struct wl_json *list = wl_json_get(check->config, "parameters");
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		check_parameter(check, one, index++);
	if ((strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) &&
	    strcmp(wl_json_get_string(check->config, "body", "none"), "none") != 0)
		fault(check, "GET and HEAD have no body", "body");
	check_headers(check);
	check_auth(check);
	check_egress(check, url, known ? host : NULL, port);
}

/* ---- servers of the Model Context Protocol --------------------------------------------------------------------------
 */

static void check_mcp_http(struct check *check)
{
	const char *url = wl_json_get_string(check->config, "url", "");
	const struct wl_json *headers = wl_json_get(check->config, "headers");
	char host[256];
	int port = 0;
	bool known = *url && check_url(check, url, false, host, &port);
	if (strpbrk(url, "{}"))
		fault(check, "has no parts in braces", "url");
	check_headers(check);
	for (const struct wl_json *one = wl_json_first(headers); one; one = wl_json_next(one))
		if (wl_mcp_http_sets(wl_json_key(one)))
			fault(check, "is one that the protocol sets", "headers.%.100s", wl_json_key(one));
	check_auth(check);
	check_egress(check, url, known ? host : NULL, port);
}

/* A relative path without empty parts, "." and "..". */
static bool file_path_valid(const char *path)
{
	for (;;) {
		size_t length = strcspn(path, "/");
		if (length == 0 || length > 100 || strspn(path, ".") == length)
			return false;
		for (size_t i = 0; i < length; i++)
			if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
				return false;
		if (!path[length])
			return true;
		path += length + 1;
	}
}

static bool env_name_valid(const char *name)
{
	size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
	return length > 0 && length <= 100 && !name[length] && !isdigit((unsigned char)*name);
}

static void check_mcp_stdio(struct check *check)
{
	const struct wl_json *command = wl_json_get(check->config, "command");
	bool source = wl_json_get(check->config, "source"), language = wl_json_get(check->config, "language");
	const char *name = wl_json_string(wl_json_first(command), "");
	if (command && (source || language))
		fault(check, "stands in place of language and source: both is too much", "command");
	else if (!command && !(source && language))
		fault(check, "is missing: a server over stdio needs a command, or language and source", "command");
	if (*name && *name != '/' && strchr(name, '/'))
		fault(check, "is no absolute path, nor the name of a program", "command[0]");
	for (const struct wl_json *one = wl_json_first(wl_json_get(check->config, "files")); one;
	     one = wl_json_next(one))
		if (strlen(wl_json_key(one)) > 250 || !file_path_valid(wl_json_key(one)))
			fault(check, "is no path below a folder", "files.%.100s", wl_json_key(one));
	for (const struct wl_json *one = wl_json_first(wl_json_get(check->config, "env")); one; one = wl_json_next(one))
		if (!env_name_valid(wl_json_key(one)))
			fault(check, "is no name of a variable", "env.%.100s", wl_json_key(one));
}

static void check_mcp(struct check *check)
{
	bool stdio = strcmp(wl_json_get_string(check->config, "transport", "http"), "stdio") == 0;
	check_members(check, stdio ? MCP_STDIO : MCP_HTTP, stdio ? "mcp over stdio" : "mcp over http");
	if (stdio)
		check_mcp_stdio(check);
	else
		check_mcp_http(check);
}

int web_tool_config_check(const struct wl_json *config, const char *prefix, struct wl_flow_faults *faults)
{
	struct check check = { .config = config, .prefix = prefix, .faults = faults };
	const char *kind = wl_json_get_string(config, "kind", "");
	bool code = strcmp(kind, "code") == 0, openapi = strcmp(kind, "openapi") == 0;
	if (strcmp(kind, "mcp") == 0) {
		check_mcp(&check);
		return check.added;
	}
	check_members(&check, code ? CODE : openapi ? OPENAPI : HTTP, kind);
	if (!code)
		check_call(&check, openapi);
	return check.added;
}
