#include "lib/codec/json.h"

#include "lib/base/cleanup.h"
#include "lib/codec/json_internal.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_INTEGER 9007199254740992.0 /* 2^53 */

void wl_json_free(struct wl_json *json)
{
	cJSON_Delete(to_library(json));
}

struct wl_json *wl_json_copy(const struct wl_json *json)
{
	cJSON *copy = json ? cJSON_Duplicate(to_library_const(json), true) : NULL;
	if (copy && copy->string) {
		/* the key belongs to the object that it was copied from */
		cJSON_free(copy->string);
		copy->string = NULL;
	}
	return of_library(copy);
}

enum wl_json_type wl_json_type(const struct wl_json *json)
{
	switch (json ? to_library_const(json)->type & 0xff : cJSON_NULL) {
	case cJSON_True:
	case cJSON_False:
		return WL_JSON_BOOL;
	case cJSON_Number:
		return WL_JSON_NUMBER;
	case cJSON_String:
		return WL_JSON_STRING;
	case cJSON_Array:
		return WL_JSON_ARRAY;
	case cJSON_Object:
		return WL_JSON_OBJECT;
	default:
		return WL_JSON_NULL;
	}
}

bool wl_json_is(const struct wl_json *json, enum wl_json_type type)
{
	return json && wl_json_type(json) == type;
}

const struct wl_json *wl_json_get(const struct wl_json *object, const char *key)
{
	if (!wl_json_is(object, WL_JSON_OBJECT))
		return NULL;
	for (const cJSON *member = to_library_const(object)->child; member; member = member->next)
		if (strcmp(member->string, key) == 0)
			return of_library_const(member);
	return NULL;
}

const struct wl_json *wl_json_at(const struct wl_json *array, size_t index)
{
	if (!wl_json_is(array, WL_JSON_ARRAY))
		return NULL;
	const cJSON *item = to_library_const(array)->child;
	while (item && index-- > 0)
		item = item->next;
	return of_library_const(item);
}

size_t wl_json_count(const struct wl_json *container)
{
	size_t count = 0;
	for (const struct wl_json *member = wl_json_first(container); member; member = wl_json_next(member))
		count++;
	return count;
}

const struct wl_json *wl_json_first(const struct wl_json *container)
{
	return container ? of_library_const(to_library_const(container)->child) : NULL;
}

const struct wl_json *wl_json_next(const struct wl_json *member)
{
	return member ? of_library_const(to_library_const(member)->next) : NULL;
}

const char *wl_json_key(const struct wl_json *member)
{
	return member ? to_library_const(member)->string : NULL;
}

const char *wl_json_string(const struct wl_json *json, const char *otherwise)
{
	return wl_json_is(json, WL_JSON_STRING) ? to_library_const(json)->valuestring : otherwise;
}

double wl_json_number(const struct wl_json *json, double otherwise)
{
	return wl_json_is(json, WL_JSON_NUMBER) ? to_library_const(json)->valuedouble : otherwise;
}

bool wl_json_bool(const struct wl_json *json, bool otherwise)
{
	return wl_json_is(json, WL_JSON_BOOL) ? (to_library_const(json)->type & 0xff) == cJSON_True : otherwise;
}

const char *wl_json_get_string(const struct wl_json *object, const char *key, const char *otherwise)
{
	return wl_json_string(wl_json_get(object, key), otherwise);
}

double wl_json_get_number(const struct wl_json *object, const char *key, double otherwise)
{
	return wl_json_number(wl_json_get(object, key), otherwise);
}

bool wl_json_get_bool(const struct wl_json *object, const char *key, bool otherwise)
{
	return wl_json_bool(wl_json_get(object, key), otherwise);
}

static bool numbers_equal(const cJSON *a, const cJSON *b)
{
	if (a->valuedouble < b->valuedouble || a->valuedouble > b->valuedouble)
		return false;
	/* two long integers may share their nearest double */
	return !a->valuestring || !b->valuestring || fabs(a->valuedouble) < EXACT_INTEGER ||
	       strcmp(a->valuestring, b->valuestring) == 0;
}

static int compare_members(const void *left, const void *right)
{
	const cJSON *a = *(const cJSON *const *)left, *b = *(const cJSON *const *)right;
	return strcmp(a->string, b->string);
}

/* The members by their keys, or NULL without memory. */
static const cJSON **sorted_members(const struct wl_json *object, size_t count)
{
	const cJSON **members = calloc(count + 1, sizeof(*members));
	if (!members)
		return NULL;
	size_t used = 0;
	for (const cJSON *member = to_library_const(object)->child; member; member = member->next)
		members[used++] = member;
	qsort(members, used, sizeof(*members), compare_members);
	return members;
}

static bool objects_equal(const struct wl_json *a, const struct wl_json *b)
{
	size_t count = wl_json_count(a);
	if (count != wl_json_count(b))
		return false;
	_wl_free_ const cJSON **left = sorted_members(a, count);
	_wl_free_ const cJSON **right = sorted_members(b, count);
	if (!left || !right)
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(left[i]->string, right[i]->string) != 0 ||
		    !wl_json_equal(of_library_const(left[i]), of_library_const(right[i])))
			return false;
	return true;
}

static bool arrays_equal(const struct wl_json *a, const struct wl_json *b)
{
	const struct wl_json *left = wl_json_first(a), *right = wl_json_first(b);
	for (; left && right; left = wl_json_next(left), right = wl_json_next(right))
		if (!wl_json_equal(left, right))
			return false;
	return !left && !right;
}

bool wl_json_equal(const struct wl_json *a, const struct wl_json *b)
{
	if (!a || !b)
		return a == b;
	enum wl_json_type type = wl_json_type(a);
	if (type != wl_json_type(b))
		return false;
	switch (type) {
	case WL_JSON_NULL:
		return true;
	case WL_JSON_BOOL:
		return wl_json_bool(a, false) == wl_json_bool(b, false);
	case WL_JSON_NUMBER:
		return numbers_equal(to_library_const(a), to_library_const(b));
	case WL_JSON_STRING:
		return strcmp(wl_json_string(a, ""), wl_json_string(b, "")) == 0;
	case WL_JSON_ARRAY:
		return arrays_equal(a, b);
	case WL_JSON_OBJECT:
		return objects_equal(a, b);
	}
	return false;
}

struct wl_json *wl_json_object(void)
{
	return of_library(cJSON_CreateObject());
}

struct wl_json *wl_json_array(void)
{
	return of_library(cJSON_CreateArray());
}

/* `text` with U+FFFD for each byte that is not part of UTF-8, so that what is printed is always JSON. */
static struct wl_json *repaired_string(const char *text)
{
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
	while (at < end) {
		size_t length = *at < 0x80 ? 1 : wl_json_utf8_length(at, end);
		if (length)
			(void)wl_buffer_append(&buffer, at, length);
		else
			(void)wl_buffer_append_text(&buffer, "\xef\xbf\xbd");
		at += length ? length : 1;
	}
	return buffer.failed ? NULL : of_library(cJSON_CreateString(buffer.data));
}

struct wl_json *wl_json_new_string(const char *text)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
	while (at < end) {
		size_t length = *at < 0x80 ? 1 : wl_json_utf8_length(at, end);
		if (length == 0)
			return repaired_string(text);
		at += length;
	}
	return of_library(cJSON_CreateString(text));
}

struct wl_json *wl_json_new_number(double number)
{
	return of_library(cJSON_CreateNumber(number));
}

struct wl_json *wl_json_new_bool(bool value)
{
	return of_library(cJSON_CreateBool(value));
}

struct wl_json *wl_json_new_null(void)
{
	return of_library(cJSON_CreateNull());
}

bool wl_json_is_text(const char *bytes, size_t length)
{
	const unsigned char *at = (const unsigned char *)bytes, *end = at + length;
	while (at < end) {
		size_t step = *at < 0x80 ? *at != 0 : wl_json_utf8_length(at, end);
		if (step == 0)
			return false;
		at += step;
	}
	return true;
}

int wl_json_set(struct wl_json *object, const char *key, struct wl_json *child)
{
	if (!object || !child) {
		wl_json_free(child);
		return -ENOMEM;
	}
	cJSON *container = to_library(object);
	const struct wl_json *old = wl_json_get(object, key);
	if (old) {
		/* the library's replace calls take a key; this keeps the place and frees the old value */
		if (cJSON_ReplaceItemInObjectCaseSensitive(container, key, to_library(child)))
			return 0;
	} else if (cJSON_AddItemToObject(container, key, to_library(child))) {
		return 0;
	}
	wl_json_free(child);
	return -ENOMEM;
}

int wl_json_append(struct wl_json *array, struct wl_json *child)
{
	if (array && child && cJSON_AddItemToArray(to_library(array), to_library(child)))
		return 0;
	wl_json_free(child);
	return -ENOMEM;
}

int wl_json_set_string(struct wl_json *object, const char *key, const char *text)
{
	return wl_json_set(object, key, text ? wl_json_new_string(text) : wl_json_new_null());
}

int wl_json_set_number(struct wl_json *object, const char *key, double number)
{
	return wl_json_set(object, key, wl_json_new_number(number));
}

int wl_json_set_bool(struct wl_json *object, const char *key, bool value)
{
	return wl_json_set(object, key, wl_json_new_bool(value));
}

int wl_json_set_raw(struct wl_json *object, const char *key, const char *json_text)
{
	return wl_json_set(object, key, of_library(cJSON_CreateRaw(json_text)));
}

/* The shortest of 15, 16 or 17 digits that reads back as the same double (17 always do, IEEE 754-2008 §5.12.2). */
static void write_number(struct wl_buffer *buffer, const cJSON *value)
{
	double number = value->valuedouble;
	if (value->valuestring) {
		(void)wl_buffer_append_text(buffer, value->valuestring);
		return;
	}
	if (!isfinite(number)) { /* JSON has no such numbers, and the reader makes none */
		(void)wl_buffer_append_text(buffer, "null");
		return;
	}
	if (fabs(number) <= EXACT_INTEGER && trunc(number) >= number && trunc(number) <= number) {
		(void)wl_buffer_appendf(buffer, "%lld", (long long)number);
		return;
	}
	char text[40];
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, number);
		double back = strtod(text, NULL);
		if (back >= number && back <= number)
			break;
	}
	(void)wl_buffer_append_text(buffer, text);
}

static void write_value(struct wl_buffer *buffer, const cJSON *value);

static void write_container(struct wl_buffer *buffer, const cJSON *value, bool keys)
{
	(void)wl_buffer_append_char(buffer, keys ? '{' : '[');
	for (const cJSON *member = value->child; member && !buffer->failed; member = member->next) {
		if (member != value->child)
			(void)wl_buffer_append_char(buffer, ',');
		if (keys) {
			(void)wl_buffer_append_json_string(buffer, member->string, strlen(member->string));
			(void)wl_buffer_append_char(buffer, ':');
		}
		write_value(buffer, member);
	}
	(void)wl_buffer_append_char(buffer, keys ? '}' : ']');
}

static void write_value(struct wl_buffer *buffer, const cJSON *value)
{
	switch (value->type & 0xff) {
	case cJSON_True:
		(void)wl_buffer_append(buffer, "true", 4);
		break;
	case cJSON_False:
		(void)wl_buffer_append(buffer, "false", 5);
		break;
	case cJSON_Number:
		write_number(buffer, value);
		break;
	case cJSON_String:
		(void)wl_buffer_append_json_string(buffer, value->valuestring, strlen(value->valuestring));
		break;
	case cJSON_Raw:
		(void)wl_buffer_append_text(buffer, value->valuestring);
		break;
	case cJSON_Array:
	case cJSON_Object:
		write_container(buffer, value, (value->type & 0xff) == cJSON_Object);
		break;
	default:
		(void)wl_buffer_append(buffer, "null", 4);
	}
}

int wl_json_write(struct wl_buffer *buffer, const struct wl_json *json)
{
	if (json)
		write_value(buffer, to_library_const(json));
	else
		(void)wl_buffer_append(buffer, "null", 4);
	return -buffer->failed;
}

static void write_sorted_object(struct wl_buffer *buffer, const struct wl_json *object)
{
	size_t count = wl_json_count(object);
	_wl_free_ const cJSON **members = sorted_members(object, count);
	if (!members && !buffer->failed)
		buffer->failed = ENOMEM;
	(void)wl_buffer_append_char(buffer, '{');
	for (size_t i = 0; i < count && !buffer->failed; i++) {
		if (i > 0)
			(void)wl_buffer_append_char(buffer, ',');
		(void)wl_buffer_append_json_string(buffer, members[i]->string, strlen(members[i]->string));
		(void)wl_buffer_append_char(buffer, ':');
		(void)wl_json_write_sorted(buffer, of_library_const(members[i]));
	}
	(void)wl_buffer_append_char(buffer, '}');
}

int wl_json_write_sorted(struct wl_buffer *buffer, const struct wl_json *json)
{
	if (wl_json_is(json, WL_JSON_OBJECT)) {
		write_sorted_object(buffer, json);
	} else if (wl_json_is(json, WL_JSON_ARRAY)) {
		const struct wl_json *first = wl_json_first(json);
		(void)wl_buffer_append_char(buffer, '[');
		for (const struct wl_json *item = first; item && !buffer->failed; item = wl_json_next(item)) {
			if (item != first)
				(void)wl_buffer_append_char(buffer, ',');
			(void)wl_json_write_sorted(buffer, item);
		}
		(void)wl_buffer_append_char(buffer, ']');
	} else {
		(void)wl_json_write(buffer, json);
	}
	return -buffer->failed;
}

static void new_line(struct wl_buffer *out, int depth)
{
	wl_buffer_append_char(out, '\n');
	for (int i = 0; i < depth; i++)
		wl_buffer_append_text(out, "  ");
}

static void put_lines(struct wl_buffer *out, const struct wl_json *value, int depth)
{
	bool object = wl_json_is(value, WL_JSON_OBJECT);
	if ((!object && !wl_json_is(value, WL_JSON_ARRAY)) || wl_json_count(value) == 0) {
		(void)wl_json_write(out, value);
		return;
	}
	wl_buffer_append_char(out, object ? '{' : '[');
	for (const struct wl_json *member = wl_json_first(value); member; member = wl_json_next(member)) {
		new_line(out, depth + 1);
		if (object) {
			wl_buffer_append_json_string(out, wl_json_key(member), strlen(wl_json_key(member)));
			wl_buffer_append_text(out, ": ");
		}
		put_lines(out, member, depth + 1);
		if (wl_json_next(member))
			wl_buffer_append_char(out, ',');
	}
	new_line(out, depth);
	wl_buffer_append_char(out, object ? '}' : ']');
}

void wl_json_write_lines(struct wl_buffer *buffer, const struct wl_json *json)
{
	put_lines(buffer, json, 0);
	wl_buffer_append_char(buffer, '\n');
}

char *wl_json_print(const struct wl_json *json)
{
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	if (wl_json_write(&buffer, json) < 0)
		return NULL;
	return wl_buffer_steal(&buffer);
}
