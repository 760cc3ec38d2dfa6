#include "supervisor/inner.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Tell where the items of a JSON array begin and end; how many there are, or -EINVAL. What is inside of an item matters
 * only as far as its brackets and strings go: the text is known to be valid.
 */
static int slice(const char *text, struct inner_item *items, int most)
{
	int depth = 0, count = 0;
	const char *begin = NULL;
	bool in_string = false;
	for (text += strspn(text, " \t\r\n"); *text; text++) {
		if (depth == 0 && *text != '[')
			return -EINVAL;
		bool space = strchr(" \t\r\n", *text) != NULL;
		bool ends = !in_string && depth == 1 && (*text == ',' || *text == ']');
		if (ends && begin) {
			if (count < most)
				items[count] = (struct inner_item){ begin, (size_t)(text - begin) };
			count++;
			begin = NULL;
		}
		if (depth > 0 && !ends && !begin && !space)
			begin = text;
		if (in_string && *text == '\\')
			text++;
		else if (*text == '"')
			in_string = !in_string;
		else if (!in_string && (*text == '[' || *text == '{'))
			depth++;
		else if (!in_string && (*text == ']' || *text == '}') && --depth == 0)
			return count;
	}
	return -EINVAL;
}

static int make_room(struct inner *inner, int count, struct wl_error *err)
{
	inner->outputs = calloc((size_t)count + 1, sizeof(*inner->outputs));
	inner->begun = calloc((size_t)count + 1, 1);
	inner->items = calloc((size_t)count + 1, sizeof(*inner->items));
	if (!inner->outputs || !inner->begun || !inner->items)
		return wl_fail(err, ENOMEM, "no memory for a loop over %d items", count);
	return 0;
}

int inner_of_list(char *list_json, int most, int parallel, struct inner **ret_inner, struct wl_error *err)
{
	struct inner *inner = calloc(1, sizeof(*inner));
	if (!inner) {
		free(list_json);
		return wl_fail(err, ENOMEM, "no memory for a loop");
	}
	inner->list = list_json;
	inner->parallel = parallel;
	int count = slice(list_json, NULL, 0), result;
	if (count < 0)
		result = wl_fail(err, EINVAL, "items is no list");
	else if (count > most)
		result = wl_fail(err, EINVAL, "items has %d items, more than the %d of max_items", count, most);
	else
		result = make_room(inner, count, err);
	if (result < 0) {
		inner_free(inner);
		return result;
	}
	inner->count = slice(list_json, inner->items, count);
	*ret_inner = inner;
	return 0;
}

struct inner *inner_of_flow(struct flow *flow)
{
	struct inner *inner = calloc(1, sizeof(*inner));
	struct wl_error err;
	if (!inner)
		return NULL;
	inner->count = inner->parallel = 1;
	if (make_room(inner, 1, &err) < 0) {
		inner_free(inner);
		return NULL;
	}
	inner->flow = flow;
	atomic_fetch_add(&flow->users, 1);
	return inner;
}

void inner_free(struct inner *inner)
{
	if (!inner)
		return;
	for (int i = 0; inner->outputs && i < inner->count; i++)
		free(inner->outputs[i]);
	free(inner->outputs);
	free(inner->begun);
	free(inner->items);
	free(inner->list);
	context_drop(inner->context);
	flow_release(inner->flow);
	free(inner->error_json);
	free(inner);
}

bool inner_begin(struct inner *inner, int index)
{
	if (index < 0 || index >= inner->count || inner->begun[index])
		return false;
	inner->begun[index] = 1;
	return true;
}

int inner_begin_next(struct inner *inner)
{
	while (inner->next < inner->count && inner->begun[inner->next])
		inner->next++;
	return inner_begin(inner, inner->next) ? inner->next : -1;
}

int inner_take_output(struct inner *inner, int index, char *output, struct wl_error *err)
{
	if (!output)
		return wl_fail(err, ENOMEM, "no memory for what an item of a loop gave");
	inner->outputs[index] = output;
	inner->output_bytes += strlen(output) + 1;
	if (inner->output_bytes + 1 > NODE_OUTPUT_MAX)
		return wl_fail(err, EMSGSIZE,
			       "what is inside of the node gave more than the %u bytes that a node may give",
			       NODE_OUTPUT_MAX);
	return 0;
}

char *inner_output(struct inner *inner)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	if (inner->flow)
		return wl_steal(inner->outputs[0]);
	(void)wl_buffer_append_char(&text, '[');
	for (int i = 0; i < inner->count; i++) {
		if (i > 0)
			(void)wl_buffer_append_char(&text, ',');
		(void)wl_buffer_append_text(&text, inner->outputs[i]);
	}
	(void)wl_buffer_append_char(&text, ']');
	return text.failed ? NULL : wl_buffer_steal(&text);
}
