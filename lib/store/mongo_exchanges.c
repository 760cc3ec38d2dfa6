#include "lib/store/mongo_exchanges.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "lib/model/flow_graph.h"
#include "lib/store/mongo_connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTION "exchanges"
#define LOAD_BATCH 8 /* documents of one message: each may hold WL_EXCHANGE_KEPT and a request */
#define PLACE_MAX 400
#define ID_SIZE (WL_UUID_TEXT + WL_NODE_PATH_MAX + PLACE_MAX + 3)

/* ---- documents --------------------------------------------------------------------------------------------------- */

static const char *id_of(const char *eid, const char *node, const char *place, char id[ID_SIZE])
{
	(void)snprintf(id, ID_SIZE, "%s/%s/%s", eid, node, place);
	return id;
}

/* The longest beginning of `text` of at most `most` bytes that ends with a whole UTF-8 character. */
static size_t whole_characters(const char *text, size_t most)
{
	size_t length = strnlen(text, most + 1);
	if (length <= most)
		return length;
	length = most;
	while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

/* What exchanges and pieces share. */
static bson_t *begin_document(const char *id, int tenant, const char *eid, const char *node)
{
	bson_t *document = bson_new();
	BSON_APPEND_UTF8(document, "_id", id);
	BSON_APPEND_INT32(document, "t", tenant);
	BSON_APPEND_UTF8(document, "e", eid);
	BSON_APPEND_UTF8(document, "n", node);
	return document;
}

static bool copy_member(struct wl_json *to, const struct wl_json *from, const char *name)
{
	const struct wl_json *member = wl_json_get(from, name);
	struct wl_json *copy = member ? wl_json_copy(member) : NULL;
	return !member || (copy && wl_json_set(to, name, copy) == 0);
}

/* Its text, or its output printed, cut; false without memory. */
static bool copy_text(struct wl_json *to, const struct wl_json *answer)
{
	const struct wl_json *output = wl_json_get(answer, "output");
	_wl_free_ char *printed = output ? wl_json_print(output) : NULL;
	const char *text = wl_json_get_string(answer, "text", printed);
	_wl_free_ char *cut = text ? strndup(text, whole_characters(text, WL_EXCHANGE_TEXT_MAX)) : NULL;
	return (!output || printed) && (!text || cut) && (!cut || wl_json_set_string(to, "text", cut) == 0);
}

/* What people want to know of an answer in short; NULL without memory. */
static char *summary_of(const char *answer_json)
{
	static const char *const members[] = { "model", "usage", "cost", "code", "message" };
	_wl_json_ struct wl_json *answer = NULL;
	_wl_json_ struct wl_json *summary = wl_json_object();
	if (!summary)
		return NULL;
	if (answer_json && wl_json_parse(answer_json, strlen(answer_json), &answer, NULL) == 0) {
		for (size_t i = 0; i < WL_COUNT_OF(members); i++)
			if (!copy_member(summary, answer, members[i]))
				return NULL;
		if (!copy_text(summary, answer))
			return NULL;
	}
	return wl_json_print(summary);
}

/* `writer` NULL: the answer is in the document. */
static bson_t *document_of(int tenant, const char *eid, const char *node, const struct wl_exchange *exchange,
			   const char *writer)
{
	char id[ID_SIZE];
	bson_t *document = begin_document(id_of(eid, node, exchange->place, id), tenant, eid, node);
	BSON_APPEND_INT32(document, "k", (int)exchange->kind);
	BSON_APPEND_UTF8(document, "l", exchange->place);
	BSON_APPEND_UTF8(document, "h", exchange->request_hash ? exchange->request_hash : "");
	if (exchange->request_json)
		bson_append_utf8(document, "q", 1, exchange->request_json,
				 (int)whole_characters(exchange->request_json, WL_EXCHANGE_REQUEST_MAX));
	BSON_APPEND_INT64(document, "b", exchange->start_ms);
	BSON_APPEND_INT64(document, "f", exchange->end_ms);
	BSON_APPEND_INT64(document, "z", exchange->answer_json ? (int64_t)strlen(exchange->answer_json) : 0);
	_wl_free_ char *summary = summary_of(exchange->answer_json);
	if (summary)
		BSON_APPEND_UTF8(document, "s", summary);
	if (writer)
		BSON_APPEND_UTF8(document, "w", writer);
	else if (exchange->answer_json)
		BSON_APPEND_UTF8(document, "a", exchange->answer_json);
	return document;
}

static int insert_one(struct wl_mongo_session *session, bson_t *document, bool *ret_clash, struct wl_error *err)
{
	bool refused = false;
	int r = wl_mongo_insert(session, &document, 1, ret_clash, &refused, err);
	bson_destroy(document);
	return r == 0 && refused ? wl_fail(err, WL_MONGO_DOCUMENT, "document server: an exchange was refused") : r;
}

/* ---- append ------------------------------------------------------------------------------------------------------ */

static int insert_pieces(struct wl_mongo_session *session, int tenant, const char *eid, const char *node,
			 const char *answer, const char *writer, struct wl_error *err)
{
	int count = 0;
	for (const char *at = answer; *at; count++) {
		char id[2 * WL_UUID_TEXT + 16];
		bool clash = false;
		size_t length = whole_characters(at, WL_EXCHANGE_KEPT);
		(void)snprintf(id, sizeof(id), "%s|%s|%d", eid, writer, count);
		bson_t *piece = begin_document(id, tenant, eid, node);
		BSON_APPEND_UTF8(piece, "o", writer);
		BSON_APPEND_INT32(piece, "i", count);
		bson_append_utf8(piece, "a", 1, at, (int)length);
		int r = insert_one(session, piece, &clash, err);
		if (r < 0)
			return r;
		at += length;
	}
	return 0;
}

static void drop_pieces(struct wl_mongo_session *session, int tenant, const char *eid, const char *writer)
{
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant), "o", BCON_UTF8(writer));
	(void)wl_mongo_delete(session, filter, NULL);
	bson_destroy(filter);
}

static int read_one(struct wl_mongo_session *session, int tenant, const char *eid, const char *id,
		    struct wl_exchange *ret_exchange, struct wl_error *err);

static bool is_utf8(const char *text)
{
	return !text || bson_utf8_validate(text, strlen(text), false);
}

static int check(const char *node, const struct wl_exchange *exchange, struct wl_error *err)
{
	size_t length = exchange->answer_json ? strlen(exchange->answer_json) : 0;
	if (!exchange->place || strlen(exchange->place) > PLACE_MAX || strlen(node) > WL_NODE_PATH_MAX)
		return wl_fail(err, EINVAL, "an exchange has no place, or a longer one than %d bytes", PLACE_MAX);
	if (length > WL_EXCHANGE_ANSWER_MAX)
		return wl_fail(err, EMSGSIZE, "an answer of %zu bytes is not recorded", length);
	if (!is_utf8(exchange->place) || !is_utf8(exchange->request_json) || !is_utf8(exchange->answer_json))
		return wl_fail(err, EINVAL, "an exchange is no UTF-8");
	return 0;
}

static int store_append(void *self, int tenant, const char *eid, const char *node, const struct wl_exchange *exchange,
			struct wl_exchange *ret_known, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	size_t length = exchange->answer_json ? strlen(exchange->answer_json) : 0;
	bool clash = false, pieces = length > WL_EXCHANGE_KEPT;
	char writer[WL_UUID_TEXT], id[ID_SIZE];
	if (check(node, exchange, err) < 0)
		return -err->code;
	(void)wl_uuid7(wl_clock_wall_ms(), writer);
	int r = pieces ? insert_pieces(&session, tenant, eid, node, exchange->answer_json, writer, err) : 0;
	if (r == 0)
		r = insert_one(&session, document_of(tenant, eid, node, exchange, pieces ? writer : NULL), &clash, err);
	if (pieces && (clash || r == -WL_MONGO_DOCUMENT))
		drop_pieces(&session, tenant, eid, writer);
	if (r < 0 || !clash)
		return r;
	(void)id_of(eid, node, exchange->place, id);
	if (ret_known)
		r = read_one(&session, tenant, eid, id, ret_known, err);
	return r < 0 ? r : wl_fail(err, EEXIST, "%.200s is on record", exchange->place);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static char *beginning(const bson_t *document, const char *key, size_t most)
{
	bson_iter_t field;
	uint32_t length = 0;
	if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_UTF8(&field))
		return NULL;
	const char *text = bson_iter_utf8(&field, &length);
	return strndup(text, whole_characters(text, most));
}

/* All but the answer. */
static void read_head(const bson_t *document, size_t text_max, struct wl_exchange *ret_exchange)
{
	*ret_exchange = (struct wl_exchange){
		.kind = (enum wl_exchange_kind)wl_mongo_number(document, "k"),
		.place = wl_mongo_text(document, "l"),
		.request_hash = wl_mongo_text(document, "h"),
		.request_json = beginning(document, "q", text_max),
		.start_ms = wl_mongo_number(document, "b"),
		.end_ms = wl_mongo_number(document, "f"),
	};
}

/* Put the pieces of an answer together that has `size` bytes. */
static int read_pieces(struct wl_mongo_session *session, int tenant, const char *eid, const char *writer, size_t size,
		       char **ret_answer, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer answer;
	wl_buffer_init(&answer, 0);
	for (size_t i = 0; answer.length < size; i++) {
		char id[2 * WL_UUID_TEXT + 16];
		(void)snprintf(id, sizeof(id), "%s|%s|%zu", eid, writer, i);
		bson_t *filter = BCON_NEW("_id", BCON_UTF8(id), "t", BCON_INT32(tenant));
		mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, NULL, NULL);
		const bson_t *piece = NULL;
		bson_error_t error = { 0 };
		int r = 0;
		if (mongoc_cursor_next(cursor, &piece)) {
			_wl_free_ char *text = wl_mongo_text(piece, "a");
			r = text ? wl_buffer_append_text(&answer, text) : -ENOMEM;
		} else {
			r = mongoc_cursor_error(cursor, &error)
				    ? wl_mongo_failed(&error, err)
				    : wl_fail(err, WL_MONGO_DOCUMENT, "a piece of an answer is not there");
		}
		mongoc_cursor_destroy(cursor);
		bson_destroy(filter);
		if (r < 0)
			return r == -ENOMEM ? wl_fail(err, ENOMEM, "no memory for an answer") : r;
	}
	*ret_answer = wl_buffer_steal(&answer);
	return *ret_answer ? 0 : wl_fail(err, ENOMEM, "no memory for an answer");
}

static int read_answer(struct wl_mongo_session *session, const bson_t *document, int tenant, const char *eid,
		       struct wl_exchange *exchange, struct wl_error *err)
{
	_wl_free_ char *writer = wl_mongo_text(document, "w");
	if (writer)
		return read_pieces(session, tenant, eid, writer, (size_t)wl_mongo_number(document, "z"),
				   &exchange->answer_json, err);
	exchange->answer_json = wl_mongo_text(document, "a");
	return 0;
}

static int read_one(struct wl_mongo_session *session, int tenant, const char *eid, const char *id,
		    struct wl_exchange *ret_exchange, struct wl_error *err)
{
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(id), "t", BCON_INT32(tenant));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, NULL, NULL);
	const bson_t *document = NULL;
	bson_error_t error = { 0 };
	int r;
	if (mongoc_cursor_next(cursor, &document)) {
		read_head(document, WL_EXCHANGE_REQUEST_MAX, ret_exchange);
		r = read_answer(session, document, tenant, eid, ret_exchange, err);
		if (r < 0)
			wl_exchange_release(ret_exchange);
	} else {
		r = mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err)
							: wl_fail(err, ENOENT, "there is no such exchange");
	}
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	return r;
}

int wl_mongo_exchange_read(const struct wl_exchange_log *log, int tenant, const char *eid, const char *node,
			   const char *place, struct wl_exchange *ret_exchange, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(log->self, COLLECTION);
	char id[ID_SIZE];
	return read_one(&session, tenant, eid, id_of(eid, node, place, id), ret_exchange, err);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

struct exchange_list {
	struct wl_exchange *items;
	int count, room;
};

static void release_list(struct exchange_list *list)
{
	for (int i = 0; i < list->count; i++)
		wl_exchange_release(&list->items[i]);
	free(list->items);
	*list = (struct exchange_list){ 0 };
}

static struct wl_exchange *grow(struct exchange_list *list)
{
	if (list->count == list->room) {
		int room = list->room ? list->room * 2 : 16;
		struct wl_exchange *grown = realloc(list->items, (size_t)room * sizeof(*grown));
		if (!grown)
			return NULL;
		list->items = grown;
		list->room = room;
	}
	return &list->items[list->count];
}

static int compare_beginnings(const void *a, const void *b)
{
	const struct wl_exchange *left = a, *right = b;
	if (left->start_ms != right->start_ms)
		return left->start_ms < right->start_ms ? -1 : 1;
	return strcmp(left->place, right->place);
}

static int load_cursor(struct wl_mongo_session *session, mongoc_cursor_t *cursor, int tenant, const char *eid,
		       struct exchange_list *list, struct wl_error *err)
{
	const bson_t *document = NULL;
	bson_error_t error = { 0 };
	while (mongoc_cursor_next(cursor, &document)) {
		struct wl_exchange *item = grow(list);
		if (!item)
			return wl_fail(err, ENOMEM, "no memory for the exchanges of a node");
		read_head(document, WL_EXCHANGE_REQUEST_MAX, item);
		list->count++;
		if (!item->place || !item->request_hash)
			return wl_fail(err, WL_MONGO_DOCUMENT, "an exchange on record has no place");
		int r = read_answer(session, document, tenant, eid, item, err);
		if (r < 0)
			return r;
	}
	return mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : 0;
}

static int store_load(void *self, int tenant, const char *eid, const char *node, struct wl_exchange **ret_exchanges,
		      struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	struct exchange_list list = { 0 };
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant), "n", BCON_UTF8(node), "k", "{",
				  "$exists", BCON_BOOL(true), "}");
	bson_t *options = BCON_NEW("batchSize", BCON_INT64(LOAD_BATCH));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, options, NULL);
	int r = load_cursor(&session, cursor, tenant, eid, &list, err);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	bson_destroy(options);
	if (r < 0) {
		release_list(&list);
		return r;
	}
	if (list.count)
		qsort(list.items, (size_t)list.count, sizeof(*list.items), compare_beginnings);
	*ret_exchanges = list.items;
	return list.count;
}

/* ---- pages for people -------------------------------------------------------------------------------------------- */

void wl_exchange_entry_release(struct wl_exchange_entry *entry)
{
	wl_exchange_release(&entry->exchange);
	free(entry->node);
	free(entry->summary_json);
	*entry = (struct wl_exchange_entry){ 0 };
}

/* Pieces have no kind. */
static bson_t *page_filter(int tenant, const char *eid, const char *node, const char *after)
{
	bson_t *filter =
		BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant), "k", "{", "$exists", BCON_BOOL(true), "}");
	if (node)
		BSON_APPEND_UTF8(filter, "n", node);
	if (after) {
		char id[ID_SIZE];
		bson_t range;
		(void)snprintf(id, sizeof(id), "%s/%s", eid, after);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
		BSON_APPEND_UTF8(&range, "$gt", id);
		bson_append_document_end(filter, &range);
	}
	return filter;
}

int wl_mongo_exchanges_page(const struct wl_exchange_log *log, int tenant, const char *eid, const char *node,
			    const char *after, int limit, struct wl_exchange_entry **ret_entries, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(log->self, COLLECTION);
	struct wl_exchange_entry *entries = calloc((size_t)limit, sizeof(*entries));
	if (!entries)
		return wl_fail(err, ENOMEM, "no memory for a page of exchanges");
	bson_t *filter = page_filter(tenant, eid, node, after);
	bson_t *options = BCON_NEW("limit", BCON_INT64(limit), "sort", "{", "_id", BCON_INT32(1), "}", "projection",
				   "{", "a", BCON_INT32(0), "}");
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, options, NULL);
	const bson_t *document = NULL;
	bson_error_t error = { 0 };
	int count = 0;
	for (; count < limit && mongoc_cursor_next(cursor, &document); count++) {
		read_head(document, WL_EXCHANGE_TEXT_MAX, &entries[count].exchange);
		entries[count].node = wl_mongo_text(document, "n");
		entries[count].summary_json = wl_mongo_text(document, "s");
		entries[count].answer_bytes = wl_mongo_number(document, "z");
	}
	bool failed = mongoc_cursor_error(cursor, &error);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	bson_destroy(options);
	if (!failed) {
		*ret_entries = entries;
		return count;
	}
	while (count > 0)
		wl_exchange_entry_release(&entries[--count]);
	free(entries);
	return wl_mongo_failed(&error, err);
}

/* ---- drop, open and close ------------------------------------------------------------------------------------------
 */

static int drop(struct wl_mongo *mongo, bson_t *filter, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(mongo, COLLECTION);
	int64_t dropped = wl_mongo_delete(&session, filter, err);
	bson_destroy(filter);
	return dropped < 0 ? (int)dropped : 0;
}

static int store_drop_execution(void *self, int tenant, const char *eid, struct wl_error *err)
{
	return drop(self, BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant)), err);
}

static int store_drop_tenant(void *self, int tenant, struct wl_error *err)
{
	return drop(self, BCON_NEW("t", BCON_INT32(tenant)), err);
}

static void store_close(void *self)
{
	wl_mongo_close(self);
	free(self);
}

int wl_mongo_exchanges_open(const char *url, struct wl_exchange_log *ret_log, struct wl_error *err)
{
	struct wl_mongo *mongo = calloc(1, sizeof(*mongo));
	if (!mongo)
		return wl_fail(err, ENOMEM, "no memory for the document server's client");
	int r = wl_mongo_open(url, mongo, err);
	if (r < 0) {
		free(mongo);
		return r;
	}
	*ret_log = (struct wl_exchange_log){ .self = mongo,
					     .load = store_load,
					     .append = store_append,
					     .drop_execution = store_drop_execution,
					     .drop_tenant = store_drop_tenant,
					     .close = store_close };
	return 0;
}
