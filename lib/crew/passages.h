/* Texts cut into passages, and the nearest of them. Pure. */
#ifndef WL_CREW_PASSAGES_H
#define WL_CREW_PASSAGES_H

#include "lib/crew/internal.h"

#define CREW_PASSAGE_BYTES 2000
#define CREW_PASSAGE_OVERLAP 200
#define CREW_PASSAGES_MAX 2000 /* of one agent's knowledge, or of a run's memory: more are not kept */

/* Add one; text is copied. What is beyond CREW_PASSAGES_MAX is left out. 0 or -ENOMEM. */
int wl_crew_passages_add(struct crew_passages *passages, const char *text, size_t length, bool head);
/* Cut a text into overlapping passages at the ends of words; the first `heads` of them are how it begins. */
int wl_crew_passages_cut(struct crew_passages *passages, const char *text, int heads);
/* Each name of the text with the sentence that it first stands in, as "Name: sentence"; at most 16. */
int wl_crew_passages_names(struct crew_passages *passages, const char *text);
/*
 * The `most` passages among the first `count` that are nearest to the vector, best first, as indices. Without a vector,
 * or without vectors of that length: none. How many.
 */
size_t wl_crew_passages_nearest(const struct crew_passages *passages, size_t count, const float *vector,
				size_t dimensions, size_t most, size_t *ret_indices);
/*
 * The `most` (up to 64) passages that say the most of the query's words, rare ones counting more (BM25, Robertson and
 * Zaragoza 2009), best first, as indices. Words are two letters long at least; case counts for ASCII letters alone not.
 * How many; none when no word is found.
 */
size_t wl_crew_passages_matching(const struct crew_passages *passages, const char *query, size_t most,
				 size_t *ret_indices);

#endif
