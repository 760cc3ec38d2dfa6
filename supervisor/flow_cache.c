#include "supervisor/flow_cache.h"

#include "lib/base/cleanup.h"
#include "lib/codec/flow_document.h"

#include <errno.h>
#include <string.h>

void flow_release(struct flow *flow)
{
	if (!flow || atomic_fetch_sub(&flow->users, 1) > 1)
		return;
	for (int i = 0; i < flow->part_count; i++) {
		struct flow_part *part = &flow->parts[i];
		for (int n = 0; part->plans && n < part->graph.node_count; n++)
			node_plan_release(&part->plans[n]);
		free(part->plans);
		wl_flow_graph_release(&part->graph);
	}
	free(flow->parts);
	free(flow->input_schema);
	free(flow->output_schema);
	free(flow);
}

static int make_parts(struct flow *flow, struct wl_flow_graph *whole, struct wl_error *err)
{
	struct wl_flow_graph *graphs = NULL;
	int count = 0;
	if (wl_flow_graph_split(whole, &graphs, &count, err) < 0)
		return -err->code;
	flow->parts = calloc((size_t)count, sizeof(*flow->parts));
	for (int i = 0; i < count; i++)
		if (flow->parts)
			flow->parts[i].graph = graphs[i];
		else
			wl_flow_graph_release(&graphs[i]);
	free(graphs);
	flow->part_count = flow->parts ? count : 0;
	return flow->parts ? 0 : wl_fail(err, ENOMEM, "no memory for a flow");
}

static int make_plans(struct flow *flow, struct flow_part *part, struct wl_error *err)
{
	part->plans = calloc((size_t)part->graph.node_count + 1, sizeof(*part->plans));
	if (!part->plans)
		return wl_fail(err, ENOMEM, "no memory for a flow");
	for (int i = 0; i < part->graph.node_count; i++) {
		if (node_plan_make(&part->graph.nodes[i], &part->plans[i], err) < 0)
			return -err->code;
		flow->output_count += part->graph.nodes[i].kind == WL_KIND_OUTPUT;
	}
	return 0;
}

/* An object without members allows everything. */
static int keep_schema(const struct wl_json *document, const char *name, char **ret_schema, struct wl_error *err)
{
	const struct wl_json *schema = wl_json_get(document, name);
	if (!wl_json_is(schema, WL_JSON_OBJECT) || wl_json_count(schema) == 0)
		return 0;
	*ret_schema = wl_json_print(schema);
	return *ret_schema ? 0 : wl_fail(err, ENOMEM, "no memory for a flow");
}

static int read_document(const char *json, size_t length, struct flow *flow, struct wl_error *err)
{
	_wl_json_ struct wl_json *document = NULL;
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	struct wl_flow_graph whole = { .start = -1 };
	if (!faults)
		return wl_fail(err, ENOMEM, "no memory for a flow");
	if (wl_json_parse(json, length, &document, err) < 0)
		return -err->code;
	int result = wl_flow_document_read(document, &whole, faults, err);
	if (result == -EINVAL && faults->count > 0)
		return wl_fail(err, EINVAL, "%s: %s", faults->items[0].path, faults->items[0].text);
	if (result == 0)
		result = make_parts(flow, &whole, err);
	wl_flow_graph_release(&whole);
	if (result == 0)
		result = keep_schema(document, "input_schema", &flow->input_schema, err);
	return result < 0 ? result : keep_schema(document, "output_schema", &flow->output_schema, err);
}

int flow_make(const char *json, size_t length, struct flow **ret_flow, struct wl_error *err)
{
	struct flow *flow = calloc(1, sizeof(*flow));
	if (!flow)
		return wl_fail(err, ENOMEM, "no memory for a flow");
	atomic_init(&flow->users, 1);
	flow->weight = length + 4096;
	int result = read_document(json, length, flow, err);
	for (int i = 0; i < flow->part_count && result == 0; i++)
		result = make_plans(flow, &flow->parts[i], err);
	if (result < 0) {
		flow_release(flow);
		return result;
	}
	*ret_flow = flow;
	return 0;
}

void flow_cache_open(struct flow_cache *cache, size_t weight_max)
{
	*cache = (struct flow_cache){ .weight_max = weight_max };
}

/* A SHA-256 is evenly spread: any bytes of it do. */
static struct flow **bucket_of(struct flow_cache *cache, const unsigned char *hash)
{
	return &cache->buckets[(hash[0] | hash[1] << 8) % FLOW_CACHE_BUCKETS];
}

static void unlink_age(struct flow_cache *cache, struct flow *flow)
{
	*(flow->newer ? &flow->newer->older : &cache->newest) = flow->older;
	*(flow->older ? &flow->older->newer : &cache->oldest) = flow->newer;
}

static void link_newest(struct flow_cache *cache, struct flow *flow)
{
	flow->newer = NULL;
	flow->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = flow;
	cache->newest = flow;
}

static void give_up(struct flow_cache *cache, struct flow *flow)
{
	struct flow **slot = bucket_of(cache, flow->hash);
	while (*slot != flow)
		slot = &(*slot)->next_in_bucket;
	*slot = flow->next_in_bucket;
	unlink_age(cache, flow);
	cache->weight -= flow->weight;
	flow_release(flow);
}

void flow_cache_release(struct flow_cache *cache)
{
	while (cache->oldest)
		give_up(cache, cache->oldest);
}

static struct flow *find(struct flow_cache *cache, int tenant, const unsigned char *hash)
{
	struct flow *flow = *bucket_of(cache, hash);
	while (flow && (flow->tenant != tenant || memcmp(flow->hash, hash, WL_HASH_BYTES) != 0))
		flow = flow->next_in_bucket;
	return flow;
}

static int load(struct flow_cache *cache, struct wl_ledger *ledger, int tenant, const unsigned char *hash,
		struct flow **ret_flow, struct wl_error *err)
{
	_wl_free_ char *json = NULL;
	if (ledger->flow_doc(ledger->self, tenant, hash, &json, err) < 0)
		return -err->code;
	struct flow *flow = NULL;
	if (flow_make(json, strlen(json), &flow, err) < 0)
		return -err->code;
	flow->tenant = tenant;
	memcpy(flow->hash, hash, WL_HASH_BYTES);
	struct flow **bucket = bucket_of(cache, hash);
	flow->next_in_bucket = *bucket;
	*bucket = flow;
	link_newest(cache, flow);
	cache->weight += flow->weight;
	while (cache->weight > cache->weight_max && cache->oldest != flow)
		give_up(cache, cache->oldest);
	*ret_flow = flow;
	return 0;
}

int flow_cache_get(struct flow_cache *cache, struct wl_ledger *ledger, int tenant,
		   const unsigned char hash[WL_HASH_BYTES], struct flow **ret_flow, struct wl_error *err)
{
	struct flow *flow = find(cache, tenant, hash);
	if (!flow && load(cache, ledger, tenant, hash, &flow, err) < 0)
		return -err->code;
	unlink_age(cache, flow);
	link_newest(cache, flow);
	atomic_fetch_add(&flow->users, 1);
	*ret_flow = flow;
	return 0;
}
