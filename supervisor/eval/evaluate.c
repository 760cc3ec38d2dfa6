#include "supervisor/eval/evaluate.h"

#include "lib/base/cleanup.h"
#include "lib/codec/expression_text.h"
#include "lib/codec/json.h"
#include "supervisor/eval/plain_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* a context wraps values that were accepted with the usual depth */
#define CONTEXT_DEPTH (WL_JSON_DEPTH + 8)
#define PATH_SIZE 200

struct evaluation {
	struct program_cache *cache;
	const char *context_json; /* NULL: only check */
	size_t context_length;
	jv context_value; /* made when the first program needs it */
	struct wl_buffer *out;
	struct wl_error *err;
};

static int fail_at(const struct evaluation *evaluation, const char *path)
{
	return *path ? wl_fail_within(evaluation->err, "%s", path) : -evaluation->err->code;
}

static jv context_of(struct evaluation *evaluation)
{
	if (!jv_is_valid(evaluation->context_value)) {
		jv_free(evaluation->context_value);
		evaluation->context_value = jv_parse_sized(evaluation->context_json, (int)evaluation->context_length);
	}
	return jv_copy(evaluation->context_value);
}

/* Append what jq gave (consumed), which must be a value that every reader of ours takes: jq knows the character U+0000
 * and has no bound on the depth of what a program makes. */
static int append_jv(struct evaluation *evaluation, jv value, struct wl_buffer *out, bool bare)
{
	_wl_json_ struct wl_json *strict = NULL;
	bool is_text = bare && jv_get_kind(value) == JV_KIND_STRING;
	jv text = is_text ? value : jv_dump_string(value, 0);
	const char *bytes = jv_string_value(text);
	size_t length = (size_t)jv_string_length_bytes(jv_copy(text));
	int result = 0;
	if (is_text && memchr(bytes, 0, length))
		result = wl_fail(evaluation->err, EINVAL, "a text must not hold the character U+0000");
	else if (!is_text && wl_json_parse(bytes, length, &strict, evaluation->err) < 0)
		result = wl_fail_within(evaluation->err, "the value");
	if (result == 0)
		(void)wl_buffer_append(out, bytes, length);
	jv_free(text);
	return result;
}

/* Append a part of the context. Its text goes on as it is, once it was read strictly. */
static int append_slice(struct evaluation *evaluation, const struct text_slice *slice, struct wl_buffer *out, bool bare)
{
	_wl_json_ struct wl_json *value = NULL;
	if (!slice->start)
		return wl_buffer_append(out, "null", 4);
	if (wl_json_parse_deep(slice->start, slice->length, CONTEXT_DEPTH, &value, evaluation->err) < 0)
		return wl_fail_within(evaluation->err, "the context");
	const char *text = bare ? wl_json_string(value, NULL) : NULL;
	if (text)
		return wl_buffer_append_text(out, text);
	return wl_buffer_append(out, slice->start, slice->length);
}

/* Run a program over `input` (consumed) and append its value. */
static int run_program(struct evaluation *evaluation, const char *program, size_t length, jv input, const char *path,
		       struct wl_buffer *out, bool bare)
{
	jv value;
	if (!jv_is_valid(input)) {
		jv_free(input);
		return wl_fail(evaluation->err, EINVAL, "the context is not JSON");
	}
	if (program_run(evaluation->cache, program, length, input, &value, evaluation->err) < 0)
		return fail_at(evaluation, path);
	return append_jv(evaluation, value, out, bare) < 0 ? fail_at(evaluation, path) : 0;
}

/*
 * Compile what an evaluation would compile, so that the two share their programs: nothing for a plain path, the rest
 * behind one. Any such path leads somewhere in null.
 */
static int check_one(struct evaluation *evaluation, const struct wl_text_part *part, const char *path)
{
	struct text_slice found, program = { part->start, part->length };
	struct text_slice rest;
	if (plain_path_value(part->start, part->length, "null", 4, &found, &rest)) {
		if (!rest.start)
			return 0;
		program = rest;
	}
	if (program_compile(evaluation->cache, program.start, program.length, evaluation->err) < 0)
		return fail_at(evaluation, path);
	return 0;
}

/* Append the value of one expression; `bare`: inside a text, where strings stand without their quotes. */
static int evaluate_one(struct evaluation *evaluation, const struct wl_text_part *part, const char *path,
			struct wl_buffer *out, bool bare)
{
	struct text_slice found, rest;
	if (!evaluation->context_json)
		return check_one(evaluation, part, path);
	if (!plain_path_value(part->start, part->length, evaluation->context_json, evaluation->context_length, &found,
			      &rest))
		return run_program(evaluation, part->start, part->length, context_of(evaluation), path, out, bare);
	if (rest.start) {
		/* jq reads only the part of the context that the program begins with */
		jv input = found.start ? jv_parse_sized(found.start, (int)found.length) : jv_null();
		return run_program(evaluation, rest.start, rest.length, input, path, out, bare);
	}
	int result = append_slice(evaluation, &found, out, bare);
	return result == -EMSGSIZE || (result == -ENOMEM && out->failed) ? 0 : result;
}

static int unclosed(const struct evaluation *evaluation, const char *path)
{
	(void)wl_fail(evaluation->err, EINVAL, "a {{ has no }} that closes it");
	return fail_at(evaluation, path);
}

/* A text with expressions between plain parts. */
static int interpolate(struct evaluation *evaluation, const char *text, size_t length, const char *path)
{
	_wl_buffer_ struct wl_buffer joined;
	wl_buffer_init(&joined, evaluation->out->limit);
	for (size_t at = 0;;) {
		int result = 0;
		struct wl_text_part part = wl_text_next(text, length, &at);
		if (part.kind == WL_TEXT_END)
			break;
		if (part.kind == WL_TEXT_UNCLOSED)
			return unclosed(evaluation, path);
		if (part.kind == WL_TEXT_PLAIN)
			(void)wl_buffer_append(&joined, part.start, part.length);
		else
			result = evaluate_one(evaluation, &part, path, &joined, true);
		if (result < 0)
			return result;
	}
	if (joined.failed)
		evaluation->out->failed = joined.failed;
	(void)wl_buffer_append_json_string(evaluation->out, joined.length ? joined.data : "", joined.length);
	return 0;
}

static int evaluate_text(struct evaluation *evaluation, const char *text, const char *path)
{
	size_t length = strlen(text);
	struct wl_text_part part;
	if (wl_text_is_expression(text, length, &part))
		return evaluate_one(evaluation, &part, path, evaluation->out, false);
	return interpolate(evaluation, text, length, path);
}

static int evaluate_value(struct evaluation *evaluation, const struct wl_json *value, const char *path);

static int evaluate_members(struct evaluation *evaluation, const struct wl_json *value, const char *path, bool keys)
{
	int index = 0;
	const struct wl_json *member = wl_json_first(value);
	(void)wl_buffer_append_char(evaluation->out, keys ? '{' : '[');
	for (; member; member = wl_json_next(member), index++) {
		char inner[PATH_SIZE];
		const char *key = keys ? wl_json_key(member) : "";
		if (index > 0)
			(void)wl_buffer_append_char(evaluation->out, ',');
		if (keys) {
			(void)wl_buffer_append_json_string(evaluation->out, key, strlen(key));
			(void)wl_buffer_append_char(evaluation->out, ':');
			(void)snprintf(inner, sizeof(inner), "%.120s%s%.60s", path, *path ? "." : "", key);
		} else {
			(void)snprintf(inner, sizeof(inner), "%.150s[%d]", path, index);
		}
		int result = evaluate_value(evaluation, member, inner);
		if (result < 0)
			return result;
	}
	(void)wl_buffer_append_char(evaluation->out, keys ? '}' : ']');
	return 0;
}

static int evaluate_value(struct evaluation *evaluation, const struct wl_json *value, const char *path)
{
	if (evaluation->out->failed)
		return 0; /* told once, at the end */
	switch (wl_json_type(value)) {
	case WL_JSON_STRING:
		return evaluate_text(evaluation, wl_json_string(value, ""), path);
	case WL_JSON_ARRAY:
		return evaluate_members(evaluation, value, path, false);
	case WL_JSON_OBJECT:
		return evaluate_members(evaluation, value, path, true);
	default:
		(void)wl_json_write(evaluation->out, value);
		return 0;
	}
}

int evaluate_template(struct program_cache *cache, const char *template_json, size_t template_length,
		      const char *context_json, size_t context_length, struct wl_buffer *out, struct wl_error *err)
{
	_wl_json_ struct wl_json *template = NULL;
	if (wl_json_parse_deep(template_json, template_length, CONTEXT_DEPTH, &template, err) < 0)
		return wl_fail_within(err, "the template");
	struct evaluation evaluation = { .cache = cache,
					 .context_json = context_json,
					 .context_length = context_length,
					 .context_value = jv_invalid(),
					 .out = out,
					 .err = err };
	int result = evaluate_value(&evaluation, template, "");
	jv_free(evaluation.context_value);
	if (result == 0 && out->failed == EMSGSIZE)
		return wl_fail(err, E2BIG, "the result has more than %zu bytes", out->limit);
	if (result == 0 && out->failed)
		return wl_fail(err, ENOMEM, "out of memory while evaluating");
	return result;
}

int check_template(struct program_cache *cache, const char *template_json, size_t template_length, struct wl_error *err)
{
	_wl_json_ struct wl_json *template = NULL;
	_wl_buffer_ struct wl_buffer unused;
	wl_buffer_init(&unused, 0);
	if (wl_json_parse_deep(template_json, template_length, CONTEXT_DEPTH, &template, err) < 0)
		return wl_fail_within(err, "the template");
	struct evaluation evaluation = { .cache = cache, .context_value = jv_invalid(), .out = &unused, .err = err };
	return evaluate_value(&evaluation, template, "");
}
