/*
 * The tool port: what an agent may call, one call at a time. The real one is supervisor/tool_calls.c (the tenant's
 * tools of all kinds, in sandboxes or over the network); tests may fill the table with a double. Thread-safe; calls
 * block.
 */
#ifndef WL_PORTS_TOOL_CALL_H
#define WL_PORTS_TOOL_CALL_H

#include "lib/base/error.h"

#include <stdbool.h>

struct wl_tool_request {
	const char *tool_id;   /* UUID of a tool of the tenant, or "<mcp tool UUID>#<name>" for one tool of a server */
	const char *arguments; /* JSON text, an object */
	const char *place;     /* as of a model's call (model_call.h): also what Idempotency-Key is made of */
	const char *agent;     /* who calls, for the trace; may be NULL */
	int cancel_fd;	       /* -1: none */
};

struct wl_tool_answer {
	char *output;  /* JSON text, or NULL; allocated */
	char *code;    /* of a failure, such as "input_invalid"; allocated, NULL: it went well */
	char *message; /* of a failure, for the model and people; allocated */
	char *receipt; /* JSON text: sandbox, bytes, times; allocated, may be NULL */
	bool replayed;
};

/* What a model has to know of a tool. Texts belong to the caller of `describe`, who frees them by release. */
struct wl_tool_description {
	char *name; /* for the model: at most 64 of letters, digits, _ and - */
	char *description;
	char *input_schema; /* JSON text */
};

struct wl_tool_port {
	void *self;
	/* 0; -ENOENT there is no such tool or it is archived; -EAGAIN and others: it may pass. */
	int (*describe)(void *self, const char *tool_id, struct wl_tool_description *ret_description,
			struct wl_error *err);
	/*
	 * Call it. 0: the tool was asked, and answer->code tells whether it failed: that is for the model to read.
	 * -ECANCELED; -EIO: nothing can be said, the run has to try again.
	 */
	int (*call)(void *self, const struct wl_tool_request *request, struct wl_tool_answer *answer,
		    struct wl_error *err);
};

void wl_tool_answer_release(struct wl_tool_answer *answer);
void wl_tool_description_release(struct wl_tool_description *description);

#endif
