#include "webapp/server/tool_store.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "webapp/server/api_call.h"
#include "webapp/server/resource_seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct storing {
	struct web_request *request;
	struct wl_json *result;
	struct wl_flow_faults faults;
};

static void free_storing(void *context)
{
	struct storing *storing = context;
	wl_json_free(storing->result);
	web_request_release(storing->request);
	free(storing);
}

/* Whether credentials with these members are what the tool's auth sends. */
static bool takes_credentials(const struct wl_json *tool, const struct wl_json *credentials)
{
	const struct wl_json *auth = wl_json_get(wl_json_get(tool, "execution_config"), "auth");
	const char *type = wl_json_get_string(auth, "type", "none");
	if (strcmp(type, "none") == 0)
		return false;
	return (strcmp(type, "basic") == 0) == (wl_json_get(credentials, "token") == NULL);
}

/* {"one": the tool, "id", and its credentials when there are any for it}. NULL: see err. */
static struct wl_json *entry_of(const struct storing *storing, const struct wl_json *tool, const char *sealed_key,
				int *ret_sealed, struct wl_error *err)
{
	char id[WL_UUID_TEXT];
	const struct wl_json *credentials = wl_json_get(storing->request->json, "credentials");
	_wl_json_ struct wl_json *entry = wl_json_object();
	struct wl_json *one = wl_json_copy(tool);
	int rc = wl_json_set_string(one, "state", wl_json_get_string(storing->request->json, "state", "active"));
	rc = wl_json_set(entry, "one", one) < 0 ? -ENOMEM : rc;
	rc = rc ? rc : wl_json_set_string(entry, "id", wl_uuid7(wl_clock_wall_ms(), id));
	if (rc < 0) {
		(void)wl_fail(err, ENOMEM, "no memory");
		return NULL;
	}
	if (sealed_key && takes_credentials(tool, credentials)) {
		if (web_put_sealed(entry, sealed_key, "tool", id, credentials, err) < 0)
			return NULL;
		++*ret_sealed;
	}
	return wl_steal(entry);
}

static struct wl_json *call_of(const struct storing *storing, const char *sealed_key, int *ret_sealed,
			       struct wl_error *err)
{
	_wl_json_ struct wl_json *extra = wl_json_object();
	struct wl_json *list = wl_json_array();
	int rc = wl_json_set(extra, "tools", list);
	rc = rc ? rc : wl_json_set(extra, "body", wl_json_object());
	rc = rc ? rc : wl_json_set(extra, "warnings", wl_json_copy(wl_json_get(storing->result, "warnings")));
	const struct wl_json *tools = wl_json_get(storing->result, "tools");
	for (const struct wl_json *one = wl_json_first(tools); one && rc == 0; one = wl_json_next(one)) {
		struct wl_json *entry = entry_of(storing, one, sealed_key, ret_sealed, err);
		if (!entry)
			return NULL;
		rc = wl_json_append(list, entry);
	}
	if (rc == 0)
		return wl_steal(extra);
	(void)wl_fail(err, ENOMEM, "no memory");
	return NULL;
}

static void store(struct web_request *request, const char *sealed_key, void *context)
{
	struct storing *storing = context;
	struct wl_error err = { 0 };
	int sealed = 0;
	struct wl_json *extra = call_of(storing, sealed_key, &sealed, &err);
	if (!extra) {
		web_answer_unavailable(request, 1, "%s", err.text);
	} else if (sealed_key && !sealed) {
		wl_flow_fault_add(&storing->faults, "credentials", "fit none of the tools");
		web_answer_faults(request, 422, &storing->faults, "nobody takes the credentials");
		wl_json_free(extra);
	} else {
		web_api_call(request, extra, NULL);
	}
	free_storing(storing);
}

void web_tools_store(struct web_request *request, struct wl_json *result)
{
	struct storing *storing = calloc(1, sizeof(*storing));
	if (!storing) {
		wl_json_free(result);
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	storing->request = web_request_hold(request);
	storing->result = result;
	if (wl_json_is(wl_json_get(request->json, "credentials"), WL_JSON_OBJECT))
		web_tenant_key(request, store, free_storing, storing);
	else
		store(request, NULL, storing);
}
