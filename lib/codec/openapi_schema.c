/*
 * Schemas of OpenAPI as JSON Schema draft 7. 3.0 has a dialect of its own (nullable, exclusiveMaximum: true); 3.1 has
 * draft 2020-12, of which what draft 7 does not know is left out or written in its words.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/openapi_internal.h"

#include <stdio.h>
#include <string.h>

#define LEVELS_MOST 44	 /* of JSON, so that with what lies around it stays below WL_JSON_DEPTH */
#define COPIED_MOST 1000 /* values of one enum, const or default */

/* How deep we are, and which references are being put in around here. */
struct frame {
	const struct frame *parent;
	const struct wl_json *target; /* NULL: no reference led here */
	int level;
	bool request;
};

enum how { HOW_COPY, HOW_SCHEMA, HOW_LIST, HOW_MAP, HOW_PROPERTIES, HOW_REQUIRED, HOW_TYPE, HOW_LATER };
enum { IS_NULL = 1, IS_BOOL = 2, IS_NUMBER = 4, IS_STRING = 8, IS_ARRAY = 16, IS_OBJECT = 32, IS_ANY = 63 };

/* X(keyword, what it must be, how it is taken) */
#define KEYWORDS(X)                                                                                                    \
	X("title", IS_STRING, HOW_COPY)                                                                                \
	X("description", IS_STRING, HOW_COPY)                                                                          \
	X("default", IS_ANY, HOW_COPY)                                                                                 \
	X("enum", IS_ARRAY, HOW_COPY)                                                                                  \
	X("const", IS_ANY, HOW_COPY)                                                                                   \
	X("format", IS_STRING, HOW_COPY)                                                                               \
	X("multipleOf", IS_NUMBER, HOW_COPY)                                                                           \
	X("maximum", IS_NUMBER, HOW_COPY)                                                                              \
	X("minimum", IS_NUMBER, HOW_COPY)                                                                              \
	X("maxLength", IS_NUMBER, HOW_COPY)                                                                            \
	X("minLength", IS_NUMBER, HOW_COPY)                                                                            \
	X("pattern", IS_STRING, HOW_COPY)                                                                              \
	X("maxItems", IS_NUMBER, HOW_COPY)                                                                             \
	X("minItems", IS_NUMBER, HOW_COPY)                                                                             \
	X("uniqueItems", IS_BOOL, HOW_COPY)                                                                            \
	X("maxProperties", IS_NUMBER, HOW_COPY)                                                                        \
	X("minProperties", IS_NUMBER, HOW_COPY)                                                                        \
	X("type", IS_STRING | IS_ARRAY, HOW_TYPE)                                                                      \
	X("properties", IS_OBJECT, HOW_PROPERTIES)                                                                     \
	X("required", IS_ARRAY, HOW_REQUIRED)                                                                          \
	X("patternProperties", IS_OBJECT, HOW_MAP)                                                                     \
	X("additionalProperties", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                     \
	X("items", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                    \
	X("contains", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                 \
	X("propertyNames", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                            \
	X("not", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                      \
	X("if", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                       \
	X("then", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                     \
	X("else", IS_OBJECT | IS_BOOL, HOW_SCHEMA)                                                                     \
	X("allOf", IS_ARRAY, HOW_LIST)                                                                                 \
	X("anyOf", IS_ARRAY, HOW_LIST)                                                                                 \
	X("oneOf", IS_ARRAY, HOW_LIST)                                                                                 \
	X("prefixItems", IS_ARRAY, HOW_LATER)                                                                          \
	X("exclusiveMaximum", IS_NUMBER | IS_BOOL, HOW_LATER)                                                          \
	X("exclusiveMinimum", IS_NUMBER | IS_BOOL, HOW_LATER)                                                          \
	X("nullable", IS_BOOL, HOW_LATER)

static const struct keyword {
	const char *name;
	unsigned is;
	enum how how;
} keywords[] = {
#define X(name, is, how) { name, is, how },
	KEYWORDS(X)
#undef X
};

static struct wl_json *convert(struct openapi_reader *reader, const struct wl_json *schema,
			       const struct openapi_place *place, const struct frame *frame);

static const struct keyword *keyword_of(const char *name)
{
	for (size_t i = 0; i < WL_COUNT_OF(keywords); i++)
		if (strcmp(keywords[i].name, name) == 0)
			return &keywords[i];
	return NULL;
}

static long count_values(const struct wl_json *value, long most)
{
	long count = 1;
	for (const struct wl_json *one = wl_json_first(value); one && count <= most; one = wl_json_next(one))
		count += count_values(one, most - count);
	return count;
}

/* A schema that takes anything, in place of what is not put in. */
static struct wl_json *cut_schema(struct openapi_reader *reader, const char *why)
{
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	if (made)
		openapi_put(reader, made, "description", wl_json_new_string(why));
	return made;
}

/* ---- keywords -----------------------------------------------------------------------------------------------------
 */

static void take_copy(struct openapi_reader *reader, struct wl_json *into, const char *key, const struct wl_json *value,
		      const struct openapi_place *place)
{
	long values = count_values(value, COPIED_MOST);
	reader->schema_values += values;
	if (strcmp(key, "enum") == 0 && wl_json_count(value) == 0)
		openapi_fault(reader, place, "has no value that it allows");
	else if (values > COPIED_MOST)
		openapi_warn(reader, place, "is too long and left out");
	else
		openapi_put(reader, into, key, wl_json_copy(value));
}

static void take_list(struct openapi_reader *reader, struct wl_json *into, const char *key, const struct wl_json *value,
		      const struct openapi_place *place, const struct frame *frame)
{
	struct wl_json *list = openapi_new(reader, WL_JSON_ARRAY);
	struct openapi_place at = { place, NULL, NULL, 0 };
	if (wl_json_count(value) == 0)
		openapi_fault(reader, place, "is empty");
	for (const struct wl_json *one = wl_json_first(value); one && list; one = wl_json_next(one), at.index++)
		openapi_append(reader, list, convert(reader, one, &at, frame));
	openapi_put(reader, into, key, list);
}

static bool hidden(const struct wl_json *property, const struct frame *frame)
{
	return wl_json_get_bool(property, frame->request ? "readOnly" : "writeOnly", false);
}

static void take_map(struct openapi_reader *reader, struct wl_json *into, const char *key, const struct wl_json *value,
		     const struct openapi_place *place, const struct frame *frame)
{
	struct wl_json *map = openapi_new(reader, WL_JSON_OBJECT);
	bool properties = strcmp(key, "properties") == 0;
	for (const struct wl_json *one = wl_json_first(value); one && map; one = wl_json_next(one)) {
		const struct openapi_place at = { place, wl_json_key(one), NULL, 0 };
		if (!properties || !hidden(one, frame))
			openapi_put(reader, map, wl_json_key(one), convert(reader, one, &at, frame));
	}
	openapi_put(reader, into, key, map);
}

/* The names that must be there, without those of properties that do not travel this way. */
static void take_required(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *schema,
			  const struct wl_json *value, const struct openapi_place *place, const struct frame *frame)
{
	struct wl_json *list = openapi_new(reader, WL_JSON_ARRAY);
	const struct wl_json *properties = wl_json_get(schema, "properties");
	struct openapi_place at = { place, NULL, NULL, 0 };
	if (wl_json_count(value) > COPIED_MOST) {
		openapi_warn(reader, place, "is too long and left out");
		value = NULL;
	}
	for (const struct wl_json *one = wl_json_first(value); one && list; one = wl_json_next(one), at.index++) {
		const char *name = wl_json_string(one, NULL);
		reader->schema_values++;
		if (!name)
			openapi_fault(reader, &at, "must be the name of a member");
		else if (!hidden(wl_json_get(properties, name), frame))
			openapi_append(reader, list, wl_json_copy(one));
	}
	if (wl_json_count(list))
		openapi_put(reader, into, "required", list);
	else
		wl_json_free(list);
}

static bool type_known(const char *type)
{
	static const char *const types[] = { "string", "number", "integer", "boolean", "array", "object", "null" };
	for (size_t i = 0; type && i < WL_COUNT_OF(types); i++)
		if (strcmp(types[i], type) == 0)
			return true;
	return false;
}

static void take_type(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *value,
		      const struct openapi_place *place)
{
	struct openapi_place at = { place, NULL, NULL, 0 };
	if (wl_json_is(value, WL_JSON_STRING) && !type_known(wl_json_string(value, NULL))) {
		openapi_fault(reader, place, "'%.60s' is no type", wl_json_string(value, ""));
		return;
	}
	if (wl_json_is(value, WL_JSON_ARRAY) && wl_json_count(value) == 0)
		openapi_fault(reader, place, "is empty");
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one), at.index++)
		if (!type_known(wl_json_string(one, NULL)))
			openapi_fault(reader, &at, "'%.60s' is no type", wl_json_string(one, "?"));
	reader->schema_values += (long)wl_json_count(value);
	openapi_put(reader, into, "type", wl_json_copy(value));
}

static const char *wanted(unsigned is)
{
	switch (is) {
	case IS_STRING:
		return "a text";
	case IS_NUMBER:
		return "a number";
	case IS_BOOL:
		return "true or false";
	case IS_ARRAY:
		return "a list";
	case IS_OBJECT:
		return "an object";
	case IS_STRING | IS_ARRAY:
		return "a text or a list of texts";
	default:
		return "a schema";
	}
}

static void take_keyword(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *schema,
			 const struct wl_json *member, const struct openapi_place *place, const struct frame *frame)
{
	const struct keyword *keyword = keyword_of(wl_json_key(member));
	if (!keyword)
		return; /* annotations, extensions, and what draft 7 has no words for */
	const struct openapi_place at = { place, keyword->name, NULL, 0 };
	if (!(keyword->is & (1u << wl_json_type(member)))) {
		openapi_fault(reader, &at, "must be %s", wanted(keyword->is));
		return;
	}
	switch (keyword->how) {
	case HOW_COPY:
		take_copy(reader, into, keyword->name, member, &at);
		break;
	case HOW_SCHEMA:
		openapi_put(reader, into, keyword->name, convert(reader, member, &at, frame));
		break;
	case HOW_LIST:
		take_list(reader, into, keyword->name, member, &at, frame);
		break;
	case HOW_MAP:
	case HOW_PROPERTIES:
		take_map(reader, into, keyword->name, member, &at, frame);
		break;
	case HOW_REQUIRED:
		take_required(reader, into, schema, member, &at, frame);
		break;
	case HOW_TYPE:
		take_type(reader, into, member, &at);
		break;
	case HOW_LATER:
		break;
	}
}

/* ---- keywords that change others -------------------------------------------------------------------------------- */

/* 3.0: "exclusiveMaximum": true makes maximum exclusive. 3.1: a number of its own. */
static void take_exclusive(struct openapi_reader *reader, struct wl_json **into, const struct wl_json *schema,
			   const char *exclusive, const char *bound)
{
	const struct wl_json *value = wl_json_get(schema, exclusive), *limit = wl_json_get(schema, bound);
	if (wl_json_is(value, WL_JSON_NUMBER)) {
		openapi_put(reader, *into, exclusive, wl_json_copy(value));
		return;
	}
	if (!wl_json_bool(value, false) || !wl_json_is(limit, WL_JSON_NUMBER))
		return;
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	for (const struct wl_json *one = wl_json_first(*into); one && made; one = wl_json_next(one))
		openapi_put(reader, made, strcmp(wl_json_key(one), bound) == 0 ? exclusive : wl_json_key(one),
			    wl_json_copy(one));
	wl_json_free(*into);
	*into = made;
}

static struct wl_json *null_type(struct openapi_reader *reader)
{
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	if (made)
		openapi_put(reader, made, "type", wl_json_new_string("null"));
	return made;
}

/* 3.0: "nullable": true lets null through beside what the schema says. */
static struct wl_json *take_nullable(struct openapi_reader *reader, struct wl_json *made, const struct wl_json *schema)
{
	const char *type = wl_json_get_string(made, "type", NULL);
	const struct wl_json *values = wl_json_get(made, "enum");
	if (!wl_json_get_bool(schema, "nullable", false) || !made)
		return made;
	if (type && !values) {
		struct wl_json *types = openapi_new(reader, WL_JSON_ARRAY);
		openapi_append(reader, types, wl_json_new_string(type));
		openapi_append(reader, types, wl_json_new_string("null"));
		reader->no_memory = wl_json_set(made, "type", types) < 0 || reader->no_memory;
		return made;
	}
	struct wl_json *choice = openapi_new(reader, WL_JSON_ARRAY), *around = openapi_new(reader, WL_JSON_OBJECT);
	openapi_append(reader, choice, made);
	openapi_append(reader, choice, null_type(reader));
	openapi_put(reader, around, "anyOf", choice);
	return around;
}

/* 3.1: the first elements of a list have schemas of their own; draft 7 calls that items, and the rest additionalItems.
 */
static void take_prefix(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *schema,
			const struct openapi_place *place, const struct frame *frame)
{
	const struct wl_json *prefix = wl_json_get(schema, "prefixItems");
	const struct openapi_place at = { place, "prefixItems", NULL, 0 };
	if (!wl_json_is(prefix, WL_JSON_ARRAY))
		return;
	const struct wl_json *rest = wl_json_get(into, "items");
	struct wl_json *list = openapi_new(reader, WL_JSON_OBJECT);
	if (rest)
		openapi_put(reader, into, "additionalItems", wl_json_copy(rest));
	take_list(reader, list, "items", prefix, &at, frame);
	struct wl_json *items = list ? wl_json_copy(wl_json_get(list, "items")) : NULL;
	reader->no_memory = !items || wl_json_set(into, "items", items) < 0 || reader->no_memory;
	wl_json_free(list);
}

/* ---- allOf: several objects that do not contradict each other are one ------------------------------------------- */

static bool mergeable(const struct wl_json *schema)
{
	static const char *const plain[] = { "type", "properties", "required", "title", "description" };
	if (!wl_json_is(schema, WL_JSON_OBJECT) ||
	    strcmp(wl_json_get_string(schema, "type", "object"), "object") != 0 ||
	    wl_json_is(wl_json_get(schema, "type"), WL_JSON_ARRAY))
		return false;
	for (const struct wl_json *one = wl_json_first(schema); one; one = wl_json_next(one)) {
		bool known = false;
		for (size_t i = 0; i < WL_COUNT_OF(plain) && !known; i++)
			known = strcmp(plain[i], wl_json_key(one)) == 0;
		if (!known)
			return false;
	}
	return wl_json_get(schema, "properties") || wl_json_get(schema, "required");
}

/* Put the members of `from` into `into`; false when one is there and different. */
static bool merge_properties(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *from)
{
	for (const struct wl_json *one = wl_json_first(from); one; one = wl_json_next(one)) {
		const struct wl_json *there = wl_json_get(into, wl_json_key(one));
		reader->steps += (long)wl_json_count(into);
		if (there && !wl_json_equal(there, one))
			return false;
		if (!there)
			openapi_put(reader, into, wl_json_key(one), wl_json_copy(one));
	}
	return true;
}

static void merge_required(struct openapi_reader *reader, struct wl_json *into, const struct wl_json *from)
{
	for (const struct wl_json *one = wl_json_first(from); one; one = wl_json_next(one)) {
		bool there = false;
		for (const struct wl_json *old = wl_json_first(into); old && !there; old = wl_json_next(old))
			there = wl_json_equal(old, one);
		if (!there)
			openapi_append(reader, into, wl_json_copy(one));
	}
}

static bool merge_one(struct openapi_reader *reader, const struct wl_json *schema, struct wl_json *properties,
		      struct wl_json *required)
{
	merge_required(reader, required, wl_json_get(schema, "required"));
	return merge_properties(reader, properties, wl_json_get(schema, "properties"));
}

/* Everything but allOf, properties and required, which are put in merged. */
static struct wl_json *merged(struct openapi_reader *reader, const struct wl_json *schema, struct wl_json *properties,
			      struct wl_json *required)
{
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	static const char *const replaced[] = { "allOf", "properties", "required", "type" };
	for (const struct wl_json *one = wl_json_first(schema); one && made; one = wl_json_next(one)) {
		bool kept = true;
		for (size_t i = 0; i < WL_COUNT_OF(replaced); i++)
			kept = kept && strcmp(replaced[i], wl_json_key(one)) != 0;
		if (kept)
			openapi_put(reader, made, wl_json_key(one), wl_json_copy(one));
	}
	openapi_put(reader, made, "type", wl_json_new_string("object"));
	openapi_put(reader, made, "properties", wl_json_copy(properties));
	if (wl_json_count(required))
		openapi_put(reader, made, "required", wl_json_copy(required));
	return made;
}

static struct wl_json *take_all_of(struct openapi_reader *reader, struct wl_json *made)
{
	const struct wl_json *list = wl_json_get(made, "allOf");
	const char *type = wl_json_get_string(made, "type", "object");
	if (!list || reader->steps > OPENAPI_STEPS_MOST || strcmp(type, "object") != 0 ||
	    wl_json_is(wl_json_get(made, "type"), WL_JSON_ARRAY))
		return made;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		if (!mergeable(one))
			return made;
	_wl_json_ struct wl_json *properties = openapi_new(reader, WL_JSON_OBJECT);
	_wl_json_ struct wl_json *required = openapi_new(reader, WL_JSON_ARRAY);
	bool fits = properties && required && merge_one(reader, made, properties, required);
	for (const struct wl_json *one = wl_json_first(list); one && fits; one = wl_json_next(one))
		fits = merge_one(reader, one, properties, required);
	if (!fits)
		return made;
	struct wl_json *one = merged(reader, made, properties, required);
	wl_json_free(made);
	return one;
}

/* ---- a schema ------------------------------------------------------------------------------------------------------
 */

static struct wl_json *convert_members(struct openapi_reader *reader, const struct wl_json *schema,
				       const struct openapi_place *place, const struct frame *frame)
{
	/* a keyword, what is in it, and what null adds around them */
	int levels = wl_json_get_bool(schema, "nullable", false) ? 4 : 2;
	const struct frame inner = { frame, NULL, frame->level + levels, frame->request };
	struct wl_json *made = openapi_new(reader, WL_JSON_OBJECT);
	for (const struct wl_json *one = wl_json_first(schema); one && made; one = wl_json_next(one))
		take_keyword(reader, made, schema, one, place, &inner);
	if (!made)
		return NULL;
	take_exclusive(reader, &made, schema, "exclusiveMaximum", "maximum");
	take_exclusive(reader, &made, schema, "exclusiveMinimum", "minimum");
	take_prefix(reader, made, schema, place, &inner);
	made = take_all_of(reader, made);
	return take_nullable(reader, made, schema);
}

static bool being_put_in(const struct frame *frame, const struct wl_json *target)
{
	for (; frame; frame = frame->parent)
		if (frame->target == target)
			return true;
	return false;
}

static const char *last_segment(const char *pointer)
{
	const char *slash = strrchr(pointer, '/');
	return slash ? slash + 1 : pointer;
}

/* 3.1 lets keywords stand beside $ref: they count as well. Takes `made` over. */
static struct wl_json *with_siblings(struct openapi_reader *reader, struct wl_json *made, const struct wl_json *schema,
				     const struct openapi_place *place, const struct frame *frame)
{
	struct wl_json *siblings = NULL;
	for (const struct wl_json *one = wl_json_first(schema); one; one = wl_json_next(one)) {
		if (!keyword_of(wl_json_key(one)))
			continue;
		siblings = siblings ? siblings : convert_members(reader, schema, place, frame);
	}
	if (!siblings || !wl_json_count(siblings) || !made) {
		wl_json_free(siblings);
		return made;
	}
	struct wl_json *both = openapi_new(reader, WL_JSON_ARRAY), *around = openapi_new(reader, WL_JSON_OBJECT);
	openapi_append(reader, both, made);
	openapi_append(reader, both, siblings);
	openapi_put(reader, around, "allOf", both);
	return take_all_of(reader, around);
}

static struct wl_json *convert_reference(struct openapi_reader *reader, const struct wl_json *schema,
					 const struct openapi_place *place, const struct frame *frame)
{
	struct openapi_place at = *place;
	char text[200];
	const struct wl_json *target = openapi_follow(reader, schema, &at);
	if (!target)
		return openapi_new(reader, WL_JSON_OBJECT);
	if (being_put_in(frame, target)) {
		(void)snprintf(text, sizeof(text), "Recursive: again a %.120s, which contains itself.",
			       at.pointer ? last_segment(at.pointer) : "schema");
		openapi_warn(reader, &at, "contains itself: it is cut where it comes again");
		return cut_schema(reader, text);
	}
	int levels = wl_json_next(wl_json_first(schema)) ? 2 : 0; /* with_siblings() */
	const struct frame inner = { frame, target, frame->level + levels, frame->request };
	struct wl_json *made = convert(reader, target, &at, &inner);
	const char *version = wl_json_get_string(reader->document, "openapi", "");
	return strncmp(version, "3.0", 3) == 0 ? made : with_siblings(reader, made, schema, place, frame);
}

static struct wl_json *convert(struct openapi_reader *reader, const struct wl_json *schema,
			       const struct openapi_place *place, const struct frame *frame)
{
	reader->values++;
	reader->schema_values++;
	if (frame->level > LEVELS_MOST || reader->schema_values > WL_OPENAPI_SCHEMA_VALUES ||
	    reader->values > WL_OPENAPI_VALUES) {
		reader->cut = true;
		return cut_schema(reader, "Not described further: the schema is too large.");
	}
	if (wl_json_is(schema, WL_JSON_BOOL))
		return wl_json_copy(schema);
	if (!wl_json_is(schema, WL_JSON_OBJECT)) {
		openapi_fault(reader, place, "must be a schema");
		return openapi_new(reader, WL_JSON_OBJECT);
	}
	if (wl_json_get(schema, "$ref"))
		return convert_reference(reader, schema, place, frame);
	return convert_members(reader, schema, place, frame);
}

struct wl_json *openapi_schema(struct openapi_reader *reader, const struct wl_json *schema,
			       const struct openapi_place *place, bool request)
{
	const struct frame frame = { NULL, schema, 0, request };
	reader->schema_values = 0;
	reader->cut = false;
	struct wl_json *made = convert(reader, schema, place, &frame);
	reader->values += reader->schema_values;
	if (reader->cut)
		openapi_warn(reader, place, "is too large or too deep with its references put in: it is cut");
	if (wl_json_is(made, WL_JSON_BOOL)) { /* a tool's schema is an object */
		bool anything = wl_json_bool(made, true);
		wl_json_free(made);
		made = openapi_new(reader, WL_JSON_OBJECT);
		if (!anything)
			openapi_put(reader, made, "not", openapi_new(reader, WL_JSON_OBJECT));
	}
	reader->no_memory = reader->no_memory || !made;
	return made;
}
