#include "supervisor/nodes/record.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/secrets/digest.h"

#include <errno.h>
#include <string.h>

#define STORE_WAIT_MS 30000 /* so long the document server is waited for */
#define LOOK_MS 200
#define ROUND_PREFIX "round/"

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

static int load(struct node_record *record, const char *eid, struct wl_exchange **ret_exchanges, struct wl_error *err)
{
	const struct node_call *call = record->call;
	uint64_t give_up_ms = wl_clock_boot_ms() + STORE_WAIT_MS;
	for (;;) {
		int count = record->log->load(record->log->self, call->tenant, eid, node_call_path(call), ret_exchanges,
					      err);
		if (count >= 0 || wl_clock_boot_ms() > give_up_ms)
			return count;
		if (node_pause(call, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped before it ran");
	}
}

/* A round that was closed has an entry of its own. */
static int count_rounds(const struct node_record *record)
{
	int closed = 0;
	for (int i = 0; i < record->known_count; i++)
		closed += strncmp(record->known[i].place, ROUND_PREFIX, strlen(ROUND_PREFIX)) == 0;
	return closed + 1;
}

/* Take room of the tenant's storage for `bytes`, with what comes next in mind. */
static int take_room(struct node_record *record, int64_t bytes, struct wl_error *err)
{
	const struct node_call *call = record->call;
	const struct wl_storage_room *storage = record->storage;
	struct wl_error why = { 0 };
	if (!storage)
		return 0;
	(void)pthread_mutex_lock(&record->lock);
	int64_t more = bytes > record->room ? bytes - record->room + RECORD_AHEAD : 0;
	int result = more > 0 ? storage->take(storage->self, call->tenant, WL_STORAGE_RUN, call->eid, more, &why) : 0;
	record->room += result == 0 ? more : 0;
	record->room -= result == 0 ? bytes : 0;
	if (result == -EDQUOT)
		(void)snprintf(record->full, sizeof(record->full), "%s", why.text);
	(void)pthread_mutex_unlock(&record->lock);
	if (result < 0)
		*err = why;
	return result;
}

/* Wait for PostgreSQL as for the document server. */
static int take_room_soon(struct node_record *record, int64_t bytes, struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + STORE_WAIT_MS;
	for (;;) {
		int result = take_room(record, bytes, err);
		if (result == 0 || result == -EDQUOT || result == -ESTALE || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (node_pause(record->call, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped while room was looked for");
	}
}

/* Room that was taken and not used. Where this fails it comes back when the run is dropped. */
static void give_room_back(struct node_record *record)
{
	struct wl_error ignored;
	if (record->storage && record->room > 0)
		(void)record->storage->take(record->storage->self, record->call->tenant, WL_STORAGE_RUN,
					    record->call->eid, -record->room, &ignored);
}

/* ---- memory --------------------------------------------------------------------------------------------------------
 */

int node_record_hold(struct node_record *record, int64_t bytes, struct wl_error *err)
{
	int result = 0;
	(void)pthread_mutex_lock(&record->lock);
	if (bytes < 0) {
		uint64_t less = (uint64_t)-bytes < record->held ? (uint64_t)-bytes : record->held;
		node_memory_give(record->memory, less);
		record->held -= less;
	} else if (!record->memory || node_memory_take(record->memory, (uint64_t)bytes)) {
		record->held += record->memory ? (uint64_t)bytes : 0;
	} else {
		result = wl_fail(err, ENOSPC,
				 "the runs of this supervisor have as much in memory as they may: try again later");
	}
	(void)pthread_mutex_unlock(&record->lock);
	return result;
}

/* Before anything is loaded: as much as the records may have. They are told by their size only when they are there. */
static int hold_most(struct node_world *world, const struct node_call *call, int records, struct node_record *record,
		     struct wl_error *err)
{
	if (!world->share)
		return 0;
	record->memory = &world->share->kept;
	uint64_t each = record->memory->most / 4 < RECORD_BYTES_MAX ? record->memory->most / 4 : RECORD_BYTES_MAX;
	return node_memory_wait(record->memory, call, NODE_MEMORY_BASE + (uint64_t)records * each, &record->held, err);
}

static uint64_t bytes_in(const struct wl_exchange *list, int count)
{
	uint64_t bytes = 0;
	for (int i = 0; i < count; i++)
		bytes += (list[i].answer_json ? strlen(list[i].answer_json) : 0) +
			 (list[i].request_json ? strlen(list[i].request_json) : 0);
	return bytes;
}

static void hold_what_is_there(struct node_record *record)
{
	struct wl_error ignored;
	uint64_t there = NODE_MEMORY_BASE + bytes_in(record->known, record->known_count) +
			 bytes_in(record->source, record->source_count);
	if (record->held > there)
		(void)node_record_hold(record, -(int64_t)(record->held - there), &ignored);
}

int node_record_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		     struct wl_error *err)
{
	*record = (struct node_record){ .call = call, .log = world->exchanges, .round = 1, .replay = call->replay };
	(void)pthread_mutex_init(&record->lock, NULL);
	if (!record->log)
		return 0;
	/* the first attempt of a run has nothing behind it */
	bool again = call->epoch > 1 || call->attempt > 1 || call->again;
	int held = hold_most(world, call, again + (record->replay != NODE_REPLAY_NONE), record, err);
	if (held < 0)
		return held;
	record->storage = world->storage;
	int room = record->replay != NODE_REPLAY_OFFLINE ? take_room_soon(record, 1, err) : 0;
	if (room < 0)
		return room;
	if (again) {
		int count = load(record, call->eid, &record->known, err);
		if (count < 0)
			return count;
		record->known_count = count;
		for (int i = 0; i < count; i++)
			record->bytes += record->known[i].answer_json ? strlen(record->known[i].answer_json) : 0;
		record->round = count_rounds(record);
	}
	if (record->replay != NODE_REPLAY_NONE) {
		int count = load(record, call->replay_eid, &record->source, err);
		if (count < 0)
			return count;
		record->source_count = count;
	}
	hold_what_is_there(record);
	return 0;
}

void node_record_close(struct node_record *record)
{
	for (int i = 0; i < record->known_count; i++)
		wl_exchange_release(&record->known[i]);
	for (int i = 0; i < record->source_count; i++)
		wl_exchange_release(&record->source[i]);
	free(record->known);
	free(record->source);
	give_room_back(record);
	node_memory_give(record->memory, record->held);
	(void)pthread_mutex_destroy(&record->lock);
}

int node_record_hash(const struct wl_json *asked, char ret_hash[65])
{
	_wl_buffer_ struct wl_buffer text;
	unsigned char digest[WL_SHA256_BYTES];
	wl_buffer_init(&text, 0);
	if (!asked || wl_json_write_sorted(&text, asked) < 0)
		return -ENOMEM;
	wl_sha256(text.data, text.length, digest);
	(void)wl_hex(digest, sizeof(digest), ret_hash);
	return 0;
}

static const struct wl_exchange *at_place(const struct wl_exchange *list, int count, enum wl_exchange_kind kind,
					  const char *place)
{
	for (int i = 0; i < count; i++)
		if (list[i].kind == kind && strcmp(list[i].place, place) == 0)
			return &list[i];
	return NULL;
}

/* The place in the round that is under way, which it returns. */
static int full_place(struct node_record *record, const char *place, char ret_place[RECORD_PLACE_MAX])
{
	(void)pthread_mutex_lock(&record->lock);
	int round = record->round;
	(void)pthread_mutex_unlock(&record->lock);
	if (round > 1)
		(void)snprintf(ret_place, RECORD_PLACE_MAX, "%d:%.200s", round, place);
	else
		(void)snprintf(ret_place, RECORD_PLACE_MAX, "%.200s", place);
	return round;
}

static void close_round(struct node_record *record, int round, const char *code);

/* What is asked at a place is not what an earlier attempt asked there: from here on the record is another one. */
static void leave_round(struct node_record *record, int round)
{
	(void)pthread_mutex_lock(&record->lock);
	bool first = record->round == round; /* of tasks at once */
	record->round += first;
	(void)pthread_mutex_unlock(&record->lock);
	if (first)
		close_round(record, round, "diverged");
}

static int parse_answer(const struct wl_exchange *exchange, struct wl_json **ret_answer, struct wl_error *err)
{
	const char *text = exchange->answer_json;
	return wl_json_parse_deep(text, strlen(text), WL_JSON_DEPTH + 4, ret_answer, err);
}

/*
 * What a replay is told it has on record, too: it may be replayed or forked itself, also when the first run is gone by
 * then. Of a replay that asks nobody only what there is room for: it must not fail for that.
 */
static int copy_own(struct node_record *record, const char *place, const struct wl_exchange *from, struct wl_error *err)
{
	struct wl_error why = { 0 };
	int result = node_record_put(record, from->kind, place, from->request_hash, from->request_json,
				     from->answer_json, from->start_ms, &why);
	if (result == -EDQUOT && record->replay == NODE_REPLAY_OFFLINE) {
		(void)pthread_mutex_lock(&record->lock);
		record->full[0] = '\0';
		(void)pthread_mutex_unlock(&record->lock);
		return 0;
	}
	if (result < 0)
		*err = why;
	return result == -ESTALE ? wl_fail(err, ECANCELED, "another attempt has begun") : result;
}

/* What the replayed run was told. Its rounds have places of their own, of which a replay knows only the first. */
static int find_in_source(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
			  struct wl_json **ret_answer, struct wl_error *err)
{
	const struct wl_exchange *found = at_place(record->source, record->source_count, kind, place);
	if (found && strcmp(found->request_hash, hash) == 0) {
		int copied = copy_own(record, place, found, err);
		return copied < 0 ? copied : parse_answer(found, ret_answer, err);
	}
	if (record->replay == NODE_REPLAY_FORK)
		return -ENOENT;
	(void)pthread_mutex_lock(&record->lock);
	if (!*record->diverged)
		(void)snprintf(record->diverged, sizeof(record->diverged), "%.200s", place);
	(void)pthread_mutex_unlock(&record->lock);
	return wl_fail(err, ESTALE,
		       found ? "the replay asks something else at %.200s than the record holds"
			     : "the replay asks something at %.200s, of which the record holds nothing",
		       place);
}

int node_record_find_own(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
			 struct wl_json **ret_answer, struct wl_error *err)
{
	char full[RECORD_PLACE_MAX];
	int round = full_place(record, place, full);
	const struct wl_exchange *found = at_place(record->known, record->known_count, kind, full);
	if (found && strcmp(found->request_hash, hash) == 0)
		return parse_answer(found, ret_answer, err);
	if (found)
		leave_round(record, round);
	return -ENOENT;
}

int node_record_find(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
		     struct wl_json **ret_answer, struct wl_error *err)
{
	int found = node_record_find_own(record, kind, place, hash, ret_answer, err);
	return found == -ENOENT && record->replay != NODE_REPLAY_NONE
		       ? find_in_source(record, kind, place, hash, ret_answer, err)
		       : found;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* A server that went away may have stored what it never told of: what is found then is this very answer. */
static bool is_same(const struct wl_exchange *known, const struct wl_exchange *exchange)
{
	return known->answer_json && known->request_hash && known->start_ms == exchange->start_ms &&
	       known->end_ms == exchange->end_ms && strcmp(known->request_hash, exchange->request_hash) == 0 &&
	       strcmp(known->answer_json, exchange->answer_json) == 0;
}

static int append_once(struct node_record *record, const struct wl_exchange *exchange, struct wl_error *err)
{
	const struct node_call *call = record->call;
	struct wl_exchange known = { 0 };
	int result = record->log->append(record->log->self, call->tenant, call->eid, node_call_path(call), exchange,
					 &known, err);
	if (result == -EEXIST && is_same(&known, exchange))
		result = 0;
	wl_exchange_release(&known);
	return result;
}

static int append(struct node_record *record, const struct wl_exchange *exchange, struct wl_error *err)
{
	uint64_t give_up_ms = wl_clock_boot_ms() + STORE_WAIT_MS;
	for (;;) {
		int result = append_once(record, exchange, err);
		if (result == 0 || result == -EEXIST || wl_clock_boot_ms() > give_up_ms)
			return result;
		if (node_pause(record->call, LOOK_MS))
			return wl_fail(err, ECANCELED, "stopped while an answer was being kept");
	}
}

/* At least what an exchange takes in the document server: its texts, the answer's beginning once more, its pieces. */
static int64_t bytes_of(const char *place, const char *asked_json, const char *answer_json)
{
	size_t answer = strlen(answer_json), asked = asked_json ? strlen(asked_json) : 0;
	size_t begun = answer < WL_EXCHANGE_TEXT_MAX ? answer : WL_EXCHANGE_TEXT_MAX;
	return (int64_t)(512 + 2 * strlen(place) + (asked < WL_EXCHANGE_REQUEST_MAX ? asked : WL_EXCHANGE_REQUEST_MAX) +
			 answer + begun + answer / WL_EXCHANGE_KEPT * 256);
}

/* Count an answer in; false when there is no room for it. */
static bool has_room(struct node_record *record, const char *answer_json)
{
	size_t length = strlen(answer_json);
	(void)pthread_mutex_lock(&record->lock);
	bool room = record->bytes + length <= RECORD_BYTES_MAX;
	record->bytes += room ? length : 0;
	(void)pthread_mutex_unlock(&record->lock);
	return room;
}

int node_record_put(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
		    const char *asked_json, const char *answer_json, int64_t start_ms, struct wl_error *err)
{
	char full[RECORD_PLACE_MAX];
	if (!record->log)
		return 0;
	if (!has_room(record, answer_json))
		return wl_fail(err, EFBIG, "the node was given answers of more than %u MiB in all",
			       RECORD_BYTES_MAX >> 20);
	(void)full_place(record, place, full);
	int room = take_room_soon(record, bytes_of(full, asked_json, answer_json), err);
	if (room < 0)
		return room;
	struct wl_exchange exchange = { .kind = kind,
					.place = full,
					.request_hash = (char *)hash,
					.request_json = (char *)asked_json,
					.answer_json = (char *)answer_json,
					.start_ms = start_ms,
					.end_ms = wl_clock_wall_ms() };
	int result = append(record, &exchange, err);
	if (result == -EEXIST)
		return wl_fail(err, ESTALE, "another attempt has asked this meanwhile");
	return result == 0 || result == -ECANCELED ? result : wl_fail(err, EIO, "the answer cannot be kept");
}

static void close_round(struct node_record *record, int round, const char *code)
{
	char place[64];
	struct wl_error ignored;
	_wl_json_ struct wl_json *answer = wl_json_object();
	if (!record->log || wl_json_set_string(answer, "code", code) < 0)
		return;
	_wl_free_ char *text = wl_json_print(answer);
	(void)snprintf(place, sizeof(place), ROUND_PREFIX "%d", round);
	struct wl_exchange exchange = { .kind = WL_EXCHANGE_MODEL,
					.place = place,
					.request_hash = "",
					.request_json = "null",
					.answer_json = text,
					.start_ms = wl_clock_wall_ms(),
					.end_ms = wl_clock_wall_ms() };
	if (text)
		(void)append(record, &exchange, &ignored);
}

void node_record_close_round(struct node_record *record, const char *code)
{
	close_round(record, record->round, code);
}
