/*
 * What the queue, the ledger and a scheduler can do by themselves, on private servers (PostgreSQL with fsync):
 * prints one line a figure, `name: value unit`. queue_bench [SECONDS], the length of each measurement.
 */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "lib/store/postgres_ledger.h"
#include "lib/store/redis_job_queue.h"
#include "scheduler/scheduler.h"
#include "tests/kit/ledger_kit.h"
#include "tests/kit/servers.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHARD 7
#define TENANTS 64 /* of one shard */
#define LEASE_MS 3600000
#define MOST_SAMPLES 100000
#define REBUILD_ROWS 100000

static struct servers servers;
static uint64_t duration_us = 3000000;

#define MUST(call)                                                                                                     \
	do {                                                                                                           \
		struct wl_error must_err_ = { 0 };                                                                     \
		struct wl_error *err = &must_err_;                                                                     \
		if ((call) < 0) {                                                                                      \
			(void)fprintf(stderr, "%s: %s\n", #call, err->text);                                           \
			_Exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static double redis_cpu_us(redisContext *redis)
{
	redisReply *reply = redisCommand(redis, "INFO cpu");
	double system = 0, user = 0;
	(void)sscanf(strstr(reply->str, "used_cpu_sys_main_thread:"), "used_cpu_sys_main_thread:%lf", &system);
	(void)sscanf(strstr(reply->str, "used_cpu_user_main_thread:"), "used_cpu_user_main_thread:%lf", &user);
	freeReplyObject(reply);
	return (system + user) * 1e6;
}

static char *next_eid(char eid[WL_UUID_TEXT])
{
	return wl_uuid7(wl_clock_wall_ms(), eid);
}

/* ---- queue --------------------------------------------------------------------------------------------------- */

static void enqueue_some(struct wl_job_queue *queue, int count, int64_t *seq)
{
	char eid[WL_UUID_TEXT];
	for (int i = 0; i < count; i++) {
		int tenant = SHARD + 16 * (int)(*seq % TENANTS);
		MUST(queue->enqueue(queue->self, SHARD, 1, tenant, next_eid(eid), ++*seq, 0, err));
	}
}

/* Enqueue, claim, take and complete, `batch` at once. */
static void measure_cycles(struct wl_job_queue *queue, redisContext *redis, int batch, const char *name)
{
	struct wl_lease leases[64];
	int64_t seq = 0, cycles = 0;
	double cpu = redis_cpu_us(redis);
	uint64_t start = wl_clock_monotonic_us();
	while (wl_clock_monotonic_us() - start < duration_us) {
		int taken = 0;
		enqueue_some(queue, batch, &seq);
		MUST(queue->claim(queue->self, SHARD, 1, "bench", batch, LEASE_MS, err));
		MUST(taken = queue->take(queue->self, "bench", leases, 64, 1000, err));
		MUST(queue->complete(queue->self, "bench", leases, taken, err));
		MUST(queue->touch(queue->self, SHARD, 1, err));
		cycles += taken;
	}
	double seconds = (double)(wl_clock_monotonic_us() - start) / 1e6;
	printf("queue %s cycles: %.0f /s\n", name, (double)cycles / seconds);
	printf("queue %s redis cpu: %.1f us/cycle\n", name, (redis_cpu_us(redis) - cpu) / (double)cycles);
}

static void measure_rebuild(struct wl_job_queue *queue, redisContext *redis)
{
	struct wl_dispatch_row *rows = calloc(REBUILD_ROWS, sizeof(*rows));
	if (!rows)
		_Exit(1);
	for (int i = 0; i < REBUILD_ROWS; i++) {
		rows[i] = (struct wl_dispatch_row){ .tenant = SHARD + 16 * (i % TENANTS), .seq = i };
		(void)next_eid(rows[i].eid);
	}
	double cpu = redis_cpu_us(redis);
	uint64_t start = wl_clock_monotonic_us();
	MUST(queue->rebuild_begin(queue->self, SHARD, err));
	MUST(queue->rebuild_load(queue->self, SHARD, rows, REBUILD_ROWS, LEASE_MS, err));
	MUST(queue->rebuild_publish(queue->self, SHARD, 1, err));
	printf("queue rebuild of %d entries: %.0f ms\n", REBUILD_ROWS, (double)(wl_clock_monotonic_us() - start) / 1e3);
	printf("queue rebuild redis cpu: %.1f us/entry\n", (redis_cpu_us(redis) - cpu) / REBUILD_ROWS);
	MUST(queue->rebuild_begin(queue->self, SHARD, err));
	MUST(queue->rebuild_publish(queue->self, SHARD, 1, err));
	free(rows);
}

/* ---- ledger -------------------------------------------------------------------------------------------------- */

struct client {
	pthread_t thread;
	int tenant;
	int batch;
	int64_t cycles;
};

/* Accept one by one, as web requests come; start and finish in batches, as a supervisor does. */
static void *ledger_cycles(void *context)
{
	struct client *own = context;
	struct wl_ledger ledger;
	struct wl_lease leases[64];
	struct wl_start starts[64];
	struct wl_finish items[64];
	PGconn *connection = PQconnectdb(servers.postgres_url);
	MUST(wl_postgres_ledger_open(servers.postgres_url, &ledger, err));
	uint64_t start = wl_clock_monotonic_us();
	while (wl_clock_monotonic_us() - start < duration_us) {
		for (int i = 0; i < own->batch; i++) {
			char eid[WL_UUID_TEXT];
			struct kit_accept accepted =
				kit_accept(connection, own->tenant, next_eid(eid), "{}", NULL, NULL, 60000);
			leases[i] = (struct wl_lease){ .shard = accepted.shard, .epoch = 1, .gen = accepted.gen };
			memcpy(leases[i].eid, accepted.eid, sizeof(leases[i].eid));
		}
		MUST(ledger.start(ledger.self, "bench", leases, own->batch, starts, err));
		for (int i = 0; i < own->batch; i++) {
			wl_start_release(&starts[i]);
			items[i] = (struct wl_finish){ .epoch = 1, .state = WL_RUN_SUCCEEDED, .outputs_json = "{}" };
			memcpy(items[i].eid, leases[i].eid, sizeof(items[i].eid));
		}
		MUST(ledger.finish(ledger.self, items, own->batch, err));
		own->cycles += own->batch;
	}
	ledger.close(ledger.self);
	PQfinish(connection);
	return NULL;
}

static void measure_ledger(const int *tenants, int clients, int batch)
{
	struct client own[64] = { 0 };
	int64_t cycles = 0;
	for (int i = 0; i < clients; i++) {
		own[i] = (struct client){ .tenant = tenants[i % TENANTS], .batch = batch };
		(void)pthread_create(&own[i].thread, NULL, ledger_cycles, &own[i]);
	}
	for (int i = 0; i < clients; i++) {
		(void)pthread_join(own[i].thread, NULL);
		cycles += own[i].cycles;
	}
	printf("ledger cycles, %d clients, batches of %d: %.0f /s\n", clients, batch,
	       (double)cycles * 1e6 / (double)duration_us);
}

/* ---- scheduler ------------------------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return (a > b) - (a < b);
}

/* Enqueue at a steady rate; a running scheduler hands each to the one supervisor. */
static void measure_dispatch(struct wl_job_queue *queue, int64_t gen, int per_second)
{
	static uint64_t samples[MOST_SAMPLES];
	int count = 0, wanted = (int)((uint64_t)per_second * duration_us / 1000000);
	MUST(queue->announce(queue->self, "bench", 1000, LEASE_MS, err));
	for (uint64_t start = wl_clock_monotonic_us(); count < wanted && count < MOST_SAMPLES; count++) {
		uint64_t due = start + (uint64_t)count * 1000000 / (uint64_t)per_second, now = wl_clock_monotonic_us();
		char eid[WL_UUID_TEXT];
		struct wl_lease lease;
		int taken = 0;
		if (now < due)
			(void)usleep((useconds_t)(due - now));
		uint64_t before = wl_clock_monotonic_us();
		MUST(queue->enqueue(queue->self, SHARD, gen, SHARD, next_eid(eid), count, 0, err));
		while (taken == 0)
			MUST(taken = queue->take(queue->self, "bench", &lease, 1, 1000, err));
		samples[count] = wl_clock_monotonic_us() - before;
		MUST(queue->complete(queue->self, "bench", &lease, 1, err));
	}
	qsort(samples, (size_t)count, sizeof(samples[0]), compare);
	printf("scheduler enqueue to inbox p50 at %d/s: %.2f ms\n", per_second, (double)samples[count / 2] / 1e3);
	printf("scheduler enqueue to inbox p99 at %d/s: %.2f ms\n", per_second,
	       (double)samples[count * 99 / 100] / 1e3);
}

static double process_cpu_ms(void)
{
	struct timespec used;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

static void measure_scheduler(struct wl_job_queue *queue)
{
	static struct scheduler scheduler;
	struct wl_settings settings;
	struct dispatch dispatch = { .scheduler = &scheduler };
	struct upkeep upkeep = { .scheduler = &scheduler };
	pthread_t threads[2];
	MUST(wl_settings_load(&settings, WL_PROGRAM_SCHEDULER, 1, (char *[]){ "bench", NULL }, err));
	MUST(scheduler_init(&scheduler, &settings));
	MUST(wl_redis_job_queue_open(servers.redis_url, &dispatch.queue, err));
	MUST(wl_redis_job_queue_open(servers.redis_url, &upkeep.queue, err));
	MUST(wl_postgres_ledger_open(servers.postgres_url, &upkeep.ledger, err));
	(void)pthread_create(&threads[0], NULL, upkeep_main, &upkeep);
	(void)pthread_create(&threads[1], NULL, dispatch_main, &dispatch);
	while (atomic_load(&scheduler.gens[SHARD]) == 0)
		(void)usleep(1000);
	measure_dispatch(queue, atomic_load(&scheduler.gens[SHARD]), 100);
	measure_dispatch(queue, atomic_load(&scheduler.gens[SHARD]), 1000);
	MUST(queue->withdraw(queue->self, "bench", err));
	double cpu = process_cpu_ms();
	(void)usleep((useconds_t)duration_us);
	printf("scheduler idle cpu: %.2f %%\n", (process_cpu_ms() - cpu) * 1e5 / (double)duration_us);
	scheduler_stop(&scheduler);
	for (int i = 0; i < 2; i++)
		(void)pthread_join(threads[i], NULL);
	dispatch.queue.close(dispatch.queue.self);
	upkeep.queue.close(upkeep.queue.self);
	upkeep.ledger.close(upkeep.ledger.self);
}

int main(int argc, char **argv)
{
	struct wl_job_queue queue;
	int tenants[TENANTS];
	char slug[32], value[256];
	if (argc > 1)
		duration_us = strtoul(argv[1], NULL, 10) * 1000000;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	wl_log_open("bench", WL_LOG_ERROR);
	servers.durable = 1;
	servers_start_postgres(&servers);
	servers_start_redis(&servers);
	redisContext *redis = redisConnectUnix(servers.redis_url + strlen("unix://"));
	PGconn *admin = PQconnectdb(servers.postgres_admin_url);
	for (int i = 0; i < TENANTS; i++) {
		(void)snprintf(slug, sizeof(slug), "tenant-%d", i);
		tenants[i] = kit_tenant(admin, slug);
	}
	(void)kit_value(admin, value, "UPDATE control.quota SET max_executions_per_day = 1000000000");
	MUST(wl_redis_job_queue_open(servers.redis_url, &queue, err));
	MUST(queue.rebuild_begin(queue.self, SHARD, err));
	MUST(queue.rebuild_publish(queue.self, SHARD, 1, err));
	measure_cycles(&queue, redis, 1, "single");
	measure_cycles(&queue, redis, 32, "batch-32");
	measure_rebuild(&queue, redis);
	measure_ledger(tenants, 1, 1);
	measure_ledger(tenants, 8, 1);
	measure_ledger(tenants, 32, 1);
	measure_ledger(tenants, 8, 8);
	measure_scheduler(&queue);
	queue.close(queue.self);
	redisFree(redis);
	PQfinish(admin);
	servers_stop(&servers);
	return 0;
}
