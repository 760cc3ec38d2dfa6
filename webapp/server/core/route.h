/*
 * Routes as tools/gen_routes.py writes them from specs/openapi.yaml, and finding the one of a request. Pure.
 */
#ifndef WL_WEBAPP_CORE_ROUTE_H
#define WL_WEBAPP_CORE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEB_PATH_MAX 2000
#define WEB_PATH_PARAMETERS 4

/* Bits, so that a set of them makes an Allow header. */
enum web_method {
	WEB_GET = 1,
	WEB_HEAD = 2,
	WEB_POST = 4,
	WEB_PUT = 8,
	WEB_PATCH = 16,
	WEB_DELETE = 32,
	WEB_OPTIONS = 64,
	WEB_OTHER = 128 /* TRACE, or none that anybody knows: no route has it */
};

/* Each may do what those before it may. */
enum web_role {
	WEB_ROLE_NONE,
	WEB_ROLE_VIEWER,
	WEB_ROLE_EXECUTOR,
	WEB_ROLE_EDITOR,
	WEB_ROLE_ADMIN,
	WEB_ROLE_OPERATOR /* of the platform: belongs to no tenant and may do nothing inside one */
};

/* Whether somebody with role `has` may do what takes the role `least`. */
static inline bool web_role_suffices(enum web_role has, enum web_role least)
{
	if (has == WEB_ROLE_OPERATOR || least == WEB_ROLE_OPERATOR)
		return has == least;
	return has >= least;
}

enum web_place { WEB_IN_PATH, WEB_IN_QUERY, WEB_IN_HEADER };
enum web_type { WEB_STRING, WEB_INTEGER, WEB_UUID };

struct web_parameter {
	const char *name;
	enum web_place place;
	enum web_type type;
	bool required;
	int64_t least, most;	  /* an integer's range; the range of a string's length in characters */
	const char *standard;	  /* its value when it is left out; NULL: none */
	const char *pattern;	  /* see web_pattern_matches(); NULL: none */
	const char *const *words; /* the values it may have, up to NULL; NULL: any */
};

struct web_route {
	enum web_method method;
	const char *path;      /* such as /api/v1/flows/{id} */
	const char *operation; /* operationId */
	enum web_role role;    /* the least one; WEB_ROLE_NONE: no token is needed */
	const struct web_parameter *parameters;
	int parameter_count;
	const char *function;	 /* its function of PostgreSQL, with the schema */
	const char *call;	 /* the SQL that calls the operation's function, with $1 the actor and $2 the request */
	const char *body_schema; /* JSON Schema draft 7; NULL: the operation takes no body */
	bool body_raw;		 /* any bytes of any type: the handler reads request->body itself */
	bool body_required;
	bool query_any; /* takes a query of any names beside its parameters: the handler reads it itself */
};

extern const struct web_route web_routes[];
extern const int web_route_count;
extern const char web_api_document[];
extern const size_t web_api_document_length;

/* Values of {x} in a path, in order: percent-encoded still, inside the text that was matched. */
struct web_path_values {
	const char *text[WEB_PATH_PARAMETERS];
	size_t length[WEB_PATH_PARAMETERS];
	int count;
};

/* Whether `path` fits `pattern`, whose {x} stand for one segment that is not empty. Fills ret_values. */
bool web_path_matches(const char *pattern, const char *path, struct web_path_values *ret_values);

/*
 * The index of the route of a request (HEAD is served by GET's), or -1: then *ret_allowed has the methods of the
 * routes that fit the path, 0 when none does.
 */
int web_route_find(const struct web_route *routes, int count, enum web_method method, const char *path,
		   struct web_path_values *ret_values, unsigned *ret_allowed);

/* Write the methods of a set as an Allow header's value; returns `text`. */
#define WEB_ALLOW_SIZE 64
char *web_allow_text(unsigned methods, char text[WEB_ALLOW_SIZE]);

const char *web_method_name(enum web_method method);

/* "viewer" and so on; WEB_ROLE_NONE for another word. */
enum web_role web_role_of(const char *name);
const char *web_role_name(enum web_role role);

#endif
