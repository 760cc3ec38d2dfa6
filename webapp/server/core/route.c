#include "webapp/server/core/route.h"

#include <string.h>

static const struct {
	enum web_method method;
	const char *name;
} method_names[] = {
	{ WEB_GET, "GET" },	{ WEB_HEAD, "HEAD" },	  { WEB_POST, "POST" },	      { WEB_PUT, "PUT" },
	{ WEB_PATCH, "PATCH" }, { WEB_DELETE, "DELETE" }, { WEB_OPTIONS, "OPTIONS" },
};

bool web_path_matches(const char *pattern, const char *path, struct web_path_values *ret_values)
{
	ret_values->count = 0;
	while (*pattern && *path) {
		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		size_t length = strcspn(path, "/");
		if (length == 0 || ret_values->count == WEB_PATH_PARAMETERS)
			return false;
		ret_values->text[ret_values->count] = path;
		ret_values->length[ret_values->count++] = length;
		path += length;
		pattern += strcspn(pattern, "}");
		if (*pattern)
			pattern++;
	}
	return !*pattern && !*path;
}

/* The matching route with the fewest parameters, -1 when none matches: /flows/import is no flow of that id. */
static int closest_route(const struct web_route *routes, int count, const char *path,
			 struct web_path_values *ret_values)
{
	int best = -1, least = WEB_PATH_PARAMETERS + 1;
	for (int i = 0; i < count && least > 0; i++) {
		struct web_path_values values;
		if (!web_path_matches(routes[i].path, path, &values) || values.count >= least)
			continue;
		best = i;
		least = values.count;
		*ret_values = values;
	}
	return best;
}

int web_route_find(const struct web_route *routes, int count, enum web_method method, const char *path,
		   struct web_path_values *ret_values, unsigned *ret_allowed)
{
	enum web_method served = method == WEB_HEAD ? WEB_GET : method;
	int best = closest_route(routes, count, path, ret_values);
	unsigned allowed = 0;
	for (int i = best < 0 ? count : best; i < count; i++) {
		if (strcmp(routes[i].path, routes[best].path) != 0)
			continue;
		if (routes[i].method == served)
			return i;
		allowed |= routes[i].method;
		if (routes[i].method == WEB_GET)
			allowed |= WEB_HEAD;
	}
	*ret_allowed = allowed;
	return -1;
}

char *web_allow_text(unsigned methods, char text[WEB_ALLOW_SIZE])
{
	size_t used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < sizeof(method_names) / sizeof(method_names[0]); i++) {
		if (!(methods & method_names[i].method))
			continue;
		if (used) {
			memcpy(text + used, ", ", 2);
			used += 2;
		}
		size_t length = strlen(method_names[i].name);
		memcpy(text + used, method_names[i].name, length + 1);
		used += length;
	}
	return text;
}

const char *web_method_name(enum web_method method)
{
	for (size_t i = 0; i < sizeof(method_names) / sizeof(method_names[0]); i++)
		if (method_names[i].method == method)
			return method_names[i].name;
	return "this method";
}

static const char *const role_names[] = { "", "viewer", "executor", "editor", "admin", "operator" };

enum web_role web_role_of(const char *name)
{
	for (int role = WEB_ROLE_VIEWER; role <= WEB_ROLE_OPERATOR; role++)
		if (strcmp(role_names[role], name) == 0)
			return (enum web_role)role;
	return WEB_ROLE_NONE;
}

const char *web_role_name(enum web_role role)
{
	return role_names[role];
}
