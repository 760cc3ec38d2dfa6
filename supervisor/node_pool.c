#include "supervisor/node_pool.h"

#include "lib/base/clock.h"
#include "supervisor/publisher.h"
#include "supervisor/run_events.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define LEASE_LOOK_MS 100
#define SHARE 3 /* threads that a tenant may hold for each one that is idle */

/* ---- one attempt ----------------------------------------------------------------------------------------- */

static void emit_log(void *context, const char *piece_json)
{
	struct node_job *job = context;
	struct event_item *event = event_log(job->call.eid, node_call_path(&job->call), piece_json);
	if (event)
		publisher_post(job->publisher, event);
}

static void take_log(void *context, const char *stream, const char *bytes, size_t length)
{
	struct node_job *job = context;
	log_tail_write(&job->logs, stream, bytes, length, wl_clock_wall_ms(), emit_log, job);
}

static void emit_event(void *context, const char *type, const char *data_json)
{
	struct node_job *job = context;
	struct event_item *event = event_asking(job->call.eid, type, data_json);
	if (event)
		publisher_post(job->publisher, event);
}

/*
 * The process may have been stopped since the loop looked at the lease. An attempt with effects does not begin on a
 * lease that has run out: it waits for the keeper, who either renews it or learns that it is lost.
 */
static bool may_begin(struct node_job *job)
{
	if (job->cancel_fd < 0)
		return true;
	while (!node_pause(&job->call, 0)) {
		if (wl_clock_boot_ms() < atomic_load(job->valid_until_ms))
			return true;
		if (node_pause(&job->call, LEASE_LOOK_MS))
			break;
	}
	return false;
}

static void attempt(struct node_world *world, struct node_job *job)
{
	job->call.on_log = take_log;
	job->call.log_context = job;
	job->call.on_event = emit_event;
	job->start_ms = wl_clock_wall_ms();
	if (!may_begin(job))
		node_fail(&job->outcome, &job->call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	else if (node_job_prepare(job) < 0)
		node_fail(&job->outcome, &job->call, NODE_FAILED, "internal", NULL, "no memory for the node's input");
	else
		node_run(world, &job->call, &job->outcome);
	node_job_drop_texts(job);
	job->end_ms = wl_clock_wall_ms();
	log_tail_flush(&job->logs, "stderr", job->end_ms, emit_log, job);
}

/* ---- the queue ------------------------------------------------------------------------------------------- */

static struct tenant_queue *queue_of(struct node_pool *pool, int tenant)
{
	struct tenant_queue **slot = &pool->turn;
	while (*slot && (*slot)->tenant != tenant)
		slot = &(*slot)->next;
	if (!*slot) {
		struct tenant_queue *queue = calloc(1, sizeof(*queue));
		if (!queue)
			return NULL;
		queue->tenant = tenant;
		queue->last = &queue->first;
		*slot = queue;
	}
	return *slot;
}

static bool may_take(const struct node_pool *pool, const struct tenant_queue *queue)
{
	int idle = pool->size - pool->running;
	return queue->first && (queue->running < SHARE * idle || pool->size <= SHARE);
}

/* The next job in turn, or NULL; its tenant goes to the end of the line. */
static struct node_job *next_job(struct node_pool *pool, struct tenant_queue **ret_queue)
{
	struct tenant_queue **slot = &pool->turn;
	while (*slot && !may_take(pool, *slot))
		slot = &(*slot)->next;
	struct tenant_queue *queue = *slot;
	if (!queue)
		return NULL;
	struct mail *mail = queue->first;
	queue->first = mail->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->running++;
	pool->running++;
	*slot = queue->next;
	queue->next = NULL;
	struct tenant_queue **end = &pool->turn;
	while (*end)
		end = &(*end)->next;
	*end = queue;
	*ret_queue = queue;
	return container_of(mail, struct node_job, message.mail);
}

/* Forget a tenant that has nothing here any more. */
static void forget_idle(struct node_pool *pool, struct tenant_queue *queue)
{
	if (queue->first || queue->running > 0)
		return;
	struct tenant_queue **slot = &pool->turn;
	while (*slot != queue)
		slot = &(*slot)->next;
	*slot = queue->next;
	free(queue);
}

static void job_over(struct node_pool *pool, struct tenant_queue *queue)
{
	queue->running--;
	pool->running--;
	(void)pthread_cond_signal(&pool->filled); /* others may hold more now, too */
	forget_idle(pool, queue);
}

/* Take a waiting job out of the queue of its tenant; false when it does not wait any more. */
static bool unlink_job(struct tenant_queue *queue, struct node_job *job)
{
	struct mail **slot = &queue->first;
	while (*slot && *slot != &job->message.mail)
		slot = &(*slot)->next;
	if (!*slot)
		return false;
	*slot = job->message.mail.next;
	if (!*slot)
		queue->last = slot;
	return true;
}

void node_pool_withdraw(struct node_pool *pool, struct node_job *job)
{
	bool waited = false;
	(void)pthread_mutex_lock(&pool->lock);
	struct tenant_queue *queue = pool->turn;
	while (queue && queue->tenant != job->call.tenant)
		queue = queue->next;
	if (queue && unlink_job(queue, job)) {
		waited = true;
		forget_idle(pool, queue);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	if (!waited)
		return;
	node_fail(&job->outcome, &job->call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	job->end_ms = wl_clock_wall_ms();
	mailbox_post(pool->answers, &job->message.mail);
}

static void *node_thread(void *context)
{
	struct node_pool *pool = context;
	struct node_world world = pool->world;
	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct tenant_queue *queue = NULL;
		struct node_job *job = next_job(pool, &queue);
		if (!job && pool->closed)
			break;
		if (!job) {
			(void)pthread_cond_wait(&pool->filled, &pool->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&pool->lock);
		attempt(&world, job);
		mailbox_post(pool->answers, &job->message.mail);
		(void)pthread_mutex_lock(&pool->lock);
		job_over(pool, queue);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	node_world_release(&world);
	return NULL;
}

void node_pool_run(struct node_pool *pool, struct node_job *job)
{
	(void)pthread_mutex_lock(&pool->lock);
	struct tenant_queue *queue = queue_of(pool, job->call.tenant);
	if (queue) {
		job->message.mail.next = NULL;
		*queue->last = &job->message.mail;
		queue->last = &job->message.mail.next;
		(void)pthread_cond_signal(&pool->filled);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	if (!queue) {
		node_fail(&job->outcome, &job->call, NODE_FAILED, "internal", NULL, "no memory to run the node");
		mailbox_post(pool->answers, &job->message.mail);
	}
}

int node_pool_start(struct node_pool *pool, int threads, const struct node_world *world, struct mailbox *answers,
		    struct wl_error *err)
{
	*pool = (struct node_pool){ .world = *world, .answers = answers };
	pool->size = threads;
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->filled, NULL);
	pool->threads = calloc((size_t)threads, sizeof(*pool->threads));
	if (!pool->threads)
		return wl_fail(err, ENOMEM, "no memory for %d node threads", threads);
	for (; pool->thread_count < threads; pool->thread_count++) {
		int failed = pthread_create(&pool->threads[pool->thread_count], NULL, node_thread, pool);
		if (failed)
			return wl_fail_errno(err, failed, "start a node thread");
	}
	return 0;
}

void node_pool_stop(struct node_pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->closed = true;
	(void)pthread_cond_broadcast(&pool->filled);
	(void)pthread_mutex_unlock(&pool->lock);
	for (int i = 0; i < pool->thread_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	free(pool->threads);
	(void)pthread_cond_destroy(&pool->filled);
	(void)pthread_mutex_destroy(&pool->lock);
}
