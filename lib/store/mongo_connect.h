/*
 * What the stores on the document server share: the driver's pool, sessions with durable writes, unordered inserts that
 * tell a known _id from a refusal, and deleting. For files of this folder.
 */
#ifndef WL_STORE_MONGO_CONNECT_H
#define WL_STORE_MONGO_CONNECT_H

#include "lib/base/error.h"

#include <errno.h>
#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>

#define WL_MONGO_AWAY ECONNREFUSED /* nothing can be said now: try again later */
#define WL_MONGO_DOCUMENT EIO	   /* it is about what was sent: trying again does not help */

struct wl_mongo {
	mongoc_client_pool_t *pool;
	char database[128];
};

/* Connect and try it; the database is the one of the URL's path, else windlass. 0, -EINVAL, -ECONNREFUSED, -ENOMEM. */
int wl_mongo_open(const char *url, struct wl_mongo *ret_mongo, struct wl_error *err);
void wl_mongo_close(struct wl_mongo *mongo);

/* One call's connection and collection; writes are acknowledged by a majority and journalled. */
struct wl_mongo_session {
	struct wl_mongo *mongo;
	mongoc_client_t *client;
	mongoc_collection_t *collection;
};

struct wl_mongo_session wl_mongo_session_open(struct wl_mongo *mongo, const char *collection);
void wl_mongo_session_close(struct wl_mongo_session *session);
#define _wl_mongo_session_ __attribute__((cleanup(wl_mongo_session_close)))

/* Whether a server's error code is about the document itself; anything else, such as a lost server, passes. */
bool wl_mongo_is_document_error(int code);
/* The driver's error as ours: -WL_MONGO_AWAY or -WL_MONGO_DOCUMENT. */
int wl_mongo_failed(const bson_error_t *error, struct wl_error *err);

/*
 * Insert without order. Marks in `clash` those whose _id was there, in `refused` those that the server does not take.
 * 0, or -errno when nothing can be said.
 */
int wl_mongo_insert(struct wl_mongo_session *session, bson_t **documents, int count, bool *clash, bool *refused,
		    struct wl_error *err);
/* Delete all that fits; how many, or -errno. */
int64_t wl_mongo_delete(struct wl_mongo_session *session, const bson_t *filter, struct wl_error *err);

/* A text member, allocated, NULL when there is none; a number, 0 when there is none. */
char *wl_mongo_text(const bson_t *document, const char *key);
int64_t wl_mongo_number(const bson_t *document, const char *key);

#endif
