/*
 * The record of a run's exchanges with models and tools (MongoDB protocol, collection exchanges). What is in it is
 * never asked again by the same run: a supervisor that takes a run over, a crew that waited for a person, and a replay
 * go through the same calls and find the answers here. So a crew is a function of its definition, its input and this
 * record. Documents: _id "<execution>/<node path>/<place>", inserted once, the first one wins. Calls block;
 * thread-safe.
 */
#ifndef WL_PORTS_EXCHANGE_LOG_H
#define WL_PORTS_EXCHANGE_LOG_H

#include "lib/base/error.h"

#include <stdint.h>

#define WL_EXCHANGE_KEPT (1u << 20) /* bytes of an answer that are kept in the record itself */

#define WL_EXCHANGE_REQUEST_MAX (256u << 10) /* bytes of a request that are kept */
#define WL_EXCHANGE_TEXT_MAX 2000	     /* bytes of a text in short */

enum wl_exchange_kind { WL_EXCHANGE_MODEL, WL_EXCHANGE_TOOL, WL_EXCHANGE_EMBED, WL_EXCHANGE_HUMAN, WL_EXCHANGE_MEMORY };

/* Texts are owned by whoever made the struct; wl_exchange_release() frees them. */
struct wl_exchange {
	enum wl_exchange_kind kind;
	char *place;
	char *request_hash;	  /* sha256 in hex over what was asked, in a form that does not depend on chance */
	char *request_json;	  /* capped for people; what counts is the hash */
	char *answer_json;	  /* all of it: text, tool uses, usage, model, times, cost; or output, code, message */
	int64_t start_ms, end_ms; /* wall clock */
};

struct wl_exchange_log {
	void *self;
	/* Everything a node has on record, in order of its beginning; *ret_exchanges is allocated. How many, or -errno.
	 */
	int (*load)(void *self, int tenant, const char *eid, const char *node, struct wl_exchange **ret_exchanges,
		    struct wl_error *err);
	/* Put one in. 0; -EEXIST: the place is taken (an attempt that went before got there): *ret_known (may be NULL)
	 * is that one; -errno when the server is away. */
	int (*append)(void *self, int tenant, const char *eid, const char *node, const struct wl_exchange *exchange,
		      struct wl_exchange *ret_known, struct wl_error *err);
	/* Forget everything of an execution, or of a tenant. */
	int (*drop_execution)(void *self, int tenant, const char *eid, struct wl_error *err);
	int (*drop_tenant)(void *self, int tenant, struct wl_error *err);
	void (*close)(void *self);
};

void wl_exchange_release(struct wl_exchange *exchange);

#endif
