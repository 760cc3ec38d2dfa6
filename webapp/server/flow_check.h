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

/*
 * Add the fault that wl_expression_check() found in `value`, which stands at `place` of what is checked: its sentence
 * begins with the path inside the value, which becomes part of the fault's path.
 */
void web_expression_fault(struct wl_flow_faults *faults, const char *place, const struct wl_json *value,
			  const char *sentence);

/*
 * Whether an answer of wl_expression_eval() or wl_expression_schema() is the fault of what it was given: a request with
 * it is refused. Of the other errors the request knows nothing: the server is away, or has no memory.
 */
bool web_expression_refused(int rc);

/*
 * Add the faults that wl_expression_schema() found in an instance, [{"path","message"}...], to `faults`.
 * place: where the instance stands in what was sent, and their paths begin; "" when they begin inside it.
 * sentence: the one fault, of `place`, when the list is empty or NULL, as it is when the schema could not be applied.
 * 0, or -ENOMEM when the list cannot be read.
 */
int web_schema_faults(struct wl_flow_faults *faults, const char *place, const char *faults_json, const char *sentence,
		      struct wl_error *err);

/* A schema that lets everything through: absent, true, or an object without members. */
bool web_schema_is_trivial(const struct wl_json *schema);

#endif
