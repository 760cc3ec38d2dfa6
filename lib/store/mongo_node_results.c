/*
 * Commit is an insert: the first one wins. Where a placeholder of a resumed attempt stands in the way, an update with
 * the epoch in its filter takes its place, so that an older attempt never matches it.
 */
#include "lib/store/mongo_node_results.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define COLLECTION "node_results"
#define DUPLICATE_KEY 11000
#define ERROR_AWAY ECONNREFUSED /* nothing can be said now: try again later */
#define ERROR_DOCUMENT EIO	/* it is about what was sent: trying again does not help */
#define SELECT_MS 3000		/* how long a call looks for the server */
#define SOCKET_MS 20000		/* how long one answer may take */
#define ID_SIZE (WL_UUID_TEXT + 160)

struct store {
	mongoc_client_pool_t *pool;
	char database[128];
};

/* One call's connection and collection. */
struct session {
	struct store *store;
	mongoc_client_t *client;
	mongoc_collection_t *collection;
};

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

static void driver_begin(void)
{
	mongoc_init();
	/* libraries do not print */
	mongoc_log_set_handler(NULL, NULL);
}

static void session_close(struct session *session)
{
	if (session->collection)
		mongoc_collection_destroy(session->collection);
	if (session->client)
		mongoc_client_pool_push(session->store->pool, session->client);
}

#define _session_ __attribute__((cleanup(session_close)))

static struct session session_of(struct store *store)
{
	struct session session = { .store = store, .client = mongoc_client_pool_pop(store->pool) };
	session.collection = mongoc_client_get_collection(session.client, store->database, COLLECTION);
	mongoc_write_concern_t *durable = mongoc_write_concern_new();
	mongoc_write_concern_set_wmajority(durable, SOCKET_MS);
	mongoc_write_concern_set_journal(durable, true);
	mongoc_collection_set_write_concern(session.collection, durable);
	mongoc_write_concern_destroy(durable);
	return session;
}

/* Is a server's error code about the document itself? Anything else, such as a storage engine that is away, passes. */
static bool document_error(int code)
{
	static const int codes[] = { 2 /* BadValue */,
				     9 /* FailedToParse */,
				     22 /* InvalidBSON */,
				     52 /* DollarPrefixedFieldName */,
				     121 /* DocumentValidationFailure */,
				     10334 /* BSONObjectTooLarge */,
				     17280 /* KeyTooLong */,
				     17419 /* too large after an update */ };
	for (size_t i = 0; i < WL_COUNT_OF(codes); i++)
		if (codes[i] == code)
			return true;
	return false;
}

static int driver_failed(const bson_error_t *error, struct wl_error *err)
{
	bool document = error->domain == MONGOC_ERROR_BSON || error->domain == MONGOC_ERROR_COMMAND ||
			(error->domain == MONGOC_ERROR_SERVER && document_error((int)error->code));
	return wl_fail(err, document ? ERROR_DOCUMENT : ERROR_AWAY, "document server: %s", error->message);
}

void wl_node_result_release(struct wl_node_result *result)
{
	free(result->node_id);
	free(result->handle);
	free(result->inputs_json);
	free(result->outputs_json);
	free(result->error_json);
	free(result->receipt_json);
	free(result->logs_json);
	*result = (struct wl_node_result){ 0 };
}

/* ---- documents --------------------------------------------------------------------------------------- */

static void put_text(bson_t *document, const char *key, const char *text)
{
	if (text)
		bson_append_utf8(document, key, 1, text, -1);
}

/* All fields but _id. */
static void put_fields(bson_t *document, const struct wl_node_result *result)
{
	BSON_APPEND_INT32(document, "t", result->tenant);
	BSON_APPEND_UTF8(document, "e", result->eid);
	BSON_APPEND_UTF8(document, "n", result->node_id);
	BSON_APPEND_INT32(document, "p", result->epoch);
	BSON_APPEND_BOOL(document, "c", result->committed);
	BSON_APPEND_UTF8(document, "s", wl_node_state_name(result->state));
	BSON_APPEND_INT32(document, "a", result->attempt);
	BSON_APPEND_INT64(document, "b", result->start_ms);
	BSON_APPEND_INT64(document, "f", result->end_ms);
	put_text(document, "h", result->handle);
	put_text(document, "i", result->inputs_json);
	put_text(document, "o", result->outputs_json);
	put_text(document, "x", result->error_json);
	put_text(document, "r", result->receipt_json);
	put_text(document, "l", result->logs_json);
}

static const char *id_of(const char *eid, const char *node, char id[ID_SIZE])
{
	(void)snprintf(id, ID_SIZE, "%s/%s", eid, node);
	return id;
}

static bson_t *document_of(const struct wl_node_result *result)
{
	char id[ID_SIZE];
	bson_t *document = bson_new();
	BSON_APPEND_UTF8(document, "_id", id_of(result->eid, result->node_id, id));
	put_fields(document, result);
	return document;
}

static void free_documents(bson_t **documents, int count)
{
	for (int i = 0; i < count; i++)
		bson_destroy(documents[i]);
	free(documents);
}

/* Sort the errors of single documents: 0, or -ERROR_AWAY when one of them is not about its document. */
static int read_write_errors(bson_iter_t *list, int count, bool *clash, bool *refused, struct wl_error *err)
{
	bson_iter_t one, field;
	while (bson_iter_next(list)) {
		int index = -1, code = 0;
		if (bson_iter_recurse(list, &one) && bson_iter_find_descendant(&one, "index", &field))
			index = (int)bson_iter_as_int64(&field);
		if (bson_iter_recurse(list, &one) && bson_iter_find_descendant(&one, "code", &field))
			code = (int)bson_iter_as_int64(&field);
		if (index < 0 || index >= count || (code != DUPLICATE_KEY && !document_error(code)))
			return wl_fail(err, ERROR_AWAY, "document server: error %d while results were stored", code);
		(code == DUPLICATE_KEY ? clash : refused)[index] = true;
	}
	return 0;
}

/*
 * Insert without order. Marks in `clash` the ones whose _id was there, in `refused` those the server does not take.
 * 0, or -errno when nothing can be said.
 */
static int insert_all(struct session *session, bson_t **documents, int count, bool *clash, bool *refused,
		      struct wl_error *err)
{
	bson_t reply = BSON_INITIALIZER;
	bson_error_t error = { 0 };
	bson_t *options = BCON_NEW("ordered", BCON_BOOL(false));
	bool done = mongoc_collection_insert_many(session->collection, (const bson_t **)documents, (size_t)count,
						  options, &reply, &error);
	int result = 0;
	bson_iter_t at, list;
	bool cut_off = error.domain == MONGOC_ERROR_STREAM || error.domain == MONGOC_ERROR_SERVER_SELECTION;
	if (!done && !cut_off && bson_iter_init_find(&at, &reply, "writeErrors") && BSON_ITER_HOLDS_ARRAY(&at) &&
	    bson_iter_recurse(&at, &list))
		result = read_write_errors(&list, count, clash, refused, err);
	else if (!done)
		result = driver_failed(&error, err);
	bson_destroy(&reply);
	bson_destroy(options);
	return result;
}

/* ---- commit ------------------------------------------------------------------------------------------ */

/* What stands under an _id: -ENOENT, or 0 with its epoch and whether it is committed. */
static int look_at(struct session *session, const char *id, int *ret_epoch, bool *ret_committed, struct wl_error *err)
{
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
	bson_t *options =
		BCON_NEW("limit", BCON_INT64(1), "projection", "{", "p", BCON_INT32(1), "c", BCON_INT32(1), "}");
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, options, NULL);
	const bson_t *found = NULL;
	bson_error_t error = { 0 };
	bson_iter_t field;
	int result = 0;
	if (mongoc_cursor_next(cursor, &found)) {
		*ret_epoch = bson_iter_init_find(&field, found, "p") ? (int)bson_iter_as_int64(&field) : 0;
		*ret_committed = bson_iter_init_find(&field, found, "c") && bson_iter_as_bool(&field);
	} else {
		result = mongoc_cursor_error(cursor, &error) ? driver_failed(&error, err)
							     : wl_fail(err, ENOENT, "there is no such result");
	}
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	bson_destroy(options);
	return result;
}

/* Put the result in the place of a placeholder whose epoch is not newer. 1 done, 0 nothing matched, -errno. */
static int replace_placeholder(struct session *session, const struct wl_node_result *item, const char *id,
			       struct wl_error *err)
{
	bson_t *filter =
		BCON_NEW("_id", BCON_UTF8(id), "c", BCON_BOOL(false), "p", "{", "$lte", BCON_INT32(item->epoch), "}");
	bson_t update = BSON_INITIALIZER, fields, reply = BSON_INITIALIZER;
	BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &fields);
	put_fields(&fields, item);
	bson_append_document_end(&update, &fields);
	bson_error_t error = { 0 };
	bson_iter_t matched;
	int result = 0;
	if (!mongoc_collection_update_one(session->collection, filter, &update, NULL, &reply, &error))
		result = driver_failed(&error, err);
	else if (bson_iter_init_find(&matched, &reply, "matchedCount"))
		result = bson_iter_as_int64(&matched) > 0;
	bson_destroy(filter);
	bson_destroy(&update);
	bson_destroy(&reply);
	return result;
}

/* The _id was there already: whose is it? */
static int settle_clash(struct session *session, const struct wl_node_result *item, enum wl_commit_outcome *ret_outcome,
			struct wl_error *err)
{
	char id[ID_SIZE];
	int epoch = 0;
	bool committed = false;
	int result = replace_placeholder(session, item, id_of(item->eid, item->node_id, id), err);
	if (result < 0)
		return result;
	if (result > 0) {
		*ret_outcome = WL_COMMIT_STORED;
		return 0;
	}
	result = look_at(session, id, &epoch, &committed, err);
	if (result < 0)
		return result;
	if (!committed)
		*ret_outcome = WL_COMMIT_FENCED;
	else /* our own write, whose answer was lost, is as good as this one */
		*ret_outcome = epoch == item->epoch ? WL_COMMIT_STORED : WL_COMMIT_KNOWN;
	return 0;
}

static int commit_batch(struct session *session, const struct wl_node_result *items, int count, bool *clash,
			bool *refused, struct wl_error *err)
{
	bson_t **documents = calloc((size_t)count, sizeof(*documents));
	if (!documents)
		return wl_fail(err, ENOMEM, "no memory for %d node results", count);
	for (int i = 0; i < count; i++)
		documents[i] = document_of(&items[i]);
	int result = insert_all(session, documents, count, clash, refused, err);
	free_documents(documents, count);
	return result;
}

/*
 * A batch that failed as a whole though the server is there holds a document it cannot take (too large, not UTF-8):
 * one by one the others get through.
 */
static int commit_singly(struct session *session, const struct wl_node_result *items, int count, bool *clash,
			 bool *refused, struct wl_error *err)
{
	for (int i = 0; i < count; i++) {
		int result = commit_batch(session, &items[i], 1, &clash[i], &refused[i], err);
		if (result == -ERROR_AWAY || result == -ENOMEM)
			return result;
		if (result < 0)
			refused[i] = true;
	}
	return 0;
}

static int store_commit(void *self, const struct wl_node_result *results, int count,
			enum wl_commit_outcome *ret_outcomes, struct wl_error *err)
{
	if (count <= 0)
		return 0;
	_session_ struct session session = session_of(self);
	_wl_free_ bool *clash = calloc((size_t)count * 2, sizeof(bool));
	if (!clash)
		return wl_fail(err, ENOMEM, "no memory for %d node results", count);
	bool *refused = clash + count;
	int result = commit_batch(&session, results, count, clash, refused, err);
	if (result == -ERROR_DOCUMENT)
		result = commit_singly(&session, results, count, clash, refused, err);
	for (int i = 0; i < count && result == 0; i++) {
		ret_outcomes[i] = refused[i] ? WL_COMMIT_FAILED : WL_COMMIT_STORED;
		if (clash[i])
			result = settle_clash(&session, &results[i], &ret_outcomes[i], err);
	}
	return result;
}

/* ---- load and seal ------------------------------------------------------------------------------------- */

static char *text_of(const bson_t *document, const char *key)
{
	bson_iter_t field;
	if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_UTF8(&field))
		return NULL;
	uint32_t length = 0;
	const char *text = bson_iter_utf8(&field, &length);
	return strndup(text, length);
}

static int64_t number_of(const bson_t *document, const char *key)
{
	bson_iter_t field;
	return bson_iter_init_find(&field, document, key) ? bson_iter_as_int64(&field) : 0;
}

static void read_document(const bson_t *document, struct wl_node_result *result)
{
	_wl_free_ char *eid = text_of(document, "e");
	_wl_free_ char *state = text_of(document, "s");
	int known = state ? wl_node_state_of(state) : -1;
	*result = (struct wl_node_result){
		.tenant = (int)number_of(document, "t"),
		.node_id = text_of(document, "n"),
		.epoch = (int)number_of(document, "p"),
		.committed = number_of(document, "c") != 0,
		.state = known < 0 ? WL_NODE_PENDING : (enum wl_node_state)known,
		.attempt = (int)number_of(document, "a"),
		.start_ms = number_of(document, "b"),
		.end_ms = number_of(document, "f"),
		.handle = text_of(document, "h"),
		.inputs_json = text_of(document, "i"),
		.outputs_json = text_of(document, "o"),
		.error_json = text_of(document, "x"),
		.receipt_json = text_of(document, "r"),
		.logs_json = text_of(document, "l"),
	};
	(void)snprintf(result->eid, sizeof(result->eid), "%s", eid ? eid : "");
}

static int read_cursor(mongoc_cursor_t *cursor, struct wl_node_result **list, int *count, struct wl_error *err)
{
	const bson_t *document = NULL;
	bson_error_t error = { 0 };
	int room = 0;
	while (mongoc_cursor_next(cursor, &document)) {
		if (*count == room) {
			room = room ? room * 2 : 16;
			struct wl_node_result *grown = realloc(*list, (size_t)room * sizeof(*grown));
			if (!grown)
				return wl_fail(err, ENOMEM, "no memory for the results of an execution");
			*list = grown;
		}
		read_document(document, &(*list)[*count]);
		if ((*list)[*count].node_id)
			(*count)++;
		else
			wl_node_result_release(&(*list)[*count]);
	}
	return mongoc_cursor_error(cursor, &error) ? driver_failed(&error, err) : 0;
}

static int store_load(void *self, int tenant, const char *eid, struct wl_node_result **ret_results,
		      struct wl_error *err)
{
	_session_ struct session session = session_of(self);
	struct wl_node_result *list = NULL;
	int count = 0;
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, NULL, NULL);
	int result = read_cursor(cursor, &list, &count, err);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	if (result < 0) {
		for (int i = 0; i < count; i++)
			wl_node_result_release(&list[i]);
		free(list);
		return result;
	}
	*ret_results = list;
	return count;
}

static int raise_placeholders(struct session *session, int tenant, const char *eid, int epoch, struct wl_error *err)
{
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant), "c", BCON_BOOL(false), "p", "{", "$lt",
				  BCON_INT32(epoch), "}");
	bson_t *update = BCON_NEW("$set", "{", "p", BCON_INT32(epoch), "}");
	bson_error_t error = { 0 };
	bool done = mongoc_collection_update_many(session->collection, filter, update, NULL, NULL, &error);
	bson_destroy(filter);
	bson_destroy(update);
	return done ? 0 : driver_failed(&error, err);
}

static int store_seal(void *self, int tenant, const char *eid, const char *const *node_ids, int count, int epoch,
		      struct wl_error *err)
{
	if (count <= 0)
		return 0;
	_session_ struct session session = session_of(self);
	_wl_free_ struct wl_node_result *seals = calloc((size_t)count, sizeof(*seals));
	_wl_free_ bool *marks = calloc((size_t)count * 2, sizeof(bool));
	if (!seals || !marks)
		return wl_fail(err, ENOMEM, "no memory to seal %d nodes", count);
	for (int i = 0; i < count; i++) {
		seals[i].tenant = tenant;
		seals[i].epoch = epoch;
		seals[i].node_id = (char *)node_ids[i];
		(void)snprintf(seals[i].eid, sizeof(seals[i].eid), "%s", eid);
	}
	int result = commit_batch(&session, seals, count, marks, marks + count, err);
	for (int i = 0; i < count && result == 0; i++)
		if (marks[count + i])
			result = wl_fail(err, EIO, "document server: a node could not be sealed");
	return result < 0 ? result : raise_placeholders(&session, tenant, eid, epoch, err);
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static void store_close(void *self)
{
	struct store *store = self;
	mongoc_client_pool_destroy(store->pool);
	free(store);
}

static int ping(struct store *store, struct wl_error *err)
{
	mongoc_client_t *client = mongoc_client_pool_pop(store->pool);
	bson_t *command = BCON_NEW("ping", BCON_INT32(1));
	bson_error_t error = { 0 };
	bool done = mongoc_client_command_simple(client, store->database, command, NULL, NULL, &error);
	bson_destroy(command);
	mongoc_client_pool_push(store->pool, client);
	return done ? 0 : driver_failed(&error, err);
}

static void set_default(mongoc_uri_t *uri, const char *option, int32_t ms)
{
	(void)mongoc_uri_set_option_as_int32(uri, option, mongoc_uri_get_option_as_int32(uri, option, ms));
}

int mongo_node_results_open(const char *url, struct wl_node_results *ret_store, struct wl_error *err)
{
	(void)pthread_once(&driver_once, driver_begin);
	bson_error_t error = { 0 };
	mongoc_uri_t *uri = mongoc_uri_new_with_error(url, &error);
	if (!uri)
		return wl_fail(err, EINVAL, "the document server's URL is of no use: %s", error.message);
	set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, SELECT_MS);
	set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, SELECT_MS);
	set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, SOCKET_MS);
	const char *database = mongoc_uri_get_database(uri);
	struct store *store = calloc(1, sizeof(*store));
	mongoc_client_pool_t *pool = mongoc_client_pool_new(uri);
	if (!store || !pool) {
		free(store);
		mongoc_uri_destroy(uri);
		return wl_fail(err, ENOMEM, "no memory for the document server's client");
	}
	(void)mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
	store->pool = pool;
	(void)snprintf(store->database, sizeof(store->database), "%s", database && *database ? database : "windlass");
	mongoc_uri_destroy(uri);
	if (ping(store, err) < 0) {
		store_close(store);
		return -err->code;
	}
	*ret_store = (struct wl_node_results){ store, store_commit, store_load, store_seal, store_close };
	return 0;
}
