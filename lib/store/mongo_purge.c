#include "lib/store/mongo_purge.h"

#include "lib/store/mongo_connect.h"

#include <string.h>

static int purge_collection(struct wl_mongo *mongo, const char *name, int tenant, struct wl_error *err)
{
	_wl_mongo_session_ struct wl_mongo_session session = wl_mongo_session_open(mongo, name);
	bson_t *filter = BCON_NEW("t", BCON_INT32(tenant));
	int64_t deleted = wl_mongo_delete(&session, filter, err);
	bson_destroy(filter);
	return deleted < 0 ? (int)deleted : 0;
}

static char **list_collections(struct wl_mongo *mongo, struct wl_error *err)
{
	bson_error_t error = { 0 };
	mongoc_client_t *client = mongoc_client_pool_pop(mongo->pool);
	mongoc_database_t *database = mongoc_client_get_database(client, mongo->database);
	char **names = mongoc_database_get_collection_names_with_opts(database, NULL, &error);
	mongoc_database_destroy(database);
	mongoc_client_pool_push(mongo->pool, client);
	if (!names)
		(void)wl_mongo_failed(&error, err);
	return names;
}

int wl_mongo_purge_tenant(const char *url, int tenant, struct wl_error *err)
{
	struct wl_mongo mongo = { 0 };
	int r = wl_mongo_open(url, &mongo, err);
	if (r < 0)
		return r;
	char **names = list_collections(&mongo, err);
	if (!names)
		r = -err->code;
	for (int i = 0; names && names[i] && r == 0; i++)
		if (strncmp(names[i], "system.", 7) != 0)
			r = purge_collection(&mongo, names[i], tenant, err);
	bson_strfreev(names);
	wl_mongo_close(&mongo);
	return r;
}
