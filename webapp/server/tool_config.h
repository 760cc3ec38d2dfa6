/* The execution_config of a tool, as far as a schema cannot tell what is wrong with it. Pure. */
#ifndef WL_WEBAPP_TOOL_CONFIG_H
#define WL_WEBAPP_TOOL_CONFIG_H

#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

/*
 * Check an execution_config that fits the API's schema: the members that its kind needs and those of other kinds, the
 * address and its {name} parts against the parameters, styles, header names, auth, egress hosts. Each fault's path
 * begins with `prefix` ("execution_config"). Returns how many faults were added.
 */
int web_tool_config_check(const struct wl_json *config, const char *prefix, struct wl_flow_faults *faults);

/* The part of an address that names scheme, host and port, with "/" behind it; false when it has none or no room. */
bool web_tool_origin(const char *url, char *ret_origin, size_t size);

#endif
