#include "lib/llm/frames.h"

#include <errno.h>
#include <string.h>

void wl_llm_frames_init(struct wl_llm_frames *frames, bool lines)
{
	*frames = (struct wl_llm_frames){ .lines = lines };
	wl_buffer_init(&frames->line, WL_LLM_FRAME_MAX);
	wl_buffer_init(&frames->data, WL_LLM_FRAME_MAX);
}

void wl_llm_frames_release(struct wl_llm_frames *frames)
{
	wl_buffer_release(&frames->line);
	wl_buffer_release(&frames->data);
}

static int too_large(const struct wl_buffer *buffer, struct wl_error *err)
{
	if (buffer->failed == EMSGSIZE)
		return wl_fail(err, EMSGSIZE, "a piece of the answer has more than %u bytes", WL_LLM_FRAME_MAX);
	return wl_fail(err, ENOMEM, "no memory for an answer");
}

static int end_event(struct wl_llm_frames *frames, wl_llm_take_frame *take, void *context)
{
	if (!frames->has_data)
		return 0;
	int result = take(context, frames->data.data ? frames->data.data : "", frames->data.length);
	frames->has_data = false;
	wl_buffer_clear(&frames->data);
	return result;
}

/* One line of an event. The event's name is not looked at: what the models' servers send says itself what it is. */
static int take_field(struct wl_llm_frames *frames, const char *line, size_t length, struct wl_error *err)
{
	if (length < 4 || memcmp(line, "data", 4) != 0 || (length > 4 && line[4] != ':'))
		return 0;
	size_t from = length > 4 ? 5 : 4;
	if (from < length && line[from] == ' ')
		from++;
	if (frames->has_data)
		(void)wl_buffer_append_char(&frames->data, '\n');
	frames->has_data = true;
	(void)wl_buffer_append(&frames->data, line + from, length - from);
	return frames->data.failed ? too_large(&frames->data, err) : 0;
}

static int end_line(struct wl_llm_frames *frames, wl_llm_take_frame *take, void *context, struct wl_error *err)
{
	const char *line = frames->line.data ? frames->line.data : "";
	size_t length = frames->line.length;
	int result = 0;
	if (!frames->begun && length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3;
		length -= 3;
	}
	frames->begun = true;
	if (!frames->lines)
		result = length ? take_field(frames, line, length, err) : end_event(frames, take, context);
	else if (length)
		result = take(context, line, length);
	wl_buffer_clear(&frames->line);
	return result;
}

int wl_llm_frames_feed(struct wl_llm_frames *frames, const char *bytes, size_t length, wl_llm_take_frame *take,
		       void *context, struct wl_error *err)
{
	const char *end = bytes + length;
	while (bytes < end) {
		if (frames->after_cr && *bytes == '\n')
			bytes++; /* the second half of the line's end */
		frames->after_cr = false;
		const char *from = bytes;
		while (bytes < end && *bytes != '\n' && *bytes != '\r')
			bytes++;
		if (bytes > from && wl_buffer_append(&frames->line, from, (size_t)(bytes - from)) < 0)
			return too_large(&frames->line, err);
		if (bytes == end)
			return 0;
		frames->after_cr = *bytes++ == '\r';
		int result = end_line(frames, take, context, err);
		if (result != 0)
			return result;
	}
	return 0;
}

int wl_llm_frames_finish(struct wl_llm_frames *frames, wl_llm_take_frame *take, void *context, struct wl_error *err)
{
	int result = frames->line.length ? end_line(frames, take, context, err) : 0;
	return result == 0 && !frames->lines ? end_event(frames, take, context) : result;
}
