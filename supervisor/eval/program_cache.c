#include "supervisor/eval/program_cache.h"

#include "lib/base/buffer.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <jq.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAMS_MAX 192

/*
 * Definitions before each program: they hide what reads files, other input or the environment, what writes to the
 * standard error, and what ends the evaluation without a result. On one line, so that line numbers in jq's messages are
 * those of the program. `import` and `include` must stand first in a program and are syntax errors behind these.
 */
static const char shield[] =
	"def input: error(\"input is not available in expressions\"); def inputs: input; def debug: .; def stderr: .; "
	"def input_filename: null; def input_line_number: 0; def env: {}; "
	"def halt: error(\"halt is not available in expressions\"); def halt_error: halt; def halt_error($code): halt; "
	"def get_search_list: []; def modulemeta: error(\"modulemeta is not available in expressions\"); ";

struct program {
	char *text;
	size_t length;
	uint64_t hash;
	uint64_t used; /* by the cache's count: the least one leaves */
	jq_state *jq;
};

struct program_cache {
	struct program programs[PROGRAMS_MAX];
	int count;
	uint64_t clock;
	void (*no_memory)(void *self);
	void (*compiled)(void *self, long milliseconds);
	void *self;
};

static void program_release(struct program *program)
{
	if (program->jq)
		jq_teardown(&program->jq);
	free(program->text);
	*program = (struct program){ .text = NULL };
}

struct program_cache *program_cache_new(void)
{
	return calloc(1, sizeof(struct program_cache));
}

void program_cache_free(struct program_cache *cache)
{
	for (int i = 0; cache && i < cache->count; i++)
		program_release(&cache->programs[i]);
	free(cache);
}

void program_cache_hooks(struct program_cache *cache, void (*no_memory)(void *self),
			 void (*compiled)(void *self, long milliseconds), void *self)
{
	cache->no_memory = no_memory;
	cache->compiled = compiled;
	cache->self = self;
	for (int i = 0; i < cache->count; i++)
		jq_set_nomem_handler(cache->programs[i].jq, no_memory, self);
}

/* FNV-1a, 64 bits: only to skip most comparisons of texts. */
static uint64_t hash_of(const char *text, size_t length)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	return hash;
}

static struct program *find(struct program_cache *cache, const char *text, size_t length, uint64_t hash)
{
	for (int i = 0; i < cache->count; i++) {
		struct program *program = &cache->programs[i];
		if (program->hash == hash && program->length == length && memcmp(program->text, text, length) == 0) {
			program->used = ++cache->clock;
			return program;
		}
	}
	return NULL;
}

static struct program *free_place(struct program_cache *cache)
{
	if (cache->count < PROGRAMS_MAX)
		return &cache->programs[cache->count++];
	struct program *oldest = &cache->programs[0];
	for (int i = 1; i < cache->count; i++)
		if (cache->programs[i].used < oldest->used)
			oldest = &cache->programs[i];
	program_release(oldest);
	return oldest;
}

/* libjq reports several lines; the first one says what is wrong, the others repeat the program. */
static void note_compile_error(void *self, jv message)
{
	struct wl_buffer *first = self;
	jv text = jq_format_error(message);
	if (jv_get_kind(text) == JV_KIND_STRING && first->length == 0) {
		static const char noise[] = "jq: error: ", shell[] = " (Unix shell quoting issues?)";
		const char *from = jv_string_value(text);
		if (strncmp(from, noise, sizeof(noise) - 1) == 0)
			from += sizeof(noise) - 1;
		size_t length = strcspn(from, "\n");
		const char *cut = memmem(from, length, shell, sizeof(shell) - 1);
		(void)wl_buffer_append(first, from, cut ? (size_t)(cut - from) : length);
		if (cut)
			(void)wl_buffer_append(first, cut + sizeof(shell) - 1,
					       length - (size_t)(cut - from) - sizeof(shell) + 1);
		if (first->length && first->data[first->length - 1] == ':')
			first->data[--first->length] = '\0';
	}
	jv_free(text);
}

static void drop_message(void *self, jv message)
{
	(void)self;
	jv_free(message);
}

static int compile(struct program_cache *cache, struct program *program, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer source, message;
	wl_buffer_init(&source, 0);
	wl_buffer_init(&message, 400);
	(void)wl_buffer_append_text(&source, shield);
	(void)wl_buffer_append(&source, program->text, program->length);
	program->jq = source.failed ? NULL : jq_init();
	if (!program->jq)
		return wl_fail(err, ENOMEM, "out of memory while compiling an expression");
	if (cache->no_memory)
		jq_set_nomem_handler(program->jq, cache->no_memory, cache->self);
	jq_set_error_cb(program->jq, note_compile_error, &message);
	jq_set_debug_cb(program->jq, drop_message, NULL);
	uint64_t before = wl_clock_monotonic_us();
	int compiled = jq_compile(program->jq, source.data);
	if (cache->compiled)
		cache->compiled(cache->self, (long)((wl_clock_monotonic_us() - before) / 1000));
	jq_set_error_cb(program->jq, drop_message, NULL);
	if (compiled)
		return 0;
	return wl_fail(err, EINVAL, "%s", message.length ? message.data : "this is not a jq program");
}

static bool is_blank(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

static struct program *get(struct program_cache *cache, const char *text, size_t length, struct wl_error *err)
{
	if (length > PROGRAM_MAX) {
		(void)wl_fail(err, E2BIG, "an expression has more than %d bytes", PROGRAM_MAX);
		return NULL;
	}
	if (is_blank(text, length)) {
		(void)wl_fail(err, EINVAL, "the expression is empty");
		return NULL;
	}
	uint64_t hash = hash_of(text, length);
	struct program *program = find(cache, text, length, hash);
	if (program)
		return program;
	struct program made = { .text = malloc(length + 1), .length = length, .hash = hash, .used = ++cache->clock };
	if (!made.text) {
		(void)wl_fail(err, ENOMEM, "out of memory while compiling an expression");
		return NULL;
	}
	memcpy(made.text, text, length);
	made.text[length] = '\0';
	if (compile(cache, &made, err) < 0) {
		program_release(&made);
		return NULL;
	}
	program = free_place(cache);
	*program = made;
	return program;
}

int program_compile(struct program_cache *cache, const char *text, size_t length, struct wl_error *err)
{
	return get(cache, text, length, err) ? 0 : -err->code;
}

/* The sentence of an error that the program raised (consumed). */
static int raised(jv invalid, struct wl_error *err)
{
	jv message = jv_invalid_get_msg(invalid);
	if (jv_get_kind(message) != JV_KIND_STRING)
		message = jv_dump_string(message, 0);
	int result = wl_fail(err, EINVAL, "%.400s", jv_string_value(message));
	jv_free(message);
	return result;
}

/* Take the values that the program gives: there must be one. */
static int only_value(jq_state *jq, jv *ret_value, struct wl_error *err)
{
	jv value = jq_next(jq);
	if (!jv_is_valid(value)) {
		if (jv_invalid_has_msg(jv_copy(value)))
			return raised(value, err);
		jv_free(value);
		return wl_fail(err, EINVAL, "the expression gave no value");
	}
	jv more = jq_next(jq);
	bool another = jv_is_valid(more);
	if (!another && !jv_invalid_has_msg(jv_copy(more))) {
		jv_free(more);
		*ret_value = value;
		return 0;
	}
	jv_free(value);
	if (!another)
		return raised(more, err);
	jv_free(more);
	return wl_fail(err, EINVAL, "the expression gave more than one value; [ ] around it makes a list");
}

int program_run(struct program_cache *cache, const char *text, size_t length, jv input, jv *ret_value,
		struct wl_error *err)
{
	struct program *program = get(cache, text, length, err);
	if (!program) {
		jv_free(input);
		return -err->code;
	}
	jq_start(program->jq, input, 0);
	int result = only_value(program->jq, ret_value, err);
	/* what the program still holds of this request's values goes now, not with its next run */
	jq_start(program->jq, jv_null(), 0);
	return result;
}
