/* What the formats of clients have in common. */
#include "lib/llm/front.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct wl_front_block {
	struct wl_front_block *next;
	char *text; /* JSON that was printed; NULL: the memory behind the block */
	max_align_t memory[];
};

static struct wl_front_block *add_block(struct wl_front *front, size_t size)
{
	struct wl_front_block *block = calloc(1, sizeof(*block) + size);
	if (!block)
		return NULL;
	block->next = front->blocks;
	front->blocks = block;
	return block;
}

void *wl_front_alloc(struct wl_front *front, size_t size)
{
	struct wl_front_block *block = add_block(front, size);
	return block ? block->memory : NULL;
}

const char *wl_front_print(struct wl_front *front, const struct wl_json *json)
{
	struct wl_front_block *block = add_block(front, 0);
	if (block)
		block->text = wl_json_print(json);
	return block ? block->text : NULL;
}

bool wl_front_image_of_url(struct wl_front *front, const char *url, struct wl_model_image *image)
{
	*image = (struct wl_model_image){ 0 };
	if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0) {
		image->url = url;
		return true;
	}
	const char *mark = strstr(url, ";base64,");
	if (strncasecmp(url, "data:", 5) != 0 || !mark || mark == url + 5)
		return false;
	size_t length = (size_t)(mark - url) - 5;
	char *type = wl_front_alloc(front, length + 1);
	if (!type)
		return false;
	image->media_type = memcpy(type, url + 5, length);
	image->base64 = mark + strlen(";base64,");
	return true;
}

void wl_front_read_common(struct wl_front *front)
{
	front->request.temperature = wl_json_get_number(front->body, "temperature", NAN);
	front->request.top_p = wl_json_get_number(front->body, "top_p", NAN);
	front->request.cancel_fd = -1;
	front->model = wl_json_get_string(front->body, "model", "");
	front->stream = wl_json_get_bool(front->body, "stream", false);
}

int wl_front_read_stops(struct wl_front *front, const struct wl_json *stops, struct wl_error *err)
{
	bool one = wl_json_is(stops, WL_JSON_STRING);
	size_t count = one ? 1 : wl_json_count(stops);
	const struct wl_json *stop = one ? stops : wl_json_first(stops);
	if (count > WL_MODEL_STOPS_MAX)
		return wl_fail(err, EINVAL, "a request has at most %d stop words", WL_MODEL_STOPS_MAX);
	const char **words = wl_front_alloc(front, (count + 1) * sizeof(*words));
	if (!words)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (size_t i = 0; i < count; i++, stop = wl_json_next(stop)) {
		words[i] = wl_json_string(stop, "");
		if (!*words[i])
			return wl_fail(err, EINVAL, "a stop word is empty");
	}
	front->request.stops = words;
	front->request.stop_count = count;
	return 0;
}

static int begin(struct wl_json *body, struct wl_front *front, struct wl_error *err)
{
	*front = (struct wl_front){ .body = body };
	wl_front_read_common(front);
	return wl_json_is(body, WL_JSON_OBJECT) ? 0 : wl_fail(err, EINVAL, "the body has to be an object");
}

int wl_front_read(const struct wl_front_format *format, struct wl_json *body, struct wl_front *front,
		  struct wl_error *err)
{
	int result = begin(body, front, err);
	return result < 0 ? result : format->read(front, err);
}

int wl_front_read_embeddings(struct wl_json *body, struct wl_front *front, struct wl_error *err)
{
	int result = begin(body, front, err);
	if (result < 0)
		return result;
	const struct wl_json *input = wl_json_get(body, "input");
	bool one = wl_json_is(input, WL_JSON_STRING);
	size_t count = one ? 1 : wl_json_is(input, WL_JSON_ARRAY) ? wl_json_count(input) : 0;
	const struct wl_json *text = one ? input : wl_json_first(input);
	if (count == 0)
		return wl_fail(err, EINVAL, "input has to be a text or a list of texts");
	if (wl_json_is(wl_json_get(body, "dimensions"), WL_JSON_NUMBER))
		return wl_fail(err, EINVAL, "dimensions cannot be chosen: a model's vectors come as they are");
	front->texts = wl_front_alloc(front, count * sizeof(*front->texts));
	if (!front->texts)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (size_t i = 0; i < count; i++, text = wl_json_next(text)) {
		front->texts[i] = wl_json_string(text, "");
		if (!*front->texts[i])
			return wl_fail(err, EINVAL, "input[%zu] has to be a text that is not empty", i);
	}
	front->text_count = count;
	front->base64 = strcmp(wl_json_get_string(body, "encoding_format", "float"), "base64") == 0;
	return 0;
}

void wl_front_release(struct wl_front *front)
{
	while (front->blocks) {
		struct wl_front_block *block = front->blocks;
		front->blocks = block->next;
		free(block->text);
		free(block);
	}
	wl_json_free(front->body);
	*front = (struct wl_front){ 0 };
}

int wl_front_status(enum wl_model_fault fault)
{
	switch (fault) {
	case WL_MODEL_FAULT_PROVIDER:
	case WL_MODEL_FAULT_MODEL:
		return 404;
	case WL_MODEL_FAULT_REQUEST:
	case WL_MODEL_FAULT_CONTEXT:
	case WL_MODEL_FAULT_FILTER:
	case WL_MODEL_FAULT_TOOLS:
		return 400;
	case WL_MODEL_FAULT_RATE:
	case WL_MODEL_FAULT_BUDGET:
		return 429;
	case WL_MODEL_FAULT_KEY:
	case WL_MODEL_FAULT_ANSWER:
	case WL_MODEL_FAULT_EGRESS:
		return 502;
	case WL_MODEL_FAULT_LATE:
		return 504;
	default:
		return 503;
	}
}

const char *wl_front_code(enum wl_model_fault fault)
{
	switch (fault) {
	case WL_MODEL_FAULT_NONE:
		return NULL;
	case WL_MODEL_FAULT_PROVIDER:
	case WL_MODEL_FAULT_MODEL:
		return "model_not_found";
	case WL_MODEL_FAULT_CONTEXT:
		return "context_length_exceeded";
	case WL_MODEL_FAULT_BUDGET:
		return "insufficient_quota";
	case WL_MODEL_FAULT_RATE:
		return "rate_limit_exceeded";
	default:
		return wl_model_fault_word(fault);
	}
}
