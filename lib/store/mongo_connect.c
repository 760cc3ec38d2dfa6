#include "lib/store/mongo_connect.h"

#include "lib/base/cleanup.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DUPLICATE_KEY 11000
#define SELECT_MS 3000	/* how long a call looks for the server */
#define SOCKET_MS 20000 /* how long one answer may take */

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

static void driver_begin(void)
{
	mongoc_init();
	/* libraries do not print */
	mongoc_log_set_handler(NULL, NULL);
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

void wl_mongo_session_close(struct wl_mongo_session *session)
{
	if (session->collection)
		mongoc_collection_destroy(session->collection);
	if (session->client)
		mongoc_client_pool_push(session->mongo->pool, session->client);
}

struct wl_mongo_session wl_mongo_session_open(struct wl_mongo *mongo, const char *collection)
{
	struct wl_mongo_session session = { .mongo = mongo, .client = mongoc_client_pool_pop(mongo->pool) };
	session.collection = mongoc_client_get_collection(session.client, mongo->database, collection);
	mongoc_write_concern_t *durable = mongoc_write_concern_new();
	mongoc_write_concern_set_wmajority(durable, SOCKET_MS);
	mongoc_write_concern_set_journal(durable, true);
	mongoc_collection_set_write_concern(session.collection, durable);
	mongoc_write_concern_destroy(durable);
	return session;
}

/* ---- errors -------------------------------------------------------------------------------------------- */

bool wl_mongo_is_document_error(int code)
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

int wl_mongo_failed(const bson_error_t *error, struct wl_error *err)
{
	bool document = error->domain == MONGOC_ERROR_BSON || error->domain == MONGOC_ERROR_COMMAND ||
			(error->domain == MONGOC_ERROR_SERVER && wl_mongo_is_document_error((int)error->code));
	return wl_fail(err, document ? WL_MONGO_DOCUMENT : WL_MONGO_AWAY, "document server: %s", error->message);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Sort the errors of single documents: 0, or -WL_MONGO_AWAY when one of them is not about its document. */
static int read_write_errors(bson_iter_t *list, int count, bool *clash, bool *refused, struct wl_error *err)
{
	bson_iter_t one, field;
	while (bson_iter_next(list)) {
		int index = -1, code = 0;
		if (bson_iter_recurse(list, &one) && bson_iter_find_descendant(&one, "index", &field))
			index = (int)bson_iter_as_int64(&field);
		if (bson_iter_recurse(list, &one) && bson_iter_find_descendant(&one, "code", &field))
			code = (int)bson_iter_as_int64(&field);
		if (index < 0 || index >= count || (code != DUPLICATE_KEY && !wl_mongo_is_document_error(code)))
			return wl_fail(err, WL_MONGO_AWAY, "document server: error %d while results were stored", code);
		(code == DUPLICATE_KEY ? clash : refused)[index] = true;
	}
	return 0;
}

int wl_mongo_insert(struct wl_mongo_session *session, bson_t **documents, int count, bool *clash, bool *refused,
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
		result = wl_mongo_failed(&error, err);
	bson_destroy(&reply);
	bson_destroy(options);
	return result;
}

int64_t wl_mongo_delete(struct wl_mongo_session *session, const bson_t *filter, struct wl_error *err)
{
	bson_t reply = BSON_INITIALIZER;
	bson_error_t error = { 0 };
	bool done = mongoc_collection_delete_many(session->collection, filter, NULL, &reply, &error);
	int64_t deleted = wl_mongo_number(&reply, "deletedCount");
	bson_destroy(&reply);
	return done ? deleted : wl_mongo_failed(&error, err);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

char *wl_mongo_text(const bson_t *document, const char *key)
{
	bson_iter_t field;
	if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_UTF8(&field))
		return NULL;
	uint32_t length = 0;
	const char *text = bson_iter_utf8(&field, &length);
	return strndup(text, length);
}

int64_t wl_mongo_number(const bson_t *document, const char *key)
{
	bson_iter_t field;
	return bson_iter_init_find(&field, document, key) ? bson_iter_as_int64(&field) : 0;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static int ping(struct wl_mongo *mongo, struct wl_error *err)
{
	mongoc_client_t *client = mongoc_client_pool_pop(mongo->pool);
	bson_t *command = BCON_NEW("ping", BCON_INT32(1));
	bson_error_t error = { 0 };
	bool done = mongoc_client_command_simple(client, mongo->database, command, NULL, NULL, &error);
	bson_destroy(command);
	mongoc_client_pool_push(mongo->pool, client);
	return done ? 0 : wl_mongo_failed(&error, err);
}

static void set_default(mongoc_uri_t *uri, const char *option, int32_t ms)
{
	(void)mongoc_uri_set_option_as_int32(uri, option, mongoc_uri_get_option_as_int32(uri, option, ms));
}

int wl_mongo_open(const char *url, struct wl_mongo *ret_mongo, struct wl_error *err)
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
	struct wl_mongo mongo = { .pool = mongoc_client_pool_new(uri) };
	(void)snprintf(mongo.database, sizeof(mongo.database), "%s", database && *database ? database : "windlass");
	mongoc_uri_destroy(uri);
	if (!mongo.pool)
		return wl_fail(err, ENOMEM, "no memory for the document server's client");
	(void)mongoc_client_pool_set_error_api(mongo.pool, MONGOC_ERROR_API_VERSION_2);
	if (ping(&mongo, err) < 0) {
		wl_mongo_close(&mongo);
		return -err->code;
	}
	*ret_mongo = mongo;
	return 0;
}

void wl_mongo_close(struct wl_mongo *mongo)
{
	if (mongo->pool)
		mongoc_client_pool_destroy(mongo->pool);
	mongo->pool = NULL;
}
