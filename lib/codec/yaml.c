#include "lib/codec/yaml.h"

#include "lib/base/cleanup.h"
#include "lib/codec/json_internal.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define ANCHORS_MAX 1000
#define NUMBER_MAX 400

struct anchor {
	char *name;
	const struct wl_json *value; /* NULL while its node is still being read */
};

struct reader {
	yaml_parser_t parser;
	struct anchor anchors[ANCHORS_MAX];
	int anchor_count;
	int depth;
	long values;
	struct wl_error *err;
};

static int fail_at(const struct reader *reader, yaml_mark_t mark, int code, const char *what)
{
	return wl_fail(reader->err, code, "line %zu column %zu: %s", mark.line + 1, mark.column + 1, what);
}

static int no_memory(const struct reader *reader)
{
	return wl_fail(reader->err, ENOMEM, "out of memory while reading YAML");
}

static int next_event(struct reader *reader, yaml_event_t *event)
{
	if (yaml_parser_parse(&reader->parser, event))
		return 0;
	if (reader->parser.error == YAML_MEMORY_ERROR)
		return no_memory(reader);
	const char *problem = reader->parser.problem ? reader->parser.problem : "this is not YAML";
	if (reader->parser.error == YAML_READER_ERROR)
		return wl_fail(reader->err, EINVAL, "byte %zu: %s", reader->parser.problem_offset, problem);
	return fail_at(reader, reader->parser.problem_mark, EINVAL, problem);
}

/* ---- scalars ---------------------------------------------------------------------------------- */

static bool is_word(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

/* [-+]?[0-9]+ becomes JSON's form, which has no plus and no leading zeros. */
static struct wl_json *decimal(const char *text)
{
	char number[NUMBER_MAX + 2];
	const char *digits = text + (*text == '-' || *text == '+');
	struct wl_json *json = NULL;
	if (!*digits || strspn(digits, "0123456789") != strlen(digits))
		return NULL;
	while (digits[0] == '0' && digits[1])
		digits++;
	int length = snprintf(number, sizeof(number), "%s%s", *text == '-' ? "-" : "", digits);
	if (length > NUMBER_MAX || wl_json_parse(number, (size_t)length, &json, NULL) < 0)
		return NULL;
	return json;
}

static struct wl_json *based(const char *text)
{
	int base = strncmp(text, "0x", 2) == 0 ? 16 : strncmp(text, "0o", 2) == 0 ? 8 : 0;
	const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "01234567";
	if (!base || !text[2] || strspn(text + 2, digits) != strlen(text + 2) || strlen(text) > 22)
		return NULL;
	errno = 0;
	unsigned long long value = strtoull(text + 2, NULL, base);
	char number[32];
	(void)snprintf(number, sizeof(number), "%llu", value);
	return errno ? NULL : decimal(number);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *text)
{
	static const char digits[] = "0123456789";
	const char *at = text + (*text == '-' || *text == '+');
	size_t whole = strspn(at, digits), fraction = 0;
	at += whole;
	if (*at == '.') {
		at++;
		fraction = strspn(at, digits);
		at += fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*at == 'e' || *at == 'E') {
		at++;
		at += *at == '-' || *at == '+';
		size_t exponent = strspn(at, digits);
		if (exponent == 0)
			return false;
		at += exponent;
	}
	return *at == '\0';
}

/* A scalar without quotes, by what it looks like. */
static int plain_scalar(const struct reader *reader, const char *text, yaml_mark_t mark, struct wl_json **ret_json)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	static const char *const infinities[] = { ".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
						  "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL };
	struct wl_json *json;
	if (is_word(text, nulls)) {
		json = wl_json_new_null();
	} else if (is_word(text, trues) || is_word(text, falses)) {
		json = wl_json_new_bool(is_word(text, trues));
	} else if (is_word(text, infinities)) {
		return fail_at(reader, mark, EINVAL, "JSON has no infinite numbers");
	} else if ((json = decimal(text)) || (json = based(text))) {
		;
	} else if (is_float(text) && wl_json_parse(text, strlen(text), &json, NULL) == 0) {
		; /* JSON's form: as many digits as it has */
	} else if (is_float(text)) {
		double number = strtod(text, NULL);
		if (!isfinite(number))
			return fail_at(reader, mark, EINVAL, "a number is too large");
		json = wl_json_new_number(number);
	} else {
		json = wl_json_new_string(text);
	}
	*ret_json = json;
	return json ? 0 : no_memory(reader);
}

static int read_scalar(const struct reader *reader, const yaml_event_t *event, struct wl_json **ret_json)
{
	const char *text = (const char *)event->data.scalar.value;
	const char *tag = (const char *)event->data.scalar.tag;
	if (strlen(text) != event->data.scalar.length)
		return fail_at(reader, event->start_mark, EINVAL, "a text must not hold the character U+0000");
	bool core_tag = tag && (strcmp(tag, YAML_NULL_TAG) == 0 || strcmp(tag, YAML_BOOL_TAG) == 0 ||
				strcmp(tag, YAML_INT_TAG) == 0 || strcmp(tag, YAML_FLOAT_TAG) == 0);
	bool text_tag = tag && (strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0);
	if (tag && !core_tag && !text_tag)
		return fail_at(reader, event->start_mark, EINVAL, "tags of this kind are not read");
	if (core_tag || (!tag && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE))
		return plain_scalar(reader, text, event->start_mark, ret_json);
	*ret_json = wl_json_new_string(text);
	return *ret_json ? 0 : no_memory(reader);
}

/* ---- anchors ---------------------------------------------------------------------------------- */

static struct anchor *find_anchor(struct reader *reader, const char *name)
{
	/* the newest one of that name counts */
	for (int i = reader->anchor_count - 1; i >= 0; i--)
		if (strcmp(reader->anchors[i].name, name) == 0)
			return &reader->anchors[i];
	return NULL;
}

static int open_anchor(struct reader *reader, const yaml_char_t *name, yaml_mark_t mark, int *ret_index)
{
	*ret_index = -1;
	if (!name)
		return 0;
	if (reader->anchor_count == ANCHORS_MAX)
		return fail_at(reader, mark, E2BIG, "there are more than 1000 anchors");
	struct anchor *anchor = &reader->anchors[reader->anchor_count];
	*anchor = (struct anchor){ .name = strdup((const char *)name) };
	if (!anchor->name)
		return no_memory(reader);
	*ret_index = reader->anchor_count++;
	return 0;
}

/* Count the values inside and find the depth; stops counting at the bound. */
static int measure(const struct wl_json *value, long *values)
{
	int deepest = 0;
	if (++*values > WL_YAML_NODES_MAX)
		return 0;
	const struct wl_json *member = wl_json_first(value);
	for (; member && *values <= WL_YAML_NODES_MAX; member = wl_json_next(member)) {
		int depth = measure(member, values);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + (wl_json_is(value, WL_JSON_ARRAY) || wl_json_is(value, WL_JSON_OBJECT));
}

static int read_alias(struct reader *reader, const yaml_event_t *event, struct wl_json **ret_json)
{
	const struct anchor *anchor = find_anchor(reader, (const char *)event->data.alias.anchor);
	if (!anchor)
		return fail_at(reader, event->start_mark, EINVAL, "the alias has no anchor before it");
	if (!anchor->value)
		return fail_at(reader, event->start_mark, EINVAL, "the alias stands inside its own anchor");
	int depth = measure(anchor->value, &reader->values);
	if (reader->values > WL_YAML_NODES_MAX)
		return fail_at(reader, event->start_mark, E2BIG, "aliases repeat too many values");
	if (reader->depth + depth > WL_JSON_DEPTH)
		return fail_at(reader, event->start_mark, EINVAL, "values are nested more than 64 deep");
	*ret_json = wl_json_copy(anchor->value);
	return *ret_json ? 0 : no_memory(reader);
}

/* ---- values ----------------------------------------------------------------------------------- */

static int read_value(struct reader *reader, const yaml_event_t *event, struct wl_json **ret_json);

static int read_key(const struct reader *reader, const yaml_event_t *event, char **ret_key)
{
	if (event->type != YAML_SCALAR_EVENT)
		return fail_at(reader, event->start_mark, EINVAL, "a key must be a text or a number");
	const char *text = (const char *)event->data.scalar.value;
	if (strlen(text) != event->data.scalar.length)
		return fail_at(reader, event->start_mark, EINVAL, "a text must not hold the character U+0000");
	if (strcmp(text, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return fail_at(reader, event->start_mark, EINVAL, "merge keys are not read");
	char *key = cJSON_malloc(strlen(text) + 1);
	if (!key)
		return no_memory(reader);
	strcpy(key, text);
	*ret_key = key;
	return 0;
}

/* One member; `event` is its key in a mapping, its value in a sequence. */
static int read_member(struct reader *reader, const yaml_event_t *event, cJSON *container, bool keys)
{
	_wl_free_ char *key = NULL;
	struct wl_json *child = NULL;
	int result = keys ? read_key(reader, event, &key) : read_value(reader, event, &child);
	if (result == 0 && keys) {
		yaml_event_t value;
		result = next_event(reader, &value);
		if (result < 0)
			return result;
		result = read_value(reader, &value, &child);
		yaml_event_delete(&value);
	}
	if (result < 0)
		return result;
	to_library(child)->string = wl_steal(key);
	wl_json_link(container, to_library(child));
	return 0;
}

static int check_keys(const struct reader *reader, const cJSON *object, size_t count, yaml_mark_t mark)
{
	bool failed = false;
	const char *key = wl_json_repeated_key(object, count, &failed);
	if (failed)
		return no_memory(reader);
	if (!key)
		return 0;
	char what[128];
	(void)snprintf(what, sizeof(what), "the mapping that begins here has the key '%.64s' twice", key);
	return fail_at(reader, mark, EINVAL, what);
}

static int read_members(struct reader *reader, struct wl_json *container, bool keys, yaml_mark_t mark)
{
	yaml_event_type_t end = keys ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	for (size_t count = 0;; count++) {
		yaml_event_t event;
		int result = next_event(reader, &event);
		if (result < 0)
			return result;
		bool ended = event.type == end;
		if (!ended)
			result = read_member(reader, &event, to_library(container), keys);
		yaml_event_delete(&event);
		if (ended)
			return keys ? check_keys(reader, to_library(container), count, mark) : 0;
		if (result < 0)
			return result;
	}
}

static int read_container(struct reader *reader, const yaml_event_t *event, struct wl_json **ret_json)
{
	bool keys = event->type == YAML_MAPPING_START_EVENT;
	const yaml_char_t *name = keys ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
	const char *tag = (const char *)(keys ? event->data.mapping_start.tag : event->data.sequence_start.tag);
	if (tag && strcmp(tag, keys ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0)
		return fail_at(reader, event->start_mark, EINVAL, "tags of this kind are not read");
	if (reader->depth == WL_JSON_DEPTH)
		return fail_at(reader, event->start_mark, EINVAL, "values are nested more than 64 deep");
	int anchor;
	int result = open_anchor(reader, name, event->start_mark, &anchor);
	_wl_json_ struct wl_json *container = keys ? wl_json_object() : wl_json_array();
	if (result == 0 && !container)
		result = no_memory(reader);
	reader->depth++;
	if (result == 0)
		result = read_members(reader, container, keys, event->start_mark);
	reader->depth--;
	if (result < 0)
		return result;
	*ret_json = wl_steal(container);
	if (anchor >= 0)
		reader->anchors[anchor].value = *ret_json;
	return 0;
}

static int read_value(struct reader *reader, const yaml_event_t *event, struct wl_json **ret_json)
{
	int anchor = -1, result;
	if (++reader->values > WL_YAML_NODES_MAX)
		return fail_at(reader, event->start_mark, E2BIG, "there are more than 500000 values");
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return read_alias(reader, event, ret_json);
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		return read_container(reader, event, ret_json);
	case YAML_SCALAR_EVENT:
		result = open_anchor(reader, event->data.scalar.anchor, event->start_mark, &anchor);
		if (result == 0)
			result = read_scalar(reader, event, ret_json);
		if (result == 0 && anchor >= 0)
			reader->anchors[anchor].value = *ret_json;
		return result;
	default:
		return fail_at(reader, event->start_mark, EINVAL, "a value is expected here");
	}
}

/* Take the next event and demand that it is of one type. */
static int expect(struct reader *reader, yaml_event_type_t type, const char *otherwise)
{
	yaml_event_t event;
	int result = next_event(reader, &event);
	if (result < 0)
		return result;
	if (event.type != type)
		result = fail_at(reader, event.start_mark, EINVAL, otherwise);
	yaml_event_delete(&event);
	return result;
}

static int read_stream(struct reader *reader, struct wl_json **ret_json)
{
	_wl_json_ struct wl_json *json = NULL;
	yaml_event_t event;
	int result = expect(reader, YAML_STREAM_START_EVENT, "this is not YAML");
	if (result == 0)
		result = expect(reader, YAML_DOCUMENT_START_EVENT, "there is no document");
	if (result == 0)
		result = next_event(reader, &event);
	if (result < 0)
		return result;
	result = read_value(reader, &event, &json);
	yaml_event_delete(&event);
	if (result == 0)
		result = expect(reader, YAML_DOCUMENT_END_EVENT, "there is more behind the value");
	if (result == 0)
		result = expect(reader, YAML_STREAM_END_EVENT, "there is more than one document");
	if (result == 0)
		*ret_json = wl_steal(json);
	return result;
}

int wl_yaml_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err)
{
	if (length > WL_YAML_MAX)
		return wl_fail(err, E2BIG, "a YAML document has at most %u MiB", WL_YAML_MAX >> 20);
	_wl_free_ struct reader *reader = calloc(1, sizeof(*reader));
	if (!reader || !yaml_parser_initialize(&reader->parser))
		return wl_fail(err, ENOMEM, "out of memory while reading YAML");
	reader->err = err;
	yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, length);
	int result = read_stream(reader, ret_json);
	for (int i = 0; i < reader->anchor_count; i++)
		free(reader->anchors[i].name);
	yaml_parser_delete(&reader->parser);
	return result;
}
