/* windlass-scheduler: hands waiting executions to supervisors and keeps the queue right. See scheduler.h. */
#include "lib/base/log.h"
#include "lib/store/postgres_ledger.h"
#include "lib/store/redis_job_queue.h"
#include "scheduler/chores.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <signal.h>

/* Both servers must be there at the start; later they may come and go. */
static int check_servers(struct upkeep *upkeep, struct wl_error *err)
{
	struct wl_shard_row rows[WL_SHARDS];
	if (upkeep->ledger.shards(upkeep->ledger.self, rows, err) < 0)
		return wl_fail_within(err, "PostgreSQL is needed: set WINDLASS_POSTGRES_URL");
	if (upkeep->queue.prepare(upkeep->queue.self, err) < 0)
		return wl_fail_within(err, "Redis is needed: set WINDLASS_REDIS_URL");
	return 0;
}

static int open_ports(const struct wl_settings *settings, struct dispatch *dispatch, struct upkeep *upkeep,
		      struct wl_error *err)
{
	int r = wl_settings_need(settings->postgres_url, "POSTGRES_URL", "PostgreSQL", err);
	if (r == 0)
		r = wl_settings_need(settings->redis_url, "REDIS_URL", "Redis", err);
	if (r == 0)
		r = wl_settings_need(settings->mongodb_url, "MONGODB_URL", "the document server", err);
	if (r == 0)
		r = wl_redis_job_queue_open(settings->redis_url, &dispatch->queue, err);
	if (r == 0)
		r = wl_redis_job_queue_open(settings->redis_url, &upkeep->queue, err);
	if (r == 0)
		r = wl_postgres_ledger_open(settings->postgres_url, &upkeep->ledger, err);
	return r == 0 ? check_servers(upkeep, err) : r;
}

static void close_ports(struct dispatch *dispatch, struct upkeep *upkeep)
{
	if (dispatch->queue.close)
		dispatch->queue.close(dispatch->queue.self);
	if (upkeep->queue.close)
		upkeep->queue.close(upkeep->queue.self);
	if (upkeep->ledger.close)
		upkeep->ledger.close(upkeep->ledger.self);
}

/* Start the threads and wait for a signal; each thread finishes the step that it is in. */
static int run(struct scheduler *scheduler, struct dispatch *dispatch, struct upkeep *upkeep, const sigset_t *signals)
{
	pthread_t threads[2];
	int started = 0, received = 0;
	struct wl_error err = { 0 };
	if (pthread_create(&threads[started], NULL, upkeep_main, upkeep) == 0)
		started++;
	if (started == 1 && pthread_create(&threads[started], NULL, dispatch_main, dispatch) == 0)
		started++;
	int chores = started == 2 ? chores_start(scheduler, &err) : 0;
	if (chores < 0)
		wl_log(WL_LOG_ERROR, "%s", err.text);
	if (started == 2 && chores >= 0) {
		wl_log(WL_LOG_NOTICE, "scheduler %s has started", scheduler->id);
		(void)sigwait(signals, &received);
	} else {
		received = -1;
		wl_log(WL_LOG_ERROR, "not all threads can be started");
	}
	scheduler_stop(scheduler);
	for (int i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	chores_end();
	wl_log(WL_LOG_NOTICE, "scheduler %s has stopped", scheduler->id);
	return received < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct wl_settings settings;
	struct wl_error err = { 0 };
	struct scheduler scheduler;
	struct dispatch dispatch = { .scheduler = &scheduler };
	struct upkeep upkeep = { .scheduler = &scheduler };
	sigset_t signals;
	int r = wl_settings_load(&settings, WL_PROGRAM_SCHEDULER, argc, argv, &err);
	if (r == 1)
		return 0;
	wl_log_open("scheduler", WL_LOG_NOTICE);
	/* threads inherit the mask: only sigwait() sees these; and hiredis writes with signals on */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (r == 0) {
		int level = wl_log_level_of(settings.log_level);
		if (level < 0)
			r = wl_fail(&err, EINVAL, "setting log_level must be error, warning, notice, info or debug");
		else
			wl_log_open("scheduler", (enum wl_log_level)level);
	}
	if (r == 0)
		r = scheduler_init(&scheduler, &settings);
	if (r == 0)
		r = open_ports(&settings, &dispatch, &upkeep, &err);
	if (r < 0)
		wl_log(WL_LOG_ERROR, "%s", err.text);
	r = r < 0 ? 1 : run(&scheduler, &dispatch, &upkeep, &signals);
	close_ports(&dispatch, &upkeep);
	return r;
}
