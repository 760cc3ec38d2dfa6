/*
 * {_id: "<tenant>/<seq>", k: "<tenant>/<bucket>", t: tenant, q: seq, j: entry, v: prev, h: hash}. Readers ask for equal
 * k alone, which every server that speaks the protocol answers from an index.
 */
#include "lib/store/mongo_audit_log.h"

#include "lib/base/cleanup.h"
#include "lib/store/mongo_connect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLLECTION "audit_log"
#define KEY_SIZE 48

void wl_audit_entries_free(struct wl_audit_entry *entries, int count)
{
	for (int i = 0; i < count; i++)
		free(entries[i].entry_json);
	free(entries);
}

static bson_t *document_of(const struct wl_audit_entry *entry)
{
	char id[KEY_SIZE], key[KEY_SIZE];
	(void)snprintf(id, sizeof(id), "%d/%" PRId64, entry->tenant, entry->seq);
	(void)snprintf(key, sizeof(key), "%d/%" PRId64, entry->tenant, entry->seq / WL_AUDIT_BUCKET);
	return BCON_NEW("_id", BCON_UTF8(id), "k", BCON_UTF8(key), "t", BCON_INT32(entry->tenant), "q",
			BCON_INT64(entry->seq), "j", BCON_UTF8(entry->entry_json), "v", BCON_UTF8(entry->prev), "h",
			BCON_UTF8(entry->hash));
}

static int log_put(void *self, const struct wl_audit_entry *entries, int count, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	bson_t **documents = calloc((size_t)count, sizeof(*documents));
	_wl_free_ bool *marks = calloc((size_t)count * 2, sizeof(bool));
	int result = documents && marks ? 0 : wl_fail(err, ENOMEM, "no memory for %d audit entries", count);
	for (int i = 0; i < count && result == 0; i++)
		documents[i] = document_of(&entries[i]);
	if (result == 0)
		result = wl_mongo_insert(&session, documents, count, marks, marks + count, err);
	for (int i = 0; i < count && documents; i++) {
		/* a clash is an entry that was put before: sealed entries never change */
		if (result == 0 && marks[count + i])
			result = wl_fail(err, EIO, "the document server refused audit entry %" PRId64 " of tenant %d",
					 entries[i].seq, entries[i].tenant);
		if (documents[i])
			bson_destroy(documents[i]);
	}
	free(documents);
	return result;
}

static void read_entry(const bson_t *document, struct wl_audit_entry *entry)
{
	_wl_free_ char *prev = wl_mongo_text(document, "v");
	_wl_free_ char *hash = wl_mongo_text(document, "h");
	*entry = (struct wl_audit_entry){ .tenant = (int)wl_mongo_number(document, "t"),
					  .seq = wl_mongo_number(document, "q"),
					  .entry_json = wl_mongo_text(document, "j") };
	(void)snprintf(entry->prev, sizeof(entry->prev), "%s", prev ? prev : "");
	(void)snprintf(entry->hash, sizeof(entry->hash), "%s", hash ? hash : "");
}

static int by_seq(const void *a, const void *b)
{
	const struct wl_audit_entry *first = a, *second = b;
	return (first->seq > second->seq) - (first->seq < second->seq);
}

static int log_bucket(void *self, int tenant, int64_t bucket, struct wl_audit_entry **ret_entries, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	struct wl_audit_entry *entries = calloc(WL_AUDIT_BUCKET, sizeof(*entries));
	if (!entries)
		return wl_fail(err, ENOMEM, "no memory for audit entries");
	char key[KEY_SIZE];
	(void)snprintf(key, sizeof(key), "%d/%" PRId64, tenant, bucket);
	bson_t *filter = BCON_NEW("k", BCON_UTF8(key));
	mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(session.collection, filter, NULL, NULL);
	const bson_t *document;
	bson_error_t error = { 0 };
	int count = 0;
	while (count < WL_AUDIT_BUCKET && mongoc_cursor_next(cursor, &document)) {
		read_entry(document, &entries[count]);
		if (entries[count].entry_json && entries[count].tenant == tenant)
			count++;
		else
			free(entries[count].entry_json);
	}
	int result = mongoc_cursor_error(cursor, &error) ? wl_mongo_failed(&error, err) : count;
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	if (result < 0) {
		wl_audit_entries_free(entries, count);
		return result;
	}
	qsort(entries, (size_t)count, sizeof(*entries), by_seq);
	*ret_entries = entries;
	return count;
}

static int log_drop_tenant(void *self, int tenant, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(self, COLLECTION);
	bson_t *filter = BCON_NEW("t", BCON_INT32(tenant));
	int64_t dropped = wl_mongo_delete(&session, filter, err);
	bson_destroy(filter);
	return dropped < 0 ? (int)dropped : 0;
}

static void log_close(void *self)
{
	wl_mongo_close(self);
	free(self);
}

int mongo_audit_log_open(const char *url, struct wl_audit_log *ret_log, struct wl_error *err)
{
	struct wl_mongo *mongo = calloc(1, sizeof(*mongo));
	if (!mongo)
		return wl_fail(err, ENOMEM, "no memory for the audit log");
	int result = wl_mongo_open(url, mongo, err);
	if (result < 0) {
		free(mongo);
		return result;
	}
	*ret_log = (struct wl_audit_log){
		.self = mongo, .put = log_put, .bucket = log_bucket, .drop_tenant = log_drop_tenant, .close = log_close
	};
	return 0;
}
