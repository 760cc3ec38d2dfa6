/*
 * OpenAPI documents (3.0 and 3.1) to tools: each operation becomes one, with a JSON Schema (draft 7) of its input and
 * output and the execution_config that calls it. References inside the document are put in; what they repeat is
 * bounded, and where a schema contains itself it is cut. Every fault names its place in the document.
 */
#ifndef WL_CODEC_OPENAPI_DOCUMENT_H
#define WL_CODEC_OPENAPI_DOCUMENT_H

#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

#define WL_OPENAPI_MAX (10u << 20)     /* bytes of a document's text */
#define WL_OPENAPI_TEXT_VALUES 2000000 /* of a JSON text, commas in texts counted in; YAML has its own bound */
#define WL_OPENAPI_OPERATIONS_MAX 1000
#define WL_OPENAPI_PARAMETERS_MAX 100 /* of one operation */
#define WL_OPENAPI_SCHEMA_VALUES 5000 /* of one schema; what lies beyond is cut, with a warning */
#define WL_OPENAPI_VALUES 400000      /* of all schemas together; the same */
#define WL_OPENAPI_WARNINGS_MAX 200
#define WL_OPENAPI_NAME_MAX 64 /* bytes of a tool's name */

struct wl_openapi_choice {
	const char *server;		  /* in place of the document's servers; NULL: those */
	const char *name_prefix;	  /* before each tool's name; NULL: none */
	const struct wl_json *operations; /* texts: operationIds or "METHOD /path"; NULL: all */
};

/* A document's text, JSON when it begins with a brace and a quoted key, else YAML. 0 and *ret_document; -EINVAL with
 * line and column; -E2BIG over a bound; -ENOMEM. */
int wl_openapi_parse(const char *text, size_t length, struct wl_json **ret_document, struct wl_error *err);

/*
 * Read a document. 0 and *ret_result, for the caller to free:
 *   {"title", "servers": [address], "tools": [{"operation", "name", "description", "method", "path", "input_schema",
 *   "output_schema", "execution_config"}], "warnings": [{"path", "message"}]}
 * -EINVAL with all that is wrong in `faults`; -ENOMEM.
 */
int wl_openapi_read(const struct wl_json *document, const struct wl_openapi_choice *choice, struct wl_json **ret_result,
		    struct wl_flow_faults *faults, struct wl_error *err);

#endif
