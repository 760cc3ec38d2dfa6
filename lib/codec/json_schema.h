/*
 * JSON Schema draft 7, for schemas of our own (specs/): valijson behind one C++ file. Schemas that tenants wrote are
 * checked and used only inside windlass-eval, through lib/codec/expression_client.h.
 */
#ifndef WL_CODEC_JSON_SCHEMA_H
#define WL_CODEC_JSON_SCHEMA_H

#include "lib/base/error.h"
#include "lib/model/flow_graph.h"

#include <stddef.h>

struct wl_json_schema;

#ifdef __cplusplus
extern "C" {
#endif

/* Compile a schema. Remote references are refused. -EINVAL with the reason. */
int wl_json_schema_compile(const char *schema_json, size_t length, struct wl_json_schema **ret_schema,
			   struct wl_error *err);
void wl_json_schema_free(struct wl_json_schema *schema);

/*
 * Check a document. Each fault's path is `prefix` followed by the place (nodes[3].data.source). Returns the number of
 * faults added, 0 when it is valid, -EINVAL when the text is not JSON. Thread-safe on one compiled schema.
 */
int wl_json_schema_check(const struct wl_json_schema *schema, const char *json, size_t length, const char *prefix,
			 struct wl_flow_faults *faults, struct wl_error *err);

#ifdef __cplusplus
}
#endif

#endif
