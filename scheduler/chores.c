#include "scheduler/chores.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/mongo_audit_log.h"
#include "lib/store/mongo_chat.h"
#include "lib/store/mongo_exchanges.h"
#include "lib/store/mongo_node_results.h"
#include "lib/store/object_store.h"
#include "lib/store/redis_job_queue.h"

#include <stdatomic.h>
#include <string.h>

#define ROUNDS_AT_ONCE 100 /* of one chore, before the others of its group get a turn */
#define LOOK_MS 100
#define REST_MOST_MS 60000 /* of a group for which there is nothing to do */

struct chore {
	const char *name;
	enum chore_group group;
	int (*round)(struct chore_desk *desk, struct wl_error *err);
	struct upkeep_timer timer;
	struct outage outage;
	atomic_bool roused;
};

/* The row without a name ends it. */
static struct chore chores[] = {
#define X(name_, group_, period_ms)                                                                                    \
	{ .name = #name_,                                                                                              \
	  .group = CHORES_##group_,                                                                                    \
	  .round = chore_##name_,                                                                                      \
	  .timer = { period_ms, 0 },                                                                                   \
	  .outage = { .thread = "chore " #name_ } },
	SCHEDULER_CHORES(X)
#undef X
		{ .name = NULL }
};

#define CHORES (sizeof(chores) / sizeof(chores[0]))

static struct chore_desk desks[CHORE_GROUP_COUNT];
static pthread_t threads[CHORE_GROUP_COUNT];
static int started;

/* Looks for all. */
struct looker {
	struct scheduler *scheduler;
	struct wl_postgres_session postgres;
	pthread_t thread;
	bool started;
};

static struct looker the_looker;

void chore_enqueue(struct chore_desk *desk, const struct wl_json *accepted)
{
	for (const struct wl_json *one = wl_json_first(accepted); one; one = wl_json_next(one)) {
		struct wl_error err = { 0 };
		int r = desk->queue.enqueue(
			desk->queue.self, (int)wl_json_get_number(one, "shard", 0),
			(int64_t)wl_json_get_number(one, "gen", 0), (int)wl_json_get_number(one, "tenant", 0),
			wl_json_get_string(one, "eid", ""), (int64_t)wl_json_get_number(one, "seq", 0),
			(int)wl_json_get_number(one, "epoch", 0), &err);
		if (r < 0)
			return; /* the queue is away: the sweeper will do it */
	}
}

int chore_node_results(struct chore_desk *desk, struct wl_node_results **ret_results, struct wl_error *err)
{
	const char *url = desk->scheduler->settings->mongodb_url;
	int r = desk->results.self ? 0 : mongo_node_results_open(url, &desk->results, err);
	*ret_results = &desk->results;
	return r;
}

int chore_exchanges(struct chore_desk *desk, struct wl_exchange_log **ret_log, struct wl_error *err)
{
	const char *url = desk->scheduler->settings->mongodb_url;
	int r = desk->exchanges.self ? 0 : wl_mongo_exchanges_open(url, &desk->exchanges, err);
	*ret_log = &desk->exchanges;
	return r;
}

int chore_audit_log(struct chore_desk *desk, struct wl_audit_log **ret_log, struct wl_error *err)
{
	const char *url = desk->scheduler->settings->mongodb_url;
	int r = desk->audit.self ? 0 : mongo_audit_log_open(url, &desk->audit, err);
	*ret_log = &desk->audit;
	return r;
}

int chore_chat_log(struct chore_desk *desk, struct wl_chat_log **ret_log, struct wl_error *err)
{
	const char *url = desk->scheduler->settings->mongodb_url;
	int r = desk->chats.self ? 0 : wl_mongo_chat_open(url, &desk->chats, err);
	*ret_log = &desk->chats;
	return r;
}

int chore_object_store(struct chore_desk *desk, struct object_store **ret_store, struct wl_error *err)
{
	const struct wl_settings *settings = desk->scheduler->settings;
	int r = desk->objects.self ? 0
				   : object_store_open(settings->objects_dir, settings->s3_url, &desk->objects, err);
	*ret_store = &desk->objects;
	return r;
}

void chore_rouse(struct chore_desk *desk, const char *name)
{
	for (struct chore *chore = chores; chore->name; chore++)
		if (chore->group == desk->group && strcmp(chore->name, name) == 0)
			atomic_store(&chore->roused, true);
	scheduler_rouse(desk->scheduler, &desk->news);
}

/* Run a chore until nothing is left or its turn is over. What fails is tried again when its period is over. */
static void turn(struct chore *chore, struct chore_desk *desk)
{
	struct wl_error err = { 0 };
	int r = 1;
	atomic_store(&chore->roused, false);
	for (int i = 0; i < ROUNDS_AT_ONCE && r > 0 && !scheduler_stopping(desk->scheduler); i++)
		r = chore->round(desk, &err);
	if (r > 0)
		chore->timer.due_ms = 0;
	if (r != 0)
		atomic_store(&chore->roused, true);
	outage_note(&chore->outage, r, &err);
}

/* Every chore of the group that is roused and whose period is over; how long the others must wait. */
static uint64_t turns(struct chore_desk *desk)
{
	struct upkeep_timer nearest[CHORES];
	int count = 0;
	for (struct chore *chore = chores; chore->name && !scheduler_stopping(desk->scheduler); chore++) {
		if (chore->group != desk->group || !atomic_load(&chore->roused))
			continue;
		if (upkeep_due(&chore->timer, wl_clock_boot_ms()))
			turn(chore, desk);
		if (atomic_load(&chore->roused))
			nearest[count++] = chore->timer;
	}
	return count ? upkeep_rest(nearest, count, wl_clock_boot_ms()) : REST_MOST_MS;
}

static void *group_main(void *context)
{
	struct chore_desk *desk = context;
	while (!scheduler_stopping(desk->scheduler))
		scheduler_pause_unless(desk->scheduler, turns(desk), &desk->news);
	return NULL;
}

/* ---- the look ---------------------------------------------------------------------------------------------------- */

static int look(struct looker *looker, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *due = NULL;
	int r = wl_postgres_call(&looker->postgres, "control.chores_due", "{}", &text, err);
	if (r == 0)
		r = wl_json_parse(text ? text : "", text ? strlen(text) : 0, &due, err);
	if (r < 0)
		return r;
	for (int i = 0; i < started; i++)
		for (const struct chore *chore = chores; chore->name; chore++)
			if (chore->group == desks[i].group && wl_json_get_bool(due, chore->name, true))
				chore_rouse(&desks[i], chore->name);
	return 0;
}

static void *look_main(void *context)
{
	struct looker *looker = context;
	struct outage outage = { .thread = "the look for chores" };
	while (!scheduler_stopping(looker->scheduler)) {
		struct wl_error err = { 0 };
		int r = look(looker, &err);
		outage_note(&outage, r, &err);
		scheduler_pause(looker->scheduler, r < 0 ? (uint64_t)upkeep_pause(outage.failures) : LOOK_MS);
	}
	return NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static bool has_chores(enum chore_group group)
{
	for (const struct chore *chore = chores; chore->name; chore++)
		if (chore->group == group)
			return true;
	return false;
}

static int start_group(struct scheduler *scheduler, enum chore_group group, struct wl_error *err)
{
	struct chore_desk *desk = &desks[started];
	*desk = (struct chore_desk){ .scheduler = scheduler, .group = group };
	int r = wl_postgres_session_init(&desk->postgres, scheduler->settings->postgres_url, NULL, err);
	if (r == 0)
		r = wl_redis_job_queue_open(scheduler->settings->redis_url, &desk->queue, err);
	if (r == 0 && pthread_create(&threads[started], NULL, group_main, desk) != 0)
		r = wl_fail(err, EAGAIN, "no thread can be started");
	started += r == 0;
	return r;
}

int chores_start(struct scheduler *scheduler, struct wl_error *err)
{
	int r = 0;
	for (int group = 0; group < CHORE_GROUP_COUNT && r == 0; group++)
		if (has_chores((enum chore_group)group))
			r = start_group(scheduler, (enum chore_group)group, err);
	the_looker.scheduler = scheduler;
	if (r == 0)
		r = wl_postgres_session_init(&the_looker.postgres, scheduler->settings->postgres_url, NULL, err);
	if (r == 0 && pthread_create(&the_looker.thread, NULL, look_main, &the_looker) != 0)
		r = wl_fail(err, EAGAIN, "no thread can be started");
	the_looker.started = r == 0;
	return r;
}

void chores_end(void)
{
	if (the_looker.started)
		(void)pthread_join(the_looker.thread, NULL);
	if (the_looker.postgres.url)
		wl_postgres_session_release(&the_looker.postgres);
	for (int i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	for (int i = 0; i < CHORE_GROUP_COUNT; i++) {
		if (desks[i].group == CHORES_HOOKS && desks[i].postgres.url)
			chore_webhooks_end(&desks[i]);
		if (desks[i].postgres.url)
			wl_postgres_session_release(&desks[i].postgres);
		if (desks[i].queue.close)
			desks[i].queue.close(desks[i].queue.self);
		if (desks[i].results.close)
			desks[i].results.close(desks[i].results.self);
		if (desks[i].exchanges.close)
			desks[i].exchanges.close(desks[i].exchanges.self);
		if (desks[i].audit.close)
			desks[i].audit.close(desks[i].audit.self);
		if (desks[i].chats.close)
			desks[i].chats.close(desks[i].chats.self);
		if (desks[i].objects.close)
			desks[i].objects.close(desks[i].objects.self);
	}
}
