#include "webapp/server/hook_secret.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/secrets/hook_signature.h"
#include "lib/secrets/seal.h"
#include "webapp/server/api_call.h"
#include "webapp/server/resource_seal.h"
#include "webapp/server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stays between the steps, as the request's state. */
struct making {
	char id[WL_UUID_TEXT];
	char secret[WL_HOOK_SECRET];
	struct wl_json *extra;
	const char *wrapper;
};

static void free_making(void *state)
{
	struct making *making = state;
	wl_json_free(making->extra);
	wl_unsealed_free(state, sizeof(*making)); /* it holds the secret */
}

void web_hook_context(const char *id, char ret_context[WEB_HOOK_CONTEXT_SIZE])
{
	(void)snprintf(ret_context, WEB_HOOK_CONTEXT_SIZE, "webhook:%s", id);
}

/* Put the secret into the answer, which is as small as a webhook. */
static void answered(struct web_request *request, const struct web_api_answer *answer)
{
	const struct making *making = request->state;
	_wl_json_ struct wl_json *body = NULL;
	_wl_free_ char *text = NULL;
	int rc = answer->body ? wl_json_parse(answer->body, strlen(answer->body), &body, NULL) : -1;
	if (rc == 0 && making->wrapper) {
		struct wl_json *inner = wl_json_copy(wl_json_get(body, making->wrapper));
		rc = inner ? wl_json_set_string(inner, "secret", making->secret) : -1;
		rc = rc ? rc : wl_json_set(body, making->wrapper, wl_steal(inner));
		wl_json_free(inner);
	} else if (rc == 0) {
		rc = wl_json_set_string(body, "secret", making->secret);
	}
	text = rc == 0 ? wl_json_print(body) : NULL;
	if (!text) {
		web_answer_unavailable(request, 1, "no memory to tell the secret: rotate it");
		return;
	}
	struct web_api_answer told = *answer;
	told.body = text;
	web_api_send(request, &told);
}

/* The tenant's key is known: seal and store. */
static void key_taken(struct web_request *request, const char *sealed_key, void *context)
{
	struct making *making = context;
	struct wl_error err = { 0 };
	char place[WEB_HOOK_CONTEXT_SIZE];
	_wl_free_ char *sealed = NULL;
	wl_hook_secret_make(making->secret);
	web_hook_context(making->id, place);
	if (wl_seal(web.master_key, sealed_key, place, making->secret, strlen(making->secret), &sealed, &err) < 0) {
		wl_log(WL_LOG_ERROR, "tenant %d: a webhook's secret cannot be sealed: %s", request->identity.tenant,
		       err.text);
		web_answer_problem(request, 500, "the secret cannot be sealed; the log has request %s", request->id);
	} else if (wl_json_set_string(making->extra, "secret", sealed) < 0) {
		web_answer_unavailable(request, 1, "no memory");
	} else {
		web_api_call(request, wl_steal(making->extra), answered);
	}
}

/* The request is answered; it frees its state. */
static void key_failed(void *context)
{
	(void)context;
}

void web_hook_secret_call(struct web_request *request, const char *id, struct wl_json *extra, const char *wrapper)
{
	struct making *making = calloc(1, sizeof(*making));
	if (!extra)
		extra = wl_json_object();
	if (!making || !extra) {
		free(making);
		wl_json_free(extra);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	(void)snprintf(making->id, sizeof(making->id), "%s", id);
	making->extra = extra;
	making->wrapper = wrapper;
	request->state = making;
	request->state_free = free_making;
	web_tenant_key(request, key_taken, key_failed, making);
}
