#include "lib/store/postgres_tools.h"

#include "lib/base/cleanup.h"
#include "lib/store/postgres_pool.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS 2

static const struct wl_postgres_statement statements[] = {
	{ "TOOL", "SELECT control.tool_for_run($1, $2)", 2 },
};

static int find_tool(void *self, int tenant, const char *tool_id, char **ret_json, struct wl_error *err)
{
	_wl_pg_result_ PGresult *result = NULL;
	char tenant_text[16];
	(void)snprintf(tenant_text, sizeof(tenant_text), "%d", tenant);
	const char *params[] = { tenant_text, tool_id };
	int ran = wl_postgres_pool_run(self, 0, params, &result, err);
	if (ran < 0)
		return ran;
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		return wl_fail(err, ENOENT, "there is no tool %.36s", tool_id);
	*ret_json = strdup(PQgetvalue(result, 0, 0));
	return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool");
}

static void close_tools(void *self)
{
	wl_postgres_pool_close(self);
}

int wl_postgres_tools_open(const char *url, struct wl_tool_source *ret_source, struct wl_error *err)
{
	struct wl_postgres_pool *pool = NULL;
	int r = wl_postgres_pool_open(url, statements, CONNECTIONS, &pool, err);
	if (r == 0)
		*ret_source = (struct wl_tool_source){ .self = pool, .tool = find_tool, .close = close_tools };
	return r;
}
