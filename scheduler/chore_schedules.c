/*
 * Fire schedules whose time has come. What happens is decided by the transaction of control.schedules_fire(): it holds
 * only if a schedule is still as it was seen here, so this may be done by any number of schedulers and end anywhere.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/store/redis_event_stream.h"
#include "scheduler/chores.h"
#include "scheduler/core/schedule_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCHEDULES_AT_ONCE 64

static int64_t whole(const struct wl_json *object, const char *key)
{
	return (int64_t)wl_json_get_number(object, key, 0);
}

static void write_times(struct wl_buffer *out, const int64_t *times, int count)
{
	for (int i = 0; i < count; i++)
		wl_buffer_appendf(out, "%s%lld", i ? "," : "", (long long)times[i]);
}

static void write_fires(struct wl_buffer *out, const struct schedule_plan *plan, int64_t late_before)
{
	char eid[WL_UUID_TEXT];
	wl_buffer_append_text(out, ",\"fires\":[");
	for (int i = 0; i < plan->count; i++)
		wl_buffer_appendf(out, "%s{\"at_s\":%lld,\"eid\":\"%s\"%s}", i ? "," : "", (long long)plan->fires[i],
				  wl_uuid7(wl_clock_wall_ms(), eid),
				  plan->fires[i] < late_before ? ",\"detail\":\"late: it was missed at its time\""
							       : "");
	wl_buffer_append_char(out, ']');
}

/* Read the expression and open the zone; 0 or an error that is the schedule's fault. */
static int read_schedule(struct chore_desk *desk, const struct wl_json *row, struct wl_cron *ret_cron,
			 struct wl_zone **ret_zone, struct wl_error *err)
{
	int r = wl_cron_parse(wl_json_get_string(row, "cron", ""), ret_cron, err);
	if (r < 0)
		return r;
	return wl_zone_open(desk->scheduler->settings->zoneinfo_dir, wl_json_get_string(row, "timezone", ""), ret_zone,
			    err);
}

/* One schedule_turn of specs/sql/0010_schedules.sql. -errno when it cannot be told now what is due. */
static int write_turn(struct chore_desk *desk, const struct wl_json *row, int64_t now, struct wl_buffer *out,
		      struct wl_error *err)
{
	_wl_zone_ struct wl_zone *zone = NULL;
	struct schedule_plan plan = { 0 };
	struct wl_cron cron;
	struct wl_error fault = { 0 };
	int64_t first = whole(row, "next_s"), grace = desk->scheduler->settings->schedule_grace_s;
	int r = read_schedule(desk, row, &cron, &zone, &fault);
	if (r < 0 && r != -EINVAL && r != -ENOENT) {
		*err = fault;
		return r;
	}
	wl_buffer_appendf(out, "%s{\"id\":\"%s\",\"rev\":%lld,\"next_s\":%lld",
			  out->data[out->length - 1] == '[' ? "" : ",", wl_json_get_string(row, "id", ""),
			  (long long)whole(row, "rev"), (long long)first);
	if (r < 0) {
		wl_buffer_append_text(out, ",\"fault\":");
		wl_buffer_append_json_string(out, fault.text, strlen(fault.text));
	} else {
		schedule_plan_make(&cron, zone, first, now, schedule_misfire_of(wl_json_get_string(row, "misfire", "")),
				   grace, &plan);
	}
	write_fires(out, &plan, now - grace);
	if (plan.missed)
		wl_buffer_appendf(out, ",\"missed\":{\"at_s\":%lld,\"detail\":\"missed: nobody was there to fire it\"}",
				  (long long)first);
	if (plan.shown)
		wl_buffer_appendf(out, ",\"then_s\":%lld", (long long)plan.next[0]);
	wl_buffer_append_text(out, ",\"upcoming\":[");
	write_times(out, plan.next, plan.shown);
	wl_buffer_append_text(out, "]}");
	return out->failed ? wl_fail_errno(err, out->failed, "plan a schedule") : 0;
}

/* Tell those who watch a run that it was cancelled. Best effort, as all live events are. */
static void publish_end(struct chore_desk *desk, const char *eid)
{
	static struct wl_event_stream stream; /* of the clock's thread */
	const struct wl_settings *settings = desk->scheduler->settings;
	struct wl_error ignored;
	char data[256], time[WL_RFC3339_SIZE];
	if (!stream.self && wl_redis_event_stream_open(settings->redis_url, (int)settings->event_max,
						       (int)settings->event_keep_s, &stream, &ignored) < 0)
		return;
	(void)snprintf(data, sizeof(data), "{\"execution_id\":\"%s\",\"status\":\"cancelled\",\"time\":\"%s\"}", eid,
		       wl_rfc3339(wl_clock_wall_ms(), time));
	const struct wl_event events[] = { { eid, "execution", data }, { eid, "end", data } };
	(void)stream.publish(stream.self, events, (int)WL_COUNT_OF(events), &ignored);
}

/* Tell the queue what was accepted and what is to end; the sweeper does it if this is lost. */
static void tell_queue(struct chore_desk *desk, const struct wl_json *effects)
{
	const struct wl_json *cancels = wl_json_get(effects, "cancel");
	chore_enqueue(desk, wl_json_get(effects, "enqueue"));
	for (const struct wl_json *one = wl_json_first(cancels); one; one = wl_json_next(one)) {
		struct wl_error err = { 0 };
		if (wl_json_get_bool(one, "ended", false))
			publish_end(desk, wl_json_get_string(one, "eid", ""));
		if (desk->queue.cancel(desk->queue.self, (int)whole(one, "shard"), wl_json_get_string(one, "eid", ""),
				       &err) < 0)
			return;
	}
}

static int fire(struct chore_desk *desk, const struct wl_json *seen, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer turns;
	_wl_free_ char *answer = NULL;
	_wl_json_ struct wl_json *effects = NULL;
	const struct wl_json *due = wl_json_get(seen, "due");
	wl_buffer_init(&turns, 0);
	wl_buffer_append_text(&turns, "{\"turns\":[");
	for (const struct wl_json *row = wl_json_first(due); row; row = wl_json_next(row)) {
		int r = write_turn(desk, row, whole(seen, "now_s"), &turns, err);
		if (r < 0)
			return r;
	}
	wl_buffer_append_text(&turns, "]}");
	if (turns.failed)
		return wl_fail_errno(err, turns.failed, "plan schedules");
	int r = wl_postgres_call(&desk->postgres, "control.schedules_fire", turns.data, &answer, err);
	if (r == 0)
		r = wl_json_parse(answer ? answer : "", answer ? strlen(answer) : 0, &effects, err);
	if (r < 0)
		return r;
	tell_queue(desk, effects);
	return wl_json_count(due) == SCHEDULES_AT_ONCE;
}

int chore_schedules(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *answer = NULL;
	_wl_json_ struct wl_json *seen = NULL;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", SCHEDULES_AT_ONCE);
	int r = wl_postgres_call(&desk->postgres, "control.schedules_due", request, &answer, err);
	if (r == 0)
		r = wl_json_parse(answer ? answer : "", answer ? strlen(answer) : 0, &seen, err);
	if (r < 0 || wl_json_count(wl_json_get(seen, "due")) == 0)
		return r;
	return fire(desk, seen, err);
}
