#include "lib/ports/tool_call.h"

#include <stdlib.h>

void wl_tool_answer_release(struct wl_tool_answer *answer)
{
	free(answer->output);
	free(answer->code);
	free(answer->message);
	free(answer->receipt);
	*answer = (struct wl_tool_answer){ 0 };
}

void wl_tool_description_release(struct wl_tool_description *description)
{
	free(description->name);
	free(description->description);
	free(description->input_schema);
	*description = (struct wl_tool_description){ 0 };
}
