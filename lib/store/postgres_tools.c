#include "lib/store/postgres_tools.h"

#include "lib/base/cleanup.h"
#include "lib/store/postgres_session.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/* A turn is waited for so long; then the caller looks whether it is still wanted. */
#define TURN_MS 500

static const struct wl_postgres_statement statements[] = {
	{ "TOOL", "SELECT control.tool_for_run($1, $2)", 2 },
};

struct tools {
	struct wl_postgres_session session;
	pthread_mutex_t turn;
};

static int take_turn(struct tools *tools, struct wl_error *err)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TURN_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	int failed = pthread_mutex_clocklock(&tools->turn, CLOCK_MONOTONIC, &until);
	return failed ? wl_fail(err, EAGAIN, "PostgreSQL is busy with other tools") : 0;
}

static int find_tool(void *self, int tenant, const char *tool_id, char **ret_json, struct wl_error *err)
{
	struct tools *tools = self;
	_wl_pg_result_ PGresult *result = NULL;
	char tenant_text[16];
	(void)snprintf(tenant_text, sizeof(tenant_text), "%d", tenant);
	const char *params[] = { tenant_text, tool_id };
	if (take_turn(tools, err) < 0)
		return -err->code;
	int ran = wl_postgres_run(&tools->session, 0, params, &result, err);
	(void)pthread_mutex_unlock(&tools->turn);
	if (ran < 0)
		return ran;
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		return wl_fail(err, ENOENT, "there is no tool %.36s", tool_id);
	*ret_json = strdup(PQgetvalue(result, 0, 0));
	return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a tool");
}

static void close_tools(void *self)
{
	struct tools *tools = self;
	wl_postgres_session_release(&tools->session);
	(void)pthread_mutex_destroy(&tools->turn);
	free(tools);
}

int wl_postgres_tools_open(const char *url, struct wl_tool_source *ret_source, struct wl_error *err)
{
	_wl_free_ struct tools *tools = calloc(1, sizeof(*tools));
	if (!tools)
		return wl_fail(err, ENOMEM, "no memory for the tools of tenants");
	if (wl_postgres_session_init(&tools->session, url, statements, err) < 0)
		return -err->code;
	(void)pthread_mutex_init(&tools->turn, NULL);
	*ret_source = (struct wl_tool_source){ .self = wl_steal(tools), .tool = find_tool, .close = close_tools };
	return 0;
}
