/* What a wait or an approval waits for, from what its fields gave. */
#ifndef WL_SUPERVISOR_WAIT_TERMS_H
#define WL_SUPERVISOR_WAIT_TERMS_H

#include "lib/ports/ledger.h"
#include "supervisor/nodes/node.h"

#define WAIT_MAX_MS (366LL * 86400 * 1000)
#define APPROVAL_MESSAGE_MAX 16384

/*
 * `json`: what the plan's template gave. Fills delay_ms or until_ms, and of an approval message and roles_json, which
 * wl_wait_release() frees. -EINVAL: the sentence is for people; -ENOMEM.
 */
int wait_terms_read(enum wl_node_kind kind, const struct node_plan *plan, const char *json, struct wl_wait *wait,
		    struct wl_error *err);

/* The same for a question that a node asks: who may answer it is an array of roles. Texts are copied; NULL is no
 * memory. */
int wait_terms_ask(const char *message, const char *roles_json, struct wl_wait *wait, struct wl_error *err);

/* A time as RFC 3339 writes it, in ms since 1970: 0, or -EINVAL. */
int wait_read_time(const char *text, int64_t *ret_wall_ms);

#endif
