#include "lib/tools/tool_secrets.h"

#include "lib/base/cleanup.h"
#include "lib/net/http_client.h"
#include "lib/secrets/seal.h"

#include <errno.h>
#include <string.h>

void tool_secrets_release(struct tool_secrets *secrets)
{
	for (int i = 0; i < secrets->count; i++)
		wl_unsealed_free(secrets->forms[i], strlen(secrets->forms[i]));
	*secrets = (struct tool_secrets){ 0 };
}

static void wipe(struct wl_buffer *buffer)
{
	if (buffer->data)
		explicit_bzero(buffer->data, buffer->capacity);
	wl_buffer_release(buffer);
}

#define _wiped_ __attribute__((cleanup(wipe)))

/* ---- putting them in -------------------------------------------------------------------------------------- */

/* Keep a form that must not come back. */
static int keep(struct tool_secrets *secrets, const char *form)
{
	if (strlen(form) < TOOL_SECRET_LEAST)
		return 0;
	for (int i = 0; i < secrets->count; i++)
		if (strcmp(secrets->forms[i], form) == 0)
			return 0;
	if (secrets->count == TOOL_SECRET_FORMS)
		return -ENOMEM;
	char *copy = strdup(form);
	if (!copy)
		return -ENOMEM;
	secrets->forms[secrets->count++] = copy;
	return 0;
}

/* Keep it as it is and as it stands in a URL. */
static int keep_both(struct tool_secrets *secrets, const char *form)
{
	_wiped_ struct wl_buffer escaped;
	wl_buffer_init(&escaped, 0);
	if (wl_http_append_escaped(&escaped, form, strlen(form)) < 0)
		return -ENOMEM;
	int failed = keep(secrets, form);
	return failed ? failed : keep(secrets, escaped.data ? escaped.data : "");
}

/* RFC 4648 §4 */
static int append_base64(struct wl_buffer *text, const char *bytes, size_t length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < length; i += 3) {
		unsigned group = 0;
		size_t rest = length - i < 3 ? length - i : 3;
		for (size_t k = 0; k < 3; k++)
			group = group << 8 | (k < rest ? (unsigned char)bytes[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			(void)wl_buffer_append_char(text, k <= rest ? digits[group >> (18 - 6 * k) & 63] : '=');
	}
	return text->failed ? -text->failed : 0;
}

static int append_pair(const struct wl_json *auth, const char *token, struct wl_buffer *text)
{
	const char *name = wl_json_get_string(auth, "name", "api_key");
	(void)wl_http_append_escaped(text, name, strlen(name));
	(void)wl_buffer_append_char(text, '=');
	return wl_http_append_escaped(text, token, strlen(token));
}

static int make_token(const struct wl_json *auth, bool bearer, const char *token, struct tool_credential *ret,
		      struct tool_secrets *secrets, struct wl_error *err)
{
	if (!token || !*token)
		return wl_fail(err, ENOEXEC, "the tool's credentials have no token");
	const char *place = wl_json_get_string(auth, "in", "header");
	ret->place = strcmp(place, "query") == 0    ? TOOL_CREDENTIAL_QUERY
		     : strcmp(place, "cookie") == 0 ? TOOL_CREDENTIAL_COOKIE
						    : TOOL_CREDENTIAL_HEADER;
	int failed = keep_both(secrets, token);
	if (bearer) {
		ret->place = TOOL_CREDENTIAL_HEADER;
		ret->name = "Authorization";
		failed = failed ? failed : wl_buffer_appendf(&ret->value, "Bearer %s", token);
	} else if (ret->place == TOOL_CREDENTIAL_HEADER) {
		ret->name = wl_json_get_string(auth, "name", "X-API-Key");
		failed = failed ? failed : wl_buffer_append_text(&ret->value, token);
	} else {
		failed = failed ? failed : append_pair(auth, token, &ret->value);
	}
	return failed ? wl_fail(err, ENOMEM, "no memory for a request") : 0;
}

/* RFC 7617 */
static int make_basic(const struct wl_json *credentials, struct tool_credential *ret, struct tool_secrets *secrets,
		      struct wl_error *err)
{
	_wiped_ struct wl_buffer pair;
	const char *username = wl_json_get_string(credentials, "username", NULL);
	const char *password = wl_json_get_string(credentials, "password", NULL);
	wl_buffer_init(&pair, 0);
	if (!username || !password || strchr(username, ':'))
		return wl_fail(err, ENOEXEC, "the tool's credentials have no username without colons, or no password");
	ret->place = TOOL_CREDENTIAL_HEADER;
	ret->name = "Authorization";
	(void)wl_buffer_appendf(&pair, "%s:%s", username, password);
	(void)wl_buffer_append_text(&ret->value, "Basic ");
	if (pair.failed || append_base64(&ret->value, pair.data, pair.length) < 0 || keep_both(secrets, password) < 0 ||
	    keep_both(secrets, ret->value.data + 6) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	return 0;
}

int tool_credential_make(const struct wl_json *auth, const struct wl_json *credentials,
			 struct tool_credential *ret_credential, struct tool_secrets *secrets, struct wl_error *err)
{
	const char *type = wl_json_get_string(auth, "type", "none");
	wl_buffer_init(&ret_credential->value, 0);
	int result = 0;
	if (strcmp(type, "basic") == 0)
		result = make_basic(credentials, ret_credential, secrets, err);
	else
		result = make_token(auth, strcmp(type, "bearer") == 0, wl_json_get_string(credentials, "token", NULL),
				    ret_credential, secrets, err);
	if (result == 0 && ret_credential->place == TOOL_CREDENTIAL_HEADER &&
	    !wl_http_header_valid(ret_credential->name, ret_credential->value.data))
		return wl_fail(err, ENOEXEC, "the tool's credentials cannot be sent as a header");
	return result;
}

void tool_credential_release(struct tool_credential *credential)
{
	wipe(&credential->value);
}

/* ---- taking them out -------------------------------------------------------------------------------------- */

/* The text with every secret replaced, allocated; NULL: there was none (or no memory, which *failed tells). */
static char *clean_text(const struct tool_secrets *secrets, const char *text, int *failed)
{
	_wl_buffer_ struct wl_buffer clean;
	bool found = false;
	wl_buffer_init(&clean, 0);
	for (int i = 0; i < secrets->count; i++)
		found = found || strstr(text, secrets->forms[i]);
	for (const char *at = found ? text : ""; *at;) {
		size_t hit = 0;
		for (int i = 0; i < secrets->count; i++) {
			size_t length = strlen(secrets->forms[i]);
			if (length > hit && strncmp(at, secrets->forms[i], length) == 0)
				hit = length;
		}
		(void)wl_buffer_append(&clean, hit ? "***" : at, hit ? 3 : 1);
		at += hit ? hit : 1;
	}
	*failed |= clean.failed;
	return found && !clean.failed ? wl_buffer_steal(&clean) : NULL;
}

char *tool_secrets_mask(const struct tool_secrets *secrets, const char *text)
{
	int failed = 0;
	char *clean = clean_text(secrets, text, &failed);
	return clean || failed ? clean : strdup(text);
}

static struct wl_json *clean_value(const struct tool_secrets *secrets, const struct wl_json *value, bool *found,
				   int *failed);

static struct wl_json *clean_members(const struct tool_secrets *secrets, const struct wl_json *value, bool *found,
				     int *failed)
{
	bool object = wl_json_is(value, WL_JSON_OBJECT);
	struct wl_json *copy = object ? wl_json_object() : wl_json_array();
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one)) {
		struct wl_json *member = clean_value(secrets, one, found, failed);
		if (!object) {
			*failed |= wl_json_append(copy, member);
			continue;
		}
		_wl_free_ char *key = clean_text(secrets, wl_json_key(one), failed);
		*found = *found || key;
		*failed |= wl_json_set(copy, key ? key : wl_json_key(one), member);
	}
	return copy;
}

/* A copy without secrets. It goes as deep as the JSON that came in, which its reader has bounded. */
static struct wl_json *clean_value(const struct tool_secrets *secrets, const struct wl_json *value, bool *found,
				   int *failed)
{
	if (wl_json_is(value, WL_JSON_OBJECT) || wl_json_is(value, WL_JSON_ARRAY))
		return clean_members(secrets, value, found, failed);
	const char *text = wl_json_string(value, NULL);
	_wl_free_ char *clean = text ? clean_text(secrets, text, failed) : NULL;
	*found = *found || clean;
	return clean ? wl_json_new_string(clean) : wl_json_copy(value);
}

int tool_secrets_redact(const struct tool_secrets *secrets, char **json)
{
	_wl_json_ struct wl_json *parsed = NULL;
	bool found = false;
	int failed = 0;
	if (secrets->count == 0 || !*json)
		return 0;
	/* an answer lies a few levels deep in what is kept of it */
	if (wl_json_parse_deep(*json, strlen(*json), WL_JSON_DEPTH + 8, &parsed, NULL) < 0)
		return -ENOMEM;
	_wl_json_ struct wl_json *clean = clean_value(secrets, parsed, &found, &failed);
	if (failed || !clean)
		return -ENOMEM;
	if (!found)
		return 0;
	char *text = wl_json_print(clean);
	if (!text)
		return -ENOMEM;
	explicit_bzero(*json, strlen(*json));
	free(*json);
	*json = text;
	return 0;
}
