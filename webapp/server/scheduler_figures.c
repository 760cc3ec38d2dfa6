/*
 * Asked for by a timer and not by the request: /metrics has to answer also when Redis hangs, which is when somebody
 * looks at it. Each worker has its own copy.
 */
#include "webapp/server/scheduler_figures.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS 5000
#define OLD_MS 20000
#define SCHEDULERS_MOST 16
#define FIGURES_MOST 256
#define LAST_TEXT "15" /* SCHEDULERS_MOST - 1 */

struct figure {
	char name[48], scheduler[WL_UUID_TEXT];
	unsigned long long value;
};

static struct figure known[FIGURES_MOST], coming[FIGURES_MOST];
static int known_count, coming_count;
static uint64_t known_ms;
static char ids[SCHEDULERS_MOST][WL_UUID_TEXT];
static int awaited; /* replies */

static void reply_came(void)
{
	if (--awaited > 0)
		return;
	memcpy(known, coming, sizeof(known));
	known_count = coming_count;
	known_ms = wl_clock_boot_ms();
}

/* Names become names of metrics: nothing else may stand in them (Prometheus' data model). */
static bool name_valid(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
	return length > 0 && name[length] == '\0' && length < sizeof(known[0].name);
}

static void counters_came(redisAsyncContext *link, void *data, void *context)
{
	const redisReply *reply = data;
	(void)link;
	for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
		const char *name = reply->element[i]->str, *value = reply->element[i + 1]->str;
		if (coming_count == FIGURES_MOST || !name || !value || !name_valid(name))
			continue;
		struct figure *figure = &coming[coming_count++];
		(void)snprintf(figure->name, sizeof(figure->name), "%s", name);
		(void)snprintf(figure->scheduler, sizeof(figure->scheduler), "%s", (const char *)context);
		figure->value = strtoull(value, NULL, 10);
	}
	reply_came();
}

static void ask_for(int index, const char *id)
{
	char key[64];
	(void)snprintf(ids[index], sizeof(ids[index]), "%s", id);
	(void)snprintf(key, sizeof(key), "wl:stat:scheduler:%s", ids[index]);
	const char *arguments[] = { "HGETALL", key };
	if (web_redis_command(web.redis, counters_came, ids[index], (int)WL_COUNT_OF(arguments), arguments, NULL) == 0)
		awaited++;
}

static void schedulers_came(redisAsyncContext *link, void *data, void *context)
{
	const redisReply *reply = data;
	(void)link;
	(void)context;
	if (!reply || reply->type != REDIS_REPLY_ARRAY) {
		awaited = 0;
		return;
	}
	coming_count = 0;
	for (size_t i = 0; i < reply->elements && i < SCHEDULERS_MOST; i++)
		if (reply->element[i]->str && wl_uuid_valid(reply->element[i]->str))
			ask_for((int)i, reply->element[i]->str);
	reply_came();
}

static void ask(void *context)
{
	const char *arguments[] = { "ZREVRANGE", "wl:stat:schedulers", "0", LAST_TEXT };
	(void)context;
	if (awaited > 0)
		return;
	if (web_redis_command(web.redis, schedulers_came, NULL, (int)WL_COUNT_OF(arguments), arguments, NULL) == 0)
		awaited = 1;
}

int web_scheduler_figures_open(struct wl_error *err)
{
	return web_timer_every(ASK_MS, ask, NULL) ? 0 : wl_fail(err, ENOMEM, "no memory for figures of schedulers");
}

static bool is_first_of_name(int index)
{
	for (int i = 0; i < index; i++)
		if (strcmp(known[i].name, known[index].name) == 0)
			return false;
	return true;
}

void web_scheduler_figures_write(struct wl_buffer *buffer)
{
	if (wl_clock_boot_ms() - known_ms > OLD_MS)
		return;
	for (int first = 0; first < known_count; first++) {
		const char *name = known[first].name;
		if (!is_first_of_name(first))
			continue;
		wl_buffer_appendf(buffer,
				  "# HELP windlass_scheduler_%s Counted by a scheduler since its start.\n"
				  "# TYPE windlass_scheduler_%s counter\n",
				  name, name);
		for (int i = first; i < known_count; i++)
			if (strcmp(known[i].name, name) == 0)
				wl_buffer_appendf(buffer, "windlass_scheduler_%s{scheduler=\"%s\"} %llu\n", name,
						  known[i].scheduler, known[i].value);
	}
}
