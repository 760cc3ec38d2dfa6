/*
 * A crewai.flow/v1 document as a flow. Methods become nodes; who listens to whom becomes edges, with joins for or/and
 * and a switch behind each router. What leads back is cut, since flows have no cycles, and said so.
 */
#include "lib/codec/crewai_flow.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 64

/* ---- nodes and edges -------------------------------------------------------------------------------------------- */

struct crewai_method *crewai_flow_method(const struct crewai_flow *flow, const char *key)
{
	for (int i = 0; i < flow->count; i++)
		if (strcmp(flow->methods[i].key, key) == 0)
			return &flow->methods[i];
	return NULL;
}

static bool id_is_taken(const struct crewai_flow *flow, const char *id)
{
	if (crewai_flow_method(flow, id))
		return true;
	for (const struct wl_json *node = wl_json_first(flow->nodes); node; node = wl_json_next(node))
		if (strcmp(wl_json_get_string(node, "id", ""), id) == 0)
			return true;
	return false;
}

void crewai_flow_id(const struct crewai_flow *flow, const char *word, const char *suffix, char id[CREWAI_ID_TEXT])
{
	(void)snprintf(id, CREWAI_ID_TEXT, "%.70s%s%.40s", word, *suffix ? "_" : "", suffix);
	for (int n = 2; id_is_taken(flow, id); n++)
		(void)snprintf(id, CREWAI_ID_TEXT, "%.70s%s%.40s_%d", word, *suffix ? "_" : "", suffix, n);
}

struct wl_json *crewai_flow_node(struct crewai_flow *flow, const char *id, const char *type, const char *parent)
{
	struct crewai_notes *notes = &flow->reader->notes;
	struct wl_json *node = crewai_child(notes, flow->nodes, NULL, false);
	if (!node)
		return NULL;
	crewai_set(notes, node, "id", wl_json_new_string(id));
	crewai_set(notes, node, "type", wl_json_new_string(type));
	if (parent)
		crewai_set(notes, node, "parentId", wl_json_new_string(parent));
	return crewai_child(notes, node, "data", false);
}

void crewai_flow_edge(struct crewai_flow *flow, const struct crewai_end *from, const char *to)
{
	struct crewai_notes *notes = &flow->reader->notes;
	struct wl_json *edge = crewai_child(notes, flow->edges, NULL, false);
	char id[24];
	(void)snprintf(id, sizeof(id), "e%d", ++flow->edge_count);
	crewai_set(notes, edge, "id", wl_json_new_string(id));
	crewai_set(notes, edge, "source", wl_json_new_string(from->node));
	if (*from->handle)
		crewai_set(notes, edge, "sourceHandle", wl_json_new_string(from->handle));
	crewai_set(notes, edge, "target", wl_json_new_string(to));
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

static bool is_method_name(const char *name)
{
	if ((!isalpha((unsigned char)*name) && *name != '_') || strlen(name) > 60)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	return true;
}

static void take_do(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		    void *into)
{
	struct crewai_method *method = into;
	method->action = value;
	method->call = wl_json_get_string(value, "call", wl_json_get(value, "ref") ? "code" : "");
	method->model = strcmp(method->call, "crew") == 0 || strcmp(method->call, "agent") == 0;
	if (!wl_json_is(value, WL_JSON_OBJECT))
		crewai_fault(reader, place, "is not a mapping");
}

static bool is_condition(const struct wl_json *value)
{
	return wl_json_is(value, WL_JSON_STRING) || (wl_json_is(value, WL_JSON_OBJECT) && wl_json_count(value) == 1 &&
						     (wl_json_is(wl_json_get(value, "or"), WL_JSON_ARRAY) ||
						      wl_json_is(wl_json_get(value, "and"), WL_JSON_ARRAY)));
}

static void take_start(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	struct crewai_method *method = into;
	if (wl_json_is(value, WL_JSON_BOOL))
		method->start = wl_json_bool(value, false);
	else if (is_condition(value))
		method->start_on = value;
	else
		crewai_fault(reader, place, "is neither true nor a condition");
}

static void take_listen(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	if (is_condition(value))
		((struct crewai_method *)into)->listen = value;
	else
		crewai_fault(reader, place, "is no condition: a name, or or/and with a list");
}

static void take_router(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	((struct crewai_method *)into)->router = wl_json_bool(value, false);
	if (!wl_json_is(value, WL_JSON_BOOL))
		crewai_fault(reader, place, "is neither true nor false");
}

static bool is_text_list(const struct wl_json *value)
{
	bool right = wl_json_is(value, WL_JSON_ARRAY) && wl_json_count(value) <= 50;
	for (const struct wl_json *one = wl_json_first(value); one && right; one = wl_json_next(one))
		right = wl_json_is(one, WL_JSON_STRING) && *wl_json_string(one, "");
	return right;
}

static void take_emit(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      void *into)
{
	if (is_text_list(value))
		((struct crewai_method *)into)->emit = value;
	else
		crewai_fault(reader, place, "is not a list of at most 50 names of events");
}

static void take_feedback(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	if (wl_json_is(value, WL_JSON_OBJECT) && *wl_json_get_string(value, "message", ""))
		((struct crewai_method *)into)->feedback = value;
	else
		crewai_fault(reader, place, "has no message");
}

static void take_nothing(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	(void)into;
	if (!wl_json_is(value, WL_JSON_STRING))
		crewai_fault(reader, place, "is not a text");
}

static const struct crewai_key method_keys[] = {
	{ "description", take_nothing, 0, NULL }, /* the label of its node */
	{ "do", take_do, 0, NULL },
	{ "start", take_start, 0, NULL },
	{ "listen", take_listen, 0, NULL },
	{ "router", take_router, 0, NULL },
	{ "emit", take_emit, 0, NULL },
	{ "human_feedback", take_feedback, 0, NULL },
	{ "persist", NULL, CREWAI_IGNORED, "the results of all nodes are kept" },
	{ NULL, NULL, 0, NULL },
};

static void read_methods(struct crewai_flow *flow, const struct wl_json *methods, const struct crewai_place *place)
{
	for (const struct wl_json *one = wl_json_first(methods); one; one = wl_json_next(one)) {
		struct crewai_method *method = &flow->methods[flow->count++];
		*method = (struct crewai_method){ .key = wl_json_key(one), .value = one, .call = "" };
		method->at = (struct crewai_place){ .parent = place, .key = method->key };
		if (!is_method_name(method->key))
			crewai_fault(flow->reader, &method->at,
				     "is no name of a method: letters, digits and _, at most 60");
		crewai_walk(flow->reader, &method->at, one, method_keys, method);
		if (!method->action && wl_json_is(one, WL_JSON_OBJECT))
			crewai_fault(flow->reader, &method->at, "says nothing under 'do'");
		if (wl_json_count(wl_json_get(method->feedback, "emit")))
			method->router = false; /* who decides is the router */
	}
}

/* ---- who listens to whom ---------------------------------------------------------------------------------------- */

static bool has_word(const struct wl_json *list, const char *word)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), word) == 0)
			return true;
	return false;
}

static bool is_declared(const struct crewai_flow *flow, const char *event)
{
	for (int i = 0; i < flow->count; i++)
		if (has_word(flow->methods[i].emit, event) ||
		    has_word(wl_json_get(flow->methods[i].feedback, "emit"), event))
			return true;
	return false;
}

/* Whether a method gives the event. One that routes without saying by what may give each that nobody declares. */
static bool gives(const struct crewai_flow *flow, const struct crewai_method *method, const char *event)
{
	const struct wl_json *outcomes = wl_json_get(method->feedback, "emit");
	if (strcmp(method->key, event) == 0)
		return true;
	if (wl_json_count(outcomes))
		return has_word(outcomes, event);
	if (method->emit)
		return method->router && has_word(method->emit, event);
	return method->router && !crewai_flow_method(flow, event) && !is_declared(flow, event);
}

static void mark_names(struct crewai_flow *flow, const struct wl_json *condition, int listener,
		       const struct crewai_place *place, int depth)
{
	const char *event = wl_json_string(condition, NULL);
	bool any = false;
	if (!event) {
		const struct wl_json *list = wl_json_first(condition);
		if (depth > 8 || !is_condition(condition)) {
			crewai_fault(flow->reader, place, "is no condition, or one that is nested too deep");
			return;
		}
		for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
			mark_names(flow, one, listener, place, depth + 1);
		return;
	}
	for (int i = 0; i < flow->count; i++) {
		if (!gives(flow, &flow->methods[i], event))
			continue;
		flow->leads[i * flow->count + listener] = 1;
		any = true;
	}
	if (!any)
		crewai_note(&flow->reader->notes, place, CREWAI_ATTENTION, "nothing is named or gives '%.80s'", event);
}

static void mark_all(struct crewai_flow *flow)
{
	for (int i = 0; i < flow->count; i++) {
		struct crewai_method *method = &flow->methods[i];
		const struct crewai_place listen = { .parent = &method->at, .key = "listen" },
					  start = { .parent = &method->at, .key = "start" };
		if (method->listen)
			mark_names(flow, method->listen, i, &listen, 0);
		if (method->start_on) {
			mark_names(flow, method->start_on, i, &start, 0);
			crewai_note(&flow->reader->notes, &start, CREWAI_CHANGED, "is what it listens to");
		}
	}
}

/* Cut what leads back to a method that is on the way to it (depth first, from the starts on). */
static void cut_cycles(struct crewai_flow *flow, int at, unsigned char *colour)
{
	flow->methods[at].reached = true;
	colour[at] = 1;
	for (int to = 0; to < flow->count; to++) {
		unsigned char *leads = &flow->leads[at * flow->count + to];
		if (*leads && colour[to] == 1) {
			const struct crewai_place place = { .parent = &flow->methods[to].at, .key = "listen" };
			*leads = 0;
			crewai_note(&flow->reader->notes, &place, CREWAI_ATTENTION,
				    "'%.60s' leads back to it: a flow has no cycles, repeat with a loop node; this way "
				    "is cut",
				    flow->methods[at].key);
		} else if (*leads && !colour[to]) {
			cut_cycles(flow, to, colour);
		}
	}
	colour[at] = 2;
}

static void find_ways(struct crewai_flow *flow)
{
	_wl_free_ unsigned char *colour = calloc((size_t)flow->count, 1);
	bool started = false;
	if (!colour) {
		flow->reader->notes.no_memory = true;
		return;
	}
	for (int i = 0; i < flow->count; i++) {
		started |= flow->methods[i].start;
		if (flow->methods[i].start && !colour[i])
			cut_cycles(flow, i, colour);
	}
	if (!started)
		crewai_fault(flow->reader, &flow->at, "has no method with start: true");
	for (int i = 0; i < flow->count && started; i++)
		if (!flow->methods[i].reached)
			crewai_note(&flow->reader->notes, &flow->methods[i].at, CREWAI_ATTENTION,
				    "nothing leads to it: it is left out");
	memcpy(flow->before, flow->leads, (size_t)flow->count * (size_t)flow->count);
	for (int via = 0; via < flow->count; via++) /* Warshall 1962 */
		for (int from = 0; from < flow->count; from++)
			for (int to = 0; flow->before[from * flow->count + via] && to < flow->count; to++)
				flow->before[from * flow->count + to] |= flow->before[via * flow->count + to];
}

/* ---- conditions to edges ---------------------------------------------------------------------------------------- */

struct sources {
	struct crewai_end ends[SOURCES_MAX];
	int count;
};

/* A handle that a switch may have; an event's name is often one already. */
static void handle_of(const char *event, char handle[80])
{
	size_t length = 0;
	for (; event[length] && length < 64; length++)
		handle[length] =
			isalnum((unsigned char)event[length]) || strchr("-_", event[length]) ? event[length] : '_';
	handle[length] = '\0';
	if (strcmp(handle, "default") == 0 || strcmp(handle, "error") == 0)
		(void)strcat(handle, "_");
}

static bool end_of(const struct crewai_method *method, const char *event, struct crewai_end *end)
{
	const struct wl_json *outcomes = wl_json_get(method->feedback, "emit");
	*end = method->done;
	if (strcmp(method->key, event) == 0)
		return true;
	if (!wl_json_count(outcomes)) {
		(void)snprintf(end->node, sizeof(end->node), "%s", method->switch_id);
		handle_of(event, end->handle);
		return true;
	}
	/* a person says yes or no: the first two outcomes */
	for (size_t i = 0; i < 2; i++)
		if (strcmp(wl_json_string(wl_json_at(outcomes, i), ""), event) == 0) {
			(void)snprintf(end->handle, sizeof(end->handle), "%s", i ? "rejected" : "approved");
			return true;
		}
	return false;
}

static void add_source(struct crewai_flow *flow, struct sources *sources, const struct crewai_end *end,
		       const struct crewai_place *place)
{
	for (int i = 0; i < sources->count; i++)
		if (strcmp(sources->ends[i].node, end->node) == 0 && strcmp(sources->ends[i].handle, end->handle) == 0)
			return;
	if (sources->count == SOURCES_MAX)
		crewai_fault(flow->reader, place, "names more than %d", SOURCES_MAX);
	else
		sources->ends[sources->count++] = *end;
}

static void name_sources(struct crewai_flow *flow, const char *event, int listener, struct sources *sources,
			 const struct crewai_place *place)
{
	for (int i = 0; i < flow->count; i++) {
		const struct crewai_method *method = &flow->methods[i];
		struct crewai_end end;
		if (method->reached && flow->leads[i * flow->count + listener] && gives(flow, method, event) &&
		    end_of(method, event, &end))
			add_source(flow, sources, &end, place);
	}
}

static void join(struct crewai_flow *flow, struct sources *sources, int listener, bool all)
{
	char id[CREWAI_ID_TEXT];
	crewai_flow_id(flow, flow->methods[listener].key, all ? "all" : "any", id);
	struct wl_json *data = crewai_flow_node(flow, id, "join", NULL);
	crewai_set(&flow->reader->notes, data, "mode", wl_json_new_string(all ? "all" : "any"));
	for (int i = 0; i < sources->count; i++)
		crewai_flow_edge(flow, &sources->ends[i], id);
	memset(&sources->ends[0], 0, sizeof(sources->ends[0]));
	(void)snprintf(sources->ends[0].node, sizeof(sources->ends[0].node), "%s", id);
	sources->count = 1;
}

static void add_condition(struct crewai_flow *flow, const struct wl_json *condition, int listener,
			  struct sources *sources, const struct crewai_place *place);

/* The ends that a condition waits for: one of `and`, else the alternatives. `sources` is empty. */
static void condition_sources(struct crewai_flow *flow, const struct wl_json *condition, int listener,
			      struct sources *sources, const struct crewai_place *place)
{
	const struct wl_json *list = wl_json_first(condition);
	bool all = strcmp(wl_json_key(list), "and") == 0;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one)) {
		struct sources *inner = calloc(1, sizeof(*inner));
		if (!inner) {
			flow->reader->notes.no_memory = true;
			return;
		}
		add_condition(flow, one, listener, inner, place);
		if (all && inner->count > 1)
			join(flow, inner, listener, false);
		for (int i = 0; i < inner->count; i++)
			add_source(flow, sources, &inner->ends[i], place);
		free(inner);
	}
	if (all && sources->count > 1)
		join(flow, sources, listener, true);
}

static void add_condition(struct crewai_flow *flow, const struct wl_json *condition, int listener,
			  struct sources *sources, const struct crewai_place *place)
{
	struct sources *own = calloc(1, sizeof(*own));
	if (!own) {
		flow->reader->notes.no_memory = true;
		return;
	}
	if (wl_json_is(condition, WL_JSON_STRING))
		name_sources(flow, wl_json_string(condition, ""), listener, own, place);
	else
		condition_sources(flow, condition, listener, own, place);
	for (int i = 0; i < own->count; i++)
		add_source(flow, sources, &own->ends[i], place);
	free(own);
}

static void connect(struct crewai_flow *flow, int listener)
{
	struct crewai_method *method = &flow->methods[listener];
	struct sources *sources = calloc(1, sizeof(*sources));
	struct crewai_end start = { 0 };
	if (!sources) {
		flow->reader->notes.no_memory = true;
		return;
	}
	(void)snprintf(start.node, sizeof(start.node), "%s", *flow->state_id ? flow->state_id : flow->start_id);
	if (method->start)
		add_source(flow, sources, &start, &method->at);
	if (method->start_on)
		add_condition(flow, method->start_on, listener, sources, &method->at);
	if (method->listen)
		add_condition(flow, method->listen, listener, sources, &method->at);
	if (sources->count > 1)
		join(flow, sources, listener, false);
	if (sources->count)
		crewai_flow_edge(flow, &sources->ends[0], method->key);
	free(sources);
}

/* ---- what follows a method's action ----------------------------------------------------------------------------- */

static const struct crewai_key feedback_keys[] = {
	{ "message", take_nothing, 0, NULL },
	{ "emit", take_emit, 0, NULL },
	{ "llm", NULL, CREWAI_IGNORED, "a person decides by a button, not in words" },
	{ "default_outcome", NULL, CREWAI_CHANGED, "when nobody decides the node fails" },
	{ "metadata", NULL, CREWAI_IGNORED, "approvals have none" },
	{ "provider", NULL, CREWAI_CHANGED, "who may decide is a matter of roles" },
	{ "learn", NULL, CREWAI_IGNORED, "nothing is learned from decisions" },
	{ "learn_source", NULL, CREWAI_IGNORED, "nothing is learned from decisions" },
	{ "learn_strict", NULL, CREWAI_IGNORED, "nothing is learned from decisions" },
	{ NULL, NULL, 0, NULL },
};

static void put_approval(struct crewai_flow *flow, struct crewai_method *method)
{
	char id[CREWAI_ID_TEXT];
	const struct crewai_place at = { .parent = &method->at, .key = "human_feedback" },
				  emit = { .parent = &at, .key = "emit" };
	struct crewai_method scratch = { 0 };
	size_t outcomes = wl_json_count(wl_json_get(method->feedback, "emit"));
	crewai_walk(flow->reader, &at, method->feedback, feedback_keys, &scratch);
	_wl_free_ char *message = crewai_plain_text(wl_json_get_string(method->feedback, "message", ""));
	crewai_flow_id(flow, method->key, "feedback", id);
	struct wl_json *data = crewai_flow_node(flow, id, "approval", NULL);
	crewai_set(&flow->reader->notes, data, "message", message ? wl_json_new_string(message) : NULL);
	crewai_flow_edge(flow, &method->done, id);
	(void)snprintf(method->done.node, sizeof(method->done.node), "%s", id);
	(void)snprintf(method->done.handle, sizeof(method->done.handle), "approved");
	if (outcomes)
		crewai_note(&flow->reader->notes, &emit, outcomes > 2 ? CREWAI_ATTENTION : CREWAI_CHANGED,
			    "a person says yes or no: the first outcome is 'approved', the second 'rejected'%s",
			    outcomes > 2 ? "; the others are left out" : "");
}

/* Each event that somebody may wait for, once. */
static struct wl_json *events_of(struct crewai_flow *flow, const struct wl_json *condition,
				 const struct crewai_method *method, struct wl_json *events)
{
	const char *event = wl_json_string(condition, NULL);
	for (const struct wl_json *one = event ? NULL : wl_json_first(wl_json_first(condition)); one;
	     one = wl_json_next(one))
		events_of(flow, one, method, events);
	if (event && strcmp(event, method->key) != 0 && gives(flow, method, event) && !has_word(events, event))
		crewai_append(&flow->reader->notes, events, wl_json_new_string(event));
	return events;
}

static struct wl_json *all_events(struct crewai_flow *flow, const struct crewai_method *method)
{
	struct wl_json *events = wl_json_array();
	for (int i = 0; i < flow->count && events && !method->emit; i++) {
		if (flow->methods[i].listen)
			events_of(flow, flow->methods[i].listen, method, events);
		if (flow->methods[i].start_on)
			events_of(flow, flow->methods[i].start_on, method, events);
	}
	for (const struct wl_json *one = wl_json_first(method->emit); one && events; one = wl_json_next(one))
		if (!has_word(events, wl_json_string(one, "")))
			crewai_append(&flow->reader->notes, events, wl_json_copy(one));
	return events;
}

static void put_switch(struct crewai_flow *flow, struct crewai_method *method)
{
	struct crewai_notes *notes = &flow->reader->notes;
	_wl_json_ struct wl_json *events = all_events(flow, method);
	const struct crewai_place at = { .parent = &method->at, .key = "emit" };
	char value[CREWAI_ID_TEXT + 32], handle[80];
	if (!wl_json_count(events)) {
		crewai_note(notes, &at, CREWAI_CHANGED,
			    "no event is named and nobody listens to one: there is no switch");
		return;
	}
	crewai_flow_id(flow, method->key, "route", method->switch_id);
	struct wl_json *data = crewai_flow_node(flow, method->switch_id, "switch", NULL);
	(void)snprintf(value, sizeof(value), "{{ .nodes.%s%s }}", method->key, method->model ? ".text" : "");
	crewai_set(notes, data, "value", wl_json_new_string(value));
	struct wl_json *cases = crewai_child(notes, data, "cases", true);
	for (const struct wl_json *one = wl_json_first(events); one && cases; one = wl_json_next(one)) {
		struct wl_json *each = crewai_child(notes, cases, NULL, false);
		_wl_free_ char *plain = crewai_plain_text(wl_json_string(one, ""));
		handle_of(wl_json_string(one, ""), handle);
		crewai_set(notes, each, "name", wl_json_new_string(handle));
		crewai_set(notes, each, "equals", plain ? wl_json_new_string(plain) : NULL);
	}
	crewai_flow_edge(flow, &method->done, method->switch_id);
}

static void put_method(struct crewai_flow *flow, int index)
{
	struct crewai_method *method = &flow->methods[index];
	const char *label = wl_json_get_string(method->value, "description", NULL);
	flow->current = index;
	(void)snprintf(method->done.node, sizeof(method->done.node), "%s", method->key);
	crewai_flow_action(flow, method, label);
	if (method->router)
		put_switch(flow, method);
	else if (method->feedback)
		put_approval(flow, method);
	if (method->router && method->feedback) {
		const struct crewai_place at = { .parent = &method->at, .key = "human_feedback" };
		crewai_note(&flow->reader->notes, &at, CREWAI_ATTENTION,
			    "a router asks nobody here; put an approval before it");
	}
}

/* ---- the document ----------------------------------------------------------------------------------------------- */

struct document_reading {
	struct crewai_flow *flow;
	struct wl_json *body;
	const struct wl_json *methods, *state;
};

static void take_schema_word(struct crewai_reader *reader, const struct crewai_place *place,
			     const struct wl_json *value, void *into)
{
	(void)into;
	if (strcmp(wl_json_string(value, ""), "crewai.flow/v1") != 0)
		crewai_fault(reader, place, "is not crewai.flow/v1");
}

static void take_flow_name(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			   void *into)
{
	crewai_take_text(reader, place, value, 1, 200, ((struct document_reading *)into)->body, "name");
}

static void take_flow_description(struct crewai_reader *reader, const struct crewai_place *place,
				  const struct wl_json *value, void *into)
{
	crewai_take_text(reader, place, value, 0, 10000, ((struct document_reading *)into)->body, "description");
}

static void take_methods(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	size_t count = wl_json_count(value);
	if (!wl_json_is(value, WL_JSON_OBJECT) || count < 1 || count > WL_CREWAI_METHODS_MAX)
		crewai_fault(reader, place, "is no mapping of 1 to %d methods", WL_CREWAI_METHODS_MAX);
	else
		((struct document_reading *)into)->methods = value;
}

static void take_state(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	const struct wl_json *initial = wl_json_get(value, "default"), *schema = wl_json_get(value, "json_schema");
	if (!wl_json_is(value, WL_JSON_OBJECT) ||
	    (initial && !wl_json_is(initial, WL_JSON_OBJECT) && !wl_json_is(initial, WL_JSON_NULL)) ||
	    (schema && !wl_json_is(schema, WL_JSON_OBJECT) && !wl_json_is(schema, WL_JSON_NULL)))
		crewai_fault(reader, place, "is no mapping whose default and json_schema are mappings");
	else
		((struct document_reading *)into)->state = value;
}

static const struct crewai_key config_keys[] = {
	{ "tracing", NULL, CREWAI_IGNORED, "each run keeps its whole trace" },
	{ "stream", NULL, CREWAI_IGNORED, "answers are always streamed" },
	{ "memory", NULL, CREWAI_CHANGED, "memory belongs to agents and crews" },
	{ "input_provider", NULL, CREWAI_ATTENTION,
	  "programs of the project are not run: give the inputs to each run" },
	{ "suppress_flow_events", NULL, CREWAI_IGNORED, "each run keeps its whole trace" },
	{ "max_method_calls", NULL, CREWAI_IGNORED, "a flow has no cycles: each method runs once" },
	{ "defer_trace_finalization", NULL, CREWAI_IGNORED, "each run keeps its whole trace" },
	{ "checkpoint", NULL, CREWAI_IGNORED, "each run can be resumed" },
	{ NULL, NULL, 0, NULL },
};

static void take_config(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	crewai_walk(reader, place, value, config_keys, into);
}

static const struct crewai_key flow_keys[] = {
	{ "schema", take_schema_word, 0, NULL },
	{ "name", take_flow_name, 0, NULL },
	{ "description", take_flow_description, 0, NULL },
	{ "methods", take_methods, 0, NULL },
	{ "state", take_state, 0, NULL },
	{ "config", take_config, 0, NULL },
	{ "persist", NULL, CREWAI_IGNORED, "the results of all nodes are kept" },
	{ "conversational", NULL, CREWAI_ATTENTION, "chats are sessions of an agent or a crew" },
	{ NULL, NULL, 0, NULL },
};

static void take_initial(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 void *into)
{
	(void)reader;
	(void)place;
	(void)value;
	(void)into;
}

static const struct crewai_key state_keys[] = {
	{ "type", take_nothing, 0, NULL },
	{ "default", take_initial, 0, NULL },
	{ "json_schema", take_initial, 0, NULL },
	{ "ref", NULL, CREWAI_CHANGED,
	  "classes of the project are not loaded: the JSON Schema, if there is one, is taken" },
	{ NULL, NULL, 0, NULL },
};

/* The start, and behind it a node that puts the state's defaults under the inputs. */
static void put_start(struct crewai_flow *flow, const struct wl_json *state, struct wl_json *body)
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct wl_json *initial = wl_json_get(state, "default"), *schema = wl_json_get(state, "json_schema");
	const struct crewai_place at = { .parent = &flow->at, .key = "state" };
	crewai_flow_id(flow, "start", "", flow->start_id);
	crewai_flow_node(flow, flow->start_id, "start", NULL);
	(void)snprintf(flow->state, sizeof(flow->state), ".inputs");
	if (state)
		crewai_walk(flow->reader, &at, state, state_keys, NULL);
	if (wl_json_is(schema, WL_JSON_OBJECT))
		crewai_set(notes, body, "input_schema", wl_json_copy(schema));
	if (!wl_json_is(initial, WL_JSON_OBJECT) || wl_json_count(initial) == 0)
		return;
	_wl_free_ char *text = wl_json_print(initial);
	_wl_buffer_ struct wl_buffer value = { 0 };
	wl_buffer_appendf(&value, "{{ %s + .inputs }}", text ? text : "{}");
	crewai_flow_id(flow, "state", "", flow->state_id);
	struct wl_json *data = crewai_flow_node(flow, flow->state_id, "transform", NULL);
	crewai_set(notes, data, "value", value.failed || !text ? NULL : wl_json_new_string(value.data));
	struct crewai_end start = { 0 };
	(void)snprintf(start.node, sizeof(start.node), "%s", flow->start_id);
	crewai_flow_edge(flow, &start, flow->state_id);
	(void)snprintf(flow->state, sizeof(flow->state), ".nodes.%s", flow->state_id);
	/* a required member with a default may be left out by who starts it */
	struct wl_json *made = (struct wl_json *)wl_json_get(body, "input_schema"); /* ours */
	struct wl_json *required = wl_json_is(wl_json_get(made, "required"), WL_JSON_ARRAY) ? wl_json_array() : NULL;
	for (const struct wl_json *one = wl_json_first(wl_json_get(made, "required")); one && required;
	     one = wl_json_next(one))
		if (!wl_json_get(initial, wl_json_string(one, "")))
			crewai_append(notes, required, wl_json_copy(one));
	if (required)
		crewai_set(notes, made, "required", required);
}

static bool has_way_out(const struct crewai_flow *flow, const struct crewai_method *method)
{
	const char *const ids[] = { method->key, method->done.node, method->switch_id };
	for (const struct wl_json *edge = wl_json_first(flow->edges); edge; edge = wl_json_next(edge)) {
		const char *source = wl_json_get_string(edge, "source", ""),
			   *target = wl_json_get_string(edge, "target", "");
		for (size_t i = 0; i < WL_COUNT_OF(ids); i++)
			if (strcmp(source, ids[i]) == 0 && strcmp(target, method->done.node) != 0 &&
			    strcmp(target, method->switch_id) != 0)
				return true;
	}
	return false;
}

/* What the last methods gave becomes the outputs. */
static void put_output(struct crewai_flow *flow)
{
	struct crewai_notes *notes = &flow->reader->notes;
	_wl_buffer_ struct wl_buffer list = { 0 }, value = { 0 };
	char id[CREWAI_ID_TEXT];
	int ends = 0;
	crewai_flow_id(flow, "output", "", id);
	struct wl_json *data = crewai_flow_node(flow, id, "output", NULL);
	for (int i = 0; i < flow->count; i++) {
		struct crewai_method *method = &flow->methods[i];
		if (!method->reached || has_way_out(flow, method))
			continue;
		struct crewai_end end = method->done;
		crewai_flow_edge(flow, &end, id);
		wl_buffer_appendf(&list, "%s.nodes.%s%s", ends++ ? ", " : "", method->key,
				  method->model ? ".text" : "");
	}
	wl_buffer_appendf(&value, ends > 1 ? "{{ [%s] | map(select(. != null)) | last }}" : "{{ %s }}",
			  list.data ? list.data : "null");
	crewai_set(notes, data, "value", value.failed || list.failed ? NULL : wl_json_new_string(value.data));
	if (ends > 1)
		crewai_note(notes, &flow->at, CREWAI_CHANGED,
			    "of several last methods the output is that of the last in the document, not in time");
}

static void read_graph(struct crewai_flow *flow, const struct document_reading *document)
{
	const struct crewai_place methods_at = { .parent = &flow->at, .key = "methods" };
	read_methods(flow, document->methods, &methods_at);
	if (flow->reader->faults->count)
		return;
	mark_all(flow);
	find_ways(flow);
	if (flow->reader->faults->count || flow->reader->notes.no_memory)
		return;
	put_start(flow, document->state, document->body);
	for (int i = 0; i < flow->count; i++)
		if (flow->methods[i].reached)
			put_method(flow, i);
	for (int i = 0; i < flow->count; i++)
		if (flow->methods[i].reached)
			connect(flow, i);
	put_output(flow);
	if (crewai_layout(document->body) < 0)
		flow->reader->notes.no_memory = true;
}

static bool make_room(struct crewai_flow *flow, const struct wl_json *methods)
{
	size_t count = wl_json_count(methods);
	flow->methods = calloc(count, sizeof(*flow->methods));
	flow->leads = calloc(count, count);
	flow->before = calloc(count, count);
	flow->reader->notes.no_memory |= !flow->methods || !flow->leads || !flow->before;
	return !flow->reader->notes.no_memory;
}

struct wl_json *crewai_read_flow(struct crewai_reader *reader, const char *file, const struct wl_json *document)
{
	struct crewai_flow flow = { .reader = reader, .at = { .file = file } };
	struct document_reading reading = { .flow = &flow, .body = wl_json_object() };
	const char *name = wl_json_get_string(reader->context->choice, "name", NULL);
	const struct crewai_place methods_at = { .parent = &flow.at, .key = "methods" };
	crewai_set(&reader->notes, reading.body, "name", wl_json_new_string("Flow"));
	crewai_walk(reader, &flow.at, document, flow_keys, &reading);
	if (name)
		crewai_set(&reader->notes, reading.body, "name", wl_json_new_string(name));
	flow.nodes = crewai_child(&reader->notes, reading.body, "nodes", true);
	flow.edges = crewai_child(&reader->notes, reading.body, "edges", true);
	if (!reading.methods && reader->faults->count == 0)
		crewai_fault(reader, &methods_at, "is missing");
	if (reading.methods && flow.edges && make_room(&flow, reading.methods))
		read_graph(&flow, &reading);
	free(flow.methods);
	free(flow.leads);
	free(flow.before);
	return reading.body;
}
