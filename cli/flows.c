#include "cli/flows.h"

#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <string.h>

#define PAGES_MAX 100
#define APPLY_ATTEMPTS 4
#define SEARCH_MAX 200

/* Append text as a URL's query value (RFC 3986 §2.3: all but unreserved characters are escaped). */
static void append_query(struct wl_buffer *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	for (; *text; text++) {
		if (strchr(plain, *text))
			(void)wl_buffer_append_char(out, *text);
		else
			(void)wl_buffer_appendf(out, "%%%02X", (unsigned char)*text);
	}
}

static int list_page(struct cli *cli, const char *query, long page, struct wl_json **ret_list, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer path;
	wl_buffer_init(&path, 4096);
	(void)wl_buffer_appendf(&path, "/flows?limit=100&page=%ld%s", page, query);
	if (path.failed)
		return wl_fail(err, EINVAL, "the search is too long");
	return cli_get(cli, path.data, ret_list, err);
}

/* The id of the flow of that name: 0 with *ret_id "" when there is none. */
static int find_by_name(struct cli *cli, const char *name, char id[WL_UUID_TEXT], struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer query;
	wl_buffer_init(&query, 4096);
	(void)wl_buffer_append_text(&query, "&sort=name");
	if (strlen(name) <= SEARCH_MAX) {
		(void)wl_buffer_append_text(&query, "&search=");
		append_query(&query, name);
	}
	id[0] = '\0';
	for (long page = 1; page <= PAGES_MAX; page++) {
		_wl_json_ struct wl_json *list = NULL;
		if (list_page(cli, query.data, page, &list, err) < 0)
			return -err->code;
		const struct wl_json *flow = wl_json_first(wl_json_get(list, "flows"));
		for (; flow; flow = wl_json_next(flow)) {
			const char *found = wl_json_get_string(flow, "id", "");
			if (strcmp(wl_json_get_string(flow, "name", ""), name) != 0 ||
			    strcmp(wl_json_get_string(flow, "status", ""), "archived") == 0 || !wl_uuid_valid(found))
				continue;
			if (id[0] && strcmp(id, found) != 0)
				return wl_fail(err, EREMOTEIO,
					       "more than one flow is called '%.64s': %s and %s; use the id", name, id,
					       found);
			memcpy(id, found, WL_UUID_TEXT);
		}
		if (page >= (long)wl_json_get_number(wl_json_get(list, "page_info"), "pages", 0))
			break;
	}
	return 0;
}

/* GET one flow: the flow alone, and its ETag. */
static int read_flow(struct cli *cli, const char *id, struct wl_json **ret_flow, char etag[80], struct wl_error *err)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/flows/%s", id);
	struct cli_call call = { .method = "GET", .path = path };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	struct wl_json *flow = wl_json_copy(wl_json_get(answer.json, "flow"));
	if (!flow)
		return wl_fail(err, EPROTO, "%s answered without a flow", cli->login.url);
	if (etag)
		memcpy(etag, answer.etag, sizeof(answer.etag));
	*ret_flow = flow;
	return 0;
}

int cli_flow_find(struct cli *cli, const char *id_or_name, struct wl_json **ret_flow, struct wl_error *err)
{
	char id[WL_UUID_TEXT];
	if (wl_uuid_valid(id_or_name))
		return read_flow(cli, id_or_name, ret_flow, NULL, err);
	if (find_by_name(cli, id_or_name, id, err) < 0)
		return -err->code;
	if (!id[0])
		return wl_fail(err, EREMOTEIO, "there is no flow '%.64s'; windlass flows lists them", id_or_name);
	return read_flow(cli, id, ret_flow, NULL, err);
}

static bool is_empty_object(const struct wl_json *json)
{
	return !json || (wl_json_is(json, WL_JSON_OBJECT) && wl_json_count(json) == 0);
}

/* Whether the server's draft is what the file says. */
static bool same_flow(const struct wl_json *server, const struct wl_json *file)
{
	static const char *const exact[] = { "name", "nodes", "edges" };
	static const char *const schemas[] = { "input_schema", "output_schema" };
	for (size_t i = 0; i < WL_COUNT_OF(exact); i++)
		if (!wl_json_equal(wl_json_get(server, exact[i]), wl_json_get(file, exact[i])))
			return false;
	for (size_t i = 0; i < WL_COUNT_OF(schemas); i++) {
		const struct wl_json *a = wl_json_get(server, schemas[i]), *b = wl_json_get(file, schemas[i]);
		if (!(is_empty_object(a) && is_empty_object(b)) && (!a || !b || !wl_json_equal(a, b)))
			return false;
	}
	return strcmp(wl_json_get_string(server, "description", ""), wl_json_get_string(file, "description", "")) == 0;
}

static int write_flow(struct cli *cli, const char *method, const char *path, const char *if_match,
		      const struct wl_json *body, struct wl_json **ret_flow, long *ret_status, struct wl_error *err)
{
	char header[120];
	(void)snprintf(header, sizeof(header), "If-Match: %s", if_match ? if_match : "");
	struct cli_call call = { .method = method, .path = path, .body = body, .header = if_match ? header : NULL };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0) {
		*ret_status = (long)wl_json_get_number(cli->problem, "status", 0);
		return -err->code;
	}
	*ret_status = answer.status;
	struct wl_json *flow = wl_json_copy(wl_json_get(answer.json, "flow"));
	if (!flow)
		return wl_fail(err, EPROTO, "%s answered without a flow", cli->login.url);
	*ret_flow = flow;
	return 0;
}

/* What a PUT must say to leave nothing of the old flow: members that the file does not have are emptied. */
static struct wl_json *complete(const struct wl_json *file)
{
	_wl_json_ struct wl_json *body = wl_json_copy(file);
	int failed = body ? 0 : -ENOMEM;
	if (body && !wl_json_get(file, "description"))
		failed |= wl_json_set_string(body, "description", "");
	if (body && !wl_json_get(file, "input_schema"))
		failed |= wl_json_set(body, "input_schema", wl_json_object());
	if (body && !wl_json_get(file, "output_schema"))
		failed |= wl_json_set(body, "output_schema", wl_json_object());
	return failed ? NULL : wl_steal(body);
}

static int update(struct cli *cli, const char *id, const struct wl_json *file, struct wl_json **ret_flow,
		  enum cli_applied *ret_how, long *ret_status, struct wl_error *err)
{
	char etag[80] = "", path[64];
	_wl_json_ struct wl_json *server = NULL;
	*ret_status = 0;
	if (read_flow(cli, id, &server, etag, err) < 0)
		return -err->code;
	if (same_flow(server, file)) {
		*ret_flow = wl_steal(server);
		*ret_how = CLI_UNCHANGED;
		return 0;
	}
	_wl_json_ struct wl_json *body = complete(file);
	if (!body)
		return wl_fail(err, ENOMEM, "no memory for the flow");
	(void)snprintf(path, sizeof(path), "/flows/%s", id);
	*ret_how = CLI_UPDATED;
	return write_flow(cli, "PUT", path, *etag ? etag : NULL, body, ret_flow, ret_status, err);
}

int cli_flow_apply(struct cli *cli, const struct wl_json *flow, struct wl_json **ret_flow, enum cli_applied *ret_how,
		   struct wl_error *err)
{
	const char *name = wl_json_get_string(flow, "name", "");
	for (int attempt = 1;; attempt++) {
		char id[WL_UUID_TEXT];
		long status = 0;
		if (find_by_name(cli, name, id, err) < 0)
			return -err->code;
		*ret_how = CLI_CREATED;
		int result = id[0] ? update(cli, id, flow, ret_flow, ret_how, &status, err)
				   : write_flow(cli, "POST", "/flows", NULL, flow, ret_flow, &status, err);
		/* 412: somebody changed it between our reading and our writing */
		if (result == 0 || status != 412 || attempt == APPLY_ATTEMPTS)
			return result;
	}
}

int cli_flow_publish(struct cli *cli, const char *id, const char *note, long *ret_version, struct wl_error *err)
{
	char path[72];
	_wl_json_ struct wl_json *body = wl_json_object();
	if (!wl_uuid_valid(id))
		return wl_fail(err, EPROTO, "%s answered with a flow without id", cli->login.url);
	if (!body || (note && wl_json_set_string(body, "note", note) < 0))
		return wl_fail(err, ENOMEM, "no memory for a request");
	(void)snprintf(path, sizeof(path), "/flows/%s/publish", id);
	struct cli_call call = { .method = "POST", .path = path, .body = body };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	*ret_version = (long)wl_json_get_number(wl_json_get(answer.json, "version"), "version", 0);
	return 0;
}
