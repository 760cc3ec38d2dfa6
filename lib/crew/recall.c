/*
 * What an agent remembers and what it can look up: passages of earlier outputs, of earlier runs (the world's) and of
 * its knowledge sources, nearest first when the provider makes vectors. Without them: the latest outputs, and what has
 * words in common with the task, else how each source begins. Nothing here is worth a failed run but a source that
 * cannot be read.
 */
#include "lib/crew/internal.h"
#include "lib/crew/passages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BATCH 64	 /* texts of one embedding call */
#define LONG_KEPT 4000	 /* bytes of an output that later runs may recall */
#define HEADS 2		 /* passages of a source that stand for it without vectors */
#define QUERY_BYTES 4000 /* of a task's text that are looked for */

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory to recall");
}

static bool remembers(const struct crew_run *run, const struct crew_member *who)
{
	return run->crew->memory || who->agent.memory;
}

/* ---- vectors --------------------------------------------------------------------------------------------- */

static int take_vectors(struct crew_passages *passages, size_t from, size_t count, const float *vectors,
			size_t dimensions)
{
	if (!vectors || dimensions == 0 || (passages->dimensions != 0 && passages->dimensions != dimensions))
		return 0;
	passages->dimensions = dimensions;
	for (size_t i = 0; i < count; i++) {
		float *copy = malloc(dimensions * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, vectors + i * dimensions, dimensions * sizeof(*copy));
		passages->items[from + i].vector = copy;
	}
	return 0;
}

/* Vectors for all passages from `from` on, some at a time; the places are counted. */
static int embed_passages(struct crew_lane *lane, const struct crew_member *who, const char *place,
			  struct crew_passages *passages, size_t from, struct wl_error *err)
{
	for (size_t batch = 0; from < passages->count; batch++) {
		char one[CREW_PLACE];
		const char *texts[BATCH];
		_wl_free_ float *vectors = NULL;
		size_t dimensions = 0;
		size_t count = passages->count - from < BATCH ? passages->count - from : BATCH;
		for (size_t i = 0; i < count; i++)
			texts[i] = passages->items[from + i].text;
		wl_crew_place(one, "%s/%zu", place, batch);
		int result = wl_crew_embed(lane, who, one, texts, count, &vectors, &dimensions, err);
		if (result < 0)
			return result;
		if (take_vectors(passages, from, count, vectors, dimensions) < 0)
			return no_memory(err);
		if (!vectors)
			return 0; /* one that makes none makes none for the rest either */
		from += count;
	}
	return 0;
}

/* ---- knowledge ------------------------------------------------------------------------------------------- */

static int read_source(const struct crew_worker *worker, size_t index, struct wl_error *err)
{
	struct crew_lane *lane = worker->lane;
	struct crew_member *who = worker->who;
	const struct wl_crew_world *world = lane->run->world;
	const char *id = who->agent.knowledge[index];
	char place[CREW_PLACE];
	struct wl_error why = { 0 };
	_wl_free_ char *text = NULL;
	wl_crew_place(place, "agent/%zu/source/%zu", worker->member, index);
	int result = world->knowledge(world->self, place, id, &text, &why);
	if (result == -EIO || result == -EAGAIN || result == -ECANCELED) {
		*err = why;
		return wl_crew_world_failed(result, err);
	}
	if (result < 0)
		return wl_crew_fault(lane, CREW_FAULT_KNOWLEDGE, ENOENT, err, "knowledge %.100s of %.100s: %.300s", id,
				     who->agent.name, why.text);
	if (wl_crew_passages_cut(&who->knowledge, text, HEADS) < 0)
		return no_memory(err);
	if (who->knowledge.count < CREW_PASSAGES_MAX)
		return 0;
	return wl_crew_fault(lane, CREW_FAULT_KNOWLEDGE, EMSGSIZE, err,
			     "the knowledge of %.100s is more than %d KiB in all", who->agent.name,
			     CREW_PASSAGES_MAX * (CREW_PASSAGE_BYTES - CREW_PASSAGE_OVERLAP) / 1024);
}

static int read_sources(struct crew_worker *worker, struct wl_error *err)
{
	struct crew_lane *lane = worker->lane;
	struct crew_member *who = worker->who;
	char place[CREW_PLACE];
	int result = 0;
	for (size_t i = 0; result == 0 && i < who->agent.knowledge_count; i++)
		result = read_source(worker, i, err);
	wl_crew_place(place, "agent/%zu/knowledge", worker->member);
	return result < 0 ? result : embed_passages(lane, who, place, &who->knowledge, 0, err);
}

/* By meaning; without vectors by words. None when nothing fits. */
static size_t find_known(const struct crew_passages *known, const char *query, const float *vector, size_t dimensions,
			 size_t *ret_found)
{
	size_t count = wl_crew_passages_nearest(known, known->count, vector, dimensions, CREW_RECALLED, ret_found);
	return count > 0 ? count : wl_crew_passages_matching(known, query, CREW_RECALLED, ret_found);
}

static int tell_knowledge(struct crew_worker *worker, const float *vector, size_t dimensions, struct wl_buffer *text,
			  struct wl_error *err)
{
	const struct crew_passages *known = &worker->who->knowledge;
	size_t found[CREW_RECALLED], start = text->length;
	if (worker->who->agent.knowledge_count == 0)
		return 0;
	struct wl_crew_step step =
		wl_crew_step_begin(worker->lane->run, worker->step.id, WL_CREW_STEP_KNOWLEDGE, worker->place,
				   "knowledge", worker->who->agent.name, worker->job.description);
	int result = wl_crew_once(worker, &worker->who->knowledge_known, read_sources, err);
	size_t count = result < 0 ? 0 : find_known(known, worker->job.description, vector, dimensions, found);
	if (result == 0 && known->count > 0)
		(void)wl_buffer_appendf(text, "%sFrom your documents:", text->length ? "\n\n" : "");
	for (size_t i = 0; i < count; i++)
		(void)wl_buffer_appendf(text, "\n---\n%s", known->items[found[i]].text);
	for (size_t i = 0; result == 0 && count == 0 && i < known->count; i++) {
		if (known->items[i].head)
			(void)wl_buffer_appendf(text, "\n---\n%s", known->items[i].text);
	}
	step.output = text->data ? text->data + start : NULL;
	wl_crew_step_end(worker->lane->run, &step, worker->lane, result, err);
	return result;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

static void tell_run(struct crew_worker *worker, const float *vector, size_t dimensions, struct wl_buffer *text)
{
	struct crew_run *run = worker->lane->run;
	size_t found[CREW_RECALLED], seen = worker->lane->remembered;
	(void)pthread_mutex_lock(&run->lock); /* it may grow meanwhile, beyond what this lane sees */
	size_t count = wl_crew_passages_nearest(&run->memory, seen, vector, dimensions, CREW_RECALLED, found);
	for (size_t i = 0; i < count; i++)
		(void)wl_buffer_appendf(text, "\n- %s", run->memory.items[found[i]].text);
	for (size_t i = seen; count < CREW_RECALLED && i-- > 0;) {
		if (vector && run->memory.dimensions == dimensions)
			break;
		if (!run->memory.items[i].head)
			continue;
		(void)wl_buffer_appendf(text, "\n- %s", run->memory.items[i].text);
		count++;
	}
	(void)pthread_mutex_unlock(&run->lock);
}

static int tell_earlier(struct crew_worker *worker, const float *vector, size_t dimensions, struct wl_buffer *text,
			struct wl_error *err)
{
	const struct wl_crew_world *world = worker->lane->run->world;
	char place[CREW_PLACE];
	_wl_free_ char *json_text = NULL;
	_wl_json_ struct wl_json *list = NULL;
	struct wl_error why = { 0 };
	if (!vector || !world->recall)
		return 0;
	wl_crew_place(place, "%s/recall", worker->place);
	int result = world->recall(world->self, place, vector, dimensions, CREW_RECALLED, &json_text, &why);
	if (result == -EIO || result == -EAGAIN || result == -ECANCELED) {
		*err = why;
		return wl_crew_world_failed(result, err);
	}
	if (result < 0 || !json_text)
		return 0;
	if (wl_json_parse(json_text, strlen(json_text), &list, NULL) == -ENOMEM)
		return no_memory(err);
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		(void)wl_buffer_appendf(text, "\n- %.*s", LONG_KEPT, wl_json_get_string(one, "text", ""));
	return 0;
}

static int tell_memory(struct crew_worker *worker, const float *vector, size_t dimensions, struct wl_buffer *text,
		       struct wl_error *err)
{
	struct crew_run *run = worker->lane->run;
	static const char title[] = "What you remember:";
	if (!remembers(run, worker->who))
		return 0;
	struct wl_crew_step step = wl_crew_step_begin(run, worker->step.id, WL_CREW_STEP_MEMORY, worker->place,
						      "memory", worker->who->agent.name, worker->job.description);
	(void)wl_buffer_append_text(text, title);
	tell_run(worker, vector, dimensions, text);
	int result = tell_earlier(worker, vector, dimensions, text, err);
	if (result == 0 && text->failed)
		result = no_memory(err);
	if (text->length == sizeof(title) - 1)
		wl_buffer_clear(text);
	step.output = text->data;
	wl_crew_step_end(run, &step, worker->lane, result, err);
	return result;
}

static int embed_query(struct crew_worker *worker, const char *query, float **ret_vector, size_t *ret_dimensions,
		       struct wl_error *err)
{
	char place[CREW_PLACE];
	size_t length = strlen(query);
	if (length > QUERY_BYTES) {
		length = QUERY_BYTES;
		while (length > 0 && ((unsigned char)query[length] & 0xc0) == 0x80)
			length--;
	}
	_wl_free_ char *head = strndup(query, length);
	if (!head)
		return no_memory(err);
	const char *texts[] = { head };
	wl_crew_place(place, "%s/query", worker->place);
	return wl_crew_embed(worker->lane, worker->who, place, texts, 1, ret_vector, ret_dimensions, err);
}

int wl_crew_recall(struct crew_worker *worker, const char *query, char **ret_text, struct wl_error *err)
{
	const struct crew_run *run = worker->lane->run;
	_wl_buffer_ struct wl_buffer text = { 0 };
	_wl_free_ float *vector = NULL;
	size_t dimensions = 0;
	bool memory = remembers(run, worker->who) && (worker->lane->remembered > 0 || run->world->recall);
	if (!memory && worker->who->agent.knowledge_count == 0)
		return 0;
	int result = embed_query(worker, query, &vector, &dimensions, err);
	if (result == 0 && memory)
		result = tell_memory(worker, vector, dimensions, &text, err);
	if (result == 0)
		result = tell_knowledge(worker, vector, dimensions, &text, err);
	if (result < 0)
		return result;
	if (text.failed)
		return no_memory(err);
	*ret_text = text.length > 0 ? wl_buffer_steal(&text) : NULL;
	return 0;
}

/* ---- keeping / ------------------------------------------------------------------------------------------- */

static bool anyone_remembers(const struct crew_run *run)
{
	for (size_t i = 0; i < run->member_count; i++) {
		if (remembers(run, &run->members[i]))
			return true;
	}
	return false;
}

static int move_passages(struct crew_run *run, struct crew_passages *fresh)
{
	int result = 0;
	(void)pthread_mutex_lock(&run->lock);
	if (run->memory.dimensions == 0)
		run->memory.dimensions = fresh->dimensions;
	for (size_t i = 0; i < fresh->count; i++) {
		struct crew_passage *from = &fresh->items[i];
		size_t before = run->memory.count;
		result = wl_crew_passages_add(&run->memory, from->text, strlen(from->text), from->head);
		if (result < 0 || run->memory.count == before)
			break; /* full: what came first is kept */
		if (fresh->dimensions == run->memory.dimensions)
			run->memory.items[before].vector = wl_steal(from->vector);
	}
	(void)pthread_mutex_unlock(&run->lock);
	return result;
}

/* For later runs: what the task was and what came out, under one vector. */
static int keep_long(struct crew_run *run, size_t task, const struct crew_passage *first, size_t dimensions,
		     struct wl_error *err)
{
	const struct wl_crew_world *world = run->world;
	char place[CREW_PLACE];
	struct wl_error why = { 0 };
	if (!world->remember || !first->vector)
		return 0;
	wl_crew_place(place, "task/%zu/remember", task);
	int result = world->remember(world->self, place, first->text, first->vector, dimensions, &why);
	if (result == -EIO || result == -EAGAIN || result == -ECANCELED) {
		*err = why;
		return wl_crew_world_failed(result, err);
	}
	return 0;
}

/* The first passage is the one for later runs; the others are the output's. */
static int collect(const struct crew_run *run, size_t task, bool last, struct crew_passages *fresh)
{
	const char *output = run->lanes[task].output.text;
	_wl_buffer_ struct wl_buffer text = { 0 };
	(void)wl_buffer_appendf(&text, "%.200s: %.*s", run->crew->tasks[task].name, LONG_KEPT, output);
	while (text.length > 0 && ((unsigned char)text.data[text.length - 1] & 0x80) != 0 && strlen(output) > LONG_KEPT)
		text.data[--text.length] = '\0'; /* no half character at the cut */
	if (text.failed || wl_crew_passages_add(fresh, text.data, text.length, false) < 0)
		return -ENOMEM;
	if (last)
		return 0;
	if (wl_crew_passages_cut(fresh, output, 1) < 0)
		return -ENOMEM;
	return wl_crew_passages_names(fresh, output);
}

int wl_crew_remember(struct crew_run *run, size_t task, struct wl_error *err)
{
	struct crew_passages fresh = { 0 };
	char place[CREW_PLACE];
	const struct crew_member *who = &run->members[wl_crew_task_member(run, task)];
	bool last = task + 1 == run->crew->task_count; /* then nobody is left who could recall it within the run */
	if (!anyone_remembers(run) || (last && !run->world->remember))
		return 0;
	wl_crew_place(place, "task/%zu/memory", task);
	int result = collect(run, task, last, &fresh) < 0 ? no_memory(err) : 0;
	if (result == 0)
		result = embed_passages(&run->own, who, place, &fresh, 0, err);
	if (result == 0)
		result = keep_long(run, task, &fresh.items[0], fresh.dimensions, err);
	if (result == 0) {
		free(fresh.items[0].text);
		free(fresh.items[0].vector);
		memmove(&fresh.items[0], &fresh.items[1], (--fresh.count) * sizeof(fresh.items[0]));
		if (move_passages(run, &fresh) < 0)
			result = no_memory(err);
	}
	wl_crew_passages_release(&fresh);
	return result;
}
