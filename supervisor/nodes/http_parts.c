#include "supervisor/nodes/http_parts.h"

#include "lib/base/cleanup.h"
#include "supervisor/nodes/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define DETAIL_MAX 16384 /* bytes of an answer that an error tells */
#define BODY_SHOWN 4096	 /* bytes of the body of one that has more */

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

int header_list_add(struct header_list *list, const char *name, const char *value)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		struct wl_http_header *items = realloc(list->items, room * sizeof(*items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	char *name_copy = strdup(name);
	char *value_copy = strdup(value);
	if (!name_copy || !value_copy) {
		free(name_copy);
		wipe(value_copy);
		return -ENOMEM;
	}
	list->items[list->count++] = (struct wl_http_header){ name_copy, value_copy };
	return 0;
}

bool header_list_has(const struct header_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcasecmp(list->items[i].name, name) == 0)
			return true;
	return false;
}

static void release_header(const struct wl_http_header *header)
{
	free((char *)header->name);
	wipe((char *)header->value);
}

void header_list_remove(struct header_list *list, const char *name)
{
	size_t kept = 0;
	for (size_t i = 0; i < list->count; i++) {
		if (strcasecmp(list->items[i].name, name) == 0)
			release_header(&list->items[i]);
		else
			list->items[kept++] = list->items[i];
	}
	list->count = kept;
}

void header_list_release(struct header_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		release_header(&list->items[i]);
	free(list->items);
	*list = (struct header_list){ 0 };
}

int header_list_add_idempotency(struct header_list *list, const struct node_call *call, const char *method)
{
	if (wl_http_method_safe(method) || header_list_has(list, "idempotency-key"))
		return 0;
	/* the execution's id is unique; FNV-1a tells its nodes apart, and the rounds of its loops */
	uint64_t hash = 14695981039346656037ULL;
	char key[64];
	for (const char *at = call->told_apart ? call->told_apart : node_call_path(call); *at; at++)
		hash = (hash ^ (unsigned char)*at) * 1099511628211ULL;
	(void)snprintf(key, sizeof(key), "%s-%016llx", call->eid, (unsigned long long)hash);
	return header_list_add(list, "Idempotency-Key", key);
}

char *http_plain_text(const struct wl_json *value)
{
	const char *text = wl_json_string(value, NULL);
	return text ? strdup(text) : wl_json_print(value);
}

static bool came_before(const struct wl_http_response *response, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(response->headers[i].name, response->headers[index].name) == 0)
			return true;
	return false;
}

int http_append_headers(struct wl_buffer *text, const struct wl_http_response *response)
{
	(void)wl_buffer_append_char(text, '{');
	for (size_t i = 0; i < response->header_count; i++) {
		const struct wl_http_header *header = &response->headers[i];
		if (came_before(response, i))
			continue;
		if (i > 0)
			(void)wl_buffer_append_char(text, ',');
		(void)text_append_json(text, header->name, strlen(header->name));
		(void)wl_buffer_append_char(text, ':');
		(void)text_append_json(text, header->value, strlen(header->value));
	}
	return wl_buffer_append_char(text, '}');
}

int http_append_body(struct wl_buffer *text, const struct wl_http_response *response)
{
	_wl_json_ struct wl_json *parsed = NULL;
	const char *body = response->body.data ? response->body.data : "";
	size_t from = text->length;
	if (!wl_http_response_is_json(response) || wl_json_parse(body, response->body.length, &parsed, NULL) < 0)
		return text_append_json(text, body, response->body.length);
	(void)wl_buffer_append(text, body, response->body.length);
	if (!text->failed) {
		text_compact_json(text->data + from);
		text->length = from + strlen(text->data + from);
	}
	return text->failed ? -text->failed : 0;
}

char *http_response_text(const struct wl_http_response *response)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(&text, "{\"status\":%ld,\"headers\":", response->status);
	(void)http_append_headers(&text, response);
	(void)wl_buffer_append_text(&text, ",\"body\":");
	(void)http_append_body(&text, response);
	(void)wl_buffer_append_char(&text, '}');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

char *http_status_detail(const struct wl_http_response *response)
{
	_wl_buffer_ struct wl_buffer text;
	char *full = http_response_text(response);
	if (!full || strlen(full) < DETAIL_MAX)
		return full;
	free(full);
	wl_buffer_init(&text, 0);
	size_t shown = response->body.length < BODY_SHOWN ? response->body.length : BODY_SHOWN;
	(void)wl_buffer_appendf(&text, "{\"status\":%ld,\"truncated\":true,\"body\":", response->status);
	(void)text_append_json(&text, response->body.data ? response->body.data : "", shown);
	(void)wl_buffer_append_char(&text, '}');
	return text.failed ? NULL : wl_buffer_steal(&text);
}

bool http_expects(const int *expect, int count, long status)
{
	for (int i = 0; i < count; i++)
		if (expect[i] == status)
			return true;
	return count == 0 && status >= 200 && status <= 299;
}

struct wl_http_client *http_client_of(struct node_world *world, const struct node_call *call,
				      struct node_outcome *outcome)
{
	struct wl_error err = { 0 };
	if (!world->http && wl_http_client_new(world->egress, &world->http, &err) < 0)
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "%s", err.text);
	return world->http;
}

void http_send_failed(struct node_outcome *outcome, const struct node_call *call, int result,
		      const struct wl_error *err)
{
	switch (-result) {
	case EINVAL:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "input_invalid", NULL, "%s", err->text);
		break;
	case EACCES:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "http_refused", NULL, "%s", err->text);
		break;
	case ECANCELED:
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "%s", err->text);
		break;
	case ETIMEDOUT:
		node_fail(outcome, call, NODE_FAILED, "timeout", NULL, "%s", err->text);
		break;
	case EMSGSIZE:
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "output_cap", NULL, "%s", err->text);
		break;
	default:
		node_fail(outcome, call, NODE_FAILED, "http", NULL, "%s", err->text);
	}
}
