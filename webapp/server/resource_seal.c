#include "webapp/server/resource_seal.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "webapp/server/server.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key_call {
	struct web_request *request;
	web_key_taken *taken;
	void (*failed)(void *context);
	void *context;
};

static void key_read(struct pg_job *job)
{
	struct key_call *call = job->context;
	struct web_request *request = call->request;
	const char *key = NULL;
	if (!web_job_failed(request, job)) {
		key = pg_rows(job, 0) ? pg_text(job, 0, 0, 0) : NULL;
		if (!key) {
			wl_log(WL_LOG_ERROR, "tenant %d has no key to seal with", request->identity.tenant);
			web_answer_problem(request, 500, "the tenant has no key to seal credentials with");
		}
	}
	if (key)
		call->taken(request, key, call->context);
	else
		call->failed(call->context);
	web_request_release(request);
	free(call);
}

void web_tenant_key(struct web_request *request, web_key_taken *taken, void (*failed)(void *context), void *context)
{
	char fresh[WL_SEALED_KEY_TEXT]; /* for a tenant that has none yet */
	struct key_call *call = calloc(1, sizeof(*call));
	bool made = wl_tenant_key_make(web.master_key, fresh, NULL) == 0;
	struct pg_job *job = call && made ? pg_job_new(request->identity.tenant, key_read, call) : NULL;
	if (!job) {
		free(call);
		web_answer_unavailable(request, 1, "no memory");
		failed(context);
		return;
	}
	*call = (struct key_call){ web_request_hold(request), taken, failed, context };
	pg_job_step(job, SQL_TENANT_KEY);
	pg_job_value(job, fresh);
	pg_submit(web.postgres, job);
}

static int put_members(struct wl_json *into, const struct wl_json *credentials)
{
	struct wl_json *names = wl_json_array();
	int rc = names ? 0 : -ENOMEM;
	for (const struct wl_json *one = wl_json_first(credentials); one && rc == 0; one = wl_json_next(one))
		rc = wl_json_append(names, wl_json_new_string(wl_json_key(one)));
	if (rc == 0)
		return wl_json_set(into, "credentials_have", names);
	wl_json_free(names);
	return rc;
}

static void make_context(const char *kind, const char *id, char context[WL_SEAL_CONTEXT_MAX])
{
	char lower[WL_UUID_TEXT];
	(void)snprintf(context, WL_SEAL_CONTEXT_MAX, "%s:%s", kind, web_id_lower(id, lower));
}

int web_put_sealed(struct wl_json *into, const char *sealed_key, const char *kind, const char *id,
		   const struct wl_json *credentials, struct wl_error *err)
{
	char context[WL_SEAL_CONTEXT_MAX];
	_wl_free_ char *sealed = NULL;
	char *plain = wl_json_print(credentials);
	if (!plain)
		return wl_fail(err, ENOMEM, "no memory to seal credentials");
	make_context(kind, id, context);
	size_t length = strlen(plain);
	int rc = wl_seal(web.master_key, sealed_key, context, plain, length, &sealed, err);
	wl_unsealed_free(plain, length);
	if (rc < 0)
		return rc;
	rc = wl_json_set_string(into, "credentials", sealed);
	rc = rc ? rc : put_members(into, credentials);
	return rc ? wl_fail(err, ENOMEM, "no memory to seal credentials") : 0;
}

int web_unseal(const char *sealed_key, const char *kind, const char *id, const char *sealed,
	       struct wl_json **ret_credentials, struct wl_error *err)
{
	char context[WL_SEAL_CONTEXT_MAX];
	char *plain = NULL;
	size_t length = 0;
	make_context(kind, id, context);
	int rc = wl_unseal(web.master_key, sealed_key, context, sealed, &plain, &length, err);
	if (rc < 0)
		return rc;
	rc = wl_json_parse(plain, length, ret_credentials, NULL);
	wl_unsealed_free(plain, length);
	return rc < 0 ? wl_fail(err, EACCES, "what was sealed is not what it should be") : 0;
}

char *web_id_lower(const char *id, char ret_id[WL_UUID_TEXT])
{
	size_t i = 0;
	for (; id[i] && i + 1 < WL_UUID_TEXT; i++)
		ret_id[i] = (char)tolower((unsigned char)id[i]);
	ret_id[i] = '\0';
	return ret_id;
}
