#include "lib/llm/wire.h"

#include <stdlib.h>

void wl_llm_sink_release(struct wl_llm_sink *sink)
{
	wl_buffer_release(&sink->text);
	for (size_t i = 0; i < sink->tool_count; i++) {
		free(sink->tools[i].id);
		free(sink->tools[i].name);
		wl_buffer_release(&sink->tools[i].arguments);
	}
	free(sink->tools);
	*sink = (struct wl_llm_sink){ 0 };
}

bool wl_llm_sink_told(const struct wl_llm_sink *sink)
{
	return sink->text.length > 0 || sink->tool_count > 0;
}
