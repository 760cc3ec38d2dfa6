/* Checks of tools, crews and providers that need more than PostgreSQL. They block on the expression server: for
 * threads. */
#ifndef WL_WEBAPP_TOOL_CHECK_H
#define WL_WEBAPP_TOOL_CHECK_H

#include "lib/codec/expression_client.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"

/* What checks have at hand. */
struct web_checker {
	struct wl_expression_pool *expressions;
	int timeout_ms; /* of one schema or expression */
};

/*
 * Check what a body of the API says, members that it leaves out are not looked at. Faults are added with their paths.
 * 0, also with faults; -EIO when the expression server is away, -ENOMEM.
 */
typedef int web_body_check(const struct web_checker *checker, const struct wl_json *body, struct wl_flow_faults *faults,
			   struct wl_error *err);

web_body_check web_tool_check;	   /* input_schema, output_schema, execution_config */
web_body_check web_crew_check;	   /* config.tasks[].schema and .condition */
web_body_check web_provider_check; /* config.base_url */

/* Check that a tenant's JSON Schema is one; as above. A fault's path is `path`. */
int web_schema_check(const struct web_checker *checker, const struct wl_json *schema, const char *path,
		     struct wl_flow_faults *faults, struct wl_error *err);

#endif
