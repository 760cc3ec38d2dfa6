/*
 * The function library against a reference in C: random calls go to both, and after each of them the whole state of
 * the shard must be the same. The reference keeps one flat table and looks everything up by scanning it, so that it
 * shares no mechanism with the library. QUEUE_MODEL_OPS and QUEUE_MODEL_SEED choose how much and what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/store/redis_job_queue.h"
#include "tests/kit/servers.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARD 7
#define TENANTS 5
#define EXECUTIONS 40
#define SUPERVISORS 3
#define FOREVER_MS 3600000

static const int tenant_ids[TENANTS] = { 1, 10, 2, 21, 3 }; /* in the order of their texts, as the ring sorts equals */
static const char *const supervisor_ids[SUPERVISORS] = { "A", "B", "C" };

struct ref_execution {
	bool known;
	int tenant; /* index */
	int epoch, score;
	int supervisor; /* index; -1 while it waits */
	int64_t gen;	/* of the claim; 0 none */
	bool cancel;
	bool lapsed; /* its lease has expired */
};

struct ref_tenant {
	int weight, cap, longest;
	bool on_ring;
	double ring;
	bool has_vt;
	double vt;
	bool has_cfg;
};

static struct {
	struct ref_execution executions[EXECUTIONS];
	struct ref_tenant tenants[TENANTS];
	int64_t gen;
	double system_vt;
	bool has_system_vt, bell;
	int next_score;
} ref;

static struct servers servers;
static struct wl_job_queue queue;
static redisContext *redis;
static uint64_t random_state;

static unsigned pick(unsigned below)
{
	/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016 */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned)((random_state * 2685821657736338717ULL) >> 33) % below;
}

static char *eid_of(int index, char text[WL_UUID_TEXT])
{
	(void)snprintf(text, WL_UUID_TEXT, "00000000-0000-7000-8000-%012d", index);
	return text;
}

static int index_of(const char *eid)
{
	return atoi(eid + 24);
}

/* ---- the reference ----------------------------------------------------------------------------------------- */

static int ref_waiting(int tenant)
{
	int count = 0;
	for (int i = 0; i < EXECUTIONS; i++)
		count += ref.executions[i].known && ref.executions[i].tenant == tenant &&
			 ref.executions[i].supervisor < 0;
	return count;
}

static int ref_running(int tenant)
{
	int count = 0;
	for (int i = 0; i < EXECUTIONS; i++)
		count += ref.executions[i].known && ref.executions[i].tenant == tenant &&
			 ref.executions[i].supervisor >= 0;
	return count;
}

static bool ref_anyone_on_ring(void)
{
	for (int t = 0; t < TENANTS; t++)
		if (ref.tenants[t].on_ring)
			return true;
	return false;
}

static void ref_ring_if_work(void)
{
	ref.bell = ref.bell || ref_anyone_on_ring();
}

static void ref_settle(int tenant)
{
	struct ref_tenant *row = &ref.tenants[tenant];
	bool may_run = ref_waiting(tenant) > 0 && ref_running(tenant) < row->cap;
	if (ref_waiting(tenant) > 0)
		row->has_cfg = true;
	if (may_run && !row->on_ring) {
		double own = row->has_vt ? row->vt : 0, system = ref.has_system_vt ? ref.system_vt : 0;
		row->on_ring = true;
		row->ring = own > system ? own : system;
	} else if (!may_run && row->on_ring) {
		row->on_ring = false;
		row->vt = row->ring;
		row->has_vt = true;
	}
}

static int ref_enqueue(int index, int tenant, int score, int epoch)
{
	struct ref_execution *execution = &ref.executions[index];
	if (execution->known)
		return WL_ENQUEUE_KNOWN;
	ref.tenants[tenant].has_cfg = true;
	if (ref_waiting(tenant) >= ref.tenants[tenant].longest)
		return WL_ENQUEUE_FULL;
	*execution = (struct ref_execution){
		.known = true, .tenant = tenant, .epoch = epoch, .score = score, .supervisor = -1
	};
	bool was_on_ring = ref.tenants[tenant].on_ring;
	ref_settle(tenant);
	if (!was_on_ring && ref.tenants[tenant].on_ring)
		ref.bell = true;
	return WL_ENQUEUED;
}

static int ref_first_waiting(int tenant)
{
	int best = -1;
	for (int i = 0; i < EXECUTIONS; i++) {
		const struct ref_execution *e = &ref.executions[i];
		if (e->known && e->tenant == tenant && e->supervisor < 0 &&
		    (best < 0 || e->score < ref.executions[best].score))
			best = i;
	}
	return best;
}

static int ref_head(int *ret_rivals)
{
	int best = -1;
	*ret_rivals = -1;
	for (int t = 0; t < TENANTS; t++) {
		if (!ref.tenants[t].on_ring)
			continue;
		(*ret_rivals)++;
		if (best < 0 || ref.tenants[t].ring < ref.tenants[best].ring)
			best = t;
	}
	return best;
}

static int ref_claim(int supervisor, int n, bool lapsed)
{
	int left = n, rivals = 0, tenant;
	while (left > 0 && (tenant = ref_head(&rivals)) >= 0) {
		struct ref_tenant *row = &ref.tenants[tenant];
		int most = rivals > 0 && row->weight < left ? row->weight : left, served = 0;
		while (served < most && ref_running(tenant) < row->cap) {
			int index = ref_first_waiting(tenant);
			if (index < 0)
				break;
			struct ref_execution *e = &ref.executions[index];
			e->supervisor = supervisor;
			e->epoch++;
			e->gen = ref.gen;
			e->lapsed = lapsed;
			served++;
		}
		left -= served;
		ref.system_vt = row->ring;
		ref.has_system_vt = true;
		row->ring += (double)served / row->weight;
		ref_settle(tenant);
	}
	return n - left;
}

static bool ref_holds(int index, int supervisor, int epoch, int64_t gen)
{
	const struct ref_execution *e = &ref.executions[index];
	return e->known && e->supervisor >= 0 && (supervisor < 0 || e->supervisor == supervisor) && e->epoch == epoch &&
	       (e->gen == 0 || e->gen == gen);
}

static int ref_requeue(int index, int epoch, int64_t gen, bool drop)
{
	struct ref_execution *e = &ref.executions[index];
	if (!e->known || (!drop && !ref_holds(index, -1, epoch, gen)))
		return 0;
	e->supervisor = -1;
	e->gen = 0;
	e->lapsed = false;
	e->known = !drop;
	ref_settle(e->tenant);
	ref_ring_if_work();
	return 1;
}

/* ---- the same text from both sides --------------------------------------------------------------------------- */

static const char dump_script[] =
	"local p, out = KEYS[1], {}\n"
	"local function text(v) return v and tostring(v) or '-' end\n"
	"for _, t in ipairs({'1', '10', '2', '21', '3'}) do\n"
	"  out[#out + 1] = 'tenant ' .. t .. ' cfg ' .. text(redis.call('HGET', p .. ':cfg', t)) ..\n"
	"    ' ring ' .. text(redis.call('ZSCORE', p .. ':ring', t)) .. ' vt ' .. text(redis.call('HGET', p .. ':vt', "
	"t)) ..\n"
	"    ' waits ' .. redis.call('ZCARD', p .. ':q:' .. t) .. ' runs ' .. redis.call('SCARD', p .. ':run:' .. t)\n"
	"end\n"
	"local owned = 0\n"
	"for _, s in ipairs({'A', 'B', 'C'}) do owned = owned + redis.call('SCARD', p .. ':own:' .. s) end\n"
	"out[#out + 1] = 'ring ' .. redis.call('ZCARD', p .. ':ring') .. ' leases ' .. redis.call('ZCARD', p .. "
	"':lease')\n"
	"  .. ' owned ' .. owned .. ' V ' .. text(redis.call('GET', p .. ':V')) .. ' bell ' .. redis.call('LLEN', p .. "
	"':bell')\n"
	"for i = 0, tonumber(ARGV[1]) - 1 do\n"
	"  local e = string.format('00000000-0000-7000-8000-%012d', i)\n"
	"  local x = redis.call('HMGET', p .. ':x:' .. e, 't', 'e', 'k', 's', 'g', 'cx')\n"
	"  if x[1] then\n"
	"    local score = redis.call('ZSCORE', p .. ':q:' .. x[1], e)\n"
	"    out[#out + 1] = i .. ' t ' .. x[1] .. ' e ' .. x[2] .. ' k ' .. x[3] .. ' s ' .. text(x[4]) .. ' g ' ..\n"
	"      text(x[5]) .. ' cx ' .. text(x[6]) .. ' q ' .. text(score) .. ' lease ' ..\n"
	"      (redis.call('ZSCORE', p .. ':lease', e) and 1 or 0) .. ' run ' ..\n"
	"      redis.call('SISMEMBER', p .. ':run:' .. x[1], e) .. ' own ' ..\n"
	"      redis.call('SISMEMBER', p .. ':own:' .. text(x[4]), e)\n"
	"  end\n"
	"end\n"
	"return table.concat(out, '\\n') .. '\\n'\n";

static void dump_number(struct wl_buffer *out, const char *name, bool there, double number)
{
	if (there)
		(void)wl_buffer_appendf(out, " %s %.17g", name, number);
	else
		(void)wl_buffer_appendf(out, " %s -", name);
}

static void dump_execution(struct wl_buffer *out, int index)
{
	const struct ref_execution *e = &ref.executions[index];
	char gen[24] = "-", score[24] = "-";
	bool held = e->supervisor >= 0;
	if (e->gen)
		(void)snprintf(gen, sizeof(gen), "%lld", (long long)e->gen);
	if (!held)
		(void)snprintf(score, sizeof(score), "%d", e->score);
	(void)wl_buffer_appendf(out, "%d t %d e %d k %d s %s g %s cx %s q %s lease %d run %d own %d\n", index,
				tenant_ids[e->tenant], e->epoch, e->score, held ? supervisor_ids[e->supervisor] : "-",
				gen, e->cancel ? "1" : "-", score, held, held, held);
}

static void dump_reference(struct wl_buffer *out)
{
	int ring = 0, held = 0;
	for (int t = 0; t < TENANTS; t++) {
		const struct ref_tenant *row = &ref.tenants[t];
		(void)wl_buffer_appendf(out, "tenant %d cfg ", tenant_ids[t]);
		if (row->has_cfg)
			(void)wl_buffer_appendf(out, "%d %d %d", row->weight, row->cap, row->longest);
		else
			(void)wl_buffer_append_char(out, '-');
		dump_number(out, "ring", row->on_ring, row->ring);
		dump_number(out, "vt", row->has_vt, row->vt);
		(void)wl_buffer_appendf(out, " waits %d runs %d\n", ref_waiting(t), ref_running(t));
		ring += row->on_ring;
		held += ref_running(t);
	}
	(void)wl_buffer_appendf(out, "ring %d leases %d owned %d", ring, held, held);
	dump_number(out, "V", ref.has_system_vt, ref.system_vt);
	(void)wl_buffer_appendf(out, " bell %d\n", ref.bell);
	for (int i = 0; i < EXECUTIONS; i++)
		if (ref.executions[i].known)
			dump_execution(out, i);
}

static void assert_same_state(int step, const char *op)
{
	_wl_buffer_ struct wl_buffer expected;
	wl_buffer_init(&expected, 0);
	dump_reference(&expected);
	redisReply *reply = redisCommand(redis, "EVAL %s 1 {07} %d", dump_script, EXECUTIONS);
	assert_non_null(reply);
	if (reply->type != REDIS_REPLY_STRING || strcmp(reply->str, expected.data) != 0)
		print_error("after step %d (%s)\nlibrary:\n%s\nreference:\n%s\n", step, op, reply->str, expected.data);
	assert_string_equal(reply->str, expected.data);
	freeReplyObject(reply);
}

/* ---- random calls ---------------------------------------------------------------------------------------------- */

static struct wl_lease random_lease(void)
{
	int index = (int)pick(EXECUTIONS);
	const struct ref_execution *e = &ref.executions[index];
	struct wl_lease lease = { .shard = SHARD, .gen = pick(8) ? ref.gen : ref.gen - 1 };
	(void)eid_of(index, lease.eid);
	lease.epoch = e->epoch - (pick(6) == 0);
	return lease;
}

static void do_enqueue(void)
{
	struct wl_error err = { 0 };
	char eid[WL_UUID_TEXT];
	int index = (int)pick(EXECUTIONS), tenant = (int)pick(TENANTS);
	if (pick(20) == 0) {
		assert_int_equal(queue.enqueue(queue.self, SHARD, ref.gen + 1, 1, eid_of(index, eid), 1, 0, &err),
				 -EAGAIN);
		return;
	}
	int score = ref.next_score++, epoch = (int)pick(3);
	int expected = ref_enqueue(index, tenant, score, epoch);
	assert_int_equal(
		queue.enqueue(queue.self, SHARD, ref.gen, tenant_ids[tenant], eid_of(index, eid), score, epoch, &err),
		expected);
}

static void do_claim(void)
{
	struct wl_error err = { 0 };
	int supervisor = (int)pick(SUPERVISORS), n = 1 + (int)pick(8);
	bool lapsed = pick(3) == 0;
	int expected = ref_claim(supervisor, n, lapsed);
	assert_int_equal(
		queue.claim(queue.self, SHARD, ref.gen, supervisor_ids[supervisor], n, lapsed ? 0 : FOREVER_MS, &err),
		expected);
	assert_int_equal(queue.claim(queue.self, SHARD, ref.gen + 1, "A", n, 0, &err), -EAGAIN);
}

static void do_take(void)
{
	struct wl_error err = { 0 };
	struct wl_lease leases[64];
	int supervisor = (int)pick(SUPERVISORS);
	redisReply *reply = redisCommand(redis, "EXISTS {07}:inbox:%s", supervisor_ids[supervisor]);
	bool empty = reply->integer == 0;
	freeReplyObject(reply);
	/* an idle Redis looks at the ends of waits ten times a second: few empty ones are enough */
	if (empty && pick(50))
		return;
	int count = queue.take(queue.self, supervisor_ids[supervisor], leases, 64, 1, &err);
	assert_in_range(count, 0, 64);
	for (int i = 0; i < count; i++) {
		/* what an inbox holds was claimed once: it is not ahead of what the queue knows */
		const struct ref_execution *e = &ref.executions[index_of(leases[i].eid)];
		assert_int_equal(leases[i].shard, SHARD);
		if (e->known && leases[i].gen == ref.gen && e->epoch == leases[i].epoch && e->supervisor >= 0)
			assert_int_equal(leases[i].tenant, tenant_ids[e->tenant]);
	}
}

static void do_renew(void)
{
	struct wl_error err = { 0 };
	struct wl_lease leases[6];
	enum wl_renew_outcome outcomes[6], expected[6];
	int count = 1 + (int)pick(6), supervisor = (int)pick(SUPERVISORS);
	for (int i = 0; i < count; i++) {
		leases[i] = random_lease();
		int index = index_of(leases[i].eid);
		struct ref_execution *e = &ref.executions[index];
		bool holds = ref_holds(index, supervisor, leases[i].epoch, leases[i].gen);
		expected[i] = !holds ? WL_RENEW_LOST : e->cancel ? WL_RENEW_CANCEL : WL_RENEW_KEPT;
		if (holds)
			e->lapsed = false;
	}
	assert_int_equal(queue.renew(queue.self, supervisor_ids[supervisor], leases, count, FOREVER_MS, outcomes, &err),
			 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(outcomes[i], expected[i]);
}

static void do_complete(void)
{
	struct wl_error err = { 0 };
	struct wl_lease leases[6];
	bool touched[TENANTS] = { false };
	int count = 1 + (int)pick(6), supervisor = (int)pick(SUPERVISORS), expected = 0;
	for (int i = 0; i < count; i++) {
		leases[i] = random_lease();
		int index = index_of(leases[i].eid);
		if (!ref_holds(index, supervisor, leases[i].epoch, leases[i].gen))
			continue;
		ref.executions[index].known = false;
		touched[ref.executions[index].tenant] = true;
		expected++;
	}
	for (int t = 0; t < TENANTS; t++)
		if (touched[t])
			ref_settle(t);
	if (expected > 0)
		ref_ring_if_work();
	assert_int_equal(queue.complete(queue.self, supervisor_ids[supervisor], leases, count, &err), expected);
}

static void do_cancel(void)
{
	char eid[WL_UUID_TEXT];
	struct ref_execution *e = &ref.executions[pick(EXECUTIONS)];
	const char *expected = !e->known ? "GONE" : e->supervisor >= 0 ? "SIGNALLED" : "REMOVED";
	redisReply *reply = redisCommand(redis, "FCALL wl1_cancel 1 {07} %s", eid_of((int)(e - ref.executions), eid));
	assert_string_equal(reply->str, expected);
	freeReplyObject(reply);
	if (e->known && e->supervisor >= 0) {
		e->cancel = true;
	} else if (e->known) {
		e->known = false;
		ref_settle(e->tenant);
	}
}

static void do_reap(void)
{
	struct wl_error err = { 0 };
	struct wl_fence items[EXECUTIONS];
	int expected = 0;
	for (int i = 0; i < EXECUTIONS; i++)
		expected += ref.executions[i].known && ref.executions[i].supervisor >= 0 && ref.executions[i].lapsed;
	int count = queue.expired(queue.self, SHARD, ref.gen, items, EXECUTIONS, &err);
	assert_int_equal(count, expected);
	for (int i = 0; i < count; i++) {
		int index = index_of(items[i].eid);
		const struct ref_execution *e = &ref.executions[index];
		assert_true(e->known && e->lapsed);
		assert_int_equal(items[i].epoch, e->epoch);
		assert_string_equal(items[i].supervisor, supervisor_ids[e->supervisor]);
		if (pick(4) == 0)
			continue;
		bool drop = pick(3) == 0;
		int done = ref_requeue(index, items[i].epoch, ref.gen, drop);
		assert_int_equal(queue.requeue(queue.self, SHARD, ref.gen, items[i].eid, items[i].epoch, drop, &err),
				 done);
	}
}

static void do_requeue(void)
{
	struct wl_error err = { 0 };
	struct wl_lease lease = random_lease();
	bool drop = pick(4) == 0;
	int expected = ref_requeue(index_of(lease.eid), lease.epoch, lease.gen, drop);
	assert_int_equal(queue.requeue(queue.self, SHARD, lease.gen, lease.eid, lease.epoch, drop, &err), expected);
}

static void do_shares(void)
{
	struct wl_error err = { 0 };
	int tenant = (int)pick(TENANTS);
	struct ref_tenant *row = &ref.tenants[tenant];
	row->weight = 1 + (int)pick(4);
	row->cap = (int)pick(6);
	row->longest = (int)pick(12);
	row->has_cfg = true;
	struct wl_tenant_share share = { tenant_ids[tenant], row->weight, row->cap, row->longest };
	ref_settle(tenant);
	ref_ring_if_work();
	assert_int_equal(queue.set_shares(queue.self, SHARD, &share, 1, &err), 0);
}

static void do_bell(void)
{
	struct wl_error err = { 0 };
	if (!ref.bell && pick(50))
		return;
	assert_int_equal(queue.wait_bell(queue.self, 1, &err), ref.bell ? SHARD : -ETIMEDOUT);
	ref.bell = false;
}

static int rows_of_reference(struct wl_dispatch_row rows[EXECUTIONS])
{
	int count = 0;
	for (int i = 0; i < EXECUTIONS; i++) {
		const struct ref_execution *e = &ref.executions[i];
		if (!e->known)
			continue;
		struct wl_dispatch_row *row = &rows[count++];
		*row = (struct wl_dispatch_row){ .tenant = tenant_ids[e->tenant],
						 .running = e->supervisor >= 0,
						 .epoch = e->epoch,
						 .seq = e->score,
						 .cancel = e->cancel };
		(void)eid_of(i, row->eid);
		if (row->running)
			(void)snprintf(row->supervisor, sizeof(row->supervisor), "%s", supervisor_ids[e->supervisor]);
	}
	return count;
}

static void ref_rebuilt(void)
{
	ref.gen++;
	ref.has_system_vt = ref.bell = false;
	for (int t = 0; t < TENANTS; t++)
		ref.tenants[t].on_ring = ref.tenants[t].has_vt = false;
	for (int i = 0; i < EXECUTIONS; i++) {
		ref.executions[i].gen = 0;
		ref.executions[i].lapsed = false;
	}
	for (int t = 0; t < TENANTS; t++) {
		ref_settle(t);
		ref.tenants[t].has_cfg = ref.tenants[t].has_cfg || ref_running(t) > 0;
	}
	ref_ring_if_work();
}

static void do_rebuild(void)
{
	struct wl_error err = { 0 };
	struct wl_dispatch_row rows[EXECUTIONS];
	bool missing[EXECUTIONS];
	int count = rows_of_reference(rows);
	assert_int_equal(queue.missing(queue.self, SHARD, ref.gen, rows, count, missing, &err), 0);
	assert_int_equal(queue.rebuild_begin(queue.self, SHARD, &err), 0);
	assert_int_equal(queue.touch(queue.self, SHARD, ref.gen, &err), -EAGAIN);
	assert_int_equal(queue.rebuild_load(queue.self, SHARD, rows, count, FOREVER_MS, &err), 0);
	assert_int_equal(queue.rebuild_load(queue.self, SHARD, rows, count, FOREVER_MS, &err), 0);
	assert_int_equal(queue.rebuild_publish(queue.self, SHARD, ref.gen + 1, &err), 0);
	ref_rebuilt();
}

/* The gen lives 5 s: the run may take longer. */
static void do_touch(void)
{
	struct wl_error err = { 0 };
	assert_int_equal(queue.touch(queue.self, SHARD, ref.gen, &err), 0);
}

static const struct {
	const char *name;
	void (*run)(void);
	unsigned weight;
} ops[] = {
	{ "enqueue", do_enqueue, 30 }, { "claim", do_claim, 12 },	{ "take", do_take, 1 },
	{ "renew", do_renew, 6 },      { "complete", do_complete, 10 }, { "cancel", do_cancel, 4 },
	{ "reap", do_reap, 4 },	       { "requeue", do_requeue, 4 },	{ "shares", do_shares, 3 },
	{ "bell", do_bell, 2 },	       { "rebuild", do_rebuild, 1 },	{ "touch", do_touch, 1 },
};

static unsigned setting(const char *name, unsigned standard)
{
	const char *value = getenv(name);
	return value && *value ? (unsigned)strtoul(value, NULL, 10) : standard;
}

static void the_library_does_what_the_reference_does(void **state)
{
	(void)state;
	unsigned count = setting("QUEUE_MODEL_OPS", 20000), seed = setting("QUEUE_MODEL_SEED", 20260501), total = 0;
	struct wl_error err = { 0 };
	random_state = seed + 1;
	for (int t = 0; t < TENANTS; t++)
		ref.tenants[t] = (struct ref_tenant){ .weight = 1, .cap = 100, .longest = 10000 };
	ref.gen = 1;
	assert_int_equal(queue.rebuild_begin(queue.self, SHARD, &err), 0);
	assert_int_equal(queue.rebuild_publish(queue.self, SHARD, 1, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(ops); i++)
		total += ops[i].weight;
	for (unsigned step = 0; step < count; step++) {
		unsigned chosen = pick(total);
		size_t op = 0;
		while (chosen >= ops[op].weight)
			chosen -= ops[op++].weight;
		if (step % 100 == 0)
			do_touch();
		ops[op].run();
		assert_same_state((int)step, ops[op].name);
	}
}

static int set_up(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	servers_start_redis(&servers);
	redis = redisConnectUnix(servers.redis_url + strlen("unix://"));
	return redis && !redis->err ? wl_redis_job_queue_open(servers.redis_url, &queue, &err) : -1;
}

static int tear_down(void **state)
{
	(void)state;
	queue.close(queue.self);
	redisFree(redis);
	servers_stop(&servers);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_library_does_what_the_reference_does) };
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
