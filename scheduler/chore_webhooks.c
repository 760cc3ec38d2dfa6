/*
 * Sending webhooks. The rows of control.out_delivery are the outbox: a run's end writes them in its own transaction,
 * and any scheduler claims what is due. A claim is a lease: when the scheduler dies, the delivery is due again after
 * it, so it is sent at least once, always under the same id. How a try went is reported before the next claim; a report
 * that comes after the lease does not fit any more.
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "scheduler/chores.h"
#include "scheduler/hook_senders.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define LEASE_MS (3 * HOOK_TIMEOUT_MS)
#define TENANT_MOST 2		      /* sent to at once of one tenant, all schedulers together */
#define HOST_MOST 4		      /* and to one host */
#define RETRY_MOST (HOOK_SENDERS / 2) /* of the threads may send to hooks whose last try failed */
#define WAIT_MS 20

static struct wl_egress_rules egress;
static struct wl_master_key *master;
static bool started;
static int last_tenant;

static void try_ended(void *context)
{
	chore_rouse(context, "webhooks");
}

static int start(struct chore_desk *desk, struct wl_error *err)
{
	const struct wl_settings *settings = desk->scheduler->settings;
	int r = started ? 0 : wl_egress_rules_read(settings->egress_allow, &egress, err);
	if (r == 0 && !master)
		r = wl_master_key_open(settings->master_key, &master, err);
	if (r == 0 && !started)
		r = hook_senders_start(&egress, master, try_ended, desk, err);
	started = r == 0;
	return r;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

static void put_report(struct wl_buffer *list, const struct hook_try *try, int64_t base_ms)
{
	int attempt = (int)wl_json_get_number(try->claim, "attempt", 1);
	uint32_t random = 0;
	(void)!getrandom(&random, sizeof(random), 0); /* without it all come back together: no more than that */
	int64_t pause_ms = hook_pause_ms(base_ms, attempt, random);
	wl_buffer_appendf(list, "%c{\"id\":\"%s\",\"hook\":\"%s\",\"try\":%.0f,\"outcome\":\"%s\",\"pause_ms\":%lld",
			  list->length ? ',' : '[', wl_json_get_string(try->claim, "id", ""),
			  wl_json_get_string(try->claim, "hook", ""), wl_json_get_number(try->claim, "try", 0),
			  hook_outcome_name(try->outcome), (long long)pause_ms);
	if (try->slow)
		wl_buffer_append_text(list, ",\"slow\":true");
	if (try->status)
		wl_buffer_appendf(list, ",\"status\":%ld", try->status);
	if (try->error[0]) {
		wl_buffer_append_text(list, ",\"error\":");
		wl_buffer_append_json_string(list, try->error, strlen(try->error));
	}
	wl_buffer_append_char(list, '}');
}

static void count_try(struct scheduler_counters *counters, const struct hook_try *try)
{
	atomic_fetch_add(try->outcome == HOOK_DELIVERED ? &counters->hooks_delivered : &counters->hooks_not_taken, 1);
}

/* Tell how tries went, after waiting for some up to wait_ms; how many. What cannot be told now is told next time. */
static int report(struct chore_desk *desk, int wait_ms, struct wl_error *err)
{
	struct hook_try tries[HOOK_SENDERS];
	_wl_buffer_ struct wl_buffer list = { 0 };
	_wl_free_ char *nothing = NULL;
	int count = hook_senders_done(wait_ms, tries);
	if (count == 0)
		return 0;
	for (int i = 0; i < count; i++)
		put_report(&list, &tries[i], desk->scheduler->settings->hook_retry_ms);
	wl_buffer_append_char(&list, ']');
	int r = list.failed ? wl_fail(err, ENOMEM, "no memory to report on webhooks")
			    : wl_postgres_call(&desk->postgres, "control.out_report", list.data, &nothing, err);
	if (r < 0)
		return r;
	for (int i = 0; i < count; i++)
		count_try(&desk->scheduler->counters, &tries[i]);
	hook_senders_forget();
	return count;
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static int give_out(const char *text, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	int r = text ? wl_json_parse(text, strlen(text), &answer, err) : 0;
	if (r < 0)
		return r;
	const struct wl_json *list = wl_json_get(answer, "deliveries");
	last_tenant = (int)wl_json_get_number(answer, "after", 0);
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		hook_senders_give(wl_json_copy(one));
	return (int)wl_json_count(list);
}

/* Claim for the threads that are free; how many, or -errno. */
static int claim(struct chore_desk *desk, struct wl_error *err)
{
	int retrying, room = hook_senders_free(&retrying);
	char request[256];
	_wl_free_ char *text = NULL;
	if (room == 0)
		return 0;
	(void)snprintf(
		request, sizeof(request),
		"{\"room\":%d,\"retry_room\":%d,\"tenant_most\":%d,\"host_most\":%d,\"lease_ms\":%d,\"after\":%d}",
		room, RETRY_MOST - retrying, TENANT_MOST, HOST_MOST, LEASE_MS, last_tenant);
	int r = wl_postgres_call(&desk->postgres, "control.out_claim", request, &text, err);
	return r < 0 ? r : give_out(text, err);
}

int chore_webhooks(struct chore_desk *desk, struct wl_error *err)
{
	int r = start(desk, err);
	if (r < 0)
		return r;
	int reported = report(desk, 0, err);
	int claimed = reported < 0 ? reported : claim(desk, err);
	if (claimed < 0)
		return claimed;
	if (claimed > 0)
		reported += report(desk, WAIT_MS, err); /* most receivers answer at once: look before the next round */
	return reported + claimed;
}

void chore_webhooks_end(struct chore_desk *desk)
{
	struct wl_error err = { 0 };
	if (!started)
		return;
	hook_senders_stop();
	if (report(desk, 0, &err) < 0)
		wl_log(WL_LOG_WARNING, "webhooks that were sent may be sent once more: %s", err.text);
	hook_senders_forget();
	wl_master_key_close(master);
	master = NULL;
	started = false;
}
