/*
 * Measure sandboxes through the supervisor's own client.
 *
 *   sandbox-bench SOCKET NAME COUNT THREADS PAUSE_MS -- PROGRAM [ARGUMENT]...
 *
 * COUNT runs in all, made by THREADS threads one after the other with a pause between them. Prints, one line each:
 * NAME_first_byte_p50/p99 (from the call to the first byte of output), NAME_run_p50/p99 (from the call to the receipt),
 * NAME_calls (per second), NAME_total, NAME_warm (share of parked sandboxes), NAME_cpu (of the sandbox, a run).
 */
#include "lib/base/clock.h"
#include "supervisor/warden_client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sample {
	uint64_t begin_us, first_us, end_us, cpu_us;
	bool warm;
};

struct bench {
	struct sandbox_port port;
	const char *const *argv;
	struct sample *samples;
	int count;
	int pause_ms;
	atomic_int next;
	atomic_int failed;
};

static void note_first(void *context, const char *bytes, size_t length)
{
	struct sample *sample = context;
	(void)bytes;
	(void)length;
	if (!sample->first_us)
		sample->first_us = wl_clock_monotonic_us();
}

static void *work(void *argument)
{
	struct bench *bench = argument;
	for (int i; (i = atomic_fetch_add(&bench->next, 1)) < bench->count;) {
		struct sample *sample = &bench->samples[i];
		struct sandbox_result result = { 0 };
		struct wl_error err = { 0 };
		struct sandbox_request request = { .tenant = 1,
						   .id = "bench",
						   .argv = bench->argv,
						   .cancel_fd = -1,
						   .on_output = note_first,
						   .context = sample };
		sample->begin_us = wl_clock_monotonic_us();
		int status = sandbox_run(&bench->port, &request, &result, &err);
		sample->end_us = wl_clock_monotonic_us();
		if (status < 0 || result.exit_code != 0) {
			(void)fprintf(stderr, "sandbox-bench: %s\n", status < 0 ? err.text : result.log_tail);
			atomic_fetch_add(&bench->failed, 1);
		}
		sample->warm = result.receipt.warm;
		sample->cpu_us = result.receipt.cpu_us;
		sandbox_result_release(&result);
		struct timespec pause = { .tv_nsec = bench->pause_ms * 1000000L };
		(void)nanosleep(&pause, NULL); /* the rate of the load, not a wait for a state */
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void print_quantiles(const char *name, const char *what, uint64_t *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_size);
	(void)printf("%s_%s_p50: %.2f ms\n", name, what, (double)values[count / 2] / 1000);
	(void)printf("%s_%s_p99: %.2f ms\n", name, what, (double)values[(count * 99) / 100] / 1000);
}

static int report(const struct bench *bench, const char *name, uint64_t took_us)
{
	uint64_t *values = calloc((size_t)bench->count, sizeof(*values));
	int warm = 0;
	uint64_t cpu = 0;
	if (!values)
		return 1;
	for (int i = 0; i < bench->count; i++) {
		const struct sample *sample = &bench->samples[i];
		/* a program that writes nothing has its end for a first byte */
		values[i] = (sample->first_us ? sample->first_us : sample->end_us) - sample->begin_us;
		warm += bench->samples[i].warm;
		cpu += bench->samples[i].cpu_us;
	}
	print_quantiles(name, "first_byte", values, bench->count);
	for (int i = 0; i < bench->count; i++)
		values[i] = bench->samples[i].end_us - bench->samples[i].begin_us;
	print_quantiles(name, "run", values, bench->count);
	(void)printf("%s_calls: %.1f /s\n", name, bench->count * 1e6 / (double)took_us);
	(void)printf("%s_total: %.3f s\n", name, (double)took_us / 1e6);
	(void)printf("%s_warm: %.0f %%\n", name, warm * 100.0 / bench->count);
	(void)printf("%s_cpu: %.2f ms\n", name, (double)cpu / 1000 / bench->count);
	free(values);
	return 0;
}

int main(int argc, char **argv)
{
	struct wl_error err = { 0 };
	pthread_t threads[256];
	if (argc < 8) {
		(void)fprintf(stderr, "usage: sandbox-bench SOCKET NAME COUNT THREADS PAUSE_MS -- PROGRAM...\n");
		return 64;
	}
	static struct bench bench;
	bench.argv = (const char *const *)&argv[7];
	bench.count = (int)strtol(argv[3], NULL, 10);
	bench.pause_ms = (int)strtol(argv[5], NULL, 10);
	int thread_count = (int)strtol(argv[4], NULL, 10);
	if (bench.count < 1 || thread_count < 1 || thread_count > 256 || bench.pause_ms < 0 || bench.pause_ms > 999)
		return 64;
	bench.samples = calloc((size_t)bench.count, sizeof(*bench.samples));
	if (!bench.samples || warden_client_open(argv[1], &bench.port, &err) < 0)
		return 1;
	uint64_t begin = wl_clock_monotonic_us();
	for (int i = 0; i < thread_count; i++)
		if (pthread_create(&threads[i], NULL, work, &bench) != 0)
			return 1;
	for (int i = 0; i < thread_count; i++)
		(void)pthread_join(threads[i], NULL);
	int result = report(&bench, argv[2], wl_clock_monotonic_us() - begin);
	bench.port.close(bench.port.self);
	free(bench.samples);
	return result || bench.failed ? 1 : 0;
}
