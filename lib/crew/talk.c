/* A conversation's messages, which own their texts. */
#include "lib/crew/internal.h"
#include "lib/crew/react.h"

#include <errno.h>
#include <string.h>

static void release_message(struct wl_model_message *message)
{
	free((char *)message->text);
	free((char *)message->tool_use_id);
	for (size_t i = 0; i < message->tool_use_count; i++) {
		free(message->tool_uses[i].id);
		free(message->tool_uses[i].name);
		free(message->tool_uses[i].arguments);
	}
	free((struct wl_model_tool_use *)message->tool_uses);
	*message = (struct wl_model_message){ 0 };
}

static struct wl_model_message *next(struct crew_talk *talk, enum wl_model_role role, const char *text)
{
	if (talk->count == talk->capacity) {
		size_t capacity = talk->capacity ? talk->capacity * 2 : 16;
		struct wl_model_message *grown = realloc(talk->items, capacity * sizeof(*grown));
		if (!grown)
			return NULL;
		talk->items = grown;
		talk->capacity = capacity;
	}
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy)
		return NULL;
	struct wl_model_message *message = &talk->items[talk->count++];
	*message = (struct wl_model_message){ .role = role, .text = copy };
	return message;
}

int wl_crew_talk_add(struct crew_talk *talk, enum wl_model_role role, const char *text)
{
	return next(talk, role, text) ? 0 : -ENOMEM;
}

int wl_crew_talk_add_uses(struct crew_talk *talk, struct wl_model_answer *answer)
{
	struct wl_model_message *message = next(talk, WL_MODEL_ASSISTANT, answer->text);
	if (!message)
		return -ENOMEM;
	message->tool_use_count = answer->tool_use_count;
	message->tool_uses = wl_steal(answer->tool_uses);
	answer->tool_use_count = 0;
	return 0;
}

int wl_crew_talk_add_result(struct crew_talk *talk, const char *use_id, const char *text, bool failed)
{
	struct wl_model_message *message = next(talk, WL_MODEL_TOOL, text);
	if (!message)
		return -ENOMEM;
	message->tool_failed = failed;
	message->tool_use_id = strdup(use_id);
	return message->tool_use_id ? 0 : -ENOMEM;
}

int wl_crew_talk_replace(struct crew_talk *talk, size_t index, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free((char *)talk->items[index].text);
	talk->items[index].text = copy;
	return 0;
}

static size_t bytes_of(const char *text)
{
	return text ? strlen(text) : 0;
}

size_t wl_crew_talk_bytes(const struct crew_talk *talk)
{
	size_t bytes = 0;
	for (size_t i = 0; i < talk->count; i++) {
		const struct wl_model_message *message = &talk->items[i];
		bytes += bytes_of(message->text);
		for (size_t u = 0; u < message->tool_use_count; u++)
			bytes += bytes_of(message->tool_uses[u].name) + bytes_of(message->tool_uses[u].arguments);
	}
	return bytes;
}

void wl_crew_talk_cut(struct crew_talk *talk, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		release_message(&talk->items[i]);
	memmove(&talk->items[from], &talk->items[to], (talk->count - to) * sizeof(*talk->items));
	talk->count -= to - from;
}

void wl_crew_talk_release(struct crew_talk *talk)
{
	for (size_t i = 0; i < talk->count; i++)
		release_message(&talk->items[i]);
	free(talk->items);
	*talk = (struct crew_talk){ 0 };
}

/* ---- as text --------------------------------------------------------------------------------------------- */

static const char *result_of(const struct crew_talk *talk, size_t from, const char *use_id)
{
	for (size_t i = from; i < talk->count && talk->items[i].role == WL_MODEL_TOOL; i++) {
		if (strcmp(talk->items[i].tool_use_id, use_id) == 0)
			return talk->items[i].text;
	}
	return "nothing";
}

/* One message with tool uses becomes a pair of messages for each of them. */
static int add_pairs(struct crew_talk *text, const struct crew_talk *talk, size_t index)
{
	const struct wl_model_message *message = &talk->items[index];
	for (size_t i = 0; i < message->tool_use_count; i++) {
		const struct wl_model_tool_use *use = &message->tool_uses[i];
		_wl_buffer_ struct wl_buffer said = { 0 }, seen = { 0 };
		if (i == 0 && message->text)
			(void)wl_buffer_appendf(&said, "Thought: %s\n", message->text);
		(void)wl_buffer_appendf(&said, "Action: %s\nAction Input: %s", use->name, use->arguments);
		(void)wl_buffer_appendf(&seen, "Observation: %s", result_of(talk, index + 1, use->id));
		if (said.failed || seen.failed || wl_crew_talk_add(text, WL_MODEL_ASSISTANT, said.data) < 0 ||
		    wl_crew_talk_add(text, WL_MODEL_USER, seen.data) < 0)
			return -ENOMEM;
	}
	return 0;
}

int wl_crew_talk_to_text(struct crew_talk *talk)
{
	struct crew_talk text = { 0 };
	int result = 0;
	for (size_t i = 0; result == 0 && i < talk->count; i++) {
		const struct wl_model_message *message = &talk->items[i];
		if (message->tool_use_count > 0)
			result = add_pairs(&text, talk, i);
		else if (message->role != WL_MODEL_TOOL)
			result = wl_crew_talk_add(&text, message->role, message->text);
	}
	if (result < 0) {
		wl_crew_talk_release(&text);
		return result;
	}
	wl_crew_talk_release(talk);
	*talk = text;
	return 0;
}
