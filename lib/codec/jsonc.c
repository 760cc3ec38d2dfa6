/*
 * What JSON does not have is blanked out byte by byte, and the rest is read as JSON: so a fault's line and column are
 * those of the file, and there is no second parser.
 */
#include "lib/codec/jsonc.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct blanker {
	char *text;
	size_t length, at;
	size_t comma; /* place of a comma with nothing but blanks behind it so far */
	bool has_comma;
	char before; /* the last byte that is neither blank nor comment */
};

static int fail_here(const struct blanker *blanker, size_t place, const char *what, struct wl_error *err)
{
	size_t line = 1, column = 1;
	for (size_t i = 0; i < place; i++) {
		bool ends = blanker->text[i] == '\n';
		line += ends;
		column = ends ? 1 : column + 1;
	}
	return wl_fail(err, EINVAL, "line %zu column %zu: %s", line, column, what);
}

/* A string from its opening quote to behind its closing one; one that never closes is the JSON reader's to refuse. */
static void pass_string(struct blanker *blanker)
{
	for (blanker->at++; blanker->at < blanker->length; blanker->at++) {
		char byte = blanker->text[blanker->at];
		if (byte == '\\')
			blanker->at++;
		else if (byte == '"')
			break;
	}
	blanker->at = blanker->at < blanker->length ? blanker->at + 1 : blanker->length;
}

static void blank_line_comment(struct blanker *blanker)
{
	while (blanker->at < blanker->length && !strchr("\r\n", blanker->text[blanker->at]))
		blanker->text[blanker->at++] = ' ';
}

static int blank_block_comment(struct blanker *blanker, struct wl_error *err)
{
	size_t began = blanker->at, end = began + 2;
	while (end + 1 < blanker->length && !(blanker->text[end] == '*' && blanker->text[end + 1] == '/'))
		end++;
	if (end + 1 >= blanker->length)
		return fail_here(blanker, began, "this comment is not closed", err);
	for (; blanker->at < end + 2; blanker->at++)
		if (!strchr("\r\n", blanker->text[blanker->at]))
			blanker->text[blanker->at] = ' ';
	return 0;
}

/* A byte of JSON itself. A comma before a closing bracket is blanked when it ends a member or an element. */
static void pass_byte(struct blanker *blanker, char byte)
{
	if ((byte == '}' || byte == ']') && blanker->has_comma)
		blanker->text[blanker->comma] = ' ';
	blanker->has_comma = byte == ',' && !strchr("{[,:", blanker->before);
	blanker->comma = blanker->at;
	blanker->before = byte;
}

static int blank(struct blanker *blanker, struct wl_error *err)
{
	while (blanker->at < blanker->length) {
		char byte = blanker->text[blanker->at];
		char next = blanker->at + 1 < blanker->length ? blanker->text[blanker->at + 1] : '\0';
		if (byte == '\0')
			return fail_here(blanker, blanker->at, "a NUL byte is not JSON", err);
		if (byte == '/' && next == '/') {
			blank_line_comment(blanker);
		} else if (byte == '/' && next == '*') {
			if (blank_block_comment(blanker, err) < 0)
				return -err->code;
		} else if (strchr(" \t\r\n", byte)) {
			blanker->at++;
		} else {
			pass_byte(blanker, byte);
			if (byte == '"')
				pass_string(blanker);
			else
				blanker->at++;
		}
	}
	return 0;
}

int wl_jsonc_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err)
{
	struct wl_error local = { 0 };
	err = err ? err : &local;
	if (length > WL_JSONC_MAX)
		return wl_fail(err, E2BIG, "a text of JSON with comments has at most %u MiB", WL_JSONC_MAX >> 20);
	_wl_free_ char *copy = malloc(length + 1);
	if (!copy)
		return wl_fail(err, ENOMEM, "no memory to read JSON");
	memcpy(copy, text, length);
	copy[length] = '\0';
	/* '{' before everything: a comma that comes first is none that ends an element */
	struct blanker blanker = { .text = copy, .length = length, .before = '{' };
	if (blank(&blanker, err) < 0)
		return -err->code;
	return wl_json_parse(copy, length, ret_json, err);
}
