/*
 * Which provider a client of a gateway (that for the outside, or one in a sandbox) means by a model's name:
 *
 *   "provider/model"   the provider of that name (or id), and its model
 *   "model"            the first provider whose default model it is, else the first that lists it, else the first
 *
 * Providers stand in the order of lib/ports/model_source.h. Lists of models are remembered for a moment. All block.
 */
#ifndef WL_LLM_MODEL_NAMES_H
#define WL_LLM_MODEL_NAMES_H

#include "lib/base/buffer.h"
#include "lib/base/ids.h"
#include "lib/llm/metered_call.h"

struct wl_model_target {
	char provider_id[WL_UUID_TEXT]; /* "": the tenant has none, and the demo answers */
	const char *model;		/* points into the name that was asked for */
	uint64_t stamp;			/* of the providers that it was chosen from: for struct wl_metered_caller */
};

/* 0, or a failure of model_source.h's list(). */
int wl_model_name_resolve(const struct wl_metered *models, int tenant, const char *name, int cancel_fd,
			  struct wl_model_target *ret_target, struct wl_error *err);
/* All names, as OpenAI's and Anthropic's clients both read it. As above. */
int wl_model_names_list(const struct wl_metered *models, int tenant, int cancel_fd, struct wl_buffer *out,
			struct wl_error *err);

#endif
