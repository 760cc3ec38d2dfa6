/* Findings, faults and checked values: what every part of CrewAI's import and export says and reads. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- places ----------------------------------------------------------------------------------------------------- */

static void append_place(struct wl_buffer *out, const struct crewai_place *place)
{
	if (!place)
		return;
	append_place(out, place->parent);
	if (place->file)
		return;
	if (place->key)
		wl_buffer_appendf(out, "%s%.80s", out->length ? "." : "", place->key);
	else
		wl_buffer_appendf(out, "[%d]", place->index);
}

char *crewai_place_text(const struct crewai_place *place, char text[CREWAI_PLACE_TEXT])
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	append_place(&out, place);
	(void)snprintf(text, CREWAI_PLACE_TEXT, "%s", out.data ? out.data : "");
	return text;
}

const char *crewai_place_file(const struct crewai_place *place)
{
	for (; place; place = place->parent)
		if (place->file)
			return place->file;
	return "";
}

/* ---- what is said of them --------------------------------------------------------------------------------------- */

static const char *const severities[] = {
	[CREWAI_IGNORED] = "ignored",
	[CREWAI_CHANGED] = "changed",
	[CREWAI_ATTENTION] = "needs_attention",
};

static void keep_finding(struct crewai_notes *notes, const char *file, const char *path, const char *message,
			 const char *severity)
{
	struct wl_json *one = wl_json_object();
	int rc = wl_json_set_string(one, "file", file);
	rc = rc ? rc : wl_json_set_string(one, "path", path);
	rc = rc ? rc : wl_json_set_string(one, "message", message);
	rc = rc ? rc : wl_json_set_string(one, "severity", severity);
	notes->no_memory |= wl_json_append(notes->findings, one) < 0 || rc < 0;
}

void crewai_note(struct crewai_notes *notes, const struct crewai_place *place, enum crewai_severity severity,
		 const char *fmt, ...)
{
	char path[CREWAI_PLACE_TEXT], message[400];
	va_list args;
	notes->attention += severity == CREWAI_ATTENTION;
	if (notes->kept >= WL_CREWAI_FINDINGS_MAX) {
		notes->skipped++;
		return;
	}
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	notes->kept++;
	keep_finding(notes, crewai_place_file(place), crewai_place_text(place, path), message, severities[severity]);
}

void crewai_end_notes(struct crewai_notes *notes)
{
	const struct crewai_place all = { .file = "files" };
	if (!notes->skipped)
		return;
	int more = notes->skipped;
	notes->kept--; /* one beyond the bound, so that the others are not lost in silence */
	crewai_note(notes, &all, CREWAI_ATTENTION, "there are %d findings more", more);
}

void crewai_fault(struct crewai_reader *reader, const struct crewai_place *place, const char *fmt, ...)
{
	char path[CREWAI_PLACE_TEXT], where[CREWAI_PLACE_TEXT + WL_CREWAI_PATH_MAX + 4], message[256];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	const char *file = crewai_place_file(place);
	crewai_place_text(place, path);
	(void)snprintf(where, sizeof(where), "%s%s%s", file, *file && *path ? ": " : "", path);
	wl_flow_fault_add(reader->faults, where, "%s", message);
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

void crewai_set(struct crewai_notes *notes, struct wl_json *object, const char *key, struct wl_json *child)
{
	notes->no_memory |= wl_json_set(object, key, child) < 0;
}

void crewai_append(struct crewai_notes *notes, struct wl_json *array, struct wl_json *child)
{
	notes->no_memory |= wl_json_append(array, child) < 0;
}

struct wl_json *crewai_child(struct crewai_notes *notes, struct wl_json *parent, const char *key, bool array)
{
	struct wl_json *child = array ? wl_json_array() : wl_json_object();
	int rc = key ? wl_json_set(parent, key, child) : wl_json_append(parent, child);
	notes->no_memory |= rc < 0;
	return rc < 0 ? NULL : child;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* Characters of UTF-8: bytes that continue one are not counted. */
static size_t characters(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

bool crewai_take_text(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      size_t least, size_t most, struct wl_json *into, const char *member)
{
	const char *text = wl_json_string(value, NULL);
	if (!text) {
		crewai_fault(reader, place, "is not a text");
		return false;
	}
	_wl_free_ char *copy = strdup(text);
	if (!copy) {
		reader->notes.no_memory = true;
		return false;
	}
	size_t length = strlen(copy);
	while (reader->yaml && length && copy[length - 1] == '\n')
		copy[--length] = '\0';
	length = characters(copy);
	if (length < least || length > most) {
		crewai_fault(reader, place, "has %zu characters; it may have %zu to %zu", length, least, most);
		return false;
	}
	crewai_set(&reader->notes, into, member, wl_json_new_string(copy));
	return true;
}

bool crewai_take_bool(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      struct wl_json *into, const char *member)
{
	if (!wl_json_is(value, WL_JSON_BOOL)) {
		crewai_fault(reader, place, "is neither true nor false");
		return false;
	}
	crewai_set(&reader->notes, into, member, wl_json_copy(value));
	return true;
}

bool crewai_take_integer(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 long least, long most, struct wl_json *into, const char *member)
{
	double number = wl_json_number(value, NAN);
	if (!wl_json_is(value, WL_JSON_NUMBER) || number != floor(number)) {
		crewai_fault(reader, place, "is not a whole number");
		return false;
	}
	if (number < (double)least || number > (double)most) {
		crewai_fault(reader, place, "lies outside of %ld to %ld", least, most);
		return false;
	}
	crewai_set(&reader->notes, into, member, wl_json_new_number(number));
	return true;
}

static void walk_member(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *member,
			const struct crewai_key *keys, void *into)
{
	const struct crewai_place at = { .parent = place, .key = wl_json_key(member) };
	if (wl_json_is(member, WL_JSON_NULL))
		return;
	for (; keys->name; keys++) {
		if (strcmp(keys->name, at.key) != 0)
			continue;
		if (keys->take)
			keys->take(reader, &at, member, into);
		else
			crewai_note(&reader->notes, &at, keys->severity, "%s", keys->reason);
		return;
	}
	crewai_note(&reader->notes, &at, CREWAI_ATTENTION, "is no key that is known here; it is left out");
}

bool crewai_walk(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		 const struct crewai_key *keys, void *into)
{
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		crewai_fault(reader, place, "is not a mapping");
		return false;
	}
	for (const struct wl_json *member = wl_json_first(value); member; member = wl_json_next(member))
		walk_member(reader, place, member, keys, into);
	return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

void crewai_slug(const char *name, char slug[64])
{
	size_t length = 0;
	for (; *name && length < 60; name++) {
		bool good = (isalnum((unsigned char)*name) && (unsigned char)*name < 0x80) || *name == '_';
		if (good && length == 0 && isdigit((unsigned char)*name))
			slug[length++] = '_';
		if (good || (length && slug[length - 1] != '_'))
			slug[length++] = good ? *name : '_';
	}
	while (length > 1 && slug[length - 1] == '_')
		length--;
	slug[length] = '\0';
	if (!length)
		memcpy(slug, "unnamed", 8);
}
