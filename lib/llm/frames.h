/*
 * From the bytes of a streamed answer to its frames: the data of server-sent events (WHATWG HTML §9.2.6) or lines of
 * JSON. Bytes may be split anywhere. Pure.
 */
#ifndef WL_LLM_FRAMES_H
#define WL_LLM_FRAMES_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define WL_LLM_FRAME_MAX (16u << 20) /* bytes of one frame */

struct wl_llm_frames {
	bool lines; /* each line that is not empty is a frame; else server-sent events */
	bool after_cr;
	bool begun;	       /* behind a byte order mark, if there was one */
	struct wl_buffer line; /* as far as it came */
	struct wl_buffer data; /* of the event as far as it came */
	bool has_data;
};

/* Takes one frame; anything but 0 ends the feeding, which returns it. */
typedef int wl_llm_take_frame(void *context, const char *data, size_t length);

void wl_llm_frames_init(struct wl_llm_frames *frames, bool lines);
void wl_llm_frames_release(struct wl_llm_frames *frames);

/* 0, what `take` returned, -EMSGSIZE for a frame that is too large, or -ENOMEM. */
int wl_llm_frames_feed(struct wl_llm_frames *frames, const char *bytes, size_t length, wl_llm_take_frame *take,
		       void *context, struct wl_error *err);
/* The bytes are over: a last frame may lack what closes it. As above. */
int wl_llm_frames_finish(struct wl_llm_frames *frames, wl_llm_take_frame *take, void *context, struct wl_error *err);

#endif
