/* Round trips to windlass-eval: eval_bench SOCKET [SECONDS] prints one line a figure, `name: value unit`. */
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/expression_client.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX 1000000

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

static int measure(struct wl_expression_pool *pool, const char *name, const char *template, const char *context,
		   uint64_t duration_us)
{
	static uint32_t samples[SAMPLES_MAX];
	int count = 0;
	struct wl_error err;
	uint64_t start = wl_clock_monotonic_us();
	for (uint64_t before = start; before - start < duration_us && count < SAMPLES_MAX;) {
		_wl_free_ char *json = NULL;
		if (wl_expression_eval(pool, template, strlen(template), context, strlen(context), 5000, &json, &err) <
		    0) {
			fprintf(stderr, "%s: %s\n", name, err.text);
			return -1;
		}
		uint64_t after = wl_clock_monotonic_us();
		samples[count++] = (uint32_t)(after - before);
		before = after;
	}
	uint32_t first = samples[0];
	qsort(samples, (size_t)count, sizeof(samples[0]), compare);
	printf("eval %s first: %u us\n", name, first);
	printf("eval %s p50: %u us\n", name, samples[count / 2]);
	printf("eval %s p99: %u us\n", name, samples[(size_t)count * 99 / 100]);
	return 0;
}

/* A context whose one node has an output of about `bytes`. */
static char *large_context(size_t bytes)
{
	char *text = malloc(bytes + 256);
	if (!text)
		return NULL;
	size_t used = (size_t)sprintf(text, "{\"inputs\":{\"a\":{\"b\":5}},\"nodes\":{\"n\":[0");
	for (int i = 1; used < bytes; i++)
		used += (size_t)sprintf(text + used, ",{\"row\":%d,\"text\":\"some text\"}", i);
	strcpy(text + used, "]}}");
	return text;
}

int main(int argc, char **argv)
{
	struct wl_expression_pool *pool = NULL;
	struct wl_error err;
	static const char small[] = "{\"inputs\":{\"a\":{\"b\":5},\"n\":3},\"nodes\":{\"x\":{\"v\":[1,2,3]}}}";
	if (argc < 2 || wl_expression_pool_open(argv[1], 2, &pool, &err) < 0) {
		fprintf(stderr, "usage: %s SOCKET [SECONDS]\n", argv[0]);
		return 2;
	}
	uint64_t duration_us = (uint64_t)(argc > 2 ? atof(argv[2]) * 1e6 : 1e6);
	_wl_free_ char *large = large_context(256 << 10);
	int result = large ? 0 : -1;
	if (result == 0)
		result = measure(pool, "path", "\"{{ .inputs.a.b }}\"", small, duration_us);
	if (result == 0)
		result = measure(pool, "program", "{\"v\":\"{{ .inputs.n * 2 + (.nodes.x.v | add) }}\"}", small,
				 duration_us);
	if (result == 0)
		result = measure(pool, "text", "\"n is {{ .inputs.n }} of {{ .nodes.x.v | length }}\"", small,
				 duration_us);
	if (result == 0)
		result = measure(pool, "path in 256 KiB", "\"{{ .inputs.a.b }}\"", large, duration_us);
	if (result == 0)
		result = measure(pool, "program in 256 KiB", "\"{{ .nodes.n | length }}\"", large, duration_us);
	wl_expression_pool_close(pool);
	return result == 0 ? 0 : 1;
}
