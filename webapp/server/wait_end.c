/*
 * Theory of operation
 *
 * A wait listens to its execution's events. When the subscription is confirmed it reads the state from the ledger
 * once, as the end may have come before; then it sleeps until the event "end" comes or its time is over, and reads
 * once more: what is answered always comes from the ledger. The event is published behind the commit of the end, so
 * that reading finds it. Should the event be lost with a process or with Redis, the last reading tells.
 *
 * A timer runs while anybody waits: it ends waits whose time is over, all of them when the server drains, and forgets
 * those whose client has gone.
 */
#include "webapp/server/wait_end.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITS_MOST 256	     /* in one worker: each keeps a connection of it busy */
#define WAITS_TENANT_MOST 64 /* so that one tenant leaves some to the others */
#define TICK_MS 100

struct web_wait {
	struct web_event_listener listener; /* first, so that it is the wait */
	struct web_wait *next, **link;	    /* among all */
	const struct web_wait_calls *calls;
	void *context;
	int tenant;
	uint64_t until_ms;
	bool reading, again; /* a reading is under way; another has to follow it */
	bool last;	     /* the time is over: the reading under way decides */
};

static struct web_wait *waits;
static int wait_count;
static bool ticking;

void web_wait_answer_accepted(struct web_request *request, const char *eid)
{
	web_answer_header(request, "location", "/api/v1/executions/%s", eid);
	wl_buffer_append_char(&request->answer, '{');
	web_member_text(&request->answer, "execution_id", eid);
	wl_buffer_append_text(&request->answer, ",\"status\":\"queued\"}");
	web_answer_json(request, 202);
}

static void leave(struct web_wait *wait)
{
	*wait->link = wait->next;
	if (wait->next)
		wait->next->link = wait->link;
	wait_count--;
	web_event_unlisten(&wait->listener);
}

static void forget(struct web_wait *wait)
{
	leave(wait);
	wait->calls->forgotten(wait->context);
	free(wait);
}

/* ---- the ledger ------------------------------------------------------------------------------------------------- */

static void read_ledger(struct web_wait *wait);

static void put_result(struct wl_buffer *result, const char *eid, const struct pg_job *job)
{
	wl_buffer_append_char(result, '{');
	web_member_text(result, "execution_id", eid);
	web_member_text(result, "status", pg_text(job, 0, 0, 0));
	web_member_raw(result, "outputs", pg_text(job, 0, 0, 1));
	web_member_raw(result, "error", pg_text(job, 0, 0, 2));
	wl_buffer_append_char(result, '}');
}

static bool has_ended(const struct pg_job *job)
{
	int state = job->outcome == PG_DONE && pg_rows(job, 0) ? wl_run_state_of(pg_text(job, 0, 0, 0)) : -1;
	return state >= 0 && wl_run_state_final((enum wl_run_state)state);
}

static void ledger_read(struct pg_job *job)
{
	struct web_wait *wait = job->context;
	_wl_buffer_ struct wl_buffer result = { 0 };
	bool again = wait->again;
	wait->reading = wait->again = false;
	if (!wait->calls->wanted(wait->context)) {
		forget(wait);
		return;
	}
	bool ended = has_ended(job);
	if (!ended && again)
		read_ledger(wait);
	if (!ended && (again || !wait->last))
		return;
	if (ended)
		put_result(&result, wait->listener.eid, job);
	leave(wait);
	wait->calls->ended(wait->context, ended && !result.failed ? result.data : NULL);
	free(wait);
}

static void read_ledger(struct web_wait *wait)
{
	if (wait->reading) {
		wait->again = true; /* what is under way may be older than what we were told */
		return;
	}
	struct pg_job *job = pg_job_new(wait->tenant, ledger_read, wait);
	if (!job)
		return; /* no memory now: the timer comes back to it */
	wait->reading = true;
	pg_job_step(job, SQL_EXECUTION_STATE);
	pg_job_value(job, wait->listener.eid);
	pg_submit(web.postgres, job);
}

/* ---- what wakes a wait ------------------------------------------------------------------------------------------- */

static void confirmed(struct web_event_listener *listener)
{
	read_ledger((struct web_wait *)listener);
}

static void happened(struct web_event_listener *listener, const struct web_event *event)
{
	/* "reset" also follows an end that the supervisor could not be sure of */
	if ((event->type_length == 3 && memcmp(event->type, "end", 3) == 0) ||
	    (event->type_length == 5 && memcmp(event->type, "reset", 5) == 0))
		read_ledger((struct web_wait *)listener);
}

static void tick(void *context);

static void look_at(struct web_wait *wait, uint64_t now)
{
	if (!wait->calls->wanted(wait->context)) {
		if (!wait->reading) /* else the reading forgets it */
			forget(wait);
	} else if (now >= wait->until_ms || web.draining) {
		wait->last = true;
		if (!wait->reading)
			read_ledger(wait);
	}
}

static void start_ticking(void)
{
	if (ticking || !waits)
		return;
	ticking = true;
	web_timer_once(TICK_MS, tick, NULL);
}

static void tick(void *context)
{
	uint64_t now = wl_clock_boot_ms();
	(void)context;
	ticking = false;
	for (struct web_wait *wait = waits, *next; wait; wait = next) {
		next = wait->next;
		look_at(wait, now);
	}
	start_ticking();
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static bool has_room(int tenant)
{
	int count = 0;
	for (const struct web_wait *wait = waits; wait; wait = wait->next)
		count += wait->tenant == tenant;
	return wait_count < WAITS_MOST && count < WAITS_TENANT_MOST;
}

struct web_wait *web_wait_start(int tenant, const char *eid, int seconds, const struct web_wait_calls *calls,
				void *context)
{
	struct web_wait *wait = seconds > 0 && !web.draining && has_room(tenant) ? calloc(1, sizeof(*wait)) : NULL;
	if (!wait)
		return NULL;
	*wait = (struct web_wait){ .listener = { .confirmed = confirmed, .happened = happened },
				   .next = waits,
				   .link = &waits,
				   .calls = calls,
				   .context = context,
				   .tenant = tenant,
				   .until_ms = wl_clock_boot_ms() + (uint64_t)seconds * 1000 };
	(void)snprintf(wait->listener.eid, sizeof(wait->listener.eid), "%s", eid);
	if (waits)
		waits->link = &wait->next;
	waits = wait;
	wait_count++;
	web_event_listen(&wait->listener);
	start_ticking();
	return wait;
}

void web_wait_hurry(struct web_wait *wait)
{
	wait->last = true;
	read_ledger(wait);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

struct asking {
	struct web_request *request; /* held */
	char eid[WL_UUID_TEXT];
	web_wait_ended *ended;
};

static void tell(struct web_request *request, const char *eid, web_wait_ended *ended, const char *result)
{
	if (ended) {
		ended(request, result);
	} else if (result) {
		wl_buffer_append_text(&request->answer, result);
		web_answer_json(request, 200);
	} else {
		web_wait_answer_accepted(request, eid);
	}
}

static bool request_wanted(void *context)
{
	const struct asking *asking = context;
	return asking->request->exchange != NULL;
}

static void request_forgotten(void *context)
{
	struct asking *asking = context;
	web_request_release(asking->request);
	free(asking);
}

static void request_ended(void *context, const char *result)
{
	struct asking *asking = context;
	tell(asking->request, asking->eid, asking->ended, result);
	request_forgotten(asking);
}

void web_wait_end(struct web_request *request, const char *eid, int seconds, web_wait_ended *ended)
{
	static const struct web_wait_calls calls = { request_wanted, request_ended, request_forgotten };
	if (request->answered || !request->exchange)
		return;
	struct asking *asking = calloc(1, sizeof(*asking));
	if (asking) {
		*asking = (struct asking){ .request = web_request_hold(request), .ended = ended };
		(void)snprintf(asking->eid, sizeof(asking->eid), "%s", eid);
		if (web_wait_start(request->identity.tenant, eid, seconds, &calls, asking))
			return;
		request_forgotten(asking);
	}
	tell(request, eid, ended, NULL);
}
