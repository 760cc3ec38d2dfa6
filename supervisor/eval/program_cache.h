/*
 * jq programs, compiled once. Compiling costs tens of milliseconds, because libjq 1.6 reads its own library each time,
 * and running costs about one microsecond: so each process keeps the programs it has met, the least recently used one
 * leaving first.
 *
 * Keeping them across requests of several tenants is safe: a compiled program holds nothing but its own text's meaning.
 * Values come in with program_run() and are dropped before it returns.
 */
#ifndef SUPERVISOR_EVAL_PROGRAM_CACHE_H
#define SUPERVISOR_EVAL_PROGRAM_CACHE_H

#include "lib/base/error.h"

#include <jv.h>
#include <stddef.h>

#define PROGRAM_MAX 65536 /* bytes of one program */

struct program_cache;

struct program_cache *program_cache_new(void); /* NULL without memory */
void program_cache_free(struct program_cache *cache);

/* `no_memory` is called by libjq when it has none, and must not return. `compiled` is told how long a program took that
 * was not found in the cache. Both are handed `self`. */
void program_cache_hooks(struct program_cache *cache, void (*no_memory)(void *self),
			 void (*compiled)(void *self, long milliseconds), void *self);

/* Compile, or find it compiled. 0; -EINVAL with jq's message; -E2BIG when it is longer than PROGRAM_MAX; -ENOMEM. */
int program_compile(struct program_cache *cache, const char *text, size_t length, struct wl_error *err);

/* Run over `input` (consumed). 0 with the program's one value for the caller to free; -EINVAL when it raised an error
 * or gave no value or more than one; or what program_compile() returns. */
int program_run(struct program_cache *cache, const char *text, size_t length, jv input, jv *ret_value,
		struct wl_error *err);

#endif
