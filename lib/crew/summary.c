/*
 * A conversation that is too long for its model: what lies between the task and the last messages is put into other,
 * fewer words by the model itself. Each time less of the end is kept as it is; a task that is too long alone cannot be
 * helped.
 */
#include "lib/crew/internal.h"
#include "lib/crew/prompts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD 2	       /* the system's message and the task */
#define PART_MIN 2000u /* bytes: a part of the middle that is too long even so cannot be summarised */
static const size_t kept_tail[CREW_SUMMARIES_MAX] = { 4, 2, 0 };

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory to summarise a conversation");
}

/* Where the tail begins: never with a tool's message, whose call would be missing. */
static size_t tail_from(const struct crew_talk *talk, size_t kept)
{
	size_t from = talk->count > HEAD + kept ? talk->count - kept : HEAD;
	while (from > HEAD && from < talk->count && talk->items[from].role == WL_MODEL_TOOL)
		from--;
	return from;
}

static char *as_one_text(const struct crew_talk *talk, size_t to)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	for (size_t i = HEAD; i < to; i++) {
		const struct wl_model_message *message = &talk->items[i];
		const char *who = message->role == WL_MODEL_ASSISTANT ? "Agent"
				  : message->role == WL_MODEL_TOOL    ? "Tool"
								      : "User";
		if (message->text)
			(void)wl_buffer_appendf(&text, "%s: %s\n", who, message->text);
		for (size_t u = 0; u < message->tool_use_count; u++)
			(void)wl_buffer_appendf(&text, "%s calls %s with %s\n", who, message->tool_uses[u].name,
						message->tool_uses[u].arguments);
	}
	return text.failed ? NULL : wl_buffer_steal(&text);
}

/* Summarise one part. -EMSGSIZE: it is too long. */
static int ask_summary(struct crew_worker *worker, const char *part, size_t length, struct wl_buffer *summary,
		       struct wl_error *err)
{
	char place[CREW_PLACE];
	struct crew_talk talk = { 0 };
	_wl_free_ char *text = strndup(part, length);
	_wl_model_answer_ struct wl_model_answer answer = { 0 };
	wl_crew_place(place, "%s/summary/%d", worker->place, ++worker->summary_calls);
	int result = 0;
	if (!text || wl_crew_talk_add(&talk, WL_MODEL_SYSTEM, wl_crew_say(WL_CREW_SAY_SUMMARISER)) < 0 ||
	    wl_crew_talk_add(&talk, WL_MODEL_USER, text) < 0)
		result = no_memory(err);
	struct crew_question question = { .lane = worker->lane,
					  .who = worker->who,
					  .place = place,
					  .parent = worker->step.id,
					  .deadline_ms = worker->deadline_ms,
					  .request = wl_crew_request(&talk) };
	if (result == 0)
		result = wl_crew_ask(&question, &answer, err);
	wl_crew_talk_release(&talk);
	if (result == 0 && answer.text)
		(void)wl_buffer_appendf(summary, "%s\n", answer.text);
	if (result < 0 && answer.fault == WL_MODEL_FAULT_CONTEXT) {
		worker->lane->fault = NULL;
		return -EMSGSIZE;
	}
	return result;
}

static size_t part_length(const char *text, size_t left, size_t most)
{
	size_t length = left < most ? left : most;
	while (length < left && length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

/* All parts, each half as long as before when they were too long. */
static int summarise_text(struct crew_worker *worker, const char *text, struct wl_buffer *summary, struct wl_error *err)
{
	size_t length = strlen(text), most = length;
	for (size_t at = 0; at < length;) {
		size_t part = part_length(text + at, length - at, most);
		int result = ask_summary(worker, text + at, part, summary, err);
		if (result == -EMSGSIZE && most / 2 >= PART_MIN) {
			most /= 2;
			continue;
		}
		if (result < 0)
			return result;
		at += part;
	}
	return 0;
}

static int put_in(struct crew_worker *worker, size_t to, const struct wl_buffer *summary)
{
	_wl_free_ char *text = NULL;
	if (asprintf(&text, "What happened so far, in short:\n%s", summary->data ? summary->data : "nothing") < 0) {
		text = NULL;
		return -ENOMEM;
	}
	/* in place of the first message of the middle, which may have been anyone's */
	struct crew_talk *talk = &worker->talk;
	wl_crew_talk_cut(talk, HEAD, to);
	if (wl_crew_talk_add(talk, WL_MODEL_USER, text) < 0)
		return -ENOMEM;
	struct wl_model_message added = talk->items[talk->count - 1];
	memmove(&talk->items[HEAD + 1], &talk->items[HEAD], (talk->count - 1 - HEAD) * sizeof(added));
	talk->items[HEAD] = added;
	return 0;
}

int wl_crew_summarise(struct crew_worker *worker, struct wl_error *err)
{
	struct crew_talk *talk = &worker->talk;
	size_t to = HEAD;
	while (worker->summaries < CREW_SUMMARIES_MAX && to <= HEAD)
		to = tail_from(talk, kept_tail[worker->summaries++]);
	if (to <= HEAD)
		return -EMSGSIZE;
	_wl_free_ char *text = as_one_text(talk, to);
	_wl_buffer_ struct wl_buffer summary = { 0 };
	if (!text)
		return no_memory(err);
	wl_crew_note(worker->lane->run, worker->step.id, worker->place, worker->who->agent.name,
		     "the conversation was too long: its middle is summarised");
	int result = summarise_text(worker, text, &summary, err);
	if (result < 0)
		return result;
	worker->shown = 0;
	return summary.failed || put_in(worker, to, &summary) < 0 ? no_memory(err) : 0;
}
