/*
 * The strict reader (RFC 8259). The library's own reader takes more than JSON (control characters in strings, numbers
 * with leading zeros, trailing text) and rounds large integers without a word, so the text is read here, once, straight
 * into the library's values.
 *
 * A number whose digits a double cannot be trusted to keep has its text in `valuestring`: wl_json_write() and copies
 * give it back as it came, wl_json_number() gives the nearest double.
 */
#include "lib/codec/json_internal.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 400	  /* characters: more than any double needs */
#define DIGITS_EXACT 15	  /* significant digits that every double keeps */
#define PAIRWISE_KEYS 8	  /* objects up to this size compare each pair of keys */
#define SHOWN_KEY "%.64s" /* keys in sentences are cut */

struct reader {
	const unsigned char *text;
	const unsigned char *at;
	const unsigned char *end;
	int depth, depth_max;
	struct wl_error *err;
};

static int fail_at(const struct reader *reader, const unsigned char *place, const char *what)
{
	size_t line = 1;
	const unsigned char *line_start = reader->text;
	for (const unsigned char *at = reader->text; at < place; at++) {
		if (*at != '\n')
			continue;
		line++;
		line_start = at + 1;
	}
	return wl_fail(reader->err, EINVAL, "line %zu column %zu: %s", line, (size_t)(place - line_start) + 1, what);
}

static int no_memory(const struct reader *reader)
{
	return wl_fail(reader->err, ENOMEM, "out of memory while reading JSON");
}

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end &&
	       (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\t' || *reader->at == '\r'))
		reader->at++;
}

size_t wl_json_utf8_length(const unsigned char *at, const unsigned char *end)
{
	size_t left = (size_t)(end - at);
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		return left >= 2 && (at[1] & 0xc0) == 0x80 ? 2 : 0;
	if (at[0] >= 0xe0 && at[0] <= 0xef) {
		unsigned char least = at[0] == 0xe0 ? 0xa0 : 0x80, most = at[0] == 0xed ? 0x9f : 0xbf;
		return left >= 3 && at[1] >= least && at[1] <= most && (at[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (at[0] >= 0xf0 && at[0] <= 0xf4) {
		unsigned char least = at[0] == 0xf0 ? 0x90 : 0x80, most = at[0] == 0xf4 ? 0x8f : 0xbf;
		return left >= 4 && at[1] >= least && at[1] <= most && (at[2] & 0xc0) == 0x80 && (at[3] & 0xc0) == 0x80
			       ? 4
			       : 0;
	}
	return 0;
}

/* The closing quote of the string whose first character is at reader->at, with everything before it checked but the
 * escapes; `*ret_plain` says that there are none. */
static int find_quote(struct reader *reader, const unsigned char **ret_quote, bool *ret_plain)
{
	const unsigned char *at = reader->at;
	*ret_plain = true;
	while (at < reader->end) {
		unsigned char character = *at;
		if (character == '"') {
			*ret_quote = at;
			return 0;
		}
		if (character == '\\') {
			*ret_plain = false;
			at += reader->end - at > 1 ? 2 : 1;
		} else if (character < 0x20) {
			return fail_at(reader, at, "a control character in a string must be escaped");
		} else if (character < 0x80) {
			at++;
		} else {
			size_t length = wl_json_utf8_length(at, reader->end);
			if (length == 0)
				return fail_at(reader, at, "the text is not UTF-8");
			at += length;
		}
	}
	return fail_at(reader, reader->end, "a string has no closing quote");
}

static int hex4(const unsigned char *at, const unsigned char *end, unsigned *ret_unit)
{
	if (end - at < 4)
		return -1;
	unsigned unit = 0;
	for (int i = 0; i < 4; i++) {
		unsigned char digit = at[i];
		unsigned value;
		if (digit >= '0' && digit <= '9')
			value = digit - '0';
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			value = (digit | 0x20u) - 'a' + 10u;
		else
			return -1;
		unit = unit << 4 | value;
	}
	*ret_unit = unit;
	return 0;
}

static char *put_utf8(char *out, unsigned code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*out++ = (char)(0xf0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 0x3f));
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	}
	return out;
}

/* Read \uXXXX, or two of them for a character beyond U+FFFF; `*at` stands behind the u. */
static int read_unicode(struct reader *reader, const unsigned char **at, const unsigned char *quote, char **out)
{
	unsigned unit;
	if (hex4(*at, quote, &unit) < 0)
		return fail_at(reader, *at, "\\u needs four hexadecimal digits");
	if (unit == 0)
		return fail_at(reader, *at, "a string must not hold the character U+0000");
	unsigned code = unit;
	size_t used = 4;
	if (unit >= 0xd800 && unit <= 0xdfff) {
		unsigned low;
		if (unit >= 0xdc00 || quote - *at < 10 || (*at)[4] != '\\' || (*at)[5] != 'u' ||
		    hex4(*at + 6, quote, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return fail_at(reader, *at, "half of a surrogate pair stands alone");
		code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
		used = 10;
	}
	*out = put_utf8(*out, code);
	*at += used;
	return 0;
}

static int unescape(struct reader *reader, const unsigned char *quote, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const unsigned char *at = reader->at;
	while (at < quote) {
		if (*at != '\\') {
			*out++ = (char)*at++;
			continue;
		}
		at++;
		const char *found = *at ? strchr(from, *at) : NULL;
		if (found) {
			*out++ = to[found - from];
			at++;
		} else if (*at == 'u') {
			at++;
			if (read_unicode(reader, &at, quote, &out) < 0)
				return -EINVAL;
		} else {
			return fail_at(reader, at, "no such escape in a string");
		}
	}
	*out = '\0';
	return 0;
}

/* Read a string; reader->at stands on its opening quote. */
static int read_string(struct reader *reader, char **ret_text)
{
	const unsigned char *quote;
	bool plain;
	reader->at++;
	int result = find_quote(reader, &quote, &plain);
	if (result < 0)
		return result;
	size_t length = (size_t)(quote - reader->at);
	_wl_free_ char *text = cJSON_malloc(length + 1); /* an escape is never shorter than its character */
	if (!text)
		return no_memory(reader);
	if (plain) {
		memcpy(text, reader->at, length);
		text[length] = '\0';
	} else {
		result = unescape(reader, quote, text);
		if (result < 0)
			return result;
	}
	reader->at = quote + 1;
	*ret_text = wl_steal(text);
	return 0;
}

static bool skip_digits(const unsigned char **at, const unsigned char *end)
{
	const unsigned char *first = *at;
	while (*at < end && **at >= '0' && **at <= '9')
		(*at)++;
	return *at > first;
}

/* The end of the number at reader->at, or NULL when it breaks the grammar. */
static const unsigned char *number_end(const struct reader *reader, bool *ret_integer)
{
	const unsigned char *at = reader->at;
	if (*at == '-')
		at++;
	const unsigned char *first = at;
	if (!skip_digits(&at, reader->end) || (*first == '0' && at > first + 1))
		return NULL;
	*ret_integer = true;
	if (at < reader->end && *at == '.') {
		*ret_integer = false;
		at++;
		if (!skip_digits(&at, reader->end))
			return NULL;
	}
	if (at < reader->end && (*at == 'e' || *at == 'E')) {
		*ret_integer = false;
		at++;
		if (at < reader->end && (*at == '+' || *at == '-'))
			at++;
		if (!skip_digits(&at, reader->end))
			return NULL;
	}
	return at;
}

static double small_integer(const unsigned char *at, const unsigned char *end)
{
	bool negative = *at == '-';
	int64_t value = 0;
	for (at += negative; at < end; at++)
		value = value * 10 + (*at - '0');
	return negative ? -(double)value : (double)value;
}

static int read_number(struct reader *reader, cJSON *value)
{
	bool integer;
	const unsigned char *end = number_end(reader, &integer);
	if (!end)
		return fail_at(reader, reader->at, "this is not a number");
	size_t length = (size_t)(end - reader->at);
	if (length > NUMBER_MAX)
		return fail_at(reader, reader->at, "a number has more than 400 characters");
	double number;
	if (integer && length <= DIGITS_EXACT) {
		number = small_integer(reader->at, end);
	} else {
		char text[NUMBER_MAX + 1];
		memcpy(text, reader->at, length);
		text[length] = '\0';
		number = strtod(text, NULL);
		if (!isfinite(number))
			return fail_at(reader, reader->at, "a number is too large");
		if (length > DIGITS_EXACT) {
			value->valuestring = cJSON_malloc(length + 1);
			if (!value->valuestring)
				return no_memory(reader);
			memcpy(value->valuestring, text, length + 1);
		}
	}
	value->type = cJSON_Number;
	cJSON_SetNumberHelper(value, number);
	reader->at = end;
	return 0;
}

static int compare_keys(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

const char *wl_json_repeated_key(const cJSON *object, size_t count, bool *ret_failed)
{
	if (count <= PAIRWISE_KEYS) {
		for (const cJSON *a = object->child; a; a = a->next)
			for (const cJSON *b = a->next; b; b = b->next)
				if (strcmp(a->string, b->string) == 0)
					return a->string;
		return NULL;
	}
	/* sorted, not hashed: no choice of keys makes this slower than n log n */
	_wl_free_ const char **keys = calloc(count, sizeof(*keys));
	if (!keys) {
		*ret_failed = true;
		return NULL;
	}
	size_t used = 0;
	for (const cJSON *member = object->child; member; member = member->next)
		keys[used++] = member->string;
	qsort(keys, used, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < used; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			return keys[i];
	return NULL;
}

static int check_keys(struct reader *reader, const cJSON *object, size_t count)
{
	bool failed = false;
	const char *key = wl_json_repeated_key(object, count, &failed);
	if (failed)
		return no_memory(reader);
	if (!key)
		return 0;
	char what[128];
	(void)snprintf(what, sizeof(what), "the object that ends here has the key '" SHOWN_KEY "' twice", key);
	return fail_at(reader, reader->at, what);
}

/* The library's list keeps its last member in the first one's prev. */
void wl_json_link(cJSON *container, cJSON *child)
{
	if (!container->child) {
		container->child = child;
		child->prev = child;
		return;
	}
	cJSON *last = container->child->prev;
	last->next = child;
	child->prev = last;
	container->child->prev = child;
}

static int read_value(struct reader *reader, cJSON *value);

static int read_member_key(struct reader *reader, cJSON *child)
{
	skip_space(reader);
	if (reader->at >= reader->end || *reader->at != '"')
		return fail_at(reader, reader->at, "a key in double quotes is expected here");
	int result = read_string(reader, &child->string);
	if (result < 0)
		return result;
	skip_space(reader);
	if (reader->at >= reader->end || *reader->at != ':')
		return fail_at(reader, reader->at, "a colon is expected here");
	reader->at++;
	return 0;
}

/* Read the members up to and with the closing bracket; reader->at stands on the opening one. */
static int read_members(struct reader *reader, cJSON *container, unsigned char close)
{
	size_t count = 0;
	reader->at++;
	skip_space(reader);
	if (reader->at < reader->end && *reader->at == close) {
		reader->at++;
		return 0;
	}
	for (;;) {
		cJSON *child = cJSON_CreateNull();
		if (!child)
			return no_memory(reader);
		wl_json_link(container, child);
		count++;
		int result = close == '}' ? read_member_key(reader, child) : 0;
		if (result == 0)
			result = read_value(reader, child);
		if (result < 0)
			return result;
		skip_space(reader);
		if (reader->at >= reader->end || (*reader->at != ',' && *reader->at != close))
			return fail_at(reader, reader->at,
				       close == '}' ? "a comma or } is expected here"
						    : "a comma or ] is expected here");
		if (*reader->at == close)
			break;
		reader->at++;
	}
	int result = close == '}' ? check_keys(reader, container, count) : 0;
	reader->at++;
	return result;
}

static int read_container(struct reader *reader, cJSON *value, int type, unsigned char close)
{
	if (reader->depth == reader->depth_max) {
		char what[64];
		(void)snprintf(what, sizeof(what), "values are nested more than %d deep", reader->depth_max);
		return fail_at(reader, reader->at, what);
	}
	reader->depth++;
	value->type = type;
	int result = read_members(reader, value, close);
	reader->depth--;
	return result;
}

static bool take_word(struct reader *reader, const char *word)
{
	size_t length = strlen(word);
	if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return true;
}

static int read_value(struct reader *reader, cJSON *value)
{
	skip_space(reader);
	if (reader->at >= reader->end)
		return fail_at(reader, reader->end, "a value is expected here, but the text ends");
	unsigned char first = *reader->at;
	if (first == '{')
		return read_container(reader, value, cJSON_Object, '}');
	if (first == '[')
		return read_container(reader, value, cJSON_Array, ']');
	if (first == '"') {
		value->type = cJSON_String;
		return read_string(reader, &value->valuestring);
	}
	if (first == '-' || (first >= '0' && first <= '9'))
		return read_number(reader, value);
	if (take_word(reader, "null"))
		return 0;
	if (take_word(reader, "true")) {
		value->type = cJSON_True;
		return 0;
	}
	if (take_word(reader, "false")) {
		value->type = cJSON_False;
		return 0;
	}
	return fail_at(reader, reader->at, "a value is expected here");
}

int wl_json_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err)
{
	return wl_json_parse_deep(text, length, WL_JSON_DEPTH, ret_json, err);
}

int wl_json_parse_deep(const char *text, size_t length, int depth, struct wl_json **ret_json, struct wl_error *err)
{
	if (!text)
		length = 0;
	const unsigned char *bytes = (const unsigned char *)(text ? text : "");
	struct reader reader = { .text = bytes, .at = bytes, .end = bytes + length, .err = err };
	reader.depth_max = depth;
	_wl_json_ struct wl_json *json = of_library(cJSON_CreateNull());
	if (!json)
		return no_memory(&reader);
	int result = read_value(&reader, to_library(json));
	if (result < 0)
		return result;
	skip_space(&reader);
	if (reader.at < reader.end)
		return fail_at(&reader, reader.at, "there is more text behind the value");
	*ret_json = wl_steal(json);
	return 0;
}
