/* The live events of a run, as docs/architecture/contracts.md names them. */
#ifndef WL_SUPERVISOR_RUN_EVENTS_H
#define WL_SUPERVISOR_RUN_EVENTS_H

#include "supervisor/messages.h"

#define EVENT_OUTPUT_MAX 8192 /* larger outputs are read from the API */

/* Each is NULL without memory: an event less is no harm. */
struct event_item *event_execution(const char *eid, enum wl_run_state state, int64_t wall_ms);
/* A node is under way: an attempt has begun, or it waits. */
struct event_item *event_node_state(const char *eid, const char *node_id, enum wl_node_state state, int attempt,
				    int64_t wall_ms);
/* A node is in a final state. */
struct event_item *event_node(const struct wl_node_result *result, int64_t wall_ms);
struct event_item *event_log(const char *eid, const char *node_id, const char *piece_json);
/* Of a node that asks models: `type` is a literal, `data_json` an object. */
struct event_item *event_asking(const char *eid, const char *type, const char *data_json);
struct event_item *event_end(const struct ending *ending, int64_t wall_ms);
/* Nobody knows for sure what became of the run: whoever watches has to read it again. */
struct event_item *event_reset(const char *eid);
void event_item_free(struct event_item *event);

#endif
