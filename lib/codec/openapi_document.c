#include "lib/codec/openapi_document.h"

#include "lib/base/cleanup.h"
#include "lib/codec/openapi_internal.h"
#include "lib/codec/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *member, *method;
} methods[] = {
	{ "get", "GET" },   { "put", "PUT" },	  { "post", "POST" },	    { "delete", "DELETE" },
	{ "head", "HEAD" }, { "patch", "PATCH" }, { "options", "OPTIONS" },
};

/* Names of tools that are taken, sorted: two operations may not become one name. */
struct names {
	char (*items)[WL_OPENAPI_NAME_MAX + 1];
	size_t count;
};

static size_t skip_blanks(const char *text, size_t length, size_t at)
{
	while (at < length && text[at] && strchr(" \t\r\n", text[at]))
		at++;
	return at;
}

/* A brace and a quoted key. YAML has such objects too, but what begins so is meant as JSON, which has better faults. */
static bool begins_as_json(const char *text, size_t length)
{
	size_t at = skip_blanks(text, length, 0);
	if (at >= length || text[at] != '{')
		return false;
	at = skip_blanks(text, length, at + 1);
	return at < length && text[at] == '"';
}

/* At least as many values as the text can have: each but the first follows a comma or a bracket. */
static size_t values_most(const char *text, size_t length)
{
	size_t count = 1;
	for (size_t i = 0; i < length; i++)
		count += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return count;
}

int wl_openapi_parse(const char *text, size_t length, struct wl_json **ret_document, struct wl_error *err)
{
	if (length > WL_OPENAPI_MAX)
		return wl_fail(err, E2BIG, "an OpenAPI document has at most %u MiB", WL_OPENAPI_MAX >> 20);
	if (begins_as_json(text, length) && values_most(text, length) > WL_OPENAPI_TEXT_VALUES)
		return wl_fail(err, E2BIG, "an OpenAPI document has at most %d values", WL_OPENAPI_TEXT_VALUES);
	if (begins_as_json(text, length))
		return wl_json_parse(text, length, ret_document, err);
	return wl_yaml_parse(text, length, ret_document, err);
}

/* ---- names --------------------------------------------------------------------------------------------------------
 */

/* Letters, digits, '_' and '-' as they are, anything else as one '_'; none at the ends. */
static void clean_name(const char *text, char *name, size_t size)
{
	size_t used = 0;
	for (; *text && used + 1 < size; text++) {
		bool plain = isalnum((unsigned char)*text) || *text == '-' || *text == '_';
		if (plain)
			name[used++] = *text;
		else if (used && name[used - 1] != '_')
			name[used++] = '_';
	}
	while (used && name[used - 1] == '_')
		used--;
	name[used] = '\0';
}

static bool taken(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], name) == 0)
			return true;
	return false;
}

static void choose_name(const struct openapi_reader *reader, struct names *names,
			const struct openapi_operation *operation, char name[WL_OPENAPI_NAME_MAX + 1])
{
	const char *prefix = reader->choice->name_prefix ? reader->choice->name_prefix : "";
	char text[2400], whole[WL_OPENAPI_NAME_MAX + 1], suffix[16] = "";
	char lower[16];
	(void)snprintf(lower, sizeof(lower), "%s", operation->method);
	for (char *at = lower; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	if (operation->id)
		(void)snprintf(text, sizeof(text), "%.100s%.2000s", prefix, operation->id);
	else
		(void)snprintf(text, sizeof(text), "%.100s%s %.2000s", prefix, lower, operation->path);
	clean_name(text, whole, sizeof(whole));
	if (!*whole)
		(void)snprintf(whole, sizeof(whole), "operation");
	for (int n = 2;; n++) {
		int room = (int)(WL_OPENAPI_NAME_MAX - strlen(suffix));
		(void)snprintf(name, WL_OPENAPI_NAME_MAX + 1, "%.*s%s", room, whole, suffix);
		if (!taken(names, name))
			break;
		/* many that are called the same: soon numbers that nobody can have yet */
		n = n > 20 && n < (int)names->count ? (int)names->count : n;
		(void)snprintf(suffix, sizeof(suffix), "_%d", n);
	}
	memcpy(names->items[names->count++], name, WL_OPENAPI_NAME_MAX + 1);
}

/* ---- operations ----------------------------------------------------------------------------------------------------
 */

static bool is_chosen_by(const char *wish, const struct openapi_operation *operation)
{
	size_t method = strlen(operation->method);
	if (operation->id && strcmp(wish, operation->id) == 0)
		return true;
	return strncasecmp(wish, operation->method, method) == 0 && wish[method] == ' ' &&
	       strcmp(wish + method + 1, operation->path) == 0;
}

/* Mark in `seen` which wishes this operation fulfils. */
static bool chosen(const struct openapi_reader *reader, const struct openapi_operation *operation, bool *seen)
{
	size_t index = 0;
	bool found = !reader->choice->operations;
	for (const struct wl_json *one = wl_json_first(reader->choice->operations); one;
	     one = wl_json_next(one), index++)
		if (is_chosen_by(wl_json_string(one, ""), operation))
			seen[index] = found = true;
	return found;
}

struct walk {
	struct openapi_reader *reader;
	struct wl_json *tools;
	struct names names;
	bool *seen;
	size_t operations; /* that were chosen */
};

static void take_operation(struct walk *walk, const struct openapi_operation *operation)
{
	char name[WL_OPENAPI_NAME_MAX + 1];
	struct openapi_reader *reader = walk->reader;
	const struct openapi_place id_place = { &operation->place, "operationId", NULL, 0 };
	const struct wl_json *id = wl_json_get(operation->object, "operationId");
	if (id && !wl_json_is(id, WL_JSON_STRING))
		openapi_fault(reader, &id_place, "must be a text");
	if (!chosen(reader, operation, walk->seen) || ++walk->operations > WL_OPENAPI_OPERATIONS_MAX ||
	    reader->no_memory)
		return;
	struct wl_json *tool = openapi_tool(reader, operation);
	if (!tool)
		return;
	choose_name(reader, &walk->names, operation, name);
	openapi_put(reader, tool, "name", wl_json_new_string(name));
	openapi_append(reader, walk->tools, tool);
}

static void walk_item(struct walk *walk, const struct wl_json *item, const char *path, struct openapi_place place)
{
	for (size_t i = 0; i < WL_COUNT_OF(methods); i++) {
		const struct wl_json *object = wl_json_get(item, methods[i].member);
		if (!object)
			continue;
		const struct openapi_place at = { &place, methods[i].member, NULL, 0 };
		const struct openapi_operation operation = { .object = object,
							     .item = item,
							     .place = at,
							     .item_place = place,
							     .method = methods[i].method,
							     .path = path,
							     .id = wl_json_get_string(object, "operationId", NULL) };
		if (wl_json_is(object, WL_JSON_OBJECT))
			take_operation(walk, &operation);
		else
			openapi_fault(walk->reader, &at, "must be an object");
	}
	const struct openapi_place trace = { &place, "trace", NULL, 0 };
	if (wl_json_get(item, "trace"))
		openapi_warn(walk->reader, &trace, "operations of this method are left out");
}

static void walk_paths(struct walk *walk)
{
	const struct wl_json *paths = wl_json_get(walk->reader->document, "paths");
	const struct openapi_place place = { NULL, "paths", NULL, 0 };
	if (!wl_json_is(paths, WL_JSON_OBJECT)) {
		openapi_fault(walk->reader, &place, paths ? "must be an object" : "is missing");
		return;
	}
	for (const struct wl_json *one = wl_json_first(paths); one; one = wl_json_next(one)) {
		const char *path = wl_json_key(one);
		struct openapi_place at = { &place, path, NULL, 0 };
		if (strncmp(path, "x-", 2) == 0)
			continue;
		if (*path != '/' || strlen(path) > 2000) {
			openapi_fault(walk->reader, &at, *path == '/' ? "is too long" : "must begin with /");
			continue;
		}
		if (strpbrk(path, "?#")) { /* not foreseen, but seen in the wild */
			openapi_warn(walk->reader, &at, "has a query or fragment in its path: left out");
			continue;
		}
		const struct wl_json *item = one;
		if (!wl_json_is(one, WL_JSON_OBJECT))
			openapi_fault(walk->reader, &at, "must be an object");
		else if (wl_json_get(one, "$ref"))
			item = openapi_resolve(walk->reader, one, &at);
		if (wl_json_is(item, WL_JSON_OBJECT))
			walk_item(walk, item, path, at);
	}
	if (walk->operations > WL_OPENAPI_OPERATIONS_MAX)
		openapi_fault(walk->reader, &place,
			      "has %zu operations; at most %d become tools at once: 'operations' chooses some",
			      walk->operations, WL_OPENAPI_OPERATIONS_MAX);
}

static void name_unseen(struct walk *walk)
{
	size_t index = 0;
	const struct openapi_place place = { NULL, "operations", NULL, 0 };
	for (const struct wl_json *one = wl_json_first(walk->reader->choice->operations); one;
	     one = wl_json_next(one)) {
		const struct openapi_place at = { &place, NULL, NULL, (int)index };
		if (!walk->seen[index++])
			openapi_fault(walk->reader, &at, "'%.100s' names no operation of the document",
				      wl_json_string(one, ""));
	}
}

/* ---- the document ---------------------------------------------------------------------------------------------------
 */

static bool check_head(struct openapi_reader *reader)
{
	const struct openapi_place place = { NULL, "openapi", NULL, 0 }, swagger = { NULL, "swagger", NULL, 0 };
	const struct openapi_place root = { NULL, "document", NULL, 0 };
	const char *version = wl_json_get_string(reader->document, "openapi", NULL);
	if (!wl_json_is(reader->document, WL_JSON_OBJECT))
		openapi_fault(reader, &root, "is no OpenAPI document: it must be an object");
	else if (wl_json_get(reader->document, "swagger"))
		openapi_fault(reader, &swagger, "is another format: OpenAPI 3.0 and 3.1 are read");
	else if (!version)
		openapi_fault(reader, &place, "is missing: it names the version, such as 3.0.3 (a text)");
	else if (strncmp(version, "3.0.", 4) != 0 && strncmp(version, "3.1.", 4) != 0)
		openapi_fault(reader, &place, "is '%.20s'; 3.0 and 3.1 are read", version);
	else
		return true;
	return false;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct openapi_entry *)a)->key, ((const struct openapi_entry *)b)->key);
}

static int index_schemas(struct openapi_reader *reader)
{
	const struct wl_json *schemas = wl_json_get(wl_json_get(reader->document, "components"), "schemas");
	size_t count = wl_json_is(schemas, WL_JSON_OBJECT) ? wl_json_count(schemas) : 0;
	reader->schemas = calloc(count + 1, sizeof(*reader->schemas));
	if (!reader->schemas)
		return -ENOMEM;
	for (const struct wl_json *one = count ? wl_json_first(schemas) : NULL; one; one = wl_json_next(one))
		reader->schemas[reader->schema_count++] = (struct openapi_entry){ wl_json_key(one), one };
	qsort(reader->schemas, reader->schema_count, sizeof(*reader->schemas), by_key);
	return 0;
}

static struct wl_json *make_result(struct openapi_reader *reader, struct walk *walk)
{
	struct wl_json *result = openapi_new(reader, WL_JSON_OBJECT);
	const char *title = wl_json_get_string(wl_json_get(reader->document, "info"), "title", "");
	openapi_put(reader, result, "title", wl_json_new_string(title));
	openapi_put(reader, result, "servers", openapi_servers(reader));
	openapi_put(reader, result, "tools", wl_steal(walk->tools));
	openapi_put(reader, result, "warnings", wl_steal(reader->warnings));
	return result;
}

static void read_all(struct openapi_reader *reader, struct walk *walk)
{
	const struct openapi_place paths = { NULL, "paths", NULL, 0 };
	if (!check_head(reader))
		return;
	walk_paths(walk);
	name_unseen(walk);
	if (walk->operations == 0 && reader->faults->count == 0)
		openapi_fault(reader, &paths, "has no operation that could become a tool");
}

int wl_openapi_read(const struct wl_json *document, const struct wl_openapi_choice *choice, struct wl_json **ret_result,
		    struct wl_flow_faults *faults, struct wl_error *err)
{
	_wl_json_ struct wl_json *warnings = wl_json_array(), *tools = wl_json_array(), *result = NULL;
	struct openapi_reader reader = {
		.document = document, .choice = choice, .faults = faults, .warnings = warnings
	};
	struct walk walk = { .reader = &reader, .tools = tools };
	_wl_free_ bool *seen = calloc(wl_json_count(choice->operations) + 1, sizeof(*seen));
	_wl_free_ void *names = calloc(WL_OPENAPI_OPERATIONS_MAX, sizeof(*walk.names.items));
	bool ready = warnings && tools && seen && names && index_schemas(&reader) == 0;
	walk.seen = seen;
	walk.names.items = names;
	if (ready) {
		read_all(&reader, &walk);
		warnings = tools = NULL; /* make_result() hands them on */
		result = make_result(&reader, &walk);
	}
	free(reader.schemas);
	if (!ready || reader.no_memory || !result)
		return wl_fail(err, ENOMEM, "no memory to read an OpenAPI document");
	if (faults->count)
		return wl_fail(err, EINVAL, "the OpenAPI document has faults");
	*ret_result = wl_steal(result);
	return 0;
}
