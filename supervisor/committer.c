#include "supervisor/committer.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define BATCH COMMIT_BATCH
#define BATCH_BYTES (8u << 20)
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 2000

static struct commit_item *item_of(struct mail *mail)
{
	return container_of(mail, struct commit_item, message.mail);
}

static size_t weight_of(const struct wl_node_result *result)
{
	const char *const texts[] = { result->inputs_json,  result->outputs_json, result->error_json,
				      result->receipt_json, result->logs_json,	  result->trace_json };
	size_t weight = 512;
	for (size_t i = 0; i < WL_COUNT_OF(texts); i++)
		weight += texts[i] ? strlen(texts[i]) : 0;
	return weight;
}

static void enqueue(struct committer *committer, struct mail *list)
{
	while (list) {
		struct mail *next = list->next;
		list->next = NULL;
		*committer->last = list;
		committer->last = &list->next;
		committer->waiting++;
		list = next;
	}
}

/* ---- away from the server ---------------------------------------------------------------------------------- */

static void spool_waiting(struct committer *committer)
{
	const struct wl_node_result *results[BATCH];
	struct commit_item *items[BATCH];
	struct wl_error err = { 0 };
	struct mail *mail = committer->first;
	while (mail && committer->spool.fd >= 0) {
		int count = 0;
		for (; mail && count < BATCH; mail = mail->next)
			if (!item_of(mail)->spooled) {
				items[count] = item_of(mail);
				results[count++] = &item_of(mail)->result;
			}
		if (count == 0)
			break;
		if (spool_append(&committer->spool, results, count, &err) < 0) {
			/* they stay in memory; no new work is taken while it is so */
			wl_log(WL_LOG_ERROR, "node results cannot be spooled: %s", err.text);
			atomic_store(&committer->pressed, true);
			return;
		}
		for (int i = 0; i < count; i++)
			items[i]->spooled = true;
	}
	if (committer->spool.fd >= 0)
		atomic_store(&committer->pressed, committer->spool.used > committer->spool.most / 2);
}

static void server_away(struct committer *committer, const struct wl_error *err)
{
	if (!committer->away)
		wl_log(WL_LOG_ERROR, "node results wait for the document server: %s", err->text);
	committer->away = true;
	committer->pause_ms = committer->pause_ms ? committer->pause_ms * 2 : FIRST_PAUSE_MS;
	if (committer->pause_ms > LONGEST_PAUSE_MS)
		committer->pause_ms = LONGEST_PAUSE_MS;
	spool_waiting(committer);
}

static void server_back(struct committer *committer)
{
	struct wl_error err = { 0 };
	committer->pause_ms = 0;
	if (committer->away)
		wl_log(WL_LOG_NOTICE, "the document server takes node results again");
	committer->away = false;
	if (!committer->first && committer->spool.used > 0 && spool_clear(&committer->spool, &err) < 0)
		wl_log(WL_LOG_ERROR, "%s", err.text);
	if (!committer->first)
		atomic_store(&committer->pressed, false);
}

/* ---- storing ----------------------------------------------------------------------------------------------- */

static void answer(struct committer *committer, int count, const enum wl_commit_outcome *outcomes)
{
	for (int i = 0; i < count; i++) {
		struct commit_item *item = item_of(committer->first);
		committer->first = item->message.mail.next;
		if (!committer->first)
			committer->last = &committer->first;
		committer->waiting--;
		item->outcome = outcomes[i];
		mailbox_post(committer->answers, &item->message.mail);
	}
}

static void commit_some(struct committer *committer)
{
	struct wl_node_result *results = committer->batch;
	enum wl_commit_outcome outcomes[BATCH] = { 0 };
	struct wl_error err = { 0 };
	size_t weight = 0;
	int count = 0;
	for (struct mail *mail = committer->first; mail && count < BATCH; mail = mail->next) {
		weight += weight_of(&item_of(mail)->result);
		if (count > 0 && weight > BATCH_BYTES)
			break;
		results[count++] = item_of(mail)->result; /* still owned by the item */
	}
	if (committer->store->commit(committer->store->self, results, count, outcomes, &err) < 0) {
		server_away(committer, &err);
		return;
	}
	answer(committer, count, outcomes);
	server_back(committer);
}

/* ---- what a dead process left -------------------------------------------------------------------------------- */

static int read_some(const struct spool *spool, size_t *offset, struct wl_node_result *results, int limit,
		     struct wl_error *err)
{
	int count = 0, got = 1;
	while (count < limit && (got = spool_read(spool, offset, &results[count], err)) > 0)
		count++;
	return got < 0 && count == 0 ? got : count;
}

/* Store all of one file. The epochs in it decide what still counts. 0, or -errno: then it is kept for later. */
static int bring_in(struct committer *committer, struct spool *spool, struct wl_error *err)
{
	struct wl_node_result results[64] = { 0 };
	enum wl_commit_outcome outcomes[64];
	size_t offset = 0;
	int result = 0, count;
	while (result == 0 && (count = read_some(spool, &offset, results, 64, err)) != 0) {
		result = count < 0 ? count
				   : committer->store->commit(committer->store->self, results, count, outcomes, err);
		for (int i = 0; i < count; i++)
			wl_node_result_release(&results[i]);
	}
	return result < 0 ? result : spool_clear(spool, err);
}

static void bring_in_orphans(struct committer *committer)
{
	struct spool spool;
	struct wl_error err = { 0 };
	int found;
	while ((found = spool_adopt(committer->spool_folder, &spool, &err)) > 0) {
		bool empty = spool.used == 0;
		int result = bring_in(committer, &spool, &err);
		spool_close(&spool);
		if (result < 0)
			break;
		if (!empty)
			wl_log(WL_LOG_NOTICE, "node results that a former supervisor left were stored: %s", spool.path);
	}
	if (found < 0 || err.code)
		wl_log(WL_LOG_WARNING, "node results that a former supervisor left are kept for later: %s", err.text);
}

/* ---- the thread ---------------------------------------------------------------------------------------------- */

static void *committer_main(void *context)
{
	struct committer *committer = context;
	if (*committer->spool_folder)
		bring_in_orphans(committer);
	for (;;) {
		int count = 0;
		int timeout_ms = committer->away ? committer->pause_ms : committer->first ? 0 : -1;
		enqueue(committer, mailbox_take(&committer->box, BATCH, timeout_ms, &count));
		if (committer->away && count > 0)
			spool_waiting(committer);
		if (committer->first)
			commit_some(committer);
		if (mailbox_is_closed(&committer->box) &&
		    (atomic_load(&committer->give_up) || (!committer->first && mailbox_count(&committer->box) == 0)))
			return NULL;
	}
}

int committer_start(struct committer *committer, struct wl_node_results *store, const char *spool_folder,
		    const char *supervisor, struct mailbox *answers, struct wl_error *err)
{
	*committer = (struct committer){ .store = store, .answers = answers, .spool_folder = spool_folder };
	committer->last = &committer->first;
	committer->spool.fd = -1;
	if (*spool_folder && spool_open(spool_folder, supervisor, SPOOL_MAX, &committer->spool, err) < 0)
		return -err->code;
	mailbox_open(&committer->box);
	int failed = pthread_create(&committer->thread, NULL, committer_main, committer);
	return failed ? wl_fail_errno(err, failed, "start the committer's thread") : 0;
}

void committer_post(struct committer *committer, struct commit_item *item)
{
	mailbox_post(&committer->box, &item->message.mail);
}

void committer_stop(struct committer *committer)
{
	atomic_store(&committer->give_up, true);
	mailbox_close(&committer->box);
	(void)pthread_join(committer->thread, NULL);
	while (committer->first) {
		struct commit_item *item = item_of(committer->first);
		committer->first = item->message.mail.next;
		commit_item_free(item);
	}
	spool_close(&committer->spool);
	mailbox_release(&committer->box);
}
