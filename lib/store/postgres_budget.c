#include "lib/store/postgres_budget.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/json.h"
#include "lib/store/postgres_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 8
#define TOKENS_MAX 1000000000000.0 /* of one call: what a server says beyond that is not believed */

#define OPEN_MAX 10000	   /* calls of this process that are remembered until they are settled */
#define OPEN_MORE_MS 60000 /* beyond their reservation's end */

enum { RESERVE, SETTLE, FLUSH, MOVED, ALLOW };

/* A call that is under way. Its reservation may be lost in a crash of PostgreSQL: settling it tells of it once more. */
struct open_call {
	struct open_call *next;
	char id[WL_UUID_TEXT];
	uint64_t end_ms;
	char *text; /* as it was reserved */
};

/* A settlement that the disk does not have yet; on the stack of its thread. */
struct waiter {
	struct waiter *next;
	const char *id;
	bool done; /* under the lock */
	int result;
};

struct store {
	struct wl_postgres_pool *pool;
	pthread_mutex_t lock;
	struct open_call *open; /* under the lock, as is the count */
	int count;
	pthread_cond_t flushed;
	bool flushing;		/* under the lock */
	struct waiter *waiting; /* under the lock: for the next flush */
};

#define STATEMENTS(prefix)                                                                                             \
	{                                                                                                              \
		[RESERVE] = { "RESERVE",                                                                               \
			      "SELECT a.verdict, a.id, a.scope, a.unit, a.quota, a.used, a.provider_id, a.model, "     \
			      "a.budget, a.wait FROM control." prefix "_reserve($1) a",                                \
			      1 },                                                                                     \
		[SETTLE] = { "SETTLE", "SELECT control." prefix "_settle($1)", 1 },                                    \
		[FLUSH] = { "FLUSH", "SELECT control." prefix "_flush($1)", 1 },                                       \
		[MOVED] = { "MOVED", "SELECT control." prefix "_moved($1)::text::boolean", 1 },                        \
		[ALLOW] = { "ALLOW", "SELECT control.budget_allow($1)", 1 },                                           \
	}

static const struct wl_postgres_statement of_runs[] = STATEMENTS("budget"), of_gateway[] = STATEMENTS("gateway");

static void free_open(struct open_call *call)
{
	free(call->text);
	free(call);
}

/* Take calls out: that of an id, or (NULL) those whose time is long over. Under the lock. */
static void take_out(struct store *store, const char *id)
{
	uint64_t now_ms = wl_clock_boot_ms();
	for (struct open_call **at = &store->open; *at;) {
		struct open_call *call = *at;
		if (id ? strcmp(call->id, id) != 0 : call->end_ms > now_ms) {
			at = &call->next;
			continue;
		}
		*at = call->next;
		store->count--;
		free_open(call);
	}
}

/* Without memory, and beyond OPEN_MAX, a call is not remembered: then its reservation alone counts. */
static void remember(struct store *store, const char *id, const struct wl_json *request, uint32_t ttl_s)
{
	struct open_call *call = calloc(1, sizeof(*call));
	char *text = call ? wl_json_print(request) : NULL;
	if (!text) {
		free(call);
		return;
	}
	call->text = text;
	call->end_ms = wl_clock_boot_ms() + ttl_s * 1000ULL + OPEN_MORE_MS;
	(void)snprintf(call->id, sizeof(call->id), "%s", id);
	(void)pthread_mutex_lock(&store->lock);
	if (store->count >= OPEN_MAX)
		take_out(store, NULL);
	bool room = store->count < OPEN_MAX;
	if (room) {
		call->next = store->open;
		store->open = call;
		store->count++;
	}
	(void)pthread_mutex_unlock(&store->lock);
	if (!room)
		free_open(call);
}

static void forget(struct store *store, const char *id)
{
	(void)pthread_mutex_lock(&store->lock);
	take_out(store, id);
	(void)pthread_mutex_unlock(&store->lock);
}

/* Put the call that is settled beside what it used, when this process knows it. 0 or -ENOMEM. */
static int recall(struct store *store, const char *id, struct wl_json *request)
{
	int r = 0;
	(void)pthread_mutex_lock(&store->lock);
	for (struct open_call *call = store->open; call; call = call->next)
		if (strcmp(call->id, id) == 0) {
			r = wl_json_set_raw(request, "call", call->text);
			break;
		}
	(void)pthread_mutex_unlock(&store->lock);
	return r;
}

static double tokens(uint64_t count)
{
	return (double)count < TOKENS_MAX ? (double)count : TOKENS_MAX;
}

/* Print the request, run the statement with it, give back its one row. */
static int ask(struct store *store, int statement, const struct wl_json *request, PGresult **ret_result,
	       struct wl_error *err)
{
	_wl_free_ char *text = wl_json_print(request);
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to ask the ledger of models");
	const char *params[] = { text };
	int r = wl_postgres_pool_run(store->pool, statement, params, ret_result, err);
	if (r == 0 && PQntuples(*ret_result) != 1)
		return wl_fail(err, EIO, "the ledger of models gave no answer");
	return r;
}

static bool set_texts(struct wl_json *request, const char *const names[][2], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (names[i][1] && wl_json_set_string(request, names[i][0], names[i][1]) < 0)
			return false;
	return true;
}

/* ---- reserve -------------------------------------------------------------------------------------------------- */

static struct wl_json *call_json(const struct wl_budget_call *call, const char *id)
{
	const char *const texts[][2] = {
		{ "id", id },
		{ "eid", call->eid },
		{ "node", call->node },
		{ "place", call->place },
		{ "agent_id", call->agent_id },
		{ "caller", call->caller },
		{ "provider_id", call->provider_id },
		{ "provider_type", call->provider_type },
		{ "model", call->model },
	};
	struct wl_json *request = wl_json_object();
	if (request && set_texts(request, texts, WL_COUNT_OF(texts)) &&
	    wl_json_set_number(request, "tenant", call->tenant) == 0 &&
	    wl_json_set_number(request, "attempt", call->attempt) == 0 &&
	    wl_json_set_number(request, "prompt_tokens", tokens(call->prompt_tokens)) == 0 &&
	    wl_json_set_number(request, "completion_tokens", tokens(call->completion_tokens)) == 0 &&
	    wl_json_set_number(request, "ttl_s", call->ttl_s ? call->ttl_s : 1) == 0 &&
	    (call->stamp == 0 || wl_json_set_number(request, "stamp", (double)call->stamp) == 0))
		return request;
	wl_json_free(request);
	return NULL;
}

static enum wl_budget_verdict verdict_of(const char *word)
{
	static const char *const words[] = {
#define X(name, word) word,
		WL_BUDGET_VERDICTS(X)
#undef X
	};
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (strcmp(words[i], word) == 0)
			return (enum wl_budget_verdict)i;
	return WL_BUDGET_REFUSED;
}

static void read_answer(const PGresult *result, struct wl_budget_answer *answer)
{
	const struct {
		char *to;
		size_t size;
	} texts[] = {
		[1] = { answer->id, sizeof(answer->id) },
		[2] = { answer->scope, sizeof(answer->scope) },
		[3] = { answer->unit, sizeof(answer->unit) },
		[6] = { answer->provider_id, sizeof(answer->provider_id) },
		[7] = { answer->model, sizeof(answer->model) },
		[8] = { answer->budget_id, sizeof(answer->budget_id) },
		[9] = { answer->wait, sizeof(answer->wait) },
	};
	for (size_t i = 0; i < WL_COUNT_OF(texts); i++)
		if (texts[i].to)
			(void)snprintf(texts[i].to, texts[i].size, "%s", PQgetvalue(result, 0, (int)i));
	answer->verdict = verdict_of(PQgetvalue(result, 0, 0));
	answer->limit = strtod(PQgetvalue(result, 0, 4), NULL);
	answer->used = strtod(PQgetvalue(result, 0, 5), NULL);
}

/* A connection that broke may have reserved: said once more with the same id, it is the same reservation. */
static int reserve(void *self, const struct wl_budget_call *call, struct wl_budget_answer *ret_answer,
		   struct wl_error *err)
{
	_wl_json_ struct wl_json *request = NULL;
	_wl_pg_result_ PGresult *result = NULL;
	char id[WL_UUID_TEXT];
	*ret_answer = (struct wl_budget_answer){ 0 };
	request = call_json(call, *call->id ? call->id : wl_uuid7(wl_clock_wall_ms(), id));
	if (!request)
		return wl_fail(err, ENOMEM, "no memory to ask the ledger of models");
	int r = ask(self, RESERVE, request, &result, err);
	if (r == -EPIPE)
		r = ask(self, RESERVE, request, &result, err);
	if (r < 0)
		return r;
	read_answer(result, ret_answer);
	if (ret_answer->verdict == WL_BUDGET_GRANTED)
		remember(self, ret_answer->id, request, call->ttl_s);
	return 0;
}

/* ---- settle ------------------------------------------------------------------------------------------------------ */

static struct wl_json *usage_json(int tenant, const char *id, const struct wl_model_usage *usage, const char *model,
				  enum wl_model_fault fault, uint64_t first_us, uint64_t total_us)
{
	const char *const texts[][2] = { { "id", id }, { "model", model }, { "fault", wl_model_fault_word(fault) } };
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = { { "tenant", (uint64_t)tenant },
			{ "prompt", usage->prompt },
			{ "cached", usage->cached },
			{ "cache_write", usage->cache_write },
			{ "completion", usage->completion },
			{ "reasoning", usage->reasoning },
			{ "first_us", first_us },
			{ "total_us", total_us } };
	struct wl_json *request = wl_json_object();
	bool whole = request && set_texts(request, texts, WL_COUNT_OF(texts)) &&
		     wl_json_set_bool(request, "estimated", usage->estimated) == 0;
	for (size_t i = 0; whole && i < WL_COUNT_OF(numbers); i++)
		whole = wl_json_set_number(request, numbers[i].name, tokens(numbers[i].number)) == 0;
	if (whole)
		return request;
	wl_json_free(request);
	return NULL;
}

/*
 * Have the disk take settlements that were committed without waiting for it. 0 when it has; -EPIPE when one of them is
 * gone: PostgreSQL crashed in between.
 */
static int flush_batch(struct store *store, const struct waiter *batch, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer ids;
	_wl_pg_result_ PGresult *result = NULL;
	wl_postgres_array_begin(&ids);
	for (const struct waiter *one = batch; one; one = one->next)
		wl_postgres_array_text(&ids, one->id);
	if (wl_postgres_array_end(&ids, err) < 0)
		return -err->code;
	const char *params[] = { ids.data };
	int r = wl_postgres_pool_run(store->pool, FLUSH, params, &result, err);
	if (r == 0 && (PQntuples(result) != 1 || PQgetvalue(result, 0, 0)[0] != 't'))
		r = wl_fail(err, EPIPE, "the ledger of models lost a settlement");
	return r;
}

/* Those that settle at the same time wait for the disk together: they hold no lock meanwhile. */
static int flush(struct store *store, const char *id, struct wl_error *err)
{
	struct waiter me = { .id = id };
	(void)pthread_mutex_lock(&store->lock);
	me.next = store->waiting;
	store->waiting = &me;
	while (!me.done) {
		if (store->flushing) {
			(void)pthread_cond_wait(&store->flushed, &store->lock);
			continue;
		}
		struct waiter *batch = store->waiting;
		store->waiting = NULL;
		store->flushing = true;
		(void)pthread_mutex_unlock(&store->lock);
		int r = flush_batch(store, batch, err);
		(void)pthread_mutex_lock(&store->lock);
		store->flushing = false;
		for (; batch; batch = batch->next) {
			batch->result = r;
			batch->done = true;
		}
		(void)pthread_cond_broadcast(&store->flushed);
	}
	(void)pthread_mutex_unlock(&store->lock);
	return me.result == 0 ? 0 : wl_fail(err, -me.result, "the ledger of models did not keep a settlement");
}

static int settle(void *self, int tenant, const char *id, const struct wl_model_usage *usage, const char *model,
		  enum wl_model_fault fault, uint64_t first_us, uint64_t total_us, double *ret_cost,
		  struct wl_error *err)
{
	_wl_json_ struct wl_json *request = usage_json(tenant, id, usage, model, fault, first_us, total_us);
	_wl_pg_result_ PGresult *result = NULL;
	if (!request || recall(self, id, request) < 0)
		return wl_fail(err, ENOMEM, "no memory to settle a model call");
	int r = ask(self, SETTLE, request, &result, err);
	bool known = r == 0 && !PQgetisnull(result, 0, 0);
	if (known)
		r = flush(self, id, err);
	if (r < 0)
		return r; /* a crash may have taken it: it is remembered until it is settled for good */
	forget(self, id);
	if (!known)
		return wl_fail(err, ENOENT, "there is no reservation %.36s", id);
	if (ret_cost)
		*ret_cost = strtod(PQgetvalue(result, 0, 0), NULL);
	return 0;
}

static int moved(void *self, int tenant, const char *id, const char *provider_id, struct wl_error *err)
{
	const char *const texts[][2] = { { "id", id }, { "provider_id", provider_id } };
	_wl_json_ struct wl_json *request = wl_json_object();
	_wl_pg_result_ PGresult *result = NULL;
	if (!request || !set_texts(request, texts, WL_COUNT_OF(texts)) ||
	    wl_json_set_number(request, "tenant", tenant) < 0)
		return wl_fail(err, ENOMEM, "no memory to move a model call");
	int r = ask(self, MOVED, request, &result, err);
	if (r == 0 && PQgetvalue(result, 0, 0)[0] != 't')
		return wl_fail(err, ENOENT, "there is no open reservation %.36s, or no provider %.36s", id,
			       provider_id);
	return r;
}

static int allow(void *self, int tenant, const char *eid, const char *budget_id, const char *wait, struct wl_error *err)
{
	const char *const texts[][2] = { { "eid", eid }, { "budget", budget_id }, { "wait", wait } };
	_wl_json_ struct wl_json *request = wl_json_object();
	_wl_pg_result_ PGresult *result = NULL;
	if (!request || !set_texts(request, texts, WL_COUNT_OF(texts)) ||
	    wl_json_set_number(request, "tenant", tenant) < 0)
		return wl_fail(err, ENOMEM, "no memory to raise a budget");
	int r = ask(self, ALLOW, request, &result, err);
	if (r == 0 && PQgetisnull(result, 0, 0))
		return wl_fail(err, EACCES, "nobody has approved more of this budget");
	return r;
}

static void close_budget(void *self)
{
	struct store *store = self;
	wl_postgres_pool_close(store->pool);
	while (store->open) {
		struct open_call *call = store->open;
		store->open = call->next;
		free_open(call);
	}
	(void)pthread_cond_destroy(&store->flushed);
	(void)pthread_mutex_destroy(&store->lock);
	free(store);
}

static int open_budget(const char *url, const struct wl_postgres_statement *statements, struct wl_budget *ret_budget,
		       struct wl_error *err)
{
	_wl_free_ struct store *store = calloc(1, sizeof(*store));
	if (!store)
		return wl_fail(err, ENOMEM, "no memory for the ledger of models");
	int r = wl_postgres_pool_open(url, statements, CONNECTIONS, &store->pool, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_init(&store->lock, NULL);
	(void)pthread_cond_init(&store->flushed, NULL);
	*ret_budget = (struct wl_budget){ .self = wl_steal(store),
					  .reserve = reserve,
					  .settle = settle,
					  .moved = moved,
					  .allow = allow,
					  .close = close_budget };
	return 0;
}

int wl_postgres_budget_open(const char *url, struct wl_budget *ret_budget, struct wl_error *err)
{
	return open_budget(url, of_runs, ret_budget, err);
}

int wl_postgres_gateway_budget_open(const char *url, struct wl_budget *ret_budget, struct wl_error *err)
{
	return open_budget(url, of_gateway, ret_budget, err);
}
