/*
 * The most common programs are paths such as .inputs.a.b, .nodes["x y"] or .nodes.list[0]: they are followed here, in
 * the context's text, without jq, without making values of what the path passes by, and without rounding a number.
 */
#ifndef SUPERVISOR_EVAL_PLAIN_PATH_H
#define SUPERVISOR_EVAL_PLAIN_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* A part of a text. */
struct text_slice {
	const char *start;
	size_t length;
};

/*
 * True when `program` is such a path and jq would give a value for it: *ret_value is its text, start NULL for a null
 * that nobody wrote. False in all other cases, also where jq would raise an error: then jq is asked, and its sentence
 * told. In "PATH | REST" the path is followed, too, and *ret_rest is the program that remains to be run over its value;
 * else its start is NULL. `context` is JSON from the supervisor; one that is not yields false or some part of it, never
 * a byte beyond.
 */
bool plain_path_value(const char *program, size_t length, const char *context, size_t context_length,
		      struct text_slice *ret_value, struct text_slice *ret_rest);

#endif
