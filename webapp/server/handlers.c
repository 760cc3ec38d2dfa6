#include "webapp/server/routes.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *operation;
	web_handler *handler;
} handlers[] = {
#define X(operation) { #operation, web_##operation },
	WEB_OPERATIONS(X)
#undef X
};

#define HANDLERS (sizeof(handlers) / sizeof(handlers[0]))

web_handler *web_handler_of(const char *operation)
{
	for (size_t i = 0; i < HANDLERS; i++)
		if (strcmp(handlers[i].operation, operation) == 0)
			return handlers[i].handler;
	return NULL;
}

static bool is_in_document(const char *operation)
{
	for (int i = 0; i < web_route_count; i++)
		if (strcmp(web_routes[i].operation, operation) == 0)
			return true;
	return false;
}

int web_handlers_check(struct wl_error *err)
{
	if (web_route_count > WEB_ROUTES_MOST)
		return wl_fail(err, EINVAL, "specs/openapi.yaml has %d operations; WEB_ROUTES_MOST is %d",
			       web_route_count, WEB_ROUTES_MOST);
	for (size_t i = 0; i < HANDLERS; i++)
		if (!is_in_document(handlers[i].operation))
			return wl_fail(err, EINVAL, "the handler %s has no operation in specs/openapi.yaml",
				       handlers[i].operation);
	return 0;
}
