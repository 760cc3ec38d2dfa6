/* Templates: JSON whose strings may hold expressions (lib/codec/expression_text.h says how they are found). */
#ifndef SUPERVISOR_EVAL_EVALUATE_H
#define SUPERVISOR_EVAL_EVALUATE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "supervisor/eval/program_cache.h"

/*
 * Write the template's value over the context into `out`, whose limit bounds it. What of the context is used is read
 * strictly, what is not is only passed over. Sentences begin with the expression's
 * path inside the template. -EINVAL, -E2BIG (too large a result), -ENOMEM.
 */
int evaluate_template(struct program_cache *cache, const char *template_json, size_t template_length,
		      const char *context_json, size_t context_length, struct wl_buffer *out, struct wl_error *err);

/* Compile every expression of a template and run none. */
int check_template(struct program_cache *cache, const char *template_json, size_t template_length,
		   struct wl_error *err);

#endif
