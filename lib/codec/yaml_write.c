/*
 * Writing YAML. Own code and not the library's emitter: that one breaks long lines and chooses quotes by rules of its
 * own, and files under version control must come out the same from release to release.
 */
#include "lib/codec/json_internal.h"
#include "lib/codec/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STEP 2		    /* columns of one level */
#define SIMPLE_KEY_MAX 1000 /* bytes; YAML 1.2 §7.4.3 lets a key without ? have 1,024 characters */

/* ---- what a text holds ------------------------------------------------------------------------------------------ */

struct traits {
	bool newline, tab;
	bool escapes; /* has what only double quotes can say (not printable in YAML, or a line break of another kind) */
	bool quotes;  /* has what double quotes would have to escape, and single ones not */
	bool ink;     /* has more than blanks and line ends */
};

static unsigned code_point(const unsigned char *at, size_t length)
{
	static const unsigned char lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	unsigned code = at[0] & lead[length];
	for (size_t i = 1; i < length; i++)
		code = code << 6 | (at[i] & 0x3f);
	return code;
}

/* Control characters, NEL, LS, PS, the byte order mark and what is no character (YAML 1.2 §5.1, §5.4). */
static bool needs_escape(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
	       (code & 0xfffe) == 0xfffe;
}

static struct traits traits_of(const char *text)
{
	struct traits traits = { 0 };
	const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
	for (size_t length; at < end; at += length) {
		length = *at < 0x80 ? 1 : wl_json_utf8_length(at, end);
		unsigned code = length ? code_point(at, length) : 0;
		length = length ? length : 1;
		traits.newline |= code == '\n';
		traits.tab |= code == '\t';
		traits.escapes |= code != '\n' && code != '\t' && needs_escape(code);
		traits.quotes |= code == '"' || code == '\\';
		traits.ink |= code != '\n' && code != '\t' && code != ' ';
	}
	return traits;
}

/* A word that some version of YAML reads as something else than a text (YAML 1.1 knew yes and no, too). */
static bool is_reserved(const char *text)
{
	static const char *const words[] = { "null", "true", "false", "yes", "no", "on", "off" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* Whether a text means itself without quotes. Stricter than it must be: numbers, dates and indicators are quoted by
 * their first character. */
static bool is_plain(const char *text, const struct traits *traits)
{
	unsigned char first = (unsigned char)text[0];
	size_t length = strlen(text);
	if (!length || traits->escapes || traits->newline || traits->tab || is_reserved(text))
		return false;
	if (!isalpha(first) && first < 0x80 && !strchr("_/$(", first))
		return false;
	return !strstr(text, ": ") && !strstr(text, " #") && text[length - 1] != ' ' && text[length - 1] != ':';
}

/* ---- scalars ---------------------------------------------------------------------------------------------------- */

static void put_double(struct wl_buffer *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
	wl_buffer_append_char(out, '"');
	for (size_t length; at < end; at += length) {
		length = *at < 0x80 ? 1 : wl_json_utf8_length(at, end);
		unsigned code = length ? code_point(at, length) : 0xfffd;
		length = length ? length : 1;
		if (code == '"' || code == '\\')
			wl_buffer_appendf(out, "\\%c", (char)code);
		else if (code == '\n' || code == '\t' || code == '\r')
			wl_buffer_append_text(out, code == '\n' ? "\\n" : code == '\t' ? "\\t" : "\\r");
		else if (needs_escape(code))
			wl_buffer_appendf(out, code > 0xffff ? "\\U%08X" : "\\u%04X", code);
		else
			wl_buffer_append(out, at, length);
	}
	wl_buffer_append_char(out, '"');
}

static void put_single(struct wl_buffer *out, const char *text)
{
	wl_buffer_append_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			wl_buffer_append_char(out, '\'');
		wl_buffer_append_char(out, *text);
	}
	wl_buffer_append_char(out, '\'');
}

/* A text on one line. */
static void put_text(struct wl_buffer *out, const char *text, const struct traits *traits)
{
	if (is_plain(text, traits))
		wl_buffer_append_text(out, text);
	else if (traits->quotes && !traits->escapes && !traits->newline && !traits->tab)
		put_single(out, text);
	else
		put_double(out, text);
}

static void pad(struct wl_buffer *out, int columns)
{
	for (int i = 0; i < columns; i++)
		wl_buffer_append_char(out, ' ');
}

/* A literal block (YAML 1.2 §8.1.2): the text as it is, each line at `indent`. */
static void put_literal(struct wl_buffer *out, const char *text, int indent)
{
	size_t length = strlen(text);
	bool ends = text[length - 1] == '\n', keeps = ends && length > 1 && text[length - 2] == '\n';
	wl_buffer_append_char(out, '|');
	if (strchr(" \n\t", text[0])) /* where the text begins cannot be seen then */
		wl_buffer_appendf(out, "%d", STEP);
	wl_buffer_append_text(out, !ends ? "-\n" : keeps ? "+\n" : "\n");
	for (const char *line = text; *line;) {
		size_t width = strcspn(line, "\n");
		if (width) {
			pad(out, indent);
			wl_buffer_append(out, line, width);
		}
		wl_buffer_append_char(out, '\n');
		line += width + (line[width] == '\n');
	}
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static bool is_block(const struct wl_json *value)
{
	return (wl_json_is(value, WL_JSON_OBJECT) || wl_json_is(value, WL_JSON_ARRAY)) && wl_json_count(value) > 0;
}

/* A scalar or an empty container behind its key or dash, with its line's end. `indent`: column of that key or dash. */
static void put_scalar(struct wl_buffer *out, const struct wl_json *value, int indent)
{
	if (!wl_json_is(value, WL_JSON_STRING)) {
		(void)wl_json_write(out, value);
		wl_buffer_append_char(out, '\n');
		return;
	}
	const char *text = wl_json_string(value, "");
	struct traits traits = traits_of(text);
	if (traits.newline && traits.ink && !traits.escapes) {
		put_literal(out, text, indent + STEP);
		return;
	}
	put_text(out, text, &traits);
	wl_buffer_append_char(out, '\n');
}

static void put_block(struct wl_buffer *out, const struct wl_json *container, int indent, bool first_is_placed);

static void put_key(struct wl_buffer *out, const char *key, int indent)
{
	struct traits traits = traits_of(key);
	size_t before = out->length;
	put_text(out, key, &traits);
	if (out->length - before <= SIMPLE_KEY_MAX) {
		wl_buffer_append_char(out, ':');
		return;
	}
	out->length = before; /* too long to stand on the line of its value */
	wl_buffer_append_text(out, "? ");
	put_text(out, key, &traits);
	wl_buffer_append_char(out, '\n');
	pad(out, indent);
	wl_buffer_append_char(out, ':');
}

static void put_member(struct wl_buffer *out, const struct wl_json *member, int indent, bool keyed)
{
	if (keyed)
		put_key(out, wl_json_key(member), indent);
	else
		wl_buffer_append_char(out, '-');
	if (!is_block(member)) {
		wl_buffer_append_char(out, ' ');
		put_scalar(out, member, indent);
		return;
	}
	wl_buffer_append_char(out, keyed ? '\n' : ' ');
	put_block(out, member, indent + STEP, !keyed);
}

/* The members of a container that has some, one below the other; the first one's place may have been written. */
static void put_block(struct wl_buffer *out, const struct wl_json *container, int indent, bool first_is_placed)
{
	bool keyed = wl_json_is(container, WL_JSON_OBJECT), placed = first_is_placed;
	for (const struct wl_json *member = wl_json_first(container); member; member = wl_json_next(member)) {
		if (!placed)
			pad(out, indent);
		placed = false;
		put_member(out, member, indent, keyed);
	}
}

int wl_yaml_write(struct wl_buffer *buffer, const struct wl_json *json)
{
	if (is_block(json)) {
		put_block(buffer, json, 0, false);
	} else if (wl_json_is(json, WL_JSON_STRING)) {
		struct traits traits = traits_of(wl_json_string(json, ""));
		put_text(buffer, wl_json_string(json, ""), &traits);
		wl_buffer_append_char(buffer, '\n');
	} else {
		put_scalar(buffer, json, 0);
	}
	return -buffer->failed;
}
