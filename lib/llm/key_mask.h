/*
 * Keeps a provider's key out of what its server says: a server that repeats the key it was sent must not show it to
 * those who read the answer. One mask serves one call.
 */
#ifndef WL_LLM_KEY_MASK_H
#define WL_LLM_KEY_MASK_H

#include "lib/base/buffer.h"
#include "lib/llm/llm.h"

#define WL_KEY_MASK "***"
#define WL_KEY_LEAST 8 /* bytes; a shorter key may be a common word */

struct wl_key_mask {
	const struct wl_model_stream *inner; /* what gets the masked text; NULL: nobody */
	const struct wl_llm_provider *chain;
	size_t count;
	struct wl_buffer held; /* the end of the text so far, as far as it may be a key's beginning */
	struct wl_model_stream stream;
};

/* Everything stays the caller's. `mask->stream` is what a call is given in place of `inner`. */
void wl_key_mask_open(const struct wl_llm_provider *chain, size_t count, const struct wl_model_stream *inner,
		      struct wl_key_mask *mask);
/* Pass on what was held back, mask the answer's texts, and release the mask. 0 or -ENOMEM: then the texts are gone. */
int wl_key_mask_close(struct wl_key_mask *mask, struct wl_model_answer *answer);

#endif
