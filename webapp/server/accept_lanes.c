/*
 * A lane is one tenant's line in this worker: at most one transaction of it is under way, and what arrives meanwhile
 * waits for the next. One item that PostgreSQL refuses spoils its transaction, so the items of a spoiled one go again
 * one by one.
 */
#include "webapp/server/accept_lanes.h"

#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
#define BATCH_ITEMS 64
#define BATCH_BYTES (1u << 20)

struct line {
	struct web_accept *head, *tail;
};

struct lane {
	int tenant;
	struct lane *next;
	struct line waiting, under_way;
	bool busy;
};

static struct lane *lanes[BUCKETS];

static void push(struct line *line, struct web_accept *accept)
{
	accept->next = NULL;
	if (line->tail)
		line->tail->next = accept;
	else
		line->head = accept;
	line->tail = accept;
}

static struct web_accept *pop(struct line *line)
{
	struct web_accept *accept = line->head;
	if (!accept)
		return NULL;
	line->head = accept->next;
	if (!line->head)
		line->tail = NULL;
	return accept;
}

static struct lane *lane_of(int tenant)
{
	struct lane **bucket = &lanes[(unsigned)tenant % BUCKETS];
	for (struct lane *lane = *bucket; lane; lane = lane->next)
		if (lane->tenant == tenant)
			return lane;
	struct lane *lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	lane->tenant = tenant;
	lane->next = *bucket;
	*bucket = lane;
	return lane;
}

static void drop_lane(struct lane *lane)
{
	struct lane **link = &lanes[(unsigned)lane->tenant % BUCKETS];
	while (*link != lane)
		link = &(*link)->next;
	*link = lane->next;
	free(lane);
}

static void write_item(struct wl_buffer *items, const struct web_accept *accept, int index)
{
	wl_buffer_appendf(items, "%s{\"ord\":%d,\"may_draft\":%s,\"timeout_ms\":%lld", index ? "," : "", index,
			  accept->may_draft ? "true" : "false", (long long)accept->timeout_ms);
	web_member_text(items, "eid", accept->eid);
	web_member_text(items, "flow", accept->flow);
	web_member_text(items, "user_id", accept->user);
	web_member_text(items, "role", accept->role);
	web_member_text(items, "version", accept->version);
	web_member_raw(items, "inputs", accept->inputs ? accept->inputs : "{}");
	web_member_raw(items, "labels", accept->labels ? accept->labels : "{}");
	if (accept->options)
		web_member_raw(items, "options", accept->options);
	if (accept->document_hash[0])
		wl_buffer_appendf(items, ",\"expect\":\"\\\\x%s\"", accept->document_hash);
	if (accept->idempotency_key) {
		web_member_text(items, "idem", accept->idempotency_key);
		web_member_text(items, "req_hash", accept->request_hash);
	}
	wl_buffer_append_char(items, '}');
}

static void send_next(struct lane *lane);

/* Give every item under way its result. */
static void finish_all(struct lane *lane, enum web_accept_result result, const char *outcome)
{
	struct line line = lane->under_way;
	lane->under_way = (struct line){ 0 };
	for (struct web_accept *accept; (accept = pop(&line));) {
		accept->result = result;
		(void)snprintf(accept->outcome, sizeof(accept->outcome), "%s", outcome);
		accept->done(accept);
	}
}

static void take_rows(struct lane *lane, const struct pg_job *job)
{
	struct line line = lane->under_way;
	int rows = pg_rows(job, 0);
	lane->under_way = (struct line){ 0 };
	for (int row = 0; line.head; row++) {
		struct web_accept *accept = pop(&line);
		const char *outcome = row < rows ? pg_text(job, 0, row, 0) : NULL;
		const char *eid = row < rows ? pg_text(job, 0, row, 1) : NULL;
		bool changed = outcome && strcmp(outcome, "changed") == 0;
		accept->result = !outcome || !eid ? WEB_ACCEPT_BROKEN
				 : changed	  ? WEB_ACCEPT_CHANGED
						  : WEB_ACCEPT_ANSWERED;
		(void)snprintf(accept->outcome, sizeof(accept->outcome), "%s", outcome ? outcome : "no row");
		if (outcome && eid) {
			(void)snprintf(accept->eid, sizeof(accept->eid), "%s", eid);
			accept->shard = (int)pg_number(job, 0, row, 2);
			accept->gen = pg_number(job, 0, row, 3);
			accept->seq = pg_number(job, 0, row, 4);
			accept->quota = pg_number(job, 0, row, 5);
			accept->used = pg_number(job, 0, row, 6);
			accept->resets_s = pg_number(job, 0, row, 7);
		}
		accept->done(accept);
	}
}

/* A spoiled transaction stored nothing: its items go again, each alone, ahead of those that wait. */
static void send_again_alone(struct lane *lane)
{
	struct line again = lane->under_way;
	for (struct web_accept *accept = again.head; accept; accept = accept->next)
		accept->alone = true;
	if (lane->waiting.head)
		again.tail->next = lane->waiting.head;
	else
		lane->waiting.tail = again.tail;
	lane->waiting.head = again.head;
	lane->under_way = (struct line){ 0 };
}

static void batch_over(struct pg_job *job)
{
	struct lane *lane = job->context;
	bool several = lane->under_way.head != lane->under_way.tail;
	if (job->outcome == PG_DONE)
		take_rows(lane, job);
	else if (job->outcome == PG_AWAY)
		finish_all(lane, WEB_ACCEPT_AWAY, "the database is away or busy");
	else if (strcmp(job->sqlstate, "WL403") == 0)
		finish_all(lane, WEB_ACCEPT_CLOSED, job->message);
	else if (several)
		send_again_alone(lane);
	else
		finish_all(lane, WEB_ACCEPT_BROKEN, job->message);
	lane->busy = false;
	if (lane->waiting.head)
		send_next(lane);
	else
		drop_lane(lane);
}

/* Move items from the line into the next transaction, and write them as JSON. */
static int gather(struct lane *lane, struct wl_buffer *items)
{
	int count = 0;
	wl_buffer_append_char(items, '[');
	while (lane->waiting.head && count < BATCH_ITEMS && items->length < BATCH_BYTES) {
		if (count && (lane->waiting.head->alone || lane->under_way.head->alone))
			break;
		struct web_accept *accept = pop(&lane->waiting);
		write_item(items, accept, count);
		push(&lane->under_way, accept);
		count++;
	}
	wl_buffer_append_char(items, ']');
	return count;
}

static void send_next(struct lane *lane)
{
	_wl_buffer_ struct wl_buffer items = { 0 };
	int count = gather(lane, &items);
	struct pg_job *job = pg_job_new(lane->tenant, batch_over, lane);
	lane->busy = true;
	if (!job) {
		finish_all(lane, WEB_ACCEPT_AWAY, "no memory");
		lane->busy = false;
		return;
	}
	pg_job_step(job, SQL_ACCEPT);
	pg_job_value(job, items.data);
	job->failed |= items.failed;
	web_metrics_accept_batch(count);
	pg_submit(web.postgres, job);
}

void web_accept_submit(struct web_accept *accept)
{
	struct lane *lane = lane_of(accept->tenant);
	accept->alone = false;
	if (!lane) {
		accept->result = WEB_ACCEPT_AWAY;
		(void)snprintf(accept->outcome, sizeof(accept->outcome), "no memory");
		accept->done(accept);
		return;
	}
	push(&lane->waiting, accept);
	if (!lane->busy)
		send_next(lane);
}
