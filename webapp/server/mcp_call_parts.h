/*
 * Inside of a call of a tool: its state, and how it waits and is answered. For mcp_call.c and mcp_call_wait.c alone.
 *
 * A call has a reference for the step that is under way, which ends with one of the finish functions or goes on with
 * another step, and one for its stream.
 */
#ifndef WL_WEBAPP_MCP_CALL_PARTS_H
#define WL_WEBAPP_MCP_CALL_PARTS_H

#include "lib/mcp/server_message.h"
#include "lib/secrets/digest.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/postgres_async.h"
#include "webapp/server/request.h"
#include "webapp/server/thread_pool.h"
#include "webapp/server/wait_end.h"

#include <stdbool.h>

struct mcp_call {
	struct web_event_listener listener; /* of the run's events; first, so that it is the call */
	struct mcp_call *next, **link;	    /* among those with a stream */
	struct web_task task;
	struct web_request *request; /* held */
	struct web_stream *stream;
	struct web_wait *wait;
	int references;
	bool streams, listening, asked;
	bool end_heard;		/* of the run's events, the last one */
	char *result;		/* of the run, while its end was not heard yet */
	struct wl_buffer early; /* progress from before the stream's head was sent */
	bool node_waits;	/* maybe for a person: look once the wait has begun */
	uint64_t beat_ms;	/* when something was sent last */
	uint64_t moved_ms;	/* when the client took something, or had taken all */
	size_t queued_before;	/* bytes, at the last look */
	struct wl_mcp_incoming *incoming;
	/* what is asked; texts belong to the request's message, the tool's until the wait begins */
	const char *id, *tool;
	char *arguments, *token; /* JSON */
	int wait_s, attempts;
	char eid[WL_UUID_TEXT];
	/* what was found */
	char flow[WL_UUID_TEXT], hash[WL_SHA256_HEX];
	char *schema; /* NULL: everything fits */
	int nodes, nodes_ended;
	/* a thread's while it has the task */
	int rc;
	char *faults_json;
	struct wl_error err;
	char *run_json;
	struct wl_buffer message; /* the answer */
};

/* Say that a reference is no more. */
void mcp_call_release(struct mcp_call *call);

/* Answer, and end the step under way: with a whole message, an error of JSON-RPC, a refusal for the model to read. */
void mcp_call_finish(struct mcp_call *call, const struct wl_buffer *message);
void mcp_call_finish_error(struct mcp_call *call, int code, const char *sentence);
void mcp_call_finish_refused(struct mcp_call *call, const char *sentence);
/* With how a run is, JSON text of api.mcp_state or RunResult; NULL: there is no memory. */
void mcp_call_finish_run(struct mcp_call *call, const char *run_json);
/* Without memory, or without a server that is needed: before the head is sent a status of HTTP says so. */
void mcp_call_finish_away(struct mcp_call *call, const char *sentence);

/* Ask for a step of api.mcp_post; `extra` is taken over. `done` gets the call as job->context. */
void mcp_call_step(struct mcp_call *call, const char *step, struct wl_json *extra, void (*done)(struct pg_job *job));
/* Whether a step failed; then the call is answered. missing: the sentence for what is not there. */
bool mcp_call_step_failed(struct mcp_call *call, const struct pg_job *job, const char *missing);
/* What that step answered, parsed; NULL: there is no memory. *ret_text, which may be NULL, belongs to the job. */
struct wl_json *mcp_call_step_body(const struct pg_job *job, const char **ret_text);
/* What the step "state" takes: {"execution_id"}, or NULL without memory. */
struct wl_json *mcp_call_execution(const struct mcp_call *call);

/* Hear the events of the run call->eid from now on. */
void mcp_call_listen(struct mcp_call *call);
/* Send the head when the client takes a stream, wait for the end of the run, and answer. */
void mcp_call_wait(struct mcp_call *call);

#endif
