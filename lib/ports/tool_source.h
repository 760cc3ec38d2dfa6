/*
 * The tool source port: what a supervisor has to know of a tool to call it. It is asked anew for each call, so that a
 * change of a tool, a credential that was taken away or a tool that was archived counts from the next call on. Calls
 * block; thread-safe. The real one is lib/store/postgres_tools.c.
 */
#ifndef WL_PORTS_TOOL_SOURCE_H
#define WL_PORTS_TOOL_SOURCE_H

#include "lib/base/error.h"

struct wl_tool_source {
	void *self;
	/*
	 * The tool `tool_id` (a UUID) of tenant `tenant` as JSON text: {"name","description","state","version",
	 * "input_schema","output_schema","execution_config","credentials","sealed_key"}, the last two sealed texts or
	 * null. *ret_json is allocated. 0; -ENOENT: this tenant has no such tool; -EAGAIN, -ECONNREFUSED, -EPIPE,
	 * -ETIMEDOUT: it may pass, try again; -EIO anything else.
	 */
	int (*tool)(void *self, int tenant, const char *tool_id, char **ret_json, struct wl_error *err);
	void (*close)(void *self);
};

#endif
