/*
 * The trace of one node that asks models: steps as they happen, for those who watch, and all of them with the node's
 * result. Texts are cut here; the record of exchanges (record.h) has them whole. Thread-safe once opened.
 */
#ifndef WL_SUPERVISOR_NODES_TRACE_H
#define WL_SUPERVISOR_NODES_TRACE_H

#include "lib/base/buffer.h"
#include "lib/crew/crew.h"
#include "supervisor/nodes/node.h"

#include <pthread.h>

#define TRACE_TEXT_KEPT 4096 /* bytes of a step's input, and of its output */
#define TRACE_TOKEN_MS 40    /* text is passed on at once, then in pieces of this time */

struct trace_step {
	int id; /* counts up in order of beginning */
	char *json;
};

struct node_trace {
	const struct node_call *call;
	pthread_mutex_t lock;
	struct trace_step *steps; /* those that have ended */
	int count, room;
	size_t bytes;
	int left_out;		  /* that did not fit */
	struct wl_buffer pending; /* text of an answer that was not passed on yet */
	uint64_t passed_on_ms;
	char *agent; /* who speaks in `pending` */
};

void node_trace_open(const struct node_call *call, struct node_trace *trace);
void node_trace_close(struct node_trace *trace);

/* As wl_crew_world.step and .token; `self` is the trace. */
void node_trace_step(void *self, const struct wl_crew_step *step);
void node_trace_token(void *self, const char *agent, const char *text, size_t length);

/* All steps that have ended as a JSON array in order of their beginning, allocated; NULL: there were none, or no
 * memory. */
char *node_trace_text(struct node_trace *trace);

#endif
