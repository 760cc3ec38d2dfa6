/*
 * windlass-eval: expressions and tenants' JSON Schemas, evaluated where they can do no harm.
 *
 * parent   listens on the socket, keeps a few children parked, hands each new connection to one of them and keeps a
 *          second descriptor of it. Never reads a byte of a request.
 * child    one for each connection: no files, no environment, bounded memory, a handful of system calls; serves the
 *          connection's requests one after the other and ends with it.
 *
 * A request's time is bounded by a kernel timer whose default action kills the child: no jq program can be in the way.
 * The child says in a shared byte whether it evaluates. When it dies while it does, the parent writes the answer that
 * the child no longer can, from the signal that ended it, and closes the connection. In any other state it only closes:
 * an answer that is under way must not be mixed with a second one.
 */
#ifndef SUPERVISOR_EVAL_EVAL_H
#define SUPERVISOR_EVAL_EVAL_H

#include "supervisor/eval/program_cache.h"

#include <sys/types.h>

enum child_stage { CHILD_IDLE, CHILD_EVALUATING, CHILD_ANSWERING };

struct eval_limits {
	long memory_mb; /* of one child, beyond the program itself */
	long time_ms;	/* of one request at most */
};

/* The child's whole life. `control_fd` brings the connection; `stage` is shared with the parent. `cache` was warmed by
 * the parent and is copied on write. Never returns. */
_Noreturn void eval_child(int control_fd, volatile unsigned char *stage, pid_t parent, const struct eval_limits *limits,
			  struct program_cache *cache);

/* Serve the requests of one connection until its end; `stage` as above. What eval_child() does once it is sealed. */
void eval_connection(int connection, volatile unsigned char *stage, const struct eval_limits *limits,
		     struct program_cache *cache);

/* Accept connections until SIGTERM or SIGINT, then let evaluations finish. 0, or -errno with a sentence. */
int eval_serve(int listen_fd, const struct eval_limits *limits, struct program_cache *cache, struct wl_error *err);

#endif
