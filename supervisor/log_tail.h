/* What a node wrote to its log: whole lines for those who watch, and the last of them for the record. */
#ifndef WL_SUPERVISOR_LOG_TAIL_H
#define WL_SUPERVISOR_LOG_TAIL_H

#include "lib/base/buffer.h"

#include <stdint.h>

#define LOG_TAIL_KEPT (64u << 10) /* bytes stored with a node's result */
#define LOG_PIECE_MAX 8192	  /* bytes of one event */

struct log_tail {
	struct wl_buffer line; /* bytes after the last end of line */
	char **pieces;	       /* {"time","stream","text"}, oldest first */
	int first, count, room;
	size_t kept; /* bytes in pieces */
};

/* Called with one piece of whole lines as JSON: {"time","stream","text"}. */
typedef void (*log_tail_emit)(void *context, const char *piece_json);

/* Take bytes of a stream; complete lines are kept and emitted. `wall_ms`: the time of the piece. */
void log_tail_write(struct log_tail *tail, const char *stream, const char *bytes, size_t length, int64_t wall_ms,
		    log_tail_emit emit, void *context);
/* The stream has ended: what has no end of line goes too. */
void log_tail_flush(struct log_tail *tail, const char *stream, int64_t wall_ms, log_tail_emit emit, void *context);
/* The kept pieces as a JSON array, NULL when there are none. Allocated. */
char *log_tail_text(const struct log_tail *tail);
void log_tail_release(struct log_tail *tail);

#endif
