#include "webapp/server/metrics.h"

#include "lib/base/clock.h"
#include "webapp/server/request.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define ROUTES_MOST 64
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

static const int statuses[] = { 200, 201, 202, 204, 400, 401, 403, 404, 405, 409,
				411, 412, 413, 414, 415, 422, 429, 500, 503, 0 };
/* upper bounds in microseconds */
static const uint64_t buckets[] = { 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000 };
#define BUCKETS (sizeof(buckets) / sizeof(buckets[0]))

static const char *const accept_names[] = {
#define X(NAME, name) name,
	WEB_ACCEPT_OUTCOMES(X)
#undef X
};

/* One worker's part. Only that worker writes it; the last route is "no route". */
struct part {
	_Atomic uint64_t requests[ROUTES_MOST + 1][STATUSES];
	_Atomic uint64_t latency[ROUTES_MOST + 1][BUCKETS + 1];
	_Atomic uint64_t latency_us[ROUTES_MOST + 1];
	_Atomic uint64_t accepts[WEB_ACCEPT_OUTCOME_COUNT];
	_Atomic uint64_t accept_batches, accept_batched, enqueue_failed, streams_dropped;
	_Atomic int64_t streams, postgres_ready, postgres_load, tasks_waiting, redis_up;
};

static struct part *parts;
static struct part *own;
static int part_count;

int web_metrics_open(int workers, struct wl_error *err)
{
	parts = mmap(NULL, (size_t)workers * sizeof(*parts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (parts == MAP_FAILED)
		return wl_fail_errno(err, errno, "map memory for the metrics");
	part_count = workers;
	own = parts;
	return 0;
}

void web_metrics_worker(int index)
{
	own = &parts[index < part_count ? index : 0];
	/* counters go on when a worker is started again; what it held is gone */
	own->streams = 0;
}

void web_metrics_answered(const struct web_request *request)
{
	int route =
		request->route_index >= 0 && request->route_index < ROUTES_MOST ? request->route_index : ROUTES_MOST;
	uint64_t took = wl_clock_monotonic_us() - request->began_us;
	size_t status = 0, bucket = 0;
	while (statuses[status] && statuses[status] != request->status)
		status++;
	while (bucket < BUCKETS && took > buckets[bucket])
		bucket++;
	own->requests[route][status]++;
	own->latency[route][bucket]++;
	own->latency_us[route] += took;
}

void web_metrics_accept(enum web_accept_outcome outcome, int count)
{
	own->accepts[outcome] += (uint64_t)count;
}

void web_metrics_accept_batch(int size)
{
	own->accept_batches++;
	own->accept_batched += (uint64_t)size;
}

void web_metrics_enqueue_failed(void)
{
	own->enqueue_failed++;
}

void web_metrics_gauges(int postgres_ready, int postgres_load, int tasks_waiting, int redis_up)
{
	own->postgres_ready = postgres_ready;
	own->postgres_load = postgres_load;
	own->tasks_waiting = tasks_waiting;
	own->redis_up = redis_up;
}

void web_metrics_streams(int change)
{
	own->streams += change;
}

void web_metrics_stream_dropped(void)
{
	own->streams_dropped++;
}

#define SUM(member)                                                                                                    \
	({                                                                                                             \
		uint64_t sum_ = 0;                                                                                     \
		for (int part_ = 0; part_ < part_count; part_++)                                                       \
			sum_ += (uint64_t)parts[part_].member;                                                         \
		(unsigned long long)sum_;                                                                              \
	})

static void head(struct wl_buffer *buffer, const char *name, const char *type, const char *help)
{
	wl_buffer_appendf(buffer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_requests(struct wl_buffer *buffer)
{
	head(buffer, "windlass_web_requests_total", "counter", "Requests by operation and status.");
	for (int route = 0; route <= ROUTES_MOST; route++) {
		if (route >= web_route_count && route != ROUTES_MOST)
			continue;
		const char *name = route == ROUTES_MOST ? "none" : web_routes[route].operation;
		for (size_t status = 0; status < STATUSES; status++) {
			unsigned long long count = SUM(requests[route][status]);
			if (count)
				wl_buffer_appendf(buffer,
						  "windlass_web_requests_total{operation=\"%s\",status=\"%d\"} %llu\n",
						  name, statuses[status], count);
		}
	}
}

static void write_latency(struct wl_buffer *buffer)
{
	head(buffer, "windlass_web_request_seconds", "histogram", "Time from a whole request to its answer.");
	for (int route = 0; route < web_route_count && route < ROUTES_MOST; route++) {
		const char *name = web_routes[route].operation;
		unsigned long long sum = 0;
		for (size_t bucket = 0; bucket <= BUCKETS; bucket++) {
			sum += SUM(latency[route][bucket]);
			if (bucket < BUCKETS)
				wl_buffer_appendf(
					buffer,
					"windlass_web_request_seconds_bucket{operation=\"%s\",le=\"%g\"} %llu\n", name,
					(double)buckets[bucket] / 1e6, sum);
		}
		wl_buffer_appendf(buffer,
				  "windlass_web_request_seconds_bucket{operation=\"%s\",le=\"+Inf\"} %llu\n"
				  "windlass_web_request_seconds_sum{operation=\"%s\"} %.6f\n"
				  "windlass_web_request_seconds_count{operation=\"%s\"} %llu\n",
				  name, sum, name, (double)SUM(latency_us[route]) / 1e6, name, sum);
	}
}

void web_metrics_write(struct wl_buffer *buffer)
{
	write_requests(buffer);
	write_latency(buffer);
	head(buffer, "windlass_web_accepts_total", "counter", "Executions that asked to be accepted, by outcome.");
	for (int i = 0; i < WEB_ACCEPT_OUTCOME_COUNT; i++)
		wl_buffer_appendf(buffer, "windlass_web_accepts_total{outcome=\"%s\"} %llu\n", accept_names[i],
				  SUM(accepts[i]));
	const struct {
		const char *name, *type, *help;
		unsigned long long value;
	} rows[] = {
		{ "windlass_web_accept_batches_total", "counter", "Transactions that accepted.", SUM(accept_batches) },
		{ "windlass_web_accept_batched_total", "counter", "Executions in them.", SUM(accept_batched) },
		{ "windlass_web_enqueue_failed_total", "counter",
		  "Accepted executions that the sweeper has to enqueue.", SUM(enqueue_failed) },
		{ "windlass_web_streams", "gauge", "Open event streams.", SUM(streams) },
		{ "windlass_web_streams_dropped_total", "counter", "Streams closed because nobody read them.",
		  SUM(streams_dropped) },
		{ "windlass_web_postgres_connections", "gauge", "Connections to PostgreSQL that are up.",
		  SUM(postgres_ready) },
		{ "windlass_web_postgres_jobs", "gauge", "Transactions under way or waiting.", SUM(postgres_load) },
		{ "windlass_web_tasks_waiting", "gauge", "Tasks that wait for a thread.", SUM(tasks_waiting) },
		{ "windlass_web_redis_up", "gauge", "Workers that have Redis.", SUM(redis_up) },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		head(buffer, rows[i].name, rows[i].type, rows[i].help);
		wl_buffer_appendf(buffer, "%s %llu\n", rows[i].name, rows[i].value);
	}
}
