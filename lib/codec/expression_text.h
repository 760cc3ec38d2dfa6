/*
 * Texts with expressions: everything between {{ and }} is a jq program. The closing }} is the first one that stands
 * outside the program's own strings, comments and braces, so {{ {a: {b: 1}} }} and {{ "}}" }} are read as meant.
 */
#ifndef WL_CODEC_EXPRESSION_TEXT_H
#define WL_CODEC_EXPRESSION_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum wl_text_part_kind { WL_TEXT_END, WL_TEXT_PLAIN, WL_TEXT_EXPRESSION, WL_TEXT_UNCLOSED };

struct wl_text_part {
	enum wl_text_part_kind kind;
	const char *start; /* of the plain text, or of the program between the braces */
	size_t length;
};

/* The part of `text` that begins at *at, which moves behind it. WL_TEXT_UNCLOSED: a {{ has no }}. */
struct wl_text_part wl_text_next(const char *text, size_t length, size_t *at);

/* True when the text is one expression and nothing else: its value then keeps its type. */
bool wl_text_is_expression(const char *text, size_t length, struct wl_text_part *ret_part);

/*
 * Call `found` for each place where the program reads .nodes.NAME, .nodes["NAME"] or .nodes."NAME" of the context
 * itself. Where the program's dot may be another value (behind a pipe, inside a call) nothing is reported.
 */
void wl_text_node_references(const char *program, size_t length,
			     void (*found)(void *self, const char *name, size_t name_length), void *self);

#endif
