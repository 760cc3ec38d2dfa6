/*
 * Expressions of CrewAI's flows (CEL, the Common Expression Language) to jq, and back for what comes out of that:
 * paths, literals, comparisons, logic, arithmetic, has(), size(), in, texts' functions and the macros map, filter, all,
 * exists.
 */
#ifndef WL_CODEC_CREWAI_CEL_H
#define WL_CODEC_CREWAI_CEL_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CREWAI_CEL_MAX 8192 /* bytes of one expression */

/* What the names of an expression mean. */
struct crewai_names {
	/* The id of the node that a method or step is, or of one that a node is a method of (for jq to CEL); NULL:
	 * there is none. *ret_model: its output is a crew's or an agent's, whose text is .raw there and .text here. */
	const char *(*find)(void *self, const char *name, bool *ret_model);
	void *self;
	const char *state; /* what the state is in jq, such as .inputs */
	bool item;	   /* inside a loop */
};

/* 0 and *ret_jq, a jq program without braces for the caller to free; -EINVAL with what is not understood; -ENOMEM. */
int crewai_cel_to_jq(const char *text, size_t length, const struct crewai_names *names, char **ret_jq,
		     struct wl_error *err);
/* The same in the other direction. */
int crewai_jq_to_cel(const char *text, size_t length, const struct crewai_names *names, char **ret_cel,
		     struct wl_error *err);

#endif
