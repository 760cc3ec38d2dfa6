/*
 * Commit is an insert: the first one wins. Where a placeholder of a resumed attempt stands in the way, an update with
 * the epoch in its filter takes its place, so that an older attempt never matches it.
 */
#include "lib/store/mongo_node_results.h"

#include "lib/base/cleanup.h"
#include "lib/model/flow_graph.h"
#include "lib/store/mongo_connect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLLECTION "node_results"
#define LOAD_BATCH 10 /* results of the largest size stay below the 48 MB that one message may have */
#define ID_SIZE (WL_UUID_TEXT + WL_NODE_PATH_MAX + 2)

void wl_node_result_release(struct wl_node_result *result)
{
	free(result->node_id);
	free(result->handle);
	free(result->inputs_json);
	free(result->outputs_json);
	free(result->error_json);
	free(result->receipt_json);
	free(result->logs_json);
	free(result->trace_json);
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
	put_text(document, "d", result->trace_json);
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

/* ---- commit ------------------------------------------------------------------------------------------ */

/* What stands under an _id: -ENOENT, or 0 with its epoch and whether it is committed. */
static int look_at(struct wl_mongo_session *session, const char *id, int *ret_epoch, bool *ret_committed,
		   struct wl_error *err)
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
		result = mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err)
							     : wl_fail(err, ENOENT, "there is no such result");
	}
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	bson_destroy(options);
	return result;
}

/* Put the result in the place of a placeholder whose epoch is not newer. 1 done, 0 nothing matched, -errno. */
static int replace_placeholder(struct wl_mongo_session *session, const struct wl_node_result *item, const char *id,
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
		result = wl_mongo_failed(&error, err);
	else if (bson_iter_init_find(&matched, &reply, "matchedCount"))
		result = bson_iter_as_int64(&matched) > 0;
	bson_destroy(filter);
	bson_destroy(&update);
	bson_destroy(&reply);
	return result;
}

/* The _id was there already: whose is it? */
static int settle_clash(struct wl_mongo_session *session, const struct wl_node_result *item,
			enum wl_commit_outcome *ret_outcome, struct wl_error *err)
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

static int commit_batch(struct wl_mongo_session *session, const struct wl_node_result *items, int count, bool *clash,
			bool *refused, struct wl_error *err)
{
	bson_t **documents = calloc((size_t)count, sizeof(*documents));
	if (!documents)
		return wl_fail(err, ENOMEM, "no memory for %d node results", count);
	for (int i = 0; i < count; i++)
		documents[i] = document_of(&items[i]);
	int result = wl_mongo_insert(session, documents, count, clash, refused, err);
	free_documents(documents, count);
	return result;
}

/*
 * A batch that failed as a whole though the server is there holds a document it cannot take (too large, not UTF-8):
 * one by one the others get through.
 */
static int commit_singly(struct wl_mongo_session *session, const struct wl_node_result *items, int count, bool *clash,
			 bool *refused, struct wl_error *err)
{
	for (int i = 0; i < count; i++) {
		int result = commit_batch(session, &items[i], 1, &clash[i], &refused[i], err);
		if (result == -WL_MONGO_AWAY || result == -ENOMEM)
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
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	_wl_free_ bool *clash = calloc((size_t)count * 2, sizeof(bool));
	if (!clash)
		return wl_fail(err, ENOMEM, "no memory for %d node results", count);
	bool *refused = clash + count;
	int result = commit_batch(&session, results, count, clash, refused, err);
	if (result == -WL_MONGO_DOCUMENT)
		result = commit_singly(&session, results, count, clash, refused, err);
	for (int i = 0; i < count && result == 0; i++) {
		ret_outcomes[i] = refused[i] ? WL_COMMIT_FAILED : WL_COMMIT_STORED;
		if (clash[i])
			result = settle_clash(&session, &results[i], &ret_outcomes[i], err);
	}
	return result;
}

/* ---- load and seal ------------------------------------------------------------------------------------- */

static void read_document(const bson_t *document, struct wl_node_result *result)
{
	_wl_free_ char *eid = wl_mongo_text(document, "e");
	_wl_free_ char *state = wl_mongo_text(document, "s");
	int known = state ? wl_node_state_of(state) : -1;
	*result = (struct wl_node_result){
		.tenant = (int)wl_mongo_number(document, "t"),
		.node_id = wl_mongo_text(document, "n"),
		.epoch = (int)wl_mongo_number(document, "p"),
		.committed = wl_mongo_number(document, "c") != 0,
		.state = known < 0 ? WL_NODE_PENDING : (enum wl_node_state)known,
		.attempt = (int)wl_mongo_number(document, "a"),
		.start_ms = wl_mongo_number(document, "b"),
		.end_ms = wl_mongo_number(document, "f"),
		.handle = wl_mongo_text(document, "h"),
		.inputs_json = wl_mongo_text(document, "i"),
		.outputs_json = wl_mongo_text(document, "o"),
		.error_json = wl_mongo_text(document, "x"),
		.receipt_json = wl_mongo_text(document, "r"),
		.logs_json = wl_mongo_text(document, "l"),
		.trace_json = wl_mongo_text(document, "d"),
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
	return mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : 0;
}

static int store_load(void *self, int tenant, const char *eid, struct wl_node_result **ret_results,
		      struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	struct wl_node_result *list = NULL;
	int count = 0;
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant));
	bson_t *options = BCON_NEW("batchSize", BCON_INT64(LOAD_BATCH));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, options, NULL);
	int result = read_cursor(cursor, &list, &count, err);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	bson_destroy(options);
	if (result < 0) {
		for (int i = 0; i < count; i++)
			wl_node_result_release(&list[i]);
		free(list);
		return result;
	}
	*ret_results = list;
	return count;
}

static int raise_placeholders(struct wl_mongo_session *session, int tenant, const char *eid, int epoch,
			      struct wl_error *err)
{
	bson_t *filter = BCON_NEW("e", BCON_UTF8(eid), "t", BCON_INT32(tenant), "c", BCON_BOOL(false), "p", "{", "$lt",
				  BCON_INT32(epoch), "}");
	bson_t *update = BCON_NEW("$set", "{", "p", BCON_INT32(epoch), "}");
	bson_error_t error = { 0 };
	bool done = mongoc_collection_update_many(session->collection, filter, update, NULL, NULL, &error);
	bson_destroy(filter);
	bson_destroy(update);
	return done ? 0 : wl_mongo_failed(&error, err);
}

static int store_seal(void *self, int tenant, const char *eid, const char *const *node_ids, int count, int epoch,
		      struct wl_error *err)
{
	if (count <= 0)
		return 0;
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
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

/* ---- open and close ------------------------------------------------------------------------------------ */

static void store_close(void *self)
{
	wl_mongo_close(self);
	free(self);
}

int mongo_node_results_open(const char *url, struct wl_node_results *ret_store, struct wl_error *err)
{
	struct wl_mongo *mongo = calloc(1, sizeof(*mongo));
	if (!mongo)
		return wl_fail(err, ENOMEM, "no memory for the document server's client");
	int result = wl_mongo_open(url, mongo, err);
	if (result < 0) {
		free(mongo);
		return result;
	}
	*ret_store = (struct wl_node_results){ .self = mongo,
					       .commit = store_commit,
					       .load = store_load,
					       .seal = store_seal,
					       .drop_execution = store_drop_execution,
					       .drop_tenant = store_drop_tenant,
					       .close = store_close };
	return 0;
}
