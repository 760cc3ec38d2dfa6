#include "lib/codec/yaml.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define SCALAR_NUMBER_MAX 64 /* bytes; a longer plain scalar is a text */

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one; it has to be freed before the next */
	bool has_event;
};

static void reader_release(struct reader *reader)
{
	if (reader->has_event)
		yaml_event_delete(&reader->event);
	yaml_parser_delete(&reader->parser);
}

static int fail_at(const yaml_mark_t *mark, const char *what, struct wl_error *err)
{
	return wl_fail(err, EINVAL, "%s, line %zu, column %zu", what, mark->line + 1, mark->column + 1);
}

/* Step to the next event. */
static int next(struct reader *reader, struct wl_error *err)
{
	if (reader->has_event)
		yaml_event_delete(&reader->event);
	reader->has_event = false;
	if (!yaml_parser_parse(&reader->parser, &reader->event)) {
		const yaml_parser_t *parser = &reader->parser;
		if (parser->error == YAML_MEMORY_ERROR)
			return wl_fail(err, ENOMEM, "no memory for a YAML text");
		return fail_at(&parser->problem_mark, parser->problem ? parser->problem : "not YAML", err);
	}
	reader->has_event = true;
	return 0;
}

static bool is_one_of(const char *text, const char *const words[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_decimal(const char *text)
{
	text += *text == '-' || *text == '+';
	size_t whole = digits(text);
	text += whole;
	if (*text == '.') {
		size_t fraction = digits(++text);
		if (whole + fraction == 0)
			return false;
		text += fraction;
	} else if (whole == 0) {
		return false;
	}
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		size_t exponent = digits(text);
		if (exponent == 0)
			return false;
		text += exponent;
	}
	return *text == '\0';
}

/* A number as JSON writes it is kept as it is written; other forms go by their value. NULL: it is no number. */
static struct wl_json *read_number(const char *text, size_t length)
{
	static const char octal[] = "01234567", hexadecimal[] = "0123456789abcdefABCDEF";
	struct wl_json *number = NULL;
	if (length > SCALAR_NUMBER_MAX)
		return NULL;
	if (is_decimal(text)) {
		if (wl_json_parse(text, length, &number, NULL) == 0)
			return number;
		return wl_json_new_number(strtod(text, NULL));
	}
	bool is_octal = strncmp(text, "0o", 2) == 0 && text[2] && text[2 + strspn(text + 2, octal)] == '\0';
	bool is_hex = strncmp(text, "0x", 2) == 0 && text[2] && text[2 + strspn(text + 2, hexadecimal)] == '\0';
	if (length > 15 || (!is_octal && !is_hex)) /* 15: below what a double holds exactly */
		return NULL;
	return wl_json_new_number((double)strtoull(text + 2, NULL, is_octal ? 8 : 16));
}

/* The core schema's reading of a plain scalar; NULL: a text. */
static struct wl_json *resolve_plain(const char *text, size_t length)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	static const char *const trues[] = { "true", "True", "TRUE" }, *const falses[] = { "false", "False", "FALSE" };
	if (is_one_of(text, nulls, WL_COUNT_OF(nulls)))
		return wl_json_new_null();
	if (is_one_of(text, trues, WL_COUNT_OF(trues)))
		return wl_json_new_bool(true);
	if (is_one_of(text, falses, WL_COUNT_OF(falses)))
		return wl_json_new_bool(false);
	return read_number(text, length);
}

static bool is_not_finite(const char *text)
{
	static const char *const words[] = { ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN" };
	return is_one_of(text + (*text == '-' || *text == '+'), words, WL_COUNT_OF(words));
}

static int read_scalar(const yaml_event_t *event, struct wl_json **ret_json, struct wl_error *err)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (event->data.scalar.anchor || event->data.scalar.tag)
		return fail_at(&event->start_mark, "anchors and tags are not read", err);
	if (memchr(text, '\0', length))
		return fail_at(&event->start_mark, "a text holds a NUL", err);
	if (is_plain && is_not_finite(text))
		return fail_at(&event->start_mark, "JSON has no such number", err);
	struct wl_json *json = is_plain ? resolve_plain(text, length) : NULL;
	if (!json)
		json = wl_json_new_string(text);
	if (!json)
		return wl_fail(err, ENOMEM, "no memory for a YAML text");
	*ret_json = json;
	return 0;
}

static int read_value(struct reader *reader, int depth, struct wl_json **ret_json, struct wl_error *err);

static int read_sequence(struct reader *reader, int depth, struct wl_json **ret_json, struct wl_error *err)
{
	_wl_json_ struct wl_json *list = wl_json_array();
	if (!list)
		return wl_fail(err, ENOMEM, "no memory for a YAML text");
	for (;;) {
		struct wl_json *item = NULL;
		if (next(reader, err) < 0)
			return -err->code;
		if (reader->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (read_value(reader, depth, &item, err) < 0)
			return -err->code;
		if (wl_json_append(list, item) < 0)
			return wl_fail(err, ENOMEM, "no memory for a YAML text");
	}
	*ret_json = wl_steal(list);
	return 0;
}

/* The text of the key that is the current event; it is copied, for the value's events come behind it. */
static int read_key(const struct reader *reader, const struct wl_json *object, char **ret_key, struct wl_error *err)
{
	const yaml_event_t *event = &reader->event;
	if (event->type != YAML_SCALAR_EVENT)
		return fail_at(&event->start_mark, "a key is to be a text", err);
	const char *text = (const char *)event->data.scalar.value;
	if (event->data.scalar.anchor || event->data.scalar.tag)
		return fail_at(&event->start_mark, "anchors and tags are not read", err);
	if (memchr(text, '\0', event->data.scalar.length))
		return fail_at(&event->start_mark, "a key holds a NUL", err);
	if (wl_json_get(object, text))
		return fail_at(&event->start_mark, "a key comes twice", err);
	*ret_key = strdup(text);
	return *ret_key ? 0 : wl_fail(err, ENOMEM, "no memory for a YAML text");
}

static int read_mapping(struct reader *reader, int depth, struct wl_json **ret_json, struct wl_error *err)
{
	_wl_json_ struct wl_json *object = wl_json_object();
	if (!object)
		return wl_fail(err, ENOMEM, "no memory for a YAML text");
	for (;;) {
		_wl_free_ char *key = NULL;
		struct wl_json *value = NULL;
		if (next(reader, err) < 0)
			return -err->code;
		if (reader->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (read_key(reader, object, &key, err) < 0 || next(reader, err) < 0 ||
		    read_value(reader, depth, &value, err) < 0)
			return -err->code;
		if (wl_json_set(object, key, value) < 0)
			return wl_fail(err, ENOMEM, "no memory for a YAML text");
	}
	*ret_json = wl_steal(object);
	return 0;
}

/* The value that begins with the current event. */
static int read_value(struct reader *reader, int depth, struct wl_json **ret_json, struct wl_error *err)
{
	const yaml_event_t *event = &reader->event;
	if (depth >= WL_JSON_DEPTH)
		return fail_at(&event->start_mark, "nested too deeply", err);
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(event, ret_json, err);
	case YAML_SEQUENCE_START_EVENT:
		if (event->data.sequence_start.anchor || event->data.sequence_start.tag)
			break;
		return read_sequence(reader, depth + 1, ret_json, err);
	case YAML_MAPPING_START_EVENT:
		if (event->data.mapping_start.anchor || event->data.mapping_start.tag)
			break;
		return read_mapping(reader, depth + 1, ret_json, err);
	default:
		break;
	}
	return fail_at(&event->start_mark, "anchors, aliases and tags are not read", err);
}

static int read_stream(struct reader *reader, struct wl_json **ret_json, struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL;
	if (next(reader, err) < 0 || next(reader, err) < 0) /* stream start, document start */
		return -err->code;
	if (reader->event.type != YAML_DOCUMENT_START_EVENT)
		return wl_fail(err, EINVAL, "there is nothing in it");
	if (next(reader, err) < 0 || read_value(reader, 0, &json, err) < 0)
		return -err->code;
	if (next(reader, err) < 0 || next(reader, err) < 0) /* document end, stream end */
		return -err->code;
	if (reader->event.type != YAML_STREAM_END_EVENT)
		return fail_at(&reader->event.start_mark, "a second document begins", err);
	*ret_json = wl_steal(json);
	return 0;
}

int wl_yaml_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err)
{
	struct wl_error own;
	struct reader reader = { .has_event = false };
	if (!yaml_parser_initialize(&reader.parser))
		return wl_fail(err, ENOMEM, "no memory for a YAML text");
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	int result = read_stream(&reader, ret_json, err ? err : &own);
	reader_release(&reader);
	return result;
}
