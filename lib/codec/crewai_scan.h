/* Reading an expression from left to right: what the readers of CEL and of jq have in common. */
#ifndef WL_CODEC_CREWAI_SCAN_H
#define WL_CODEC_CREWAI_SCAN_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CREWAI_SCAN_DEPTH 40	       /* brackets in brackets */
#define CREWAI_SCAN_RESULT (64u << 10) /* bytes of what is written */

struct crewai_scan {
	const char *text; /* NUL behind `length` bytes */
	size_t length, at;
	int depth;
	struct wl_error *err; /* keeps the first refusal */
};

/* NULL, with what is wrong at the place that is read. */
char *crewai_refuse(struct crewai_scan *scan, const char *what);
/* A text for the caller to free; NULL when it is too long or there is no memory. */
char *crewai_made(struct crewai_scan *scan, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next byte that is no white space, NUL at the end. */
char crewai_peek(struct crewai_scan *scan);
/* Pass a token when it comes next; a word only when it does not go on. */
bool crewai_take(struct crewai_scan *scan, const char *token);
/* Pass a name of letters, digits and _, at most 63 bytes. */
bool crewai_take_name(struct crewai_scan *scan, char name[64]);

#endif
