/*
 * Theory of operation
 *
 * A deleted tenant goes in steps, which control.tenant_purge keeps: so any scheduler can go on where another one died,
 * and every step may be done twice.
 *
 *   cancel   its work is cancelled at once and until none is left; then the grace time is waited for. Only in this step
 *            can an operator have the tenant back
 *   events   the live events of its executions leave Redis, page by page
 *   rows     its rows in shared tables and its files, which go to the trash that another chore empties, some in each
 *            transaction; then its schema and its role in one
 *   stores   what it has in the queue and on the document server goes. Something may arrive there late, from a
 * supervisor that hung: so it is done again when every lease is over, and once more after an hour and a day
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/mongo_purge.h"
#include "lib/store/redis_purge.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define JANITOR_MS 600000
#define EIDS_MOST 500
#define ROWS_AT_ONCE 10000

/* Call a function of control with JSON of one line. */
static int tell(struct chore_desk *desk, const char *function, const char *request, char **ret_json,
		struct wl_error *err)
{
	return wl_postgres_call(&desk->postgres, function, request, ret_json, err);
}

static void cancel_work(struct chore_desk *desk, const struct wl_json *work)
{
	const struct wl_json *list = wl_json_get(work, "cancel");
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		struct wl_error err = { 0 };
		if (desk->queue.cancel(desk->queue.self, (int)wl_json_get_number(one, "shard", 0),
				       wl_json_get_string(one, "eid", ""), &err) < 0)
			return; /* the queue is away: the sweeper repeats it */
	}
}

static int purge_events(struct chore_desk *desk, const struct wl_json *work, struct wl_error *err)
{
	const struct wl_json *list = wl_json_get(work, "eids");
	const char *eids[EIDS_MOST];
	_wl_free_ char *nothing = NULL;
	char request[160], at[64] = "null";
	int count = 0;
	for (const struct wl_json *one = wl_json_first(list); one && count < EIDS_MOST; one = wl_json_next(one))
		eids[count++] = wl_json_string(one, "");
	int r = wl_redis_purge_executions(desk->scheduler->settings->redis_url,
					  (int)wl_json_get_number(work, "shard", 0), eids, count, err);
	if (r < 0)
		return r;
	if (count)
		(void)snprintf(at, sizeof(at), "\"%s\"", eids[count - 1]);
	(void)snprintf(request, sizeof(request), "{\"tenant\":%.0f,\"at\":%s,\"last\":%s}",
		       wl_json_get_number(work, "tenant", 0), at,
		       wl_json_get_bool(work, "last", true) ? "true" : "false");
	return tell(desk, "control.purge_events_done", request, &nothing, err);
}

static int purge_rows(struct chore_desk *desk, int tenant, struct wl_error *err)
{
	_wl_free_ char *more = NULL;
	char request[64];
	(void)snprintf(request, sizeof(request), "{\"tenant\":%d,\"limit\":%d}", tenant, ROWS_AT_ONCE);
	int r = tell(desk, "control.purge_rows", request, &more, err);
	if (r == 0 && !more)
		wl_log(WL_LOG_NOTICE, "tenant %d: its rows are gone", tenant);
	return r;
}

static int purge_stores(struct chore_desk *desk, const struct wl_json *work, int tenant, struct wl_error *err)
{
	const struct wl_settings *settings = desk->scheduler->settings;
	_wl_free_ char *finished = NULL;
	char request[96];
	int r = wl_redis_purge_tenant(settings->redis_url, (int)wl_json_get_number(work, "shard", 0), tenant, err);
	if (r == 0)
		r = wl_mongo_purge_tenant(settings->mongodb_url, tenant, err);
	if (r < 0)
		return r;
	(void)snprintf(request, sizeof(request), "{\"tenant\":%d,\"settle_s\":%ld}", tenant,
		       2 * settings->lease_ms / 1000 + 2);
	r = tell(desk, "control.purge_stores_done", request, &finished, err);
	if (r == 0 && finished && strcmp(finished, "true") == 0)
		wl_log(WL_LOG_NOTICE, "tenant %d was purged", tenant);
	return r;
}

static int step(struct chore_desk *desk, const struct wl_json *work, struct wl_error *err)
{
	const char *name = wl_json_get_string(work, "step", "");
	int tenant = (int)wl_json_get_number(work, "tenant", 0);
	if (strcmp(name, "cancel") == 0)
		cancel_work(desk, work);
	else if (strcmp(name, "events") == 0)
		return purge_events(desk, work, err);
	else if (strcmp(name, "rows") == 0)
		return purge_rows(desk, tenant, err);
	else if (strcmp(name, "stores") == 0)
		return purge_stores(desk, work, tenant, err);
	return 0;
}

int chore_purge(struct chore_desk *desk, struct wl_error *err)
{
	static struct upkeep_timer janitor = { JANITOR_MS, 0 };
	_wl_free_ char *text = NULL;
	_wl_free_ char *nothing = NULL;
	_wl_json_ struct wl_json *work = NULL;
	if (upkeep_due(&janitor, wl_clock_boot_ms())) {
		int swept = tell(desk, "control.people_janitor", "{}", &nothing, err);
		if (swept < 0)
			return swept;
	}
	int r = tell(desk, "control.purge_take", "{}", &text, err);
	if (r < 0 || !text)
		return r;
	r = wl_json_parse(text, strlen(text), &work, err);
	if (r == 0)
		r = step(desk, work, err);
	return r < 0 ? wl_fail_within(err, "tenant %.0f is to go", wl_json_get_number(work, "tenant", 0)) : 1;
}
