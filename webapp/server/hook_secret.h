/* Operations that give a webhook a secret: it is in their answer alone, and sealed in the database. */
#ifndef WL_WEBAPP_HOOK_SECRET_H
#define WL_WEBAPP_HOOK_SECRET_H

#include "lib/codec/json.h"
#include "webapp/server/request.h"

/* What the secret of a webhook is sealed for: the context of wl_seal(). */
#define WEB_HOOK_CONTEXT_SIZE 48
void web_hook_context(const char *id, char ret_context[WEB_HOOK_CONTEXT_SIZE]);

/*
 * Draw a secret for the webhook `id`, seal it with the tenant's key, and call the operation's function with `extra`
 * (taken over; NULL: none) and the sealed secret beside the body. Its answer is sent with the secret as "secret" inside
 * the member `wrapper` (NULL: at the top).
 */
void web_hook_secret_call(struct web_request *request, const char *id, struct wl_json *extra, const char *wrapper);

#endif
