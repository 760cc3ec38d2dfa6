/*
 * Memories are few enough for one owner (WL_MEMORY_KEPT) that all their vectors are looked at: an exact search of 2,000
 * vectors takes a few milliseconds, and no server of ours has an index for nearness.
 * Documents: _id "<tenant>/<owner>/<hash of the key>", t, o the owner, x the text, v the vector's bytes, a when, ms, z
 * what it counts for in the tenant's storage.
 * Vectors of knowledge lie beside them with the owner "vectors": v those of all texts, d numbers in each.
 */
#include "lib/store/mongo_crew_memory.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/store/mongo_connect.h"

#include <errno.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#define COLLECTION "crew_memory"
#define ID_SIZE 256
#define FOUND_MAX 64 /* of one search */
#define VECTORS "vectors"

struct found {
	double score;
	char *text;
};

static const char *id_of(int tenant, const char *owner, const char *key, char id[ID_SIZE])
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(digest) + 1];
	(void)crypto_hash_sha256(digest, (const unsigned char *)key, strlen(key));
	(void)snprintf(id, ID_SIZE, "%d/%.64s/%s", tenant, owner,
		       sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
	return id;
}

/* The cosine of the angle between a stored vector and `vector`; false when it is another model's. */
static bool nearness(const bson_t *document, const float *vector, size_t dimensions, double *ret_score)
{
	bson_iter_t field;
	bson_subtype_t subtype;
	const uint8_t *bytes = NULL;
	uint32_t length = 0;
	double dot = 0, mine = 0, theirs = 0;
	if (!bson_iter_init_find(&field, document, "v") || !BSON_ITER_HOLDS_BINARY(&field))
		return false;
	bson_iter_binary(&field, &subtype, &length, &bytes);
	if (length != dimensions * sizeof(float))
		return false;
	for (size_t i = 0; i < dimensions; i++) {
		float value;
		memcpy(&value, bytes + i * sizeof(value), sizeof(value));
		dot += (double)value * (double)vector[i];
		mine += (double)vector[i] * (double)vector[i];
		theirs += (double)value * (double)value;
	}
	*ret_score = mine > 0 && theirs > 0 ? dot / sqrt(mine * theirs) : 0;
	return true;
}

/* Keep the best, in order; `best` has room for `most`. Takes the text over. */
static void keep_best(struct found *best, int *count, int most, double score, char *text)
{
	int place = *count;
	while (place > 0 && best[place - 1].score < score)
		place--;
	if (place >= most || !text) {
		free(text);
		return;
	}
	if (*count == most)
		free(best[most - 1].text);
	else
		(*count)++;
	memmove(best + place + 1, best + place, (size_t)(*count - place - 1) * sizeof(*best));
	best[place] = (struct found){ score, text };
}

static char *found_text(const struct found *best, int count)
{
	_wl_buffer_ struct wl_buffer json;
	wl_buffer_init(&json, 0);
	(void)wl_buffer_append_char(&json, '[');
	for (int i = 0; i < count; i++) {
		(void)wl_buffer_append_text(&json, i > 0 ? ",{\"text\":" : "{\"text\":");
		(void)wl_buffer_append_json_string(&json, best[i].text, strlen(best[i].text));
		(void)wl_buffer_appendf(&json, ",\"score\":%.6f}", best[i].score);
	}
	(void)wl_buffer_append_char(&json, ']');
	return json.failed ? NULL : wl_buffer_steal(&json);
}

static bson_t *owned_by(int tenant, const char *owner)
{
	return BCON_NEW("t", BCON_INT32(tenant), "o", BCON_UTF8(owner));
}

static int recall(void *self, int tenant, const char *owner, const float *vector, size_t dimensions, int count,
		  char **ret_json, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	struct found best[FOUND_MAX];
	int kept = 0, most = count < FOUND_MAX ? count : FOUND_MAX;
	bson_error_t error = { 0 };
	const bson_t *document = NULL;
	bson_t *filter = owned_by(tenant, owner);
	bson_t *options = BCON_NEW("limit", BCON_INT64(WL_MEMORY_KEPT + 1));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, options, NULL);
	while (mongoc_cursor_next(cursor, &document)) {
		double score = 0;
		if (nearness(document, vector, dimensions, &score) && (kept < most || score > best[kept - 1].score))
			keep_best(best, &kept, most, score, wl_mongo_text(document, "x"));
	}
	int result = mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : 0;
	mongoc_cursor_destroy(cursor);
	bson_destroy(options);
	bson_destroy(filter);
	if (result == 0 && !(*ret_json = found_text(best, kept)))
		result = wl_fail(err, ENOMEM, "no memory for what is remembered");
	for (int i = 0; i < kept; i++)
		free(best[i].text);
	return result;
}

/* Drop what the filter finds, one by one: two that prune at once do not both count the same one. */
static int drop_each(struct wl_mongo_session *session, const bson_t *filter, int64_t *grown, int *ret_count,
		     struct wl_error *err)
{
	bson_error_t error = { 0 };
	const bson_t *document = NULL;
	int64_t deleted = 0;
	bson_t *options = BCON_NEW("projection", "{", "z", BCON_INT32(1), "}");
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, options, NULL);
	while (deleted >= 0 && mongoc_cursor_next(cursor, &document)) {
		_wl_free_ char *id = wl_mongo_text(document, "_id");
		bson_t *one = BCON_NEW("_id", BCON_UTF8(id ? id : ""));
		deleted = wl_mongo_delete(session, one, err);
		*grown -= deleted == 1 ? wl_mongo_number(document, "z") : 0;
		*ret_count += deleted == 1;
		bson_destroy(one);
	}
	int result = deleted < 0			   ? (int)deleted
		     : mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err)
							   : 0;
	mongoc_cursor_destroy(cursor);
	bson_destroy(options);
	return result;
}

/* The oldest go when there are more than may be. */
static int prune(struct wl_mongo_session *session, int tenant, const char *owner, int kept, int64_t *ret_grown,
		 struct wl_error *err)
{
	bson_error_t error = { 0 };
	const bson_t *document = NULL;
	int64_t before = 0;
	bson_t *filter = owned_by(tenant, owner);
	bson_t *options = BCON_NEW("sort", "{", "a", BCON_INT32(-1), "}", "skip", BCON_INT64(kept), "limit",
				   BCON_INT64(1), "projection", "{", "a", BCON_INT32(1), "}");
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, options, NULL);
	if (mongoc_cursor_next(cursor, &document))
		before = wl_mongo_number(document, "a");
	int result = mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : 0;
	mongoc_cursor_destroy(cursor);
	bson_destroy(options);
	bson_destroy(filter);
	if (result < 0 || before == 0)
		return result;
	bson_t *old =
		BCON_NEW("t", BCON_INT32(tenant), "o", BCON_UTF8(owner), "a", "{", "$lte", BCON_INT64(before), "}");
	result = drop_each(session, old, ret_grown, &(int){ 0 }, err);
	bson_destroy(old);
	return result;
}

static bson_t *document_of(int tenant, const char *owner, const char *key, const float *numbers, size_t count,
			   int64_t bytes)
{
	char id[ID_SIZE];
	bson_t *document = bson_new();
	BSON_APPEND_UTF8(document, "_id", id_of(tenant, owner, key, id));
	BSON_APPEND_INT32(document, "t", tenant);
	BSON_APPEND_UTF8(document, "o", owner);
	BSON_APPEND_BINARY(document, "v", BSON_SUBTYPE_BINARY, (const uint8_t *)numbers,
			   (uint32_t)(count * sizeof(*numbers)));
	BSON_APPEND_INT64(document, "a", wl_clock_wall_ms());
	BSON_APPEND_INT64(document, "z", bytes);
	return document;
}

/* Takes the document over. *ret_grown is what the owner's documents grew by. */
static int keep(struct wl_mongo *mongo, int tenant, const char *owner, bson_t *document, int kept, int64_t *ret_grown,
		struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(mongo, COLLECTION);
	bool clash = false, refused = false;
	int64_t bytes = wl_mongo_number(document, "z");
	int result = wl_mongo_insert(&session, &document, 1, &clash, &refused, err);
	bson_destroy(document);
	if (clash)
		return 0;
	if (result == 0 && refused)
		return wl_fail(err, WL_MONGO_DOCUMENT, "the document server refuses a memory");
	*ret_grown = bytes; /* one whose answer was lost may be there */
	return result < 0 ? result : prune(&session, tenant, owner, kept, ret_grown, err);
}

static int remember(void *self, int tenant, const char *owner, const char *key, const char *text, const float *vector,
		    size_t dimensions, int64_t *ret_grown, struct wl_error *err)
{
	*ret_grown = 0;
	if (strlen(text) > WL_MEMORY_TEXT_MAX)
		return wl_fail(err, EMSGSIZE, "a memory has at most %d bytes", WL_MEMORY_TEXT_MAX);
	bson_t *document = document_of(tenant, owner, key, vector, dimensions, wl_memory_bytes(text, dimensions));
	BSON_APPEND_UTF8(document, "x", text);
	return keep(self, tenant, owner, document, WL_MEMORY_KEPT, ret_grown, err);
}

/* ---- vectors -------------------------------------------------------------------------------------------------- */

static int copy_vectors(const bson_t *document, size_t count, float **ret_vectors, size_t *ret_dimensions,
			struct wl_error *err)
{
	bson_iter_t field;
	bson_subtype_t subtype;
	const uint8_t *bytes = NULL;
	uint32_t length = 0;
	int64_t dimensions = wl_mongo_number(document, "d");
	if (!bson_iter_init_find(&field, document, "v") || !BSON_ITER_HOLDS_BINARY(&field))
		return wl_fail(err, ENOENT, "there are no such vectors");
	bson_iter_binary(&field, &subtype, &length, &bytes);
	if (dimensions <= 0 || count == 0 || (uint64_t)dimensions != length / sizeof(float) / count ||
	    length % (sizeof(float) * count) != 0)
		return wl_fail(err, ENOENT, "there are no such vectors");
	float *vectors = malloc(length);
	if (!vectors)
		return wl_fail(err, ENOMEM, "no memory for vectors");
	*ret_vectors = memcpy(vectors, bytes, length);
	*ret_dimensions = (size_t)dimensions;
	return 0;
}

static int find_vectors(void *self, int tenant, const char *key, size_t count, float **ret_vectors,
			size_t *ret_dimensions, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	char id[ID_SIZE];
	bson_error_t error = { 0 };
	const bson_t *document = NULL;
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(id_of(tenant, VECTORS, key, id)));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, NULL, NULL);
	int result = mongoc_cursor_next(cursor, &document)
			     ? copy_vectors(document, count, ret_vectors, ret_dimensions, err)
			     : wl_fail(err, ENOENT, "there are no such vectors");
	if (!document && mongoc_cursor_error(cursor, &error))
		result = wl_mongo_failed(&error, err);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	return result;
}

static int keep_vectors(void *self, int tenant, const char *key, const float *vectors, size_t count, size_t dimensions,
			struct wl_error *err)
{
	if (count * dimensions * sizeof(*vectors) > WL_VECTORS_MAX)
		return 0;
	int64_t grown = 0; /* a bounded cache of ours: it does not count as the tenant's */
	bson_t *document = document_of(tenant, VECTORS, key, vectors, count * dimensions, 0);
	BSON_APPEND_INT64(document, "d", (int64_t)dimensions);
	return keep(self, tenant, VECTORS, document, WL_VECTORS_KEPT, &grown, err);
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

/* The part of a document's _id behind its owner. */
static const char *public_id(const char *id)
{
	const char *last = id ? strrchr(id, '/') : NULL;
	return last ? last + 1 : "";
}

static void put_memory(struct wl_buffer *json, const bson_t *document)
{
	_wl_free_ char *id = wl_mongo_text(document, "_id"), *text = wl_mongo_text(document, "x");
	char when[WL_RFC3339_SIZE];
	(void)wl_buffer_append_text(json, "{\"id\":");
	(void)wl_buffer_append_json_string(json, public_id(id), strlen(public_id(id)));
	(void)wl_buffer_append_text(json, ",\"text\":");
	(void)wl_buffer_append_json_string(json, text ? text : "", text ? strlen(text) : 0);
	(void)wl_buffer_appendf(json, ",\"created_at\":\"%s\",\"bytes\":%lld}",
				wl_rfc3339(wl_mongo_number(document, "a"), when),
				(long long)wl_mongo_number(document, "z"));
}

int wl_mongo_crew_memory_page(const struct wl_crew_memory *memory, int tenant, const char *owner, int64_t skip,
			      int limit, struct wl_buffer *json, int64_t *ret_total, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(memory->self, COLLECTION);
	bson_error_t error = { 0 };
	const bson_t *document = NULL;
	bson_t *filter = owned_by(tenant, owner);
	bson_t *options =
		BCON_NEW("sort", "{", "a", BCON_INT32(-1), "_id", BCON_INT32(1), "}", "skip", BCON_INT64(skip), "limit",
			 BCON_INT64(limit), "projection", "{", "v", BCON_INT32(0), "}");
	int64_t total = mongoc_collection_count_documents(session.collection, filter, NULL, NULL, NULL, &error);
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, options, NULL);
	(void)wl_buffer_append_char(json, '[');
	for (bool more = false; total >= 0 && mongoc_cursor_next(cursor, &document); more = true) {
		(void)wl_buffer_append_text(json, more ? "," : "");
		put_memory(json, document);
	}
	(void)wl_buffer_append_char(json, ']');
	int result = total < 0 || mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : 0;
	mongoc_cursor_destroy(cursor);
	bson_destroy(options);
	bson_destroy(filter);
	*ret_total = total;
	return result == 0 && json->failed ? wl_fail(err, ENOMEM, "no memory for what is remembered") : result;
}

int wl_mongo_crew_memory_forget(const struct wl_crew_memory *memory, int tenant, const char *owner, const char *id,
				int64_t *ret_bytes, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(memory->self, COLLECTION);
	bson_t *filter = owned_by(tenant, owner);
	int64_t grown = 0;
	int count = 0;
	if (id) {
		char whole[ID_SIZE];
		(void)snprintf(whole, sizeof(whole), "%d/%.64s/%.80s", tenant, owner, id);
		BSON_APPEND_UTF8(filter, "_id", whole);
	}
	int result = drop_each(&session, filter, &grown, &count, err);
	bson_destroy(filter);
	*ret_bytes = -grown;
	return result < 0 ? result : count;
}

static void close_memory(void *self)
{
	wl_mongo_close(self);
	free(self);
}

int wl_mongo_crew_memory_open(const char *url, struct wl_crew_memory *ret_memory, struct wl_error *err)
{
	_wl_free_ struct wl_mongo *mongo = calloc(1, sizeof(*mongo));
	if (!mongo)
		return wl_fail(err, ENOMEM, "no memory for the crews' memory");
	int result = wl_mongo_open(url, mongo, err);
	if (result < 0)
		return result;
	*ret_memory = (struct wl_crew_memory){ .self = wl_steal(mongo),
					       .recall = recall,
					       .remember = remember,
					       .vectors = find_vectors,
					       .keep_vectors = keep_vectors,
					       .close = close_memory };
	return 0;
}
