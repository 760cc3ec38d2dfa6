#include "supervisor/nodes/tool_secrets.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

/* The last header of a name counts, so that a tool's own one does not stand beside the credential. */
static int put_header(struct tool_request *request, const struct tool_credential *credential, struct wl_error *err)
{
	header_list_remove(&request->headers, credential->name);
	return header_list_add(&request->headers, credential->name, credential->value.data) < 0
		       ? wl_fail(err, ENOMEM, "no memory for a request")
		       : 0;
}

static int put(const struct wl_json *auth, const char *text, size_t length, struct tool_request *request,
	       struct tool_secrets *secrets, struct wl_error *err)
{
	_wl_json_ struct wl_json *credentials = NULL;
	_tool_credential_ struct tool_credential credential = { 0 };
	if (wl_json_parse(text, length, &credentials, NULL) < 0)
		return wl_fail(err, ENOEXEC, "the tool's credentials are not readable");
	int result = tool_credential_make(auth, credentials, &credential, secrets, err);
	if (result < 0)
		return result;
	if (credential.place == TOOL_CREDENTIAL_HEADER)
		return put_header(request, &credential, err);
	result = credential.place == TOOL_CREDENTIAL_QUERY ? tool_request_add_query(request, credential.value.data)
							   : tool_request_add_cookie(request, credential.value.data);
	return result ? wl_fail(err, ENOEXEC, "the tool's credentials make its request too long") : 0;
}

int tool_secrets_apply(const struct wl_master_key *keys, const char *tool_id, const struct wl_json *row,
		       struct tool_request *request, struct tool_secrets *secrets, struct wl_error *err)
{
	const struct wl_json *auth = wl_json_get(wl_json_get(row, "execution_config"), "auth");
	const char *sealed = wl_json_get_string(row, "credentials", NULL);
	const char *tenant_key = wl_json_get_string(row, "sealed_key", NULL);
	char context[64];
	char *plain = NULL;
	size_t length = 0;
	if (strcmp(wl_json_get_string(auth, "type", "none"), "none") == 0)
		return 0;
	if (!sealed || !tenant_key)
		return wl_fail(err, ENOEXEC, "the tool has no credentials");
	if (!keys)
		return wl_fail(err, EACCES, "the supervisor has no master key (setting master_key)");
	(void)snprintf(context, sizeof(context), "tool:%s", tool_id);
	if (wl_unseal(keys, tenant_key, context, sealed, &plain, &length, err) < 0)
		return wl_fail(err, EACCES, "the tool's credentials cannot be opened");
	int result = put(auth, plain, length, request, secrets, err);
	wl_unsealed_free(plain, length);
	return result;
}
