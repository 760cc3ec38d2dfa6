#include "lib/crew/react.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool space(char c)
{
	return isspace((unsigned char)c) != 0;
}

static void trim(const char **text, size_t *length)
{
	while (*length > 0 && space(**text)) {
		(*text)++;
		(*length)--;
	}
	while (*length > 0 && space((*text)[*length - 1]))
		(*length)--;
}

/* "Action 2 :", with `word` as "Action": the byte behind the colon, or NULL. Digits and white space are free. */
static const char *label(const char *at, const char *end, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(words[i]);
		if ((size_t)(end - at) < length || memcmp(at, words[i], length) != 0)
			return NULL;
		at += length;
		while (at < end && space(*at))
			at++;
		while (at < end && isdigit((unsigned char)*at))
			at++;
		while (at < end && space(*at))
			at++;
	}
	return at < end && *at == ':' ? at + 1 : NULL;
}

/* The first label of these words in the text: its first byte, and *ret_behind the one behind its colon. */
static const char *find_label(const char *text, const char *end, const char *const *words, size_t count,
			      const char **ret_behind)
{
	for (const char *at = memmem(text, (size_t)(end - text), words[0], strlen(words[0])); at;
	     at = memmem(at + 1, (size_t)(end - at) - 1, words[0], strlen(words[0]))) {
		*ret_behind = label(at, end, words, count);
		if (*ret_behind)
			return at;
	}
	return NULL;
}

const char *wl_crew_react_answer(const char *text, size_t length)
{
	static const char marker[] = WL_CREW_REACT_ANSWER;
	const char *found = NULL;
	for (const char *at = text; (at = memmem(at, length - (size_t)(at - text), marker, sizeof(marker) - 1));)
		found = at += sizeof(marker) - 1;
	return found;
}

/* A fence that was never opened closes nothing. */
static void drop_odd_fence(const char *text, size_t *length)
{
	size_t fences = 0;
	for (size_t i = 0; i + 3 <= *length; i++) {
		if (memcmp(text + i, "```", 3) == 0) {
			fences++;
			i += 2;
		}
	}
	if (fences % 2 == 1 && *length >= 3 && memcmp(text + *length - 3, "```", 3) == 0)
		*length -= 3;
}

/* The name of a tool as some models decorate it: *name*, "name", `name`. */
static void undecorate(const char **text, size_t *length)
{
	static const char marks[] = "*\"'`[]() \t";
	while (*length > 0 && strchr(marks, **text)) {
		(*text)++;
		(*length)--;
	}
	while (*length > 0 && strchr(marks, (*text)[*length - 1]))
		(*length)--;
}

static void read_action(struct wl_crew_react *read, const char *text)
{
	static const char *const action[] = { "Action" };
	static const char *const input[] = { "Action", "Input" };
	const char *end = text + read->length, *name, *behind;
	read->kind = WL_CREW_REACT_NO_ACTION;
	if (!find_label(text, end, action, 1, &name))
		return;
	read->kind = WL_CREW_REACT_NO_INPUT;
	const char *second = find_label(name, end, input, 2, &behind);
	if (!second)
		return;
	read->kind = WL_CREW_REACT_ACTION;
	read->action = name;
	read->action_length = (size_t)(second - name);
	trim(&read->action, &read->action_length);
	undecorate(&read->action, &read->action_length);
	read->input = behind;
	read->input_length = (size_t)(end - behind);
	trim(&read->input, &read->input_length);
}

struct wl_crew_react wl_crew_react_read(const char *text, size_t length)
{
	struct wl_crew_react read = { .length = length };
	/* a server that knows no stop words lets the model make up what its tool said */
	const char *made_up = memmem(text, length, WL_CREW_REACT_STOP, sizeof(WL_CREW_REACT_STOP) - 1);
	if (made_up)
		read.length = (size_t)(made_up - text);
	read.answer = wl_crew_react_answer(text, read.length);
	if (!read.answer) {
		read_action(&read, text);
		return read;
	}
	read.kind = WL_CREW_REACT_FINAL;
	read.answer_length = read.length - (size_t)(read.answer - text);
	trim(&read.answer, &read.answer_length);
	drop_odd_fence(read.answer, &read.answer_length);
	trim(&read.answer, &read.answer_length);
	return read;
}
