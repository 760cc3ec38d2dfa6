/*
 * {_id: "<session>/<seq>", k: "<session>/<bucket>", s: session, t: tenant, q: seq, j: message}. Readers ask for equal k
 * alone, which every server that speaks the protocol answers from an index.
 */
#include "lib/store/mongo_chat.h"

#include "lib/base/cleanup.h"
#include "lib/store/mongo_connect.h"

#include <stdio.h>
#include <string.h>

#define COLLECTION "chat_messages"
#define KEY_SIZE (WL_UUID_TEXT + 16)

void wl_chat_messages_free(struct wl_chat_message *messages, int count)
{
	for (int i = 0; i < count; i++)
		free(messages[i].message_json);
	free(messages);
}

static bson_t *document_of(const struct wl_chat_message *message)
{
	char id[KEY_SIZE], key[KEY_SIZE];
	(void)snprintf(id, sizeof(id), "%s/%d", message->session, message->seq);
	(void)snprintf(key, sizeof(key), "%s/%d", message->session, message->seq / WL_CHAT_BUCKET);
	return BCON_NEW("_id", BCON_UTF8(id), "k", BCON_UTF8(key), "s", BCON_UTF8(message->session), "t",
			BCON_INT32(message->tenant), "q", BCON_INT32(message->seq), "j",
			BCON_UTF8(message->message_json));
}

static int chat_put(void *self, const struct wl_chat_message *messages, int count, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	bson_t **documents = calloc((size_t)count, sizeof(*documents));
	_wl_free_ bool *marks = calloc((size_t)count * 2, sizeof(bool));
	int result = documents && marks ? 0 : wl_fail(err, ENOMEM, "no memory for %d messages", count);
	for (int i = 0; i < count && result == 0; i++)
		documents[i] = document_of(&messages[i]);
	if (result == 0)
		result = wl_mongo_insert(&session, documents, count, marks, marks + count, err);
	for (int i = 0; i < count && documents; i++) {
		/* a clash is a message that was put before: messages never change */
		if (result == 0 && marks[count + i])
			result = wl_fail(err, EIO, "the document server refused message %d of chat %s", messages[i].seq,
					 messages[i].session);
		if (documents[i])
			bson_destroy(documents[i]);
	}
	free(documents);
	return result;
}

/* Those of a bucket that lie in first .. last, behind the `count` that are there. */
static int read_bucket(struct wl_mongo_session *session, const struct wl_chat_message *like, int first, int last,
		       struct wl_chat_message *messages, int count, struct wl_error *err)
{
	char key[KEY_SIZE];
	const bson_t *document;
	bson_error_t error = { 0 };
	int room = count + WL_CHAT_BUCKET;
	(void)snprintf(key, sizeof(key), "%s/%d", like->session, like->seq / WL_CHAT_BUCKET);
	bson_t *filter = BCON_NEW("k", BCON_UTF8(key));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session->collection, filter, NULL, NULL);
	while (count < room && mongoc_cursor_next(cursor, &document)) {
		int seq = (int)wl_mongo_number(document, "q");
		if (wl_mongo_number(document, "t") != like->tenant || seq < first || seq > last)
			continue;
		messages[count] = *like;
		messages[count].seq = seq;
		messages[count].message_json = wl_mongo_text(document, "j");
		count += messages[count].message_json != NULL;
	}
	if (mongoc_cursor_error(cursor, &error))
		count = wl_mongo_failed(&error, err);
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	return count;
}

static int by_seq(const void *a, const void *b)
{
	const struct wl_chat_message *one = a, *other = b;
	return (one->seq > other->seq) - (one->seq < other->seq);
}

static int chat_range(void *self, int tenant, const char *session_id, int first, int last,
		      struct wl_chat_message **ret_messages, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	struct wl_chat_message like = { .tenant = tenant };
	int buckets = last / WL_CHAT_BUCKET - first / WL_CHAT_BUCKET + 1, count = 0;
	struct wl_chat_message *messages = calloc((size_t)buckets * WL_CHAT_BUCKET, sizeof(*messages));
	if (!messages)
		return wl_fail(err, ENOMEM, "no memory for messages");
	(void)snprintf(like.session, sizeof(like.session), "%s", session_id);
	for (int i = 0; i < buckets; i++) {
		like.seq = (first / WL_CHAT_BUCKET + i) * WL_CHAT_BUCKET;
		int more = read_bucket(&session, &like, first, last, messages, count, err);
		if (more < 0) {
			wl_chat_messages_free(messages, buckets * WL_CHAT_BUCKET);
			return more;
		}
		count = more;
	}
	qsort(messages, (size_t)count, sizeof(*messages), by_seq);
	*ret_messages = messages;
	return count;
}

static int chat_drop(void *self, int tenant, const char *session_id, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	bson_t *filter = BCON_NEW("s", BCON_UTF8(session_id), "t", BCON_INT32(tenant));
	int64_t dropped = wl_mongo_delete(&session, filter, err);
	bson_destroy(filter);
	return dropped < 0 ? (int)dropped : 0;
}

static void chat_close(void *self)
{
	wl_mongo_close(self);
	free(self);
}

int wl_mongo_chat_open(const char *url, struct wl_chat_log *ret_log, struct wl_error *err)
{
	struct wl_mongo *mongo = calloc(1, sizeof(*mongo));
	if (!mongo)
		return wl_fail(err, ENOMEM, "no memory for chats");
	int result = wl_mongo_open(url, mongo, err);
	if (result < 0) {
		free(mongo);
		return result;
	}
	*ret_log = (struct wl_chat_log){
		.self = mongo, .put = chat_put, .range = chat_range, .drop = chat_drop, .close = chat_close
	};
	return 0;
}
