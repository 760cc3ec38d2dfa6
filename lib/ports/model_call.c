#include "lib/ports/model_call.h"

#include <stdlib.h>

void wl_model_answer_release(struct wl_model_answer *answer)
{
	free(answer->text);
	for (size_t i = 0; i < answer->tool_use_count; i++) {
		free(answer->tool_uses[i].id);
		free(answer->tool_uses[i].name);
		free(answer->tool_uses[i].arguments);
	}
	free(answer->tool_uses);
	free(answer->provider_id);
	free(answer->model);
	*answer = (struct wl_model_answer){ 0 };
}
