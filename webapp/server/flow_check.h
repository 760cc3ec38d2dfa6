/* Checking a flow document before it is stored. Blocks on the expression server: for threads only. */
#ifndef WL_WEBAPP_FLOW_CHECK_H
#define WL_WEBAPP_FLOW_CHECK_H

#include "lib/codec/expression_client.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"
#include "lib/secrets/digest.h"

struct web_checked_flow {
	char *canonical; /* what is hashed and stored; owned by whoever made the struct */
	unsigned char hash[WL_SHA256_BYTES];
};

/*
 * Read the document, compile its expressions and its two schemas. 0 with *ret_flow; -EINVAL with every fault in
 * `faults`; -EIO when the expression server is away; -E2BIG when the document is too large; -ENOMEM.
 */
int web_flow_check(struct wl_expression_pool *expressions, int timeout_ms, const struct wl_json *document,
		   struct web_checked_flow *ret_flow, struct wl_flow_faults *faults, struct wl_error *err);

/* A schema that lets everything through: absent, true, or an object without members. */
bool web_schema_is_trivial(const struct wl_json *schema);

#endif
