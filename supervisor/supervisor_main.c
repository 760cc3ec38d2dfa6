/*
 * windlass-supervisor: walks the executions it was given.
 *
 * Theory of operation
 *   run loop    owns the state of all runs and decides (run_loop.c, core/walk.c); never blocks
 *   intake      inbox → start in the ledger → run; restorer: what an earlier attempt stored (intake.c)
 *   node pools  run attempts of nodes: one pool for those that only compute, one for those that act, one for those that
 *               ask models, which mostly wait (node_pool.c)
 *   committer   results → document server, many runs in one bulk; the spool while it is away (committer.c)
 *   finisher    final states → ledger, slots → queue (finisher.c)
 *   clerk       asks the ledger what nodes need: subflows, waits, approvals (clerk.c)
 *   keeper      renews leases, tells how much more is taken; control: hears of cancels, resyncs (keeper.c)
 *   publisher   live events (publisher.c)
 * Each thread has connections of its own, and only mailboxes between them. A run's effects start only while its lease
 * is sure and what they rest on is stored; its final state is written only after all its results are stored. Whatever
 * is lost with this process is found again by the next attempt: it seals, loads what is stored, and goes on from there.
 */
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"
#include "lib/llm/metered_call.h"
#include "lib/secrets/seal.h"
#include "lib/store/mongo_crew_memory.h"
#include "lib/store/mongo_exchanges.h"
#include "lib/store/mongo_node_results.h"
#include "lib/store/postgres_budget.h"
#include "lib/store/postgres_ledger.h"
#include "lib/store/postgres_models.h"
#include "lib/store/postgres_storage.h"
#include "lib/store/postgres_tools.h"
#include "lib/store/redis_event_stream.h"
#include "lib/store/redis_job_queue.h"
#include "supervisor/artifacts.h"
#include "supervisor/clerk.h"
#include "supervisor/committer.h"
#include "supervisor/keeper.h"
#include "supervisor/knowledge.h"
#include "supervisor/node_pool.h"
#include "supervisor/nodes/memory.h"
#include "supervisor/publisher.h"
#include "supervisor/run_loop.h"
#include "supervisor/warden_client.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define LAST_MS 5000 /* after the drain: for giving back what could not be ended */

struct supervisor {
	struct wl_settings settings;
	char id[WL_SUPERVISOR_ID];
	struct mailbox messages; /* to the run loop */
	struct run_loop loop;
	pthread_t loop_thread;
	struct lease_table leases;
	struct wl_node_results results;
	struct wl_expression_pool *expressions;
	struct sandbox_port sandbox;
	struct artifact_port artifacts;
	struct wl_egress_rules egress;
	struct wl_tool_source tools;
	struct wl_master_key *keys; /* NULL: credentials of tools cannot be opened */
	struct wl_llm *llm;
	struct wl_model_source model_source;
	struct wl_budget budget;
	struct wl_storage_room storage;
	struct wl_exchange_log exchanges;
	struct wl_crew_memory memory;
	struct wl_knowledge_source knowledge;
	struct node_share share;
	struct wl_metered metered;
	struct node_pool pure, effects, models;
	struct committer committer;
	struct finisher finisher;
	struct intake intake;
	struct keeper keeper;
	struct publisher publisher;
	struct clerk clerk;
};

/* ---- the run loop's way to the other threads ---------------------------------------------------------------- */

static struct node_pool *pool_of(struct supervisor *supervisor, const struct node_job *job)
{
	if (job->cancel_fd < 0)
		return &supervisor->pure;
	return job->call.node && wl_node_kind_asks(job->call.node->kind) ? &supervisor->models : &supervisor->effects;
}

static void to_nodes(void *self, struct node_job *job)
{
	node_pool_run(pool_of(self, job), job);
}

static void stop_at_nodes(void *self, struct node_job *job)
{
	node_pool_withdraw(pool_of(self, job), job);
}

static void to_committer(void *self, struct commit_item *item)
{
	committer_post(&((struct supervisor *)self)->committer, item);
}

static void to_finisher(void *self, struct ending *ending)
{
	finisher_post(&((struct supervisor *)self)->finisher, ending);
}

static void to_clerk(void *self, struct inquiry *inquiry)
{
	clerk_post(&((struct supervisor *)self)->clerk, inquiry);
}

static void to_publisher(void *self, struct event_item *event)
{
	publisher_post(&((struct supervisor *)self)->publisher, event);
}

static int loop_timeout_ms(const struct run_loop *loop)
{
	uint64_t due_ms = run_loop_due_ms(loop), now_ms = wl_clock_boot_ms();
	if (due_ms <= now_ms)
		return 0;
	/* waits are on the monotonic clock: after a suspend a look each second finds what came due meanwhile */
	return due_ms - now_ms > 1000 ? 1000 : (int)(due_ms - now_ms);
}

static void *loop_main(void *context)
{
	struct supervisor *supervisor = context;
	struct run_loop *loop = &supervisor->loop;
	struct mail *list;
	int count = 0;
	do {
		list = mailbox_take(&supervisor->messages, 1024, loop_timeout_ms(loop), &count);
		while (list) {
			struct message *message = container_of(list, struct message, mail);
			list = list->next;
			run_loop_handle(loop, message, wl_clock_boot_ms(), wl_clock_wall_ms());
		}
		run_loop_tick(loop, wl_clock_boot_ms(), wl_clock_wall_ms());
	} while (count > 0 || !mailbox_is_closed(&supervisor->messages));
	return NULL;
}

/* ---- start -------------------------------------------------------------------------------------------------- */

static int check_settings(const struct wl_settings *settings, struct wl_error *err)
{
	if (wl_settings_need(settings->postgres_url, "POSTGRES_URL", "PostgreSQL", err) < 0 ||
	    wl_settings_need(settings->redis_url, "REDIS_URL", "Redis", err) < 0 ||
	    wl_settings_need(settings->mongodb_url, "MONGODB_URL", "the document server", err) < 0 ||
	    wl_settings_need(settings->eval_socket, "EVAL_SOCKET", "the expression server", err) < 0 ||
	    wl_settings_need(settings->warden_socket, "WARDEN_SOCKET", "the sandbox warden", err) < 0)
		return -err->code;
	if (settings->renew_ms >= settings->lease_ms)
		return wl_fail(err, EINVAL, "setting renew_ms must be less than lease_ms");
	return 0;
}

static int choose_id(struct supervisor *supervisor, struct wl_error *err)
{
	const char *wanted = supervisor->settings.supervisor_id;
	char uuid[WL_UUID_TEXT];
	if (*wanted)
		(void)snprintf(supervisor->id, sizeof(supervisor->id), "%.63s", wanted);
	else
		(void)snprintf(supervisor->id, sizeof(supervisor->id), "sup-%s", wl_uuid7(wl_clock_wall_ms(), uuid));
	if (strlen(wanted) >= sizeof(supervisor->id) ||
	    strspn(supervisor->id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
		    strlen(supervisor->id))
		return wl_fail(err, EINVAL, "setting supervisor_id may hold up to %d letters, digits, - and _",
			       WL_SUPERVISOR_ID - 1);
	return 0;
}

/* See that the servers answer before anything starts: a sentence now is better than retries later. */
static int check_servers(const struct supervisor *supervisor, struct wl_error *err)
{
	struct wl_shard_row rows[WL_SHARDS];
	struct wl_ledger ledger;
	struct wl_job_queue queue;
	char run_id[64];
	if (wl_postgres_ledger_open(supervisor->settings.postgres_url, &ledger, err) < 0)
		return wl_fail_within(err, "setting postgres_url");
	int result = ledger.shards(ledger.self, rows, err);
	ledger.close(ledger.self);
	if (result < 0)
		return wl_fail_within(err, "PostgreSQL (setting postgres_url) does not answer");
	if (wl_redis_job_queue_open(supervisor->settings.redis_url, &queue, err) < 0)
		return wl_fail_within(err, "setting redis_url");
	result = queue.run_id(queue.self, run_id, err);
	queue.close(queue.self);
	return result < 0 ? wl_fail_within(err, "Redis (setting redis_url) does not answer") : 0;
}

/* What nodes that ask models need. */
static int open_models(struct supervisor *supervisor, struct wl_error *err)
{
	const struct wl_settings *settings = &supervisor->settings;
	if (wl_llm_new(&supervisor->egress, &supervisor->llm, err) < 0)
		return -err->code;
	if (wl_postgres_models_open(settings->postgres_url, &supervisor->model_source, err) < 0 ||
	    wl_postgres_budget_open(settings->postgres_url, &supervisor->budget, err) < 0 ||
	    wl_postgres_storage_open(settings->postgres_url, &supervisor->storage, err) < 0)
		return wl_fail_within(err, "setting postgres_url");
	if (wl_mongo_exchanges_open(settings->mongodb_url, &supervisor->exchanges, err) < 0 ||
	    wl_mongo_crew_memory_open(settings->mongodb_url, &supervisor->memory, err) < 0)
		return wl_fail_within(err, "the document server (setting mongodb_url) does not answer");
	if (knowledge_open(settings, &supervisor->knowledge, err) < 0)
		return -err->code;
	supervisor->metered = (struct wl_metered){ .llm = supervisor->llm,
						   .source = &supervisor->model_source,
						   .budget = &supervisor->budget,
						   .keys = supervisor->keys };
	return 0;
}

static void close_models(struct supervisor *supervisor)
{
	node_share_close(&supervisor->share);
	supervisor->knowledge.close(supervisor->knowledge.self);
	supervisor->memory.close(supervisor->memory.self);
	supervisor->exchanges.close(supervisor->exchanges.self);
	supervisor->storage.close(supervisor->storage.self);
	supervisor->budget.close(supervisor->budget.self);
	supervisor->model_source.close(supervisor->model_source.self);
	wl_llm_free(supervisor->llm);
}

static int start_pools(struct supervisor *supervisor, int pure_threads, struct wl_error *err)
{
	const struct wl_settings *settings = &supervisor->settings;
	struct node_world world = { .expressions = supervisor->expressions,
				    .eval_ms = (int)settings->eval_ms,
				    .sandbox = &supervisor->sandbox,
				    .artifacts = &supervisor->artifacts,
				    .kill_grace_ms = (uint32_t)settings->kill_grace_ms,
				    .egress = &supervisor->egress,
				    .tools = &supervisor->tools,
				    .keys = supervisor->keys,
				    .models = &supervisor->metered,
				    .exchanges = &supervisor->exchanges,
				    .storage = &supervisor->storage,
				    .memory = &supervisor->memory,
				    .knowledge = &supervisor->knowledge,
				    .share = &supervisor->share };
	node_share_open(&supervisor->share, (uint64_t)settings->model_memory_mb << 20, (int)settings->model_threads);
	if (node_pool_start(&supervisor->pure, pure_threads, &world, &supervisor->messages, err) < 0 ||
	    node_pool_start(&supervisor->effects, (int)settings->node_threads, &world, &supervisor->messages, err) < 0)
		return -err->code;
	return node_pool_start(&supervisor->models, (int)settings->model_threads, &world, &supervisor->messages, err);
}

static int open_world(struct supervisor *supervisor, struct wl_error *err)
{
	const struct wl_settings *settings = &supervisor->settings;
	int pure_threads = settings->node_threads >= 16 ? (int)settings->node_threads / 4 : 4;
	if (wl_egress_rules_read(settings->egress_allow, &supervisor->egress, err) < 0)
		return -err->code;
	if (mongo_node_results_open(settings->mongodb_url, &supervisor->results, err) < 0)
		return wl_fail_within(err, "the document server (setting mongodb_url) does not answer");
	if (wl_expression_pool_open(settings->eval_socket, pure_threads + 4, &supervisor->expressions, err) < 0)
		return wl_fail_within(err, "setting eval_socket");
	if (warden_client_open(settings->warden_socket, &supervisor->sandbox, err) < 0)
		return wl_fail_within(err, "setting warden_socket");
	if (wl_postgres_tools_open(settings->postgres_url, &supervisor->tools, err) < 0)
		return wl_fail_within(err, "setting postgres_url");
	if (*settings->master_key && wl_master_key_open(settings->master_key, &supervisor->keys, err) < 0)
		return -err->code;
	if (artifacts_open(settings, &supervisor->artifacts, err) < 0 || open_models(supervisor, err) < 0)
		return -err->code;
	return start_pools(supervisor, pure_threads, err);
}

static int start_ends(struct supervisor *supervisor, struct wl_error *err)
{
	const struct wl_settings *settings = &supervisor->settings;
	struct wl_event_stream stream;
	struct wl_ledger ledger;
	struct wl_job_queue queue;
	if (wl_redis_event_stream_open(settings->redis_url, (int)settings->event_max, (int)settings->event_keep_s,
				       &stream, err) < 0 ||
	    publisher_start(&supervisor->publisher, &stream, err) < 0 ||
	    committer_start(&supervisor->committer, &supervisor->results, settings->spool_dir, supervisor->id,
			    &supervisor->messages, err) < 0 ||
	    wl_postgres_ledger_open(settings->postgres_url, &ledger, err) < 0 ||
	    wl_redis_job_queue_open(settings->redis_url, &queue, err) < 0)
		return -err->code;
	if (finisher_start(&supervisor->finisher, &ledger, &queue, supervisor->id, &supervisor->messages, err) < 0 ||
	    wl_postgres_ledger_open(settings->postgres_url, &ledger, err) < 0)
		return -err->code;
	return clerk_start(&supervisor->clerk, &ledger, &supervisor->messages, err);
}

static int start_intake(struct supervisor *supervisor, struct wl_error *err)
{
	const struct wl_settings *settings = &supervisor->settings;
	struct intake *intake = &supervisor->intake;
	*intake = (struct intake){ .results = &supervisor->results,
				   .leases = &supervisor->leases,
				   .finisher = &supervisor->finisher,
				   .runs = &supervisor->messages,
				   .supervisor = supervisor->id,
				   .offer_ms = settings->offer_ms };
	struct keeper *keeper = &supervisor->keeper;
	*keeper = (struct keeper){ .leases = &supervisor->leases,
				   .intake = intake,
				   .runs = &supervisor->messages,
				   .supervisor = supervisor->id,
				   .lease_ms = (int)settings->lease_ms,
				   .renew_ms = (int)settings->renew_ms,
				   .offer_ms = (int)settings->offer_ms,
				   .capacity = (int)settings->capacity,
				   .pressed = &supervisor->committer.pressed };
	if (wl_postgres_ledger_open(settings->postgres_url, &intake->ledger, err) < 0 ||
	    wl_redis_job_queue_open(settings->redis_url, &intake->queue, err) < 0 ||
	    wl_redis_job_queue_open(settings->redis_url, &keeper->queue, err) < 0 ||
	    wl_redis_job_queue_open(settings->redis_url, &keeper->control_queue, err) < 0 ||
	    intake_start(intake, err) < 0)
		return -err->code;
	return keeper_start(keeper, err);
}

static int start_all(struct supervisor *supervisor, struct wl_error *err)
{
	const struct run_loop_sink sink = { supervisor,	  to_nodes, to_committer, to_finisher,
					    to_publisher, to_clerk, stop_at_nodes };
	uint64_t random = 0;
	if (check_settings(&supervisor->settings, err) < 0 || choose_id(supervisor, err) < 0 ||
	    check_servers(supervisor, err) < 0)
		return -err->code;
	wl_random_bytes(&random, sizeof(random));
	mailbox_open(&supervisor->messages);
	if (lease_table_open(&supervisor->leases, err) < 0)
		return -err->code;
	run_loop_open(&supervisor->loop, &sink, &supervisor->leases, &supervisor->publisher, random);
	if (open_world(supervisor, err) < 0 || start_ends(supervisor, err) < 0)
		return -err->code;
	int failed = pthread_create(&supervisor->loop_thread, NULL, loop_main, supervisor);
	if (failed)
		return wl_fail_errno(err, failed, "start the run loop's thread");
	return start_intake(supervisor, err);
}

/* ---- stop --------------------------------------------------------------------------------------------------- */

static void tell_loop(struct supervisor *supervisor, enum notice_kind kind)
{
	struct notice *notice = calloc(1, sizeof(*notice));
	if (!notice)
		return;
	notice->message.kind = MESSAGE_NOTICE;
	notice->kind = kind;
	mailbox_post(&supervisor->messages, &notice->message.mail);
}

/* True once no lease is held any more. */
static bool all_ended_within(struct supervisor *supervisor, int64_t ms)
{
	uint64_t until_ms = wl_clock_boot_ms() + (uint64_t)ms;
	while (lease_table_count(&supervisor->leases) > 0) {
		if (wl_clock_boot_ms() >= until_ms)
			return false;
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return true;
}

static void stop_all(struct supervisor *supervisor)
{
	keeper_drain(&supervisor->keeper);
	tell_loop(supervisor, NOTICE_DRAIN);
	intake_stop(&supervisor->intake);
	bool ended = all_ended_within(supervisor, supervisor->settings.drain_ms);
	if (!ended) {
		tell_loop(supervisor, NOTICE_INTERRUPT);
		ended = all_ended_within(supervisor, LAST_MS);
	}
	keeper_stop(&supervisor->keeper);
	if (!ended) {
		/* threads may hang in calls: the leases run out and others go on from what is stored */
		wl_log(WL_LOG_WARNING,
		       "%d executions could not be given back in time; others take them when their leases end",
		       lease_table_count(&supervisor->leases));
		_exit(0); /* no handlers: the other threads still use what they would take down */
	}
	node_pool_stop(&supervisor->pure);
	node_pool_stop(&supervisor->effects);
	node_pool_stop(&supervisor->models);
	clerk_stop(&supervisor->clerk);
	finisher_stop(&supervisor->finisher);
	committer_stop(&supervisor->committer);
	mailbox_close(&supervisor->messages);
	(void)pthread_join(supervisor->loop_thread, NULL);
	intake_release(&supervisor->intake);
	publisher_stop(&supervisor->publisher);
	run_loop_release(&supervisor->loop);
	lease_table_release(&supervisor->leases);
	supervisor->results.close(supervisor->results.self);
	supervisor->sandbox.close(supervisor->sandbox.self);
	supervisor->tools.close(supervisor->tools.self);
	close_models(supervisor);
	wl_master_key_close(supervisor->keys);
	supervisor->artifacts.close(supervisor->artifacts.self);
	wl_expression_pool_close(supervisor->expressions);
}

int main(int argc, char **argv)
{
	static struct supervisor supervisor;
	struct wl_error err = { 0 };
	sigset_t stops;
	int signal_number = 0;
	wl_log_open("windlass-supervisor", WL_LOG_NOTICE);
	int loaded = wl_settings_load(&supervisor.settings, WL_PROGRAM_SUPERVISOR, argc, argv, &err);
	if (loaded > 0)
		return 0;
	if (loaded < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		return 1;
	}
	int level = wl_log_level_of(supervisor.settings.log_level);
	wl_log_open("windlass-supervisor", level < 0 ? WL_LOG_NOTICE : (enum wl_log_level)level);
	(void)mallopt(M_ARENA_MAX, 4); /* one arena a thread would keep freed memory in each of them */
	/* tenants' credentials pass through this memory: no core is written of it, and no other process looks in */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&stops);
	(void)sigaddset(&stops, SIGTERM);
	(void)sigaddset(&stops, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &stops, NULL);
	if (start_all(&supervisor, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		return 1;
	}
	wl_log(WL_LOG_NOTICE, "supervisor %s takes up to %ld executions at once", supervisor.id,
	       supervisor.settings.capacity);
	(void)sigwait(&stops, &signal_number);
	wl_log(WL_LOG_NOTICE, "draining");
	stop_all(&supervisor);
	return 0;
}
