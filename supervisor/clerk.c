#include "supervisor/clerk.h"

#include "lib/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define BATCH 64
#define AWAY_MS 200
#define FLOWS_BYTES (32u << 20)

static int ask_wait(struct clerk *clerk, struct inquiry *inquiry, struct wl_error *err)
{
	struct wl_wait *wait = &inquiry->wait;
	memcpy(wait->eid, inquiry->lease.eid, sizeof(wait->eid));
	wait->epoch = inquiry->lease.epoch;
	if (!wait->node)
		wait->node = strdup(inquiry->path);
	if (!wait->node)
		return wl_fail(err, ENOMEM, "no memory for what the node waits for");
	return clerk->ledger.wait(clerk->ledger.self, wait, err);
}

static int ask_subflow(struct clerk *clerk, struct inquiry *inquiry, struct wl_error *err)
{
	struct wl_subflow *sub = &inquiry->sub;
	memcpy(sub->eid, inquiry->lease.eid, sizeof(sub->eid));
	sub->epoch = inquiry->lease.epoch;
	sub->tenant = inquiry->lease.tenant;
	int result = clerk->ledger.subflow(clerk->ledger.self, sub, err);
	if (result < 0 || sub->outcome != WL_SUBFLOW_FOUND)
		return result;
	return flow_cache_get(&clerk->flows, &clerk->ledger, sub->tenant, sub->doc_hash, &inquiry->flow, err);
}

static void answer(struct clerk *clerk, struct inquiry *inquiry)
{
	for (;;) {
		struct wl_error err = { 0 };
		int result = inquiry->kind == INQUIRY_WAIT ? ask_wait(clerk, inquiry, &err)
							   : ask_subflow(clerk, inquiry, &err);
		if (wl_ledger_is_away(result) && !atomic_load(&clerk->give_up)) {
			if (!clerk->away)
				wl_log(WL_LOG_ERROR, "waits and subflows wait for PostgreSQL: %s", err.text);
			clerk->away = true;
			(void)nanosleep(&(struct timespec){ .tv_nsec = AWAY_MS * 1000000L }, NULL);
			continue;
		}
		clerk->away = false;
		inquiry->result = result;
		inquiry->err = err;
		break;
	}
	mailbox_post(clerk->answers, &inquiry->message.mail);
}

static void *clerk_main(void *context)
{
	struct clerk *clerk = context;
	struct mail *list;
	int count;
	do {
		list = mailbox_take(&clerk->box, BATCH, -1, &count);
		for (struct mail *mail = list, *next; mail; mail = next) {
			next = mail->next;
			answer(clerk, container_of(mail, struct inquiry, message.mail));
		}
	} while (list || !mailbox_is_closed(&clerk->box));
	return NULL;
}

int clerk_start(struct clerk *clerk, const struct wl_ledger *ledger, struct mailbox *answers, struct wl_error *err)
{
	*clerk = (struct clerk){ .ledger = *ledger, .answers = answers };
	flow_cache_open(&clerk->flows, FLOWS_BYTES);
	mailbox_open(&clerk->box);
	int failed = pthread_create(&clerk->thread, NULL, clerk_main, clerk);
	return failed ? wl_fail_errno(err, failed, "start the clerk's thread") : 0;
}

void clerk_post(struct clerk *clerk, struct inquiry *inquiry)
{
	mailbox_post(&clerk->box, &inquiry->message.mail);
}

void clerk_stop(struct clerk *clerk)
{
	atomic_store(&clerk->give_up, true);
	mailbox_close(&clerk->box);
	(void)pthread_join(clerk->thread, NULL);
	flow_cache_release(&clerk->flows);
	clerk->ledger.close(clerk->ledger.self);
	mailbox_release(&clerk->box);
}
