#include "webapp/server/queue_effects.h"

#include "lib/base/cleanup.h"
#include "webapp/server/metrics.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <string.h>

static void enqueued(redisAsyncContext *link, void *data, void *context)
{
	const redisReply *reply = data;
	(void)link;
	(void)context;
	if (!reply || reply->type == REDIS_REPLY_ERROR || !reply->str ||
	    (strcmp(reply->str, "OK") != 0 && strcmp(reply->str, "DUP") != 0))
		web_metrics_enqueue_failed();
}

void web_queue_enqueue(int tenant, const char *eid, int shard, int64_t gen, int64_t seq, int epoch)
{
	char key[8], gen_text[24], tenant_text[16], seq_text[24], epoch_text[16];
	(void)snprintf(key, sizeof(key), "{%02d}", shard);
	(void)snprintf(gen_text, sizeof(gen_text), "%lld", (long long)gen);
	(void)snprintf(tenant_text, sizeof(tenant_text), "%d", tenant);
	(void)snprintf(seq_text, sizeof(seq_text), "%lld", (long long)seq);
	(void)snprintf(epoch_text, sizeof(epoch_text), "%d", epoch);
	const char *arguments[] = {
		"FCALL", "wl1_enqueue", "1", key, gen_text, tenant_text, eid, seq_text, epoch_text
	};
	if (web_redis_command(web.redis, enqueued, NULL, (int)WL_COUNT_OF(arguments), arguments, NULL) < 0)
		web_metrics_enqueue_failed();
}

void web_queue_cancel(int shard, const char *eid)
{
	char key[8];
	(void)snprintf(key, sizeof(key), "{%02d}", shard);
	const char *arguments[] = { "FCALL", "wl1_cancel", "1", key, eid };
	(void)web_redis_command(web.redis, NULL, NULL, (int)WL_COUNT_OF(arguments), arguments, NULL);
}
