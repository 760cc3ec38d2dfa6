/* Credentials on their way into the database: sealed with the tenant's key. */
#ifndef WL_WEBAPP_RESOURCE_SEAL_H
#define WL_WEBAPP_RESOURCE_SEAL_H

#include "lib/codec/json.h"
#include "webapp/server/request.h"

/* On the loop, with the tenant's sealed key; must answer the request or go on. `context` is the caller's. */
typedef void web_key_taken(struct web_request *request, const char *sealed_key, void *context);

/*
 * Read the tenant's key and go on with it. When there is none, or no database, the request is answered and `failed`
 * (which frees the context) is called in place of `taken`.
 */
void web_tenant_key(struct web_request *request, web_key_taken *taken, void (*failed)(void *context), void *context);

/*
 * Put "credentials" (sealed for "<kind>:<id>") and "credentials_have" (the names of its members) into an object of a
 * call. -ENOMEM, -EIO with a sentence when it cannot be sealed.
 */
int web_put_sealed(struct wl_json *into, const char *sealed_key, const char *kind, const char *id,
		   const struct wl_json *credentials, struct wl_error *err);

/*
 * Open what was sealed for "<kind>:<id>": *ret_credentials is the object. -EACCES when it does not open here.
 */
int web_unseal(const char *sealed_key, const char *kind, const char *id, const char *sealed,
	       struct wl_json **ret_credentials, struct wl_error *err);

/* Copy an id into the form that contexts have. */
char *web_id_lower(const char *id, char ret_id[WL_UUID_TEXT]);

#endif
