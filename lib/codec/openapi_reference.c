/* Places, faults and references of the OpenAPI reader. */
#include "lib/base/cleanup.h"
#include "lib/codec/json_internal.h"
#include "lib/codec/openapi_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HOPS_MOST 32
#define SEGMENT_MOST 1024

/* ---- places and faults ------------------------------------------------------------------------------------------ */

static size_t put_text(char *text, size_t used, const char *more, size_t length)
{
	size_t room = OPENAPI_PLACE_TEXT - 1 - used;
	length = length < room ? length : room;
	memcpy(text + used, more, length);
	text[used + length] = '\0';
	return used + length;
}

/* A pointer's segments with dots between them (RFC 6901 §4, the escapes undone). */
static size_t put_pointer(char *text, size_t used, const char *pointer)
{
	for (; *pointer; pointer++) {
		bool escaped = pointer[0] == '~' && (pointer[1] == '0' || pointer[1] == '1');
		char at = *pointer == '/' ? '.' : *pointer;
		if (escaped)
			at = *++pointer == '1' ? '/' : '~';
		used = put_text(text, used, &at, 1);
	}
	return used;
}

static size_t put_place(char *text, const struct openapi_place *place)
{
	char index[24];
	if (!place)
		return 0;
	size_t used = put_place(text, place->parent);
	if (!place->key && !place->pointer)
		return put_text(text, used, index, (size_t)snprintf(index, sizeof(index), "[%d]", place->index));
	if (used)
		used = put_text(text, used, ".", 1);
	return place->key ? put_text(text, used, place->key, strlen(place->key))
			  : put_pointer(text, used, place->pointer);
}

char *openapi_place_text(const struct openapi_place *place, char text[OPENAPI_PLACE_TEXT])
{
	text[0] = '\0';
	(void)put_place(text, place);
	return text;
}

void openapi_fault(struct openapi_reader *reader, const struct openapi_place *place, const char *fmt, ...)
{
	char path[OPENAPI_PLACE_TEXT], message[256];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	(void)openapi_place_text(place, path);
	/* what several operations refer to is wrong once */
	for (int i = 0; i < reader->faults->count; i++)
		if (strcmp(reader->faults->items[i].path, path) == 0 &&
		    strcmp(reader->faults->items[i].text, message) == 0)
			return;
	wl_flow_fault_add(reader->faults, path, "%s", message);
}

static bool warned_before(const struct openapi_reader *reader, const char *path, const char *message)
{
	for (const struct wl_json *one = wl_json_first(reader->warnings); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "path", ""), path) == 0 &&
		    strcmp(wl_json_get_string(one, "message", ""), message) == 0)
			return true;
	return false;
}

void openapi_warn(struct openapi_reader *reader, const struct openapi_place *place, const char *fmt, ...)
{
	char path[OPENAPI_PLACE_TEXT], message[256];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	if (wl_json_count(reader->warnings) >= WL_OPENAPI_WARNINGS_MAX ||
	    warned_before(reader, openapi_place_text(place, path), message))
		return;
	struct wl_json *warning = openapi_new(reader, WL_JSON_OBJECT);
	if (!warning)
		return;
	openapi_put(reader, warning, "path", wl_json_new_string(path));
	openapi_put(reader, warning, "message", wl_json_new_string(message));
	openapi_append(reader, reader->warnings, warning);
}

/* ---- making values ---------------------------------------------------------------------------------------------- */

struct wl_json *openapi_new(struct openapi_reader *reader, enum wl_json_type type)
{
	struct wl_json *made = type == WL_JSON_ARRAY ? wl_json_array() : wl_json_object();
	reader->no_memory = reader->no_memory || !made;
	return made;
}

void openapi_put(struct openapi_reader *reader, struct wl_json *object, const char *key, struct wl_json *child)
{
	if (object && child && cJSON_AddItemToObject(to_library(object), key, to_library(child)))
		return;
	wl_json_free(child);
	reader->no_memory = true;
}

void openapi_append(struct openapi_reader *reader, struct wl_json *array, struct wl_json *child)
{
	if (array && child && cJSON_AddItemToArray(to_library(array), to_library(child)))
		return;
	wl_json_free(child);
	reader->no_memory = true;
}

/* ---- references -------------------------------------------------------------------------------------------------- */

static int hex_digit(char digit)
{
	return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* The next segment of a pointer in a URI fragment (RFC 6901 §6); NULL when it is too long or malformed. */
static const char *read_segment(const char *at, char segment[SEGMENT_MOST])
{
	size_t used = 0;
	for (; *at && *at != '/'; at++) {
		char byte = *at;
		if (byte == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
			byte = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
			at += 2;
		} else if (byte == '~' && (at[1] == '0' || at[1] == '1')) {
			byte = *++at == '1' ? '/' : '~';
		}
		if (!byte || used + 1 >= SEGMENT_MOST)
			return NULL;
		segment[used++] = byte;
	}
	segment[used] = '\0';
	return at;
}

static const struct wl_json *known_schema(const struct openapi_reader *reader, const char *name)
{
	size_t low = 0, high = reader->schema_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, reader->schemas[middle].key);
		if (order == 0)
			return reader->schemas[middle].value;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static const struct wl_json *step_into(struct openapi_reader *reader, const struct wl_json *value, const char *segment)
{
	char *end = NULL;
	reader->steps += (long)wl_json_count(value);
	if (wl_json_is(value, WL_JSON_OBJECT))
		return wl_json_get(value, segment);
	if (!wl_json_is(value, WL_JSON_ARRAY) || !isdigit((unsigned char)*segment) || strlen(segment) > 9)
		return NULL;
	unsigned long index = strtoul(segment, &end, 10);
	return *end ? NULL : wl_json_at(value, index);
}

static const struct wl_json *follow(struct openapi_reader *reader, const char *pointer)
{
	static const char schemas[] = "components/schemas/";
	char segment[SEGMENT_MOST];
	const struct wl_json *value = reader->document;
	const char *at = pointer;
	if (strncmp(pointer, schemas, sizeof(schemas) - 1) == 0) {
		at = read_segment(pointer + sizeof(schemas) - 1, segment);
		value = at ? known_schema(reader, segment) : NULL;
		at = at && *at == '/' ? at + 1 : NULL;
	}
	while (value && at) {
		at = read_segment(at, segment);
		if (!at || reader->steps > OPENAPI_STEPS_MOST)
			return NULL;
		value = step_into(reader, value, segment);
		at = *at == '/' ? at + 1 : NULL;
	}
	return value;
}

const struct wl_json *openapi_follow(struct openapi_reader *reader, const struct wl_json *object,
				     struct openapi_place *place)
{
	const struct openapi_place at = { place, "$ref", NULL, 0 };
	const char *text = wl_json_get_string(object, "$ref", NULL);
	const struct wl_json *target = NULL;
	if (!text)
		openapi_fault(reader, &at, "must be a text");
	else if (*text == '#' && text[1] != '/')
		openapi_fault(reader, &at, "'%.100s' is no pointer into this document", text);
	else if (*text != '#')
		openapi_fault(reader, &at, "'%.100s' is another document, which is not read", text);
	else if ((target = follow(reader, text + 2)) == NULL)
		openapi_fault(reader, &at, "'%.150s' names nothing in this document", text);
	else
		*place = (struct openapi_place){ NULL, NULL, text + 2, 0 };
	return target;
}

const struct wl_json *openapi_resolve(struct openapi_reader *reader, const struct wl_json *object,
				      struct openapi_place *place)
{
	for (int hops = 0; hops < HOPS_MOST; hops++) {
		if (!wl_json_get(object, "$ref"))
			return object;
		object = openapi_follow(reader, object, place);
		if (!object)
			return NULL;
	}
	openapi_fault(reader, place, "refers to itself, or through too many others");
	return NULL;
}
