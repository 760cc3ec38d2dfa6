#include "lib/store/postgres_ledger.h"

#include "lib/base/cleanup.h"
#include "lib/store/postgres_session.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT 24
#define REBUILD_LOCK "7202" /* first key of the advisory locks of rebuilds; 7201 is the shards' */
/* a scheduler that is stopped in the middle of a rebuild loses its session, and with it the lock, after so long */
#define REBUILD_PATIENCE "'5s'"

/* X(NAME, parameters, sql) */
#define STATEMENTS(X)                                                                                                  \
	X(START, 5,                                                                                                    \
	  "SELECT eid, epoch, outcome, tenant, flow_id, encode(doc_hash, 'hex'), inputs, deadline_left_ms, "           \
	  "deliveries, options "                                                                                       \
	  "FROM control.start_batch($1, $2, $3, $4, $5)")                                                              \
	X(FLOW_DOC, 2, "SELECT control.flow_doc($1, decode($2, 'hex'))")                                               \
	X(FINISH, 5, "SELECT eid FROM control.finish_batch($1, $2, $3, $4, $5)")                                       \
	X(RELEASE, 2, "SELECT eid FROM control.release_batch($1, $2)")                                                 \
	X(WAIT, 7, "SELECT outcome, left_ms, decided_by, comment FROM control.wait_look($1, $2, $3, $4, $5, $6, $7)")  \
	X(SUBFLOW, 5,                                                                                                  \
	  "SELECT outcome, encode(doc_hash, 'hex'), version FROM control.subflow_pick($1, $2, $3, $4, $5)")            \
	X(PARK, 3, "SELECT eid, outcome FROM control.park_batch($1, $2, $3)")                                          \
	X(FENCE, 3, "SELECT eid, epoch, outcome FROM control.fence_batch($1, $2, $3)")                                 \
	X(OVERDUE, 2, "SELECT eid, tenant, shard, epoch FROM control.expire_overdue($1, $2)")                          \
	X(SHARDS, 0, "SELECT id, gen, redis_run_id FROM control.shards()")                                             \
	X(SHARDS_IN_USE, 1, "SELECT control.shards_in_use($1)")                                                        \
	X(SHARD_RENEW, 2, "SELECT control.shard_renew($1, $2)")                                                        \
	X(REBUILD_LOCK_TRY, 1,                                                                                         \
	  "SELECT CASE WHEN pg_try_advisory_lock(" REBUILD_LOCK ", $1) "                                               \
	  "THEN set_config('idle_session_timeout', " REBUILD_PATIENCE ", false) IS NOT NULL ELSE false END")           \
	X(REBUILD_UNLOCK, 1,                                                                                           \
	  "SELECT pg_advisory_unlock(" REBUILD_LOCK ", $1) "                                                           \
	  "AND set_config('idle_session_timeout', '0', false) IS NOT NULL")                                            \
	X(PAGE, 4,                                                                                                     \
	  "SELECT eid, tenant, state, epoch, sup, seq, cancel, delay_ms "                                              \
	  "FROM control.dispatch_page($1, $2, $3, $4)")                                                                \
	X(SHARES, 1, "SELECT tenant, weight, cap, max_queued FROM control.shard_quotas($1)")                           \
	X(JANITOR, 0, "SELECT control.janitor()")

enum {
#define X(NAME, params, sql) STATEMENT_##NAME,
	STATEMENTS(X)
#undef X
};

static const struct wl_postgres_statement statements[] = {
#define X(NAME, params, sql) { #NAME, sql, params },
	STATEMENTS(X)
#undef X
};

_Static_assert(WL_COUNT_OF(statements) <= WL_POSTGRES_STATEMENTS, "the session's table of prepared ones is too short");

static int64_t number_at(const PGresult *result, int row, int column)
{
	return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static void text_at(const PGresult *result, int row, int column, char *out, size_t size)
{
	(void)snprintf(out, size, "%s", PQgetvalue(result, row, column));
}

static bool true_at(const PGresult *result, int row, int column)
{
	return PQgetvalue(result, row, column)[0] == 't';
}

static const char *number_text(int64_t number, char text[NUMBER_TEXT])
{
	(void)snprintf(text, NUMBER_TEXT, "%lld", (long long)number);
	return text;
}

static void bytes_of_hex(const char *hex, unsigned char *out, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned byte = 0;
		if (!hex[0] || !hex[1] || sscanf(hex, "%2x", &byte) != 1)
			return;
		out[i] = (unsigned char)byte;
		hex += 2;
	}
}

/* ---- start ---------------------------------------------------------------------------------------------- */

static enum wl_start_outcome start_outcome_of(const char *word)
{
	static const char *const words[] = { [WL_START_STARTED] = "started",
					     [WL_START_GONE] = "gone",
					     [WL_START_CANCELLED] = "cancelled",
					     [WL_START_STALE] = "stale",
					     [WL_START_EARLY] = "early" };
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (strcmp(word, words[i]) == 0)
			return (enum wl_start_outcome)i;
	return WL_START_STALE;
}

static int read_start(const PGresult *result, int row, struct wl_start *start)
{
	start->outcome = start_outcome_of(PQgetvalue(result, row, 2));
	start->tenant = (int)number_at(result, row, 3);
	start->deliveries = (int)number_at(result, row, 8);
	if (start->outcome != WL_START_STARTED)
		return 0;
	text_at(result, row, 4, start->flow_id, sizeof(start->flow_id));
	bytes_of_hex(PQgetvalue(result, row, 5), start->doc_hash, sizeof(start->doc_hash));
	start->deadline_left_ms = number_at(result, row, 7);
	start->inputs_json = strdup(PQgetisnull(result, row, 6) ? "{}" : PQgetvalue(result, row, 6));
	bool options = !PQgetisnull(result, row, 9);
	start->options_json = options ? strdup(PQgetvalue(result, row, 9)) : NULL;
	return start->inputs_json && (!options || start->options_json) ? 0 : -ENOMEM;
}

/* Rows come ordered by id: the asked item is found from where the last one was. */
static struct wl_start *find_start(struct wl_start *starts, int count, const char *eid, int epoch)
{
	for (int i = 0; i < count; i++)
		if (starts[i].epoch == epoch && strcasecmp(starts[i].eid, eid) == 0)
			return &starts[i];
	return NULL;
}

static int read_starts(const PGresult *result, struct wl_start *starts, int count, struct wl_error *err)
{
	for (int row = 0; row < PQntuples(result); row++) {
		struct wl_start *start =
			find_start(starts, count, PQgetvalue(result, row, 0), (int)number_at(result, row, 1));
		if (!start || start->inputs_json)
			continue;
		if (read_start(result, row, start) < 0) {
			for (int i = 0; i < count; i++)
				wl_start_release(&starts[i]);
			return wl_fail_errno(err, ENOMEM, "start executions");
		}
	}
	return 0;
}

static int start(void *self, const char *supervisor, const struct wl_lease *leases, int count,
		 struct wl_start *ret_starts, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer eids, epochs, shards, gens;
	_wl_pg_result_ PGresult *result = NULL;
	wl_postgres_array_begin(&eids);
	wl_postgres_array_begin(&epochs);
	wl_postgres_array_begin(&shards);
	wl_postgres_array_begin(&gens);
	for (int i = 0; i < count; i++) {
		wl_postgres_array_text(&eids, leases[i].eid);
		wl_postgres_array_number(&epochs, leases[i].epoch);
		wl_postgres_array_number(&shards, leases[i].shard);
		wl_postgres_array_number(&gens, leases[i].gen);
	}
	if (wl_postgres_array_end(&eids, err) < 0 || wl_postgres_array_end(&epochs, err) < 0 ||
	    wl_postgres_array_end(&shards, err) < 0 || wl_postgres_array_end(&gens, err) < 0)
		return -err->code;
	const char *params[] = { supervisor, eids.data, epochs.data, shards.data, gens.data };
	if (wl_postgres_run(self, STATEMENT_START, params, &result, err) < 0)
		return wl_fail_within(err, "start executions");
	for (int i = 0; i < count; i++) {
		ret_starts[i] = (struct wl_start){ .epoch = leases[i].epoch,
						   .tenant = leases[i].tenant,
						   .outcome = WL_START_STALE };
		memcpy(ret_starts[i].eid, leases[i].eid, sizeof(ret_starts[i].eid));
	}
	return read_starts(result, ret_starts, count, err);
}

static int flow_doc(void *self, int tenant, const unsigned char hash[WL_HASH_BYTES], char **ret_json,
		    struct wl_error *err)
{
	char tenant_text[NUMBER_TEXT], hex[WL_HASH_BYTES * 2 + 1];
	_wl_pg_result_ PGresult *result = NULL;
	for (size_t i = 0; i < WL_HASH_BYTES; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	const char *params[] = { number_text(tenant, tenant_text), hex };
	if (wl_postgres_run(self, STATEMENT_FLOW_DOC, params, &result, err) < 0)
		return wl_fail_within(err, "read a flow document");
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		return wl_fail(err, ENOENT, "tenant %d has no flow document %.16s", tenant, hex);
	char *json = strdup(PQgetvalue(result, 0, 0));
	if (!json)
		return wl_fail_errno(err, ENOMEM, "read a flow document");
	*ret_json = json;
	return 0;
}

/* ---- finish and release --------------------------------------------------------------------------------- */

static int finish(void *self, struct wl_finish *items, int count, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer eids, epochs, states, outputs, errors;
	_wl_pg_result_ PGresult *result = NULL;
	struct wl_buffer *const arrays[] = { &eids, &epochs, &states, &outputs, &errors };
	for (size_t i = 0; i < WL_COUNT_OF(arrays); i++)
		wl_postgres_array_begin(arrays[i]);
	for (int i = 0; i < count; i++) {
		wl_postgres_array_text(&eids, items[i].eid);
		wl_postgres_array_number(&epochs, items[i].epoch);
		wl_postgres_array_text(&states, wl_run_state_name(items[i].state));
		wl_postgres_array_text(&outputs, items[i].outputs_json);
		wl_postgres_array_text(&errors, items[i].error_json);
	}
	for (size_t i = 0; i < WL_COUNT_OF(arrays); i++)
		if (wl_postgres_array_end(arrays[i], err) < 0)
			return -err->code;
	const char *params[] = { eids.data, epochs.data, states.data, outputs.data, errors.data };
	if (wl_postgres_run(self, STATEMENT_FINISH, params, &result, err) < 0)
		return wl_fail_within(err, "finish executions");
	for (int i = 0; i < count; i++) {
		items[i].done = false;
		for (int row = 0; row < PQntuples(result) && !items[i].done; row++)
			items[i].done = strcasecmp(items[i].eid, PQgetvalue(result, row, 0)) == 0;
	}
	return 0;
}

static int release(void *self, const struct wl_lease *leases, int count, bool *ret_released, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer eids, epochs;
	_wl_pg_result_ PGresult *result = NULL;
	wl_postgres_array_begin(&eids);
	wl_postgres_array_begin(&epochs);
	for (int i = 0; i < count; i++) {
		wl_postgres_array_text(&eids, leases[i].eid);
		wl_postgres_array_number(&epochs, leases[i].epoch);
	}
	if (wl_postgres_array_end(&eids, err) < 0 || wl_postgres_array_end(&epochs, err) < 0)
		return -err->code;
	const char *params[] = { eids.data, epochs.data };
	if (wl_postgres_run(self, STATEMENT_RELEASE, params, &result, err) < 0)
		return wl_fail_within(err, "give executions back");
	for (int i = 0; i < count; i++) {
		ret_released[i] = false;
		for (int row = 0; row < PQntuples(result) && !ret_released[i]; row++)
			ret_released[i] = strcasecmp(leases[i].eid, PQgetvalue(result, row, 0)) == 0;
	}
	return 0;
}

/* ---- waits and subflows --------------------------------------------------------------------------------- */

/* The place of a word in a list that ends with NULL, or -1. */
static int place_of(const char *word, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

static char *text_or_null(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NULL : strdup(PQgetvalue(result, row, column));
}

static int wait_look(void *self, struct wl_wait *item, struct wl_error *err)
{
	static const char *const words[] = {
		[WL_WAIT_LOST] = "lost",	 [WL_WAIT_OPEN] = "open",	  [WL_WAIT_OVER] = "over",
		[WL_WAIT_APPROVED] = "approved", [WL_WAIT_REJECTED] = "rejected", [WL_WAIT_REJECTED + 1] = NULL
	};
	char epoch[NUMBER_TEXT], delay[NUMBER_TEXT], until[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { item->eid,
				 number_text(item->epoch, epoch),
				 item->node,
				 number_text(item->delay_ms, delay),
				 item->until_ms ? number_text(item->until_ms, until) : NULL,
				 item->message,
				 item->roles_json };
	if (wl_postgres_run(self, STATEMENT_WAIT, params, &result, err) < 0)
		return wl_fail_within(err, "look at what a run waits for");
	int outcome = PQntuples(result) == 1 ? place_of(PQgetvalue(result, 0, 0), words) : -1;
	if (outcome < 0)
		return wl_fail(err, EPROTO, "the ledger gave no answer about a wait");
	item->outcome = (enum wl_wait_outcome)outcome;
	item->left_ms = number_at(result, 0, 1);
	free(item->by);
	free(item->comment);
	item->by = text_or_null(result, 0, 2);
	item->comment = text_or_null(result, 0, 3);
	return 0;
}

static int subflow(void *self, struct wl_subflow *item, struct wl_error *err)
{
	static const char *const words[] = { [WL_SUBFLOW_LOST] = "lost",
					     [WL_SUBFLOW_FOUND] = "found",
					     [WL_SUBFLOW_NO_FLOW] = "no_flow",
					     [WL_SUBFLOW_NO_VERSION] = "no_version",
					     [WL_SUBFLOW_NO_VERSION + 1] = NULL };
	char tenant[NUMBER_TEXT], epoch[NUMBER_TEXT], version[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(item->tenant, tenant), item->eid, number_text(item->epoch, epoch),
				 item->flow_id, item->version ? number_text(item->version, version) : NULL };
	if (wl_postgres_run(self, STATEMENT_SUBFLOW, params, &result, err) < 0)
		return wl_fail_within(err, "look for a subflow");
	int outcome = PQntuples(result) == 1 ? place_of(PQgetvalue(result, 0, 0), words) : -1;
	if (outcome < 0)
		return wl_fail(err, EPROTO, "the ledger gave no answer about a subflow");
	item->outcome = (enum wl_subflow_outcome)outcome;
	if (outcome == WL_SUBFLOW_FOUND) {
		bytes_of_hex(PQgetvalue(result, 0, 1), item->doc_hash, sizeof(item->doc_hash));
		item->version = (int)number_at(result, 0, 2);
	}
	return 0;
}

static int park(void *self, const struct wl_park *items, int count, enum wl_park_outcome *ret_outcomes,
		struct wl_error *err)
{
	static const char *const words[] = { [WL_PARK_LOST] = "lost",
					     [WL_PARK_PARKED] = "parked",
					     [WL_PARK_RELEASED] = "released",
					     [WL_PARK_CANCELLED] = "cancelled",
					     [WL_PARK_CANCELLED + 1] = NULL };
	_wl_buffer_ struct wl_buffer eids, epochs, nodes;
	_wl_pg_result_ PGresult *result = NULL;
	wl_postgres_array_begin(&eids);
	wl_postgres_array_begin(&epochs);
	wl_postgres_array_begin(&nodes);
	for (int i = 0; i < count; i++) {
		wl_postgres_array_text(&eids, items[i].eid);
		wl_postgres_array_number(&epochs, items[i].epoch);
		wl_postgres_array_text(&nodes, items[i].nodes_json);
	}
	if (wl_postgres_array_end(&eids, err) < 0 || wl_postgres_array_end(&epochs, err) < 0 ||
	    wl_postgres_array_end(&nodes, err) < 0)
		return -err->code;
	const char *params[] = { eids.data, epochs.data, nodes.data };
	if (wl_postgres_run(self, STATEMENT_PARK, params, &result, err) < 0)
		return wl_fail_within(err, "park executions");
	for (int i = 0; i < count; i++) {
		int outcome = -1;
		for (int row = 0; row < PQntuples(result) && outcome < 0; row++)
			if (strcasecmp(items[i].eid, PQgetvalue(result, row, 0)) == 0)
				outcome = place_of(PQgetvalue(result, row, 1), words);
		ret_outcomes[i] = outcome < 0 ? WL_PARK_LOST : (enum wl_park_outcome)outcome;
	}
	return 0;
}

/* ---- fence ---------------------------------------------------------------------------------------------- */

static enum wl_fence_outcome fence_outcome_of(const char *word)
{
	static const char *const words[] = { [WL_FENCE_REQUEUE] = "requeue",
					     [WL_FENCE_POISON] = "poison",
					     [WL_FENCE_CANCELLED] = "cancelled",
					     [WL_FENCE_GONE] = "gone",
					     [WL_FENCE_NEWER] = "newer" };
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (strcmp(word, words[i]) == 0)
			return (enum wl_fence_outcome)i;
	return WL_FENCE_NEWER;
}

static int fence(void *self, struct wl_fence *items, int count, int max_deliveries, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer eids, epochs;
	_wl_pg_result_ PGresult *result = NULL;
	char most[NUMBER_TEXT];
	wl_postgres_array_begin(&eids);
	wl_postgres_array_begin(&epochs);
	for (int i = 0; i < count; i++) {
		wl_postgres_array_text(&eids, items[i].eid);
		wl_postgres_array_number(&epochs, items[i].epoch);
	}
	if (wl_postgres_array_end(&eids, err) < 0 || wl_postgres_array_end(&epochs, err) < 0)
		return -err->code;
	const char *params[] = { eids.data, epochs.data, number_text(max_deliveries, most) };
	if (wl_postgres_run(self, STATEMENT_FENCE, params, &result, err) < 0)
		return wl_fail_within(err, "fence lost attempts");
	for (int i = 0; i < count; i++) {
		items[i].outcome = WL_FENCE_NEWER; /* without an answer nothing is done about it */
		for (int row = 0; row < PQntuples(result); row++)
			if (strcasecmp(items[i].eid, PQgetvalue(result, row, 0)) == 0 &&
			    items[i].epoch == (int)number_at(result, row, 1))
				items[i].outcome = fence_outcome_of(PQgetvalue(result, row, 2));
	}
	return 0;
}

static int expire_overdue(void *self, int grace_ms, struct wl_expired *ret_items, int limit, struct wl_error *err)
{
	char grace[NUMBER_TEXT], most[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(grace_ms, grace), number_text(limit, most) };
	if (wl_postgres_run(self, STATEMENT_OVERDUE, params, &result, err) < 0)
		return wl_fail_within(err, "end overdue executions");
	int count = PQntuples(result) < limit ? PQntuples(result) : limit;
	for (int row = 0; row < count; row++) {
		text_at(result, row, 0, ret_items[row].eid, sizeof(ret_items[row].eid));
		ret_items[row].tenant = (int)number_at(result, row, 1);
		ret_items[row].shard = (int)number_at(result, row, 2);
		ret_items[row].epoch = (int)number_at(result, row, 3);
	}
	return count;
}

/* ---- shards --------------------------------------------------------------------------------------------- */

static int shards(void *self, struct wl_shard_row ret_rows[WL_SHARDS], struct wl_error *err)
{
	_wl_pg_result_ PGresult *result = NULL;
	if (wl_postgres_run(self, STATEMENT_SHARDS, NULL, &result, err) < 0)
		return wl_fail_within(err, "read the shards");
	if (PQntuples(result) != WL_SHARDS)
		return wl_fail(err, EPROTO, "the ledger has %d shards, not %d", PQntuples(result), WL_SHARDS);
	for (int row = 0; row < WL_SHARDS; row++) {
		ret_rows[row].id = (int)number_at(result, row, 0);
		ret_rows[row].gen = number_at(result, row, 1);
		text_at(result, row, 2, ret_rows[row].redis_run_id, sizeof(ret_rows[row].redis_run_id));
	}
	return 0;
}

static int shard_renew(void *self, int shard, const char *redis_run_id, int64_t *ret_gen, struct wl_error *err)
{
	char text[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(shard, text), redis_run_id };
	if (wl_postgres_run(self, STATEMENT_SHARD_RENEW, params, &result, err) < 0)
		return wl_fail_within(err, "begin a new incarnation of shard %d", shard);
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		return wl_fail(err, EPROTO, "the ledger has no shard %d", shard);
	*ret_gen = number_at(result, 0, 0);
	return 0;
}

static int shard_lock(struct wl_postgres_session *session, int statement, int shard, struct wl_error *err)
{
	char text[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(shard, text) };
	if (wl_postgres_run(session, statement, params, &result, err) < 0)
		return wl_fail_within(err, "lock shard %d for a rebuild", shard);
	return PQntuples(result) == 1 && true_at(result, 0, 0) ? 1 : 0;
}

static int rebuild_lock(void *self, int shard, struct wl_error *err)
{
	return shard_lock(self, STATEMENT_REBUILD_LOCK_TRY, shard, err);
}

static int rebuild_unlock(void *self, int shard, struct wl_error *err)
{
	return shard_lock(self, STATEMENT_REBUILD_UNLOCK, shard, err);
}

static int page(void *self, int shard, int64_t after_seq, int min_age_ms, struct wl_dispatch_row *ret_rows, int limit,
		struct wl_error *err)
{
	char texts[4][NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(shard, texts[0]), number_text(after_seq, texts[1]),
				 number_text(min_age_ms, texts[2]), number_text(limit, texts[3]) };
	if (wl_postgres_run(self, STATEMENT_PAGE, params, &result, err) < 0)
		return wl_fail_within(err, "read the ledger of shard %d", shard);
	int count = PQntuples(result) < limit ? PQntuples(result) : limit;
	for (int row = 0; row < count; row++) {
		struct wl_dispatch_row *out = &ret_rows[row];
		text_at(result, row, 0, out->eid, sizeof(out->eid));
		out->tenant = (int)number_at(result, row, 1);
		out->running = PQgetvalue(result, row, 2)[0] == 'R';
		out->epoch = (int)number_at(result, row, 3);
		text_at(result, row, 4, out->supervisor, sizeof(out->supervisor));
		out->seq = number_at(result, row, 5);
		out->cancel = true_at(result, row, 6);
		out->delay_ms = number_at(result, row, 7);
	}
	return count;
}

static int shards_in_use(void *self, int min_age_ms, unsigned *ret_mask, struct wl_error *err)
{
	char text[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { number_text(min_age_ms, text) };
	if (wl_postgres_run(self, STATEMENT_SHARDS_IN_USE, params, &result, err) < 0)
		return wl_fail_within(err, "look which shards are in use");
	if (PQntuples(result) != 1)
		return wl_fail(err, EPROTO, "the ledger gave no answer about its shards");
	*ret_mask = (unsigned)number_at(result, 0, 0);
	return 0;
}

static int shares(void *self, int shard, struct wl_tenant_share **ret_shares, struct wl_error *err)
{
	char text[NUMBER_TEXT];
	_wl_pg_result_ PGresult *result = NULL;
	const char *params[] = { shard == WL_EVERY_SHARD ? NULL : number_text(shard, text) };
	if (wl_postgres_run(self, STATEMENT_SHARES, params, &result, err) < 0)
		return wl_fail_within(err, "read the quotas of tenants");
	int count = PQntuples(result);
	struct wl_tenant_share *rows = calloc((size_t)count + 1, sizeof(*rows));
	if (!rows)
		return wl_fail_errno(err, ENOMEM, "read the quotas of tenants");
	for (int row = 0; row < count; row++) {
		rows[row].tenant = (int)number_at(result, row, 0);
		rows[row].weight = (int)number_at(result, row, 1);
		rows[row].cap = (int)number_at(result, row, 2);
		rows[row].max_queued = (int)number_at(result, row, 3);
	}
	*ret_shares = rows;
	return count;
}

static int janitor(void *self, struct wl_error *err)
{
	_wl_pg_result_ PGresult *result = NULL;
	if (wl_postgres_run(self, STATEMENT_JANITOR, NULL, &result, err) < 0)
		return wl_fail_within(err, "throw old rows away");
	return 0;
}

static void close_ledger(void *self)
{
	wl_postgres_session_release(self);
	free(self);
}

int wl_postgres_ledger_open(const char *url, struct wl_ledger *ret_ledger, struct wl_error *err)
{
	_wl_free_ struct wl_postgres_session *session = calloc(1, sizeof(*session));
	if (!session)
		return wl_fail_errno(err, ENOMEM, "open the ledger");
	if (wl_postgres_session_init(session, url, statements, err) < 0)
		return -err->code;
	*ret_ledger = (struct wl_ledger){
		.self = wl_steal(session),
		.start = start,
		.flow_doc = flow_doc,
		.finish = finish,
		.release = release,
		.wait = wait_look,
		.subflow = subflow,
		.park = park,
		.fence = fence,
		.expire_overdue = expire_overdue,
		.shards = shards,
		.shard_renew = shard_renew,
		.rebuild_lock = rebuild_lock,
		.rebuild_unlock = rebuild_unlock,
		.page = page,
		.shards_in_use = shards_in_use,
		.shares = shares,
		.janitor = janitor,
		.close = close_ledger,
	};
	return 0;
}
