/*
 * Drop what tenants' plans keep no longer: node results and exchanges in the document server first, then the execution
 * with what hangs on it in PostgreSQL. Whoever is stopped in between finds the execution again; several schedulers may
 * do the same.
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "scheduler/chores.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXECUTIONS_AT_ONCE 50
#define ROWS_AT_ONCE 5000

static int call(struct chore_desk *desk, const char *function, const char *request, struct wl_json **ret_answer,
		struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	int r = wl_postgres_call(&desk->postgres, function, request, &text, err);
	return r < 0 || !text ? r : wl_json_parse(text, strlen(text), ret_answer, err);
}

static int drop_results(struct chore_desk *desk, int tenant, const struct wl_json *eids, struct wl_error *err)
{
	struct wl_node_results *results;
	struct wl_exchange_log *exchanges;
	int r = chore_node_results(desk, &results, err);
	r = r < 0 ? r : chore_exchanges(desk, &exchanges, err);
	for (const struct wl_json *eid = wl_json_first(eids); eid && r == 0; eid = wl_json_next(eid)) {
		r = results->drop_execution(results->self, tenant, wl_json_string(eid, ""), err);
		if (r == 0)
			r = exchanges->drop_execution(exchanges->self, tenant, wl_json_string(eid, ""), err);
	}
	return r;
}

static int drop_executions(struct chore_desk *desk, const struct wl_json *taken, struct wl_error *err)
{
	_wl_json_ struct wl_json *dropped = NULL;
	_wl_free_ char *request = wl_json_print(taken);
	int tenant = (int)wl_json_get_number(taken, "tenant", 0);
	if (!request)
		return wl_fail_errno(err, ENOMEM, "drop old executions");
	int r = drop_results(desk, tenant, wl_json_get(taken, "eids"), err);
	r = r < 0 ? r : call(desk, "control.retention_drop", request, &dropped, err);
	if (r < 0)
		return r;
	wl_log(WL_LOG_INFO, "%.0f executions and %.0f artifacts of tenant %d were older than its plan keeps them",
	       wl_json_get_number(dropped, "executions", 0), wl_json_get_number(dropped, "artifacts", 0), tenant);
	return 0;
}

/* Rows that a function drops of all tenants, oldest first: 1 when there may be more. */
static int drop_rows(struct chore_desk *desk, const char *function, struct wl_error *err)
{
	_wl_json_ struct wl_json *dropped = NULL;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", ROWS_AT_ONCE);
	int r = call(desk, function, request, &dropped, err);
	return r < 0 ? r : wl_json_get_number(dropped, "dropped", 0) == ROWS_AT_ONCE;
}

/* Fires of schedules and the ledger of model calls. */
static int drop_records(struct chore_desk *desk, struct wl_error *err)
{
	int fires = drop_rows(desk, "control.fires_drop", err);
	int calls = fires < 0 ? fires : drop_rows(desk, "control.model_calls_drop", err);
	return calls < 0 ? calls : fires | calls;
}

/* Some executions of one tenant a round, in the order of the tenants' numbers; the records at the end. */
int chore_retention(struct chore_desk *desk, struct wl_error *err)
{
	static int after;
	_wl_json_ struct wl_json *taken = NULL;
	char request[64];
	(void)snprintf(request, sizeof(request), "{\"after\":%d,\"limit\":%d}", after, EXECUTIONS_AT_ONCE);
	int r = call(desk, "control.retention_take", request, &taken, err);
	if (r < 0)
		return r;
	if (!taken) {
		after = 0;
		return drop_records(desk, err);
	}
	int tenant = (int)wl_json_get_number(taken, "tenant", 0);
	r = drop_executions(desk, taken, err);
	if (scheduler_is_away(r))
		return r;
	/* a tenant whose rows cannot be dropped holds up no other: the next pass tries it again */
	if (r < 0)
		wl_log(WL_LOG_WARNING, "old executions of tenant %d cannot be dropped: %s", tenant, err->text);
	after = r < 0 || !wl_json_get_bool(taken, "more", false) ? tenant : tenant - 1;
	return 1;
}
