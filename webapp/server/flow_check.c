#include "webapp/server/flow_check.h"

#include "lib/base/cleanup.h"
#include "lib/codec/flow_document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool web_schema_is_trivial(const struct wl_json *schema)
{
	if (!schema)
		return true;
	if (wl_json_is(schema, WL_JSON_BOOL))
		return wl_json_bool(schema, false);
	return wl_json_is(schema, WL_JSON_OBJECT) && wl_json_count(schema) == 0;
}

bool web_expression_refused(int rc)
{
	return rc == -EINVAL || rc == -ENOEXEC || rc == -ETIMEDOUT || rc == -E2BIG;
}

int web_schema_faults(struct wl_flow_faults *faults, const char *place, const char *faults_json, const char *sentence,
		      struct wl_error *err)
{
	_wl_json_ struct wl_json *list = NULL;
	if (faults_json && wl_json_parse(faults_json, strlen(faults_json), &list, NULL) < 0)
		return wl_fail(err, ENOMEM, "no memory for the faults of %s", *place ? place : "the inputs");
	for (const struct wl_json *item = wl_json_first(list); item; item = wl_json_next(item)) {
		const char *inside = wl_json_get_string(item, "path", "");
		bool dot = *place && *inside && *inside != '.' && *inside != '[';
		char path[256];
		(void)snprintf(path, sizeof(path), "%s%s%.200s", place, dot ? "." : "", inside);
		wl_flow_fault_add(faults, path, "%s", wl_json_get_string(item, "message", "does not fit"));
	}
	if (wl_json_count(list) == 0)
		wl_flow_fault_add(faults, place, "%s", sentence);
	return 0;
}

/* Fields of a node's data that are never read as expressions. */
static bool is_plain_field(const char *kind, const char *field)
{
	return strcmp(field, "label") == 0 || (strcmp(kind, "code") == 0 && strcmp(field, "source") == 0) ||
	       strcmp(kind, "note") == 0;
}

/* A node's data without its plain fields, as JSON text; NULL without memory. */
static char *template_of(const struct wl_json *node)
{
	const char *kind = wl_json_get_string(node, "type", "");
	_wl_json_ struct wl_json *made = wl_json_object();
	const struct wl_json *data = wl_json_get(node, "data");
	for (const struct wl_json *field = wl_json_first(data); field && made; field = wl_json_next(field))
		if (!is_plain_field(kind, wl_json_key(field)) &&
		    wl_json_set(made, wl_json_key(field), wl_json_copy(field)) < 0)
			return NULL;
	return made ? wl_json_print(made) : NULL;
}

/*
 * A sentence on an expression begins with the path of its text inside the data, as in "value.list[2]: ...". Keys may
 * hold anything, so the path is not cut out but followed through the data. Returns its length, 0: it names none.
 */
static size_t path_length(const struct wl_json *value, const char *sentence, size_t at)
{
	bool object = wl_json_is(value, WL_JSON_OBJECT);
	int index = 0;
	if (wl_json_is(value, WL_JSON_STRING))
		return strncmp(sentence + at, ": ", 2) == 0 ? at : 0;
	for (const struct wl_json *member = wl_json_first(value); member; member = wl_json_next(member), index++) {
		char place[24];
		(void)snprintf(place, sizeof(place), "[%d]", index);
		const char *name = object ? wl_json_key(member) : place;
		size_t dot = object && at ? 1 : 0, length = strlen(name);
		if ((dot && sentence[at] != '.') || strncmp(sentence + at + dot, name, length) != 0)
			continue;
		size_t found = path_length(member, sentence, at + dot + length);
		if (found)
			return found;
	}
	return 0;
}

void web_expression_fault(struct wl_flow_faults *faults, const char *place, const struct wl_json *value,
			  const char *sentence)
{
	char path[WL_ERROR_TEXT + 64];
	size_t length = path_length(value, sentence, 0);
	(void)snprintf(path, sizeof(path), "%s%s%.*s", place, length ? "." : "", (int)length, sentence);
	wl_flow_fault_add(faults, path, "%s", sentence + (length ? length + 2 : 0));
}

static void add_node_fault(struct wl_flow_faults *faults, int index, const struct wl_json *node, const char *sentence)
{
	char place[32];
	(void)snprintf(place, sizeof(place), "nodes[%d].data", index);
	web_expression_fault(faults, place, wl_json_get(node, "data"), sentence);
}

static int check_expressions(struct wl_expression_pool *pool, int timeout_ms, const struct wl_json *document,
			     struct wl_flow_faults *faults, struct wl_error *err)
{
	const struct wl_json *nodes = wl_json_get(document, "nodes");
	int index = 0;
	for (const struct wl_json *node = wl_json_first(nodes); node; node = wl_json_next(node), index++) {
		_wl_free_ char *template = template_of(node);
		if (!template)
			return wl_fail(err, ENOMEM, "no memory to check a flow");
		if (!strstr(template, "{{"))
			continue;
		int rc = wl_expression_check(pool, template, strlen(template), timeout_ms, err);
		if (web_expression_refused(rc))
			add_node_fault(faults, index, node, err->text);
		else if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_schema(struct wl_expression_pool *pool, int timeout_ms, const struct wl_json *document,
			const char *name, struct wl_flow_faults *faults, struct wl_error *err)
{
	const struct wl_json *schema = wl_json_get(document, name);
	if (web_schema_is_trivial(schema))
		return 0;
	_wl_free_ char *text = wl_json_print(schema);
	_wl_free_ char *schema_faults = NULL;
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to check a flow");
	int rc = wl_expression_schema(pool, text, strlen(text), NULL, 0, timeout_ms, &schema_faults, err);
	if (web_expression_refused(rc)) {
		wl_flow_fault_add(faults, name, "%s", err->text);
		return 0;
	}
	return rc;
}

static int make_canonical(const struct wl_json *document, struct web_checked_flow *ret_flow, struct wl_error *err)
{
	char *canonical = wl_flow_document_canonical(document);
	if (!canonical)
		return wl_fail(err, ENOMEM, "no memory to check a flow");
	size_t length = strlen(canonical);
	if (length > WL_FLOW_DOCUMENT_MAX) {
		free(canonical);
		return wl_fail(err, E2BIG, "a flow's document has at most %u bytes", WL_FLOW_DOCUMENT_MAX);
	}
	ret_flow->canonical = canonical;
	wl_sha256(canonical, length, ret_flow->hash);
	return 0;
}

int web_flow_check(struct wl_expression_pool *expressions, int timeout_ms, const struct wl_json *document,
		   struct web_checked_flow *ret_flow, struct wl_flow_faults *faults, struct wl_error *err)
{
	struct wl_flow_graph graph = { 0 };
	struct wl_error ignored;
	int rc = wl_flow_document_read(document, &graph, faults, err);
	wl_flow_graph_release(&graph);
	if (rc < 0 && rc != -EINVAL)
		return rc;
	/* one answer names all faults, of the graph and of the expressions; but faults that are known do not wait for
	 * a server that is away */
	struct wl_error *later = rc < 0 ? &ignored : err;
	int more = check_expressions(expressions, timeout_ms, document, faults, later);
	more = more ? more : check_schema(expressions, timeout_ms, document, "input_schema", faults, later);
	more = more ? more : check_schema(expressions, timeout_ms, document, "output_schema", faults, later);
	if (rc < 0 || more < 0)
		return rc < 0 ? rc : more;
	if (faults->count)
		return wl_fail(err, EINVAL, "the flow has faults");
	return make_canonical(document, ret_flow, err);
}
