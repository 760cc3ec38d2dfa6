#include "lib/codec/flow_node_schemas.h"

#include "gen/node_schemas.h"
#include "lib/codec/json_schema.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct wl_json_schema *schemas[WL_KIND_COUNT];
static struct wl_error compile_error;

static void compile_one(const char *kind, const char *text)
{
	int index = wl_node_kind_of(kind);
	if (compile_error.code)
		return;
	if (index < 0)
		(void)wl_fail(&compile_error, EINVAL, "specs/nodes/%s.json names no kind of node", kind);
	else
		(void)wl_json_schema_compile(text, strlen(text), &schemas[index], &compile_error);
}

static void compile_all(void)
{
#define X(kind, text) compile_one(kind, text);
	WL_NODE_SCHEMAS(X)
#undef X
	for (int i = 0; i < WL_KIND_COUNT && !compile_error.code; i++)
		if (!schemas[i])
			(void)wl_fail(&compile_error, EINVAL, "specs/nodes/ has no schema of '%s'",
				      wl_node_kind_name((enum wl_node_kind)i));
}

int wl_flow_node_data_check(enum wl_node_kind kind, const char *data_json, size_t length, const char *prefix,
			    struct wl_flow_faults *faults, struct wl_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	(void)pthread_once(&once, compile_all);
	if (compile_error.code)
		return wl_fail(err, compile_error.code, "%s", compile_error.text);
	return wl_json_schema_check(schemas[kind], data_json, length, prefix, faults, err);
}
