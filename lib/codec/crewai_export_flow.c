/*
 * A flow as a crewai.flow/v1 document. The shapes that the import makes are turned back into what they came from: joins
 * into or/and, a switch behind its method into a router, an approval into human feedback. Other nodes become methods
 * that do the like; what has none becomes a method that says so when it runs, with a finding.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_cel.h"
#include "lib/codec/crewai_export.h"
#include "lib/codec/expression_text.h"
#include "lib/codec/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "flow.yaml"

enum role {
	ROLE_METHOD,
	ROLE_START,
	ROLE_STATE,
	ROLE_OUTPUT,
	ROLE_JOIN,
	ROLE_ROUTE,
	ROLE_FEEDBACK,
	ROLE_CHILD,
	ROLE_NOTE
};

struct node {
	const char *id, *type, *parent;
	const struct wl_json *json, *data;
	enum role role;
	int owner; /* of a route or a feedback: the method it belongs to */
	char key[80];
	bool model;
};

struct edge {
	int from, to;
	const char *handle;
};

struct flow_writer {
	struct crewai_writer *crews; /* notes, files and the bundle */
	struct crewai_place at;
	struct node *nodes;
	int node_count;
	struct edge *edges;
	int edge_count;
	struct wl_json *methods;
	bool in_each;
	int loop; /* whose steps may be named; -1: none */
};

/* ---- the graph -------------------------------------------------------------------------------------------------- */

static int find(const struct flow_writer *flow, const char *id)
{
	for (int i = 0; i < flow->node_count; i++)
		if (strcmp(flow->nodes[i].id, id) == 0)
			return i;
	return -1;
}

/* The only edge into a node or out of it; NULL when there are none or several. */
static const struct edge *only_edge(const struct flow_writer *flow, int node, bool into)
{
	const struct edge *found = NULL;
	for (int i = 0; i < flow->edge_count; i++) {
		if ((into ? flow->edges[i].to : flow->edges[i].from) != node)
			continue;
		if (found)
			return NULL;
		found = &flow->edges[i];
	}
	return found;
}

static bool is(const struct node *node, const char *type)
{
	return strcmp(node->type, type) == 0;
}

/* {{ {...} + .inputs }}: what the import puts behind the start. NULL when it is none. */
static struct wl_json *state_defaults(const struct node *node)
{
	static const char tail[] = " + .inputs }}";
	const char *value = wl_json_get_string(node->data, "value", "");
	size_t length = strlen(value);
	struct wl_json *defaults = NULL;
	if (!is(node, "transform") || strncmp(value, "{{ {", 4) != 0 || length < sizeof(tail) + 4 ||
	    strcmp(value + length - (sizeof(tail) - 1), tail) != 0)
		return NULL;
	(void)wl_json_parse(value + 3, length - 3 - (sizeof(tail) - 1), &defaults, NULL);
	return defaults;
}

/* A switch that does nothing but tell the words apart which the one node before it gives. */
static bool is_route(const struct flow_writer *flow, int index)
{
	const struct node *node = &flow->nodes[index];
	const struct edge *into = is(node, "switch") ? only_edge(flow, index, true) : NULL;
	const char *value = wl_json_get_string(node->data, "value", "");
	char wanted[160];
	if (!into || flow->nodes[into->from].role != ROLE_METHOD || *into->handle)
		return false;
	const struct node *owner = &flow->nodes[into->from];
	(void)snprintf(wanted, sizeof(wanted), "{{ .nodes.%.100s%s }}", owner->id, owner->model ? ".text" : "");
	const struct wl_json *cases = wl_json_get(node->data, "cases");
	for (const struct wl_json *one = wl_json_first(cases); one; one = wl_json_next(one))
		if (!wl_json_is(wl_json_get(one, "equals"), WL_JSON_STRING) ||
		    strstr(wl_json_get_string(one, "equals", ""), "{{"))
			return false;
	return strcmp(value, wanted) == 0;
}

/* {{ "{{" }}: two braces as they are. */
static bool is_braces(const struct wl_text_part *part)
{
	size_t lead = strspn(part->start, " ");
	return part->length >= lead + 4 && strncmp(part->start + lead, "\"{{\"", 4) == 0;
}

/* Whether a text is more than itself. */
static bool has_program(const char *text)
{
	size_t at = 0, length = strlen(text);
	for (;;) {
		struct wl_text_part part = wl_text_next(text, length, &at);
		if (part.kind == WL_TEXT_END)
			return false;
		if (part.kind != WL_TEXT_PLAIN && !(part.kind == WL_TEXT_EXPRESSION && is_braces(&part)))
			return true;
	}
}

/* An approval behind one method, which nothing else goes on from. */
static bool is_feedback(const struct flow_writer *flow, int index)
{
	const struct node *node = &flow->nodes[index];
	const struct edge *into = is(node, "approval") ? only_edge(flow, index, true) : NULL;
	if (!into || flow->nodes[into->from].role != ROLE_METHOD || *into->handle ||
	    has_program(wl_json_get_string(node->data, "message", "")))
		return false;
	return only_edge(flow, into->from, false) == into;
}

static enum role first_role(const struct flow_writer *flow, int index)
{
	const struct node *node = &flow->nodes[index];
	const struct edge *into = only_edge(flow, index, true);
	if (*node->parent)
		return ROLE_CHILD;
	if (is(node, "start"))
		return ROLE_START;
	if (is(node, "output"))
		return ROLE_OUTPUT;
	if (is(node, "note"))
		return ROLE_NOTE;
	if (is(node, "join"))
		return ROLE_JOIN;
	_wl_json_ struct wl_json *defaults = state_defaults(node);
	if (defaults && into && is(&flow->nodes[into->from], "start"))
		return ROLE_STATE;
	return ROLE_METHOD;
}

static void find_roles(struct flow_writer *flow)
{
	for (int i = 0; i < flow->node_count; i++) {
		struct node *node = &flow->nodes[i];
		node->role = first_role(flow, i);
		node->model = is(node, "crew") || is(node, "agent");
	}
	for (int i = 0; i < flow->node_count; i++) {
		bool route = flow->nodes[i].role == ROLE_METHOD && is_route(flow, i);
		bool feedback = !route && flow->nodes[i].role == ROLE_METHOD && is_feedback(flow, i);
		if (!route && !feedback)
			continue;
		flow->nodes[i].role = route ? ROLE_ROUTE : ROLE_FEEDBACK;
		flow->nodes[i].owner = only_edge(flow, i, true)->from;
	}
}

static bool key_is_taken(const struct flow_writer *flow, int count, const char *key)
{
	for (int i = 0; i < count; i++)
		if (strcmp(flow->nodes[i].key, key) == 0)
			return true;
	return false;
}

/* A child's key is its name among the steps: the loop's own comes off. */
static void make_keys(struct flow_writer *flow)
{
	for (int i = 0; i < flow->node_count; i++) {
		struct node *node = &flow->nodes[i];
		size_t length = strlen(node->parent);
		bool own = length && strncmp(node->id, node->parent, length) == 0 && node->id[length] == '_' &&
			   node->id[length + 1];
		char slug[64];
		crewai_slug(own ? node->id + length + 1 : node->id, slug);
		(void)snprintf(node->key, sizeof(node->key), "%s", slug);
		for (int n = 2; node->role == ROLE_METHOD && key_is_taken(flow, i, node->key); n++)
			(void)snprintf(node->key, sizeof(node->key), "%s_%d", slug, n);
	}
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static const char *find_method(void *self, const char *id, bool *ret_model)
{
	const struct flow_writer *flow = self;
	int index = find(flow, id);
	if (index < 0)
		return NULL;
	const struct node *node = &flow->nodes[index];
	*ret_model = node->model;
	if (node->role == ROLE_STATE)
		return "";
	bool step =
		node->role == ROLE_CHILD && flow->loop >= 0 && strcmp(node->parent, flow->nodes[flow->loop].id) == 0;
	return node->role == ROLE_METHOD || step ? node->key : NULL;
}

static struct crewai_names names_of(struct flow_writer *flow)
{
	return (struct crewai_names){ .find = find_method, .self = flow, .state = "", .item = flow->in_each };
}

/* A program as CEL; NULL with a finding. */
static char *program(struct flow_writer *flow, const struct crewai_place *place, const char *jq, size_t length)
{
	const struct crewai_names names = names_of(flow);
	struct wl_error err = { 0 };
	char *cel = NULL;
	if (crewai_jq_to_cel(jq, length, &names, &cel, &err) == 0)
		return cel;
	crewai_note(&flow->crews->notes, place, CREWAI_ATTENTION, "this expression has no like in CEL: %.200s",
		    err.text);
	return NULL;
}

/* {{ }} alone as CEL; NULL when it is something else, or with a finding. */
static char *whole(struct flow_writer *flow, const struct crewai_place *place, const char *text)
{
	struct wl_text_part part;
	if (wl_text_is_expression(text, strlen(text), &part))
		return program(flow, place, part.start, part.length);
	return NULL;
}

/* Text with {{ }} as text with ${ }. */
static struct wl_json *template_text(struct flow_writer *flow, const struct crewai_place *place, const char *text)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	size_t at = 0, length = strlen(text);
	for (;;) {
		struct wl_text_part part = wl_text_next(text, length, &at);
		if (part.kind == WL_TEXT_END)
			break;
		if (part.kind != WL_TEXT_EXPRESSION) {
			wl_buffer_append(&out, part.start, part.length);
			continue;
		}
		if (is_braces(&part)) {
			wl_buffer_append_text(&out, "{{");
			continue;
		}
		_wl_free_ char *cel = program(flow, place, part.start, part.length);
		wl_buffer_appendf(&out, cel ? "${%s}" : "%s", cel ? cel : "");
	}
	return out.failed ? NULL : wl_json_new_string(out.data ? out.data : "");
}

static struct wl_json *template_value(struct flow_writer *flow, const struct crewai_place *place,
				      const struct wl_json *value)
{
	bool array = wl_json_is(value, WL_JSON_ARRAY);
	int index = 0;
	if (wl_json_is(value, WL_JSON_STRING))
		return template_text(flow, place, wl_json_string(value, ""));
	if (!array && !wl_json_is(value, WL_JSON_OBJECT))
		return wl_json_copy(value);
	struct wl_json *made = array ? wl_json_array() : wl_json_object();
	for (const struct wl_json *one = wl_json_first(value); one && made; one = wl_json_next(one), index++) {
		const struct crewai_place at = { .parent = place,
						 .key = array ? NULL : wl_json_key(one),
						 .index = index };
		struct wl_json *child = template_value(flow, &at, one);
		if (array)
			crewai_append(&flow->crews->notes, made, child);
		else
			crewai_set(&flow->crews->notes, made, wl_json_key(one), child);
	}
	return made;
}

/* Any value of a node as one CEL expression. */
static void append_cel(struct flow_writer *flow, const struct crewai_place *place, const struct wl_json *value,
		       struct wl_buffer *out)
{
	bool array = wl_json_is(value, WL_JSON_ARRAY), object = wl_json_is(value, WL_JSON_OBJECT);
	const char *text = wl_json_string(value, NULL);
	if (!array && !object && (!text || !strstr(text, "{{"))) {
		(void)wl_json_write(out, value);
		return;
	}
	if (text) {
		_wl_free_ char *cel = whole(flow, place, text);
		if (!cel)
			crewai_note(&flow->crews->notes, place, CREWAI_ATTENTION,
				    "is left out: it is no value that CEL can make");
		wl_buffer_append_text(out, cel ? cel : "null");
		return;
	}
	wl_buffer_append_char(out, array ? '[' : '{');
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one)) {
		if (object) {
			wl_buffer_append_json_string(out, wl_json_key(one), strlen(wl_json_key(one)));
			wl_buffer_append_text(out, ": ");
		}
		append_cel(flow, place, one, out);
		wl_buffer_append_text(out, wl_json_next(one) ? ", " : "");
	}
	wl_buffer_append_char(out, array ? ']' : '}');
}

static void put_text(struct flow_writer *flow, struct wl_json *into, const char *member, const char *text)
{
	crewai_set(&flow->crews->notes, into, member, wl_json_new_string(text));
}

/* ---- actions ---------------------------------------------------------------------------------------------------- */

static void put_expression(struct flow_writer *flow, const struct crewai_place *place, const struct wl_json *value,
			   struct wl_json *action)
{
	_wl_buffer_ struct wl_buffer cel = { 0 };
	append_cel(flow, place, value, &cel);
	put_text(flow, action, "call", "expression");
	put_text(flow, action, "expr", cel.data ? cel.data : "null");
}

/* What nothing in CrewAI does: the method says so when it runs. */
static void put_missing(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
			struct wl_json *action)
{
	_wl_buffer_ struct wl_buffer code = { 0 }, message = { 0 };
	crewai_note(&flow->crews->notes, place, CREWAI_ATTENTION,
		    "CrewAI has no like of a %s node: write the method's program", node->type);
	wl_buffer_appendf(&message, "write what the %s node %.100s does", node->type, node->id);
	wl_buffer_append_text(&code, "raise NotImplementedError(");
	wl_buffer_append_json_string(&code, message.data ? message.data : "", message.length);
	wl_buffer_append_text(&code, ")\n");
	put_text(flow, action, "call", "script");
	put_text(flow, action, "code", code.data ? code.data : "pass");
}

static void put_with(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		     struct wl_json *action)
{
	const struct wl_json *input = wl_json_get(node->data, "input");
	const struct crewai_place at = { .parent = place, .key = "with" };
	if (wl_json_is(input, WL_JSON_OBJECT))
		crewai_set(&flow->crews->notes, action, "with", template_value(flow, &at, input));
	else if (input && !wl_json_is(input, WL_JSON_NULL))
		crewai_note(&flow->crews->notes, &at, CREWAI_ATTENTION, "is left out: CrewAI takes named values only");
}

/* The body of a program that the import wrapped; NULL when it is another one. */
static char *script_body(const char *source)
{
	static const char head[] = CREWAI_SCRIPT_HEAD, tail[] = CREWAI_SCRIPT_TAIL;
	size_t length = strlen(source);
	if (length < sizeof(head) + sizeof(tail) || strncmp(source, head, sizeof(head) - 1) != 0 ||
	    strcmp(source + length - (sizeof(tail) - 1), tail) != 0)
		return NULL;
	_wl_buffer_ struct wl_buffer body = { 0 };
	const char *end = source + length - (sizeof(tail) - 1);
	for (const char *line = source + sizeof(head) - 1; line < end;) {
		size_t width = strcspn(line, "\n");
		size_t indent = strncmp(line, "    ", 4) == 0 ? 4 : 0;
		wl_buffer_append(&body, line + indent, width - indent);
		wl_buffer_append_char(&body, '\n');
		line += width + 1;
	}
	return body.failed || !body.data ? NULL : wl_buffer_steal(&body);
}

static void put_code(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		     struct wl_json *action)
{
	static const char missing[] = "raise SystemExit(\"put the program of ",
			  behind[] = " here, or make it a tool\")\n";
	const char *source = wl_json_get_string(node->data, "source", "");
	size_t length = strlen(source), around = sizeof(missing) + sizeof(behind) - 2;
	_wl_free_ char *body = script_body(source);
	if (body) {
		put_text(flow, action, "call", "script");
		put_text(flow, action, "code", body);
	} else if (length > around && strncmp(source, missing, sizeof(missing) - 1) == 0 &&
		   strcmp(source + length - (sizeof(behind) - 1), behind) == 0) {
		_wl_free_ char *ref = strndup(source + sizeof(missing) - 1, length - around);
		put_text(flow, action, "call", "code");
		put_text(flow, action, "ref", ref ? ref : "");
		put_with(flow, place, node, action);
	} else {
		put_missing(flow, place, node, action);
	}
}

static void put_tool(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		     struct wl_json *action)
{
	const struct wl_json *tool =
		crewai_by_id(wl_json_get(flow->crews->bundle, "tools"), wl_json_get_string(node->data, "tool_id", ""));
	const struct crewai_place at = { .parent = place, .key = "ref" };
	if (!tool) {
		put_missing(flow, place, node, action);
		return;
	}
	put_text(flow, action, "call", "tool");
	put_text(flow, action, "ref", wl_json_get_string(tool, "name", ""));
	put_with(flow, place, node, action);
	crewai_note(&flow->crews->notes, &at, CREWAI_ATTENTION, "CrewAI needs a class of this name, as module:Class");
}

/* A clean writer of crews for one that stands inside the flow; notes go to the flow's. */
static bool begin_inline(struct flow_writer *flow, struct crewai_writer *inner)
{
	inner->bundle = flow->crews->bundle;
	inner->jsonc = inner->in_flow = true;
	inner->notes = flow->crews->notes;
	inner->extra = wl_json_object();
	inner->extra_agents = wl_json_object();
	inner->extra_tasks = wl_json_object();
	inner->notes.no_memory |= !inner->extra || !inner->extra_agents || !inner->extra_tasks;
	return !inner->notes.no_memory;
}

static void end_inline(struct flow_writer *flow, struct crewai_writer *inner)
{
	flow->crews->notes = inner->notes;
	wl_json_free(inner->extra);
	wl_json_free(inner->extra_agents);
	wl_json_free(inner->extra_tasks);
	free(inner);
}

static void put_agent(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		      struct wl_json *action)
{
	struct crewai_writer *inner = calloc(1, sizeof(*inner));
	const struct crewai_place with_at = { .parent = place, .key = "with" },
				  input_at = { .parent = &with_at, .key = "input" };
	struct crewai_named agent = { .value = crewai_by_id(wl_json_get(flow->crews->bundle, "agents"),
							    wl_json_get_string(node->data, "agent_id", "")) };
	if (!inner || !agent.value) {
		flow->crews->notes.no_memory |= !inner;
		free(inner);
		put_missing(flow, place, node, action);
		return;
	}
	(void)snprintf(agent.key, sizeof(agent.key), "%s", node->key);
	put_text(flow, action, "call", "agent");
	struct wl_json *with = begin_inline(flow, inner) ? crewai_make_agent(inner, &agent, &with_at) : NULL;
	end_inline(flow, inner);
	crewai_set(&flow->crews->notes, with, "input",
		   template_text(flow, &input_at, wl_json_get_string(node->data, "task", "")));
	crewai_set(&flow->crews->notes, action, "with", with);
	static const char *const more[] = { "expected_output", "schema", "input" };
	for (size_t i = 0; i < WL_COUNT_OF(more); i++) {
		const struct crewai_place at = { .parent = &with_at, .key = more[i] };
		if (wl_json_get(node->data, more[i]))
			crewai_note(&flow->crews->notes, &at, CREWAI_ATTENTION, "CrewAI has no place for it");
	}
}

static void fill_crew(struct crewai_writer *inner, const struct crewai_place *place, struct wl_json *with)
{
	const struct crewai_place agents_at = { .parent = place, .key = "agents" },
				  tasks_at = { .parent = place, .key = "tasks" };
	char llm[256];
	crewai_name_all(inner);
	crewai_set(&inner->notes, with, "name", wl_json_copy(wl_json_get(inner->crew, "name")));
	struct wl_json *agents = crewai_child(&inner->notes, with, "agents", false);
	for (int i = 0; i < inner->agent_count && agents; i++) {
		const struct crewai_place at = { .parent = &agents_at, .key = inner->agents[i].key };
		crewai_set(&inner->notes, agents, at.key, crewai_make_agent(inner, &inner->agents[i], &at));
	}
	struct wl_json *tasks = crewai_child(&inner->notes, with, "tasks", true);
	for (int i = 0; i < inner->task_count && tasks; i++) {
		const struct crewai_place at = { .parent = &tasks_at, .index = i };
		crewai_append(&inner->notes, tasks, crewai_make_task(inner, &inner->tasks[i], &at));
	}
	crewai_put_process(inner, with);
	crewai_put_crew_members(inner, with);
	crewai_put_manager_llm(inner, place, llm);
	if (*llm)
		crewai_set(&inner->notes, with, "manager_llm", wl_json_new_string(llm));
}

static void put_crew(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		     struct wl_json *action)
{
	struct crewai_writer *inner = calloc(1, sizeof(*inner));
	const struct crewai_place with_at = { .parent = place, .key = "with" },
				  inputs_at = { .parent = &with_at, .key = "inputs" };
	const struct wl_json *crew =
		crewai_by_id(wl_json_get(flow->crews->bundle, "crews"), wl_json_get_string(node->data, "crew_id", ""));
	const struct wl_json *input = wl_json_get(node->data, "input");
	if (!inner || !crew) {
		flow->crews->notes.no_memory |= !inner;
		free(inner);
		put_missing(flow, place, node, action);
		return;
	}
	put_text(flow, action, "call", "crew");
	struct wl_json *with = crewai_child(&flow->crews->notes, action, "with", false);
	inner->crew = crew;
	inner->config = wl_json_get(crew, "config");
	if (begin_inline(flow, inner) && with)
		fill_crew(inner, &with_at, with);
	end_inline(flow, inner);
	if (wl_json_is(input, WL_JSON_OBJECT))
		crewai_set(&flow->crews->notes, with, "inputs", template_value(flow, &inputs_at, input));
	else if (input && !wl_json_is(input, WL_JSON_NULL))
		crewai_note(&flow->crews->notes, &inputs_at, CREWAI_ATTENTION,
			    "is left out: CrewAI takes named values only");
}

static void put_action(struct flow_writer *flow, const struct crewai_place *place, int index, struct wl_json *action);

/* A condition that stands before one step alone, of the import's making. */
static const struct node *step_condition(const struct flow_writer *flow, int step)
{
	char wanted[140];
	(void)snprintf(wanted, sizeof(wanted), "%.120s_if", flow->nodes[step].id);
	int index = find(flow, wanted);
	return index >= 0 && is(&flow->nodes[index], "condition") ? &flow->nodes[index] : NULL;
}

static bool is_step(const struct flow_writer *flow, int index, int loop)
{
	const struct node *node = &flow->nodes[index];
	char last[140];
	size_t length = strlen(node->id);
	(void)snprintf(last, sizeof(last), "%.120s_last", flow->nodes[loop].id);
	if (strcmp(node->parent, flow->nodes[loop].id) != 0 || strcmp(node->id, last) == 0 || is(node, "note"))
		return false;
	return !(is(node, "condition") && length > 3 && strcmp(node->id + length - 3, "_if") == 0);
}

static void put_each(struct flow_writer *flow, const struct crewai_place *place, int loop, struct wl_json *action)
{
	const struct crewai_place in_at = { .parent = place, .key = "in" }, do_at = { .parent = place, .key = "do" };
	const struct wl_json *items = wl_json_get(flow->nodes[loop].data, "items");
	struct crewai_notes *notes = &flow->crews->notes;
	_wl_buffer_ struct wl_buffer cel = { 0 };
	put_text(flow, action, "call", "each");
	append_cel(flow, &in_at, items, &cel);
	put_text(flow, action, "in", cel.data ? cel.data : "[]");
	struct wl_json *steps = crewai_child(notes, action, "do", true);
	bool was_in = flow->in_each;
	int was = flow->loop;
	flow->in_each = true;
	flow->loop = loop;
	struct crewai_place at = { .parent = &do_at };
	for (int i = 0; i < flow->node_count && steps; i++) {
		if (!is_step(flow, i, loop))
			continue;
		const struct crewai_place if_at = { .parent = &at, .key = "if" },
					  action_at = { .parent = &at, .key = "action" };
		const struct node *condition = step_condition(flow, i);
		struct wl_json *step = crewai_child(notes, steps, NULL, false);
		put_text(flow, step, "name", flow->nodes[i].key);
		_wl_free_ char *test =
			condition ? whole(flow, &if_at, wl_json_get_string(condition->data, "if", "")) : NULL;
		if (test)
			put_text(flow, step, "if", test);
		put_action(flow, &action_at, i, crewai_child(notes, step, "action", false));
		at.index++;
	}
	flow->in_each = was_in;
	flow->loop = was;
}

static void note_members(struct flow_writer *flow, const struct crewai_place *place, const struct node *node)
{
	static const char *const lost[] = { "retry",   "timeout_s", "on_error",	 "pinned", "limits",
					    "profile", "parallel",  "max_items", "parse" };
	for (size_t i = 0; i < WL_COUNT_OF(lost); i++) {
		const struct crewai_place at = { .parent = place, .key = lost[i] };
		if (wl_json_get(node->data, lost[i]))
			crewai_note(&flow->crews->notes, &at, CREWAI_CHANGED, "CrewAI has no place for it");
	}
}

/* The word of the handle that a condition or a switch takes, which its method gives. */
static void put_choice(struct flow_writer *flow, const struct crewai_place *place, const struct node *node,
		       struct wl_json *action)
{
	const struct crewai_place at = { .parent = place, .key = "expr" };
	_wl_buffer_ struct wl_buffer cel = { 0 };
	if (is(node, "condition")) {
		append_cel(flow, &at, wl_json_get(node->data, "if"), &cel);
		wl_buffer_appendf(&cel, " ? \"%s_true\" : \"%s_false\"", node->key, node->key);
	} else {
		const struct wl_json *cases = wl_json_get(node->data, "cases"),
				     *value = wl_json_get(node->data, "value");
		for (const struct wl_json *one = wl_json_first(cases); one; one = wl_json_next(one)) {
			const struct wl_json *equals = wl_json_get(one, "equals");
			wl_buffer_append_char(&cel, '(');
			append_cel(flow, &at, equals ? value : wl_json_get(one, "when"), &cel);
			wl_buffer_append_text(&cel, equals ? ") == (" : "");
			if (equals)
				append_cel(flow, &at, equals, &cel);
			wl_buffer_appendf(&cel, ") ? \"%s_%s\" : ", node->key, wl_json_get_string(one, "name", ""));
		}
		wl_buffer_appendf(&cel, "\"%s_default\"", node->key);
	}
	put_text(flow, action, "call", "expression");
	put_text(flow, action, "expr", cel.data ? cel.data : "null");
}

static void put_action(struct flow_writer *flow, const struct crewai_place *place, int index, struct wl_json *action)
{
	const struct node *node = &flow->nodes[index];
	const struct crewai_place value_at = { .parent = place, .key = "expr" };
	note_members(flow, place, node);
	if (is(node, "transform"))
		put_expression(flow, &value_at, wl_json_get(node->data, "value"), action);
	else if (is(node, "code"))
		put_code(flow, place, node, action);
	else if (is(node, "tool"))
		put_tool(flow, place, node, action);
	else if (is(node, "agent"))
		put_agent(flow, place, node, action);
	else if (is(node, "crew"))
		put_crew(flow, place, node, action);
	else if (is(node, "loop") && node->role != ROLE_CHILD)
		put_each(flow, place, index, action);
	else if ((is(node, "condition") || is(node, "switch")) && node->role != ROLE_CHILD)
		put_choice(flow, place, node, action);
	else if (is(node, "approval") && node->role != ROLE_CHILD)
		put_expression(flow, &value_at, NULL, action);
	else
		put_missing(flow, place, node, action);
}

/* Whether somebody goes on from an approval's no: then it has outcomes. */
static bool needs_outcomes(const struct flow_writer *flow, int approval)
{
	for (int i = 0; i < flow->edge_count; i++)
		if (flow->edges[i].from == approval && strcmp(flow->edges[i].handle, "rejected") == 0)
			return true;
	return false;
}

/* ---- conditions ------------------------------------------------------------------------------------------------- */

/* The event of a route's handle: what its case is equal to. */
static const char *case_word(const struct node *route, const char *handle)
{
	const struct wl_json *cases = wl_json_get(route->data, "cases");
	for (const struct wl_json *one = wl_json_first(cases); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "name", ""), handle) == 0)
			return wl_json_get_string(one, "equals", handle);
	return handle;
}

static bool is_start_edge(const struct flow_writer *flow, const struct edge *edge)
{
	return flow->nodes[edge->from].role == ROLE_START || flow->nodes[edge->from].role == ROLE_STATE;
}

static struct wl_json *condition_of(struct flow_writer *flow, int node, bool *ret_start, int depth);

/* What an edge waits for. NULL: nothing that has a name. */
static struct wl_json *edge_condition(struct flow_writer *flow, const struct edge *edge, bool *ret_start, int depth)
{
	const struct node *from = &flow->nodes[edge->from];
	char word[200];
	if (is_start_edge(flow, edge)) {
		*ret_start = true;
		return NULL;
	}
	if (from->role == ROLE_JOIN)
		return condition_of(flow, edge->from, ret_start, depth + 1);
	if (from->role == ROLE_ROUTE)
		return wl_json_new_string(case_word(from, edge->handle));
	const struct node *owner = from->role == ROLE_FEEDBACK ? &flow->nodes[from->owner] : from;
	bool approval = is(from, "approval");
	if (!*edge->handle || (approval && !needs_outcomes(flow, edge->from) && strcmp(edge->handle, "approved") == 0))
		return wl_json_new_string(owner->key);
	(void)snprintf(word, sizeof(word), "%s_%.80s", owner->key, edge->handle);
	return wl_json_new_string(word);
}

/* All that a node waits for: a word, or or/and of several. */
static struct wl_json *condition_of(struct flow_writer *flow, int node, bool *ret_start, int depth)
{
	struct crewai_notes *notes = &flow->crews->notes;
	bool any = is(&flow->nodes[node], "join") &&
		   strcmp(wl_json_get_string(flow->nodes[node].data, "mode", "all"), "any") == 0;
	_wl_json_ struct wl_json *list = wl_json_array();
	for (int i = 0; i < flow->edge_count && list && depth < 16; i++) {
		if (flow->edges[i].to != node)
			continue;
		struct wl_json *one = edge_condition(flow, &flow->edges[i], ret_start, depth);
		if (one)
			crewai_append(notes, list, one);
	}
	if (wl_json_count(list) == 0)
		return NULL;
	if (wl_json_count(list) == 1)
		return wl_json_copy(wl_json_first(list));
	struct wl_json *made = wl_json_object();
	crewai_set(notes, made, any ? "or" : "and", wl_steal(list));
	return made;
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

static void put_emit(struct flow_writer *flow, int index, struct wl_json *method)
{
	const struct node *node = &flow->nodes[index];
	struct wl_json *emit = NULL;
	char word[200];
	bool condition = is(node, "condition"), choice = condition || is(node, "switch");
	for (int i = 0; i < flow->node_count; i++) {
		if (!(flow->nodes[i].role == ROLE_ROUTE && flow->nodes[i].owner == index) && !(choice && i == index))
			continue;
		crewai_set(&flow->crews->notes, method, "router", wl_json_new_bool(true));
		emit = crewai_child(&flow->crews->notes, method, "emit", true);
		const struct wl_json *cases = wl_json_get(flow->nodes[i].data, "cases");
		for (const struct wl_json *one = wl_json_first(cases); one && emit; one = wl_json_next(one)) {
			(void)snprintf(word, sizeof(word), "%s_%.80s", node->key, wl_json_get_string(one, "name", ""));
			crewai_append(&flow->crews->notes, emit,
				      wl_json_new_string(choice ? word : wl_json_get_string(one, "equals", "")));
		}
	}
	static const char *const handles[] = { "true", "false", "default" };
	for (size_t i = condition ? 0 : 2; i < (condition ? 2u : choice ? 3u : 2u); i++) {
		(void)snprintf(word, sizeof(word), "%s_%s", node->key, handles[i]);
		crewai_append(&flow->crews->notes, emit, wl_json_new_string(word));
	}
}

static void put_feedback(struct flow_writer *flow, const struct crewai_place *place, int index, struct wl_json *method)
{
	const struct crewai_place at = { .parent = place, .key = "human_feedback" };
	struct crewai_notes *notes = &flow->crews->notes;
	char word[200];
	for (int i = 0; i < flow->node_count; i++) {
		const struct node *node = &flow->nodes[i];
		if (!(node->role == ROLE_FEEDBACK && node->owner == index) && !(i == index && is(node, "approval")))
			continue;
		struct wl_json *feedback = crewai_child(notes, method, "human_feedback", false);
		crewai_set(notes, feedback, "message",
			   template_text(flow, &at, wl_json_get_string(node->data, "message", "")));
		if (wl_json_get(node->data, "roles") || wl_json_get(node->data, "expires_s"))
			crewai_note(notes, &at, CREWAI_CHANGED,
				    "who may decide, and until when, has no place in CrewAI");
		if (!needs_outcomes(flow, i))
			continue;
		struct wl_json *emit = crewai_child(notes, feedback, "emit", true);
		static const char *const handles[] = { "approved", "rejected" };
		for (size_t h = 0; h < WL_COUNT_OF(handles); h++) {
			(void)snprintf(word, sizeof(word), "%s_%s", flow->nodes[index].key, handles[h]);
			crewai_append(notes, emit, wl_json_new_string(word));
		}
		crewai_note(notes, &at, CREWAI_CHANGED, "a model reads the person's words for yes or no there");
	}
}

static void put_method(struct flow_writer *flow, int index)
{
	const struct node *node = &flow->nodes[index];
	const struct crewai_place methods = { .parent = &flow->at, .key = "methods" },
				  at = { .parent = &methods, .key = node->key }, do_at = { .parent = &at, .key = "do" };
	const char *label = wl_json_get_string(node->data, "label", "");
	bool start = false;
	struct wl_json *method = crewai_child(&flow->crews->notes, flow->methods, node->key, false);
	if (!method)
		return;
	if (*label)
		put_text(flow, method, "description", label);
	struct wl_json *condition = condition_of(flow, index, &start, 0);
	if (start)
		crewai_set(&flow->crews->notes, method, "start", wl_json_new_bool(true));
	if (condition)
		crewai_set(&flow->crews->notes, method, "listen", condition);
	put_emit(flow, index, method);
	put_action(flow, &do_at, index, crewai_child(&flow->crews->notes, method, "do", false));
	put_feedback(flow, &at, index, method);
}

/* ---- the document ----------------------------------------------------------------------------------------------- */

static void put_state(struct flow_writer *flow, const struct wl_json *schema, struct wl_json *document)
{
	struct crewai_notes *notes = &flow->crews->notes;
	_wl_json_ struct wl_json *defaults = NULL;
	for (int i = 0; i < flow->node_count && !defaults; i++)
		if (flow->nodes[i].role == ROLE_STATE)
			defaults = state_defaults(&flow->nodes[i]);
	bool has_schema = wl_json_is(schema, WL_JSON_OBJECT) && wl_json_count(schema) > 0;
	if (!has_schema && !defaults)
		return;
	struct wl_json *state = crewai_child(notes, document, "state", false);
	put_text(flow, state, "type", has_schema ? "json_schema" : "dict");
	if (has_schema)
		crewai_set(notes, state, "json_schema", wl_json_copy(schema));
	if (defaults)
		crewai_set(notes, state, "default", wl_steal(defaults));
}

static void note_rest(struct flow_writer *flow, const struct wl_json *document)
{
	const struct crewai_place schema = { .parent = &flow->at, .key = "output_schema" };
	struct crewai_notes *notes = &flow->crews->notes;
	crewai_note(notes, &flow->at, CREWAI_IGNORED, "the nodes' places on the canvas are laid out anew by an import");
	if (wl_json_count(wl_json_get(document, "output_schema")))
		crewai_note(notes, &schema, CREWAI_CHANGED, "CrewAI has no place for it");
	for (int i = 0; i < flow->node_count; i++) {
		const struct crewai_place nodes = { .parent = &flow->at, .key = "nodes" },
					  at = { .parent = &nodes, .key = flow->nodes[i].id };
		if (flow->nodes[i].role == ROLE_NOTE)
			crewai_note(notes, &at, CREWAI_IGNORED, "notes have no place in CrewAI");
		else if (flow->nodes[i].role == ROLE_METHOD && strcmp(flow->nodes[i].id, flow->nodes[i].key) != 0)
			crewai_note(notes, &at, CREWAI_CHANGED, "is the method %s", flow->nodes[i].key);
		if (flow->nodes[i].role == ROLE_OUTPUT)
			crewai_note(notes, &at, CREWAI_CHANGED, "a flow of CrewAI gives what its last method gives");
	}
}

static bool read_graph(struct flow_writer *flow, const struct wl_json *document)
{
	const struct wl_json *nodes = wl_json_get(document, "nodes"), *edges = wl_json_get(document, "edges");
	flow->nodes = calloc(wl_json_count(nodes) + 1, sizeof(*flow->nodes));
	flow->edges = calloc(wl_json_count(edges) + 1, sizeof(*flow->edges));
	if (!flow->nodes || !flow->edges)
		return false;
	for (const struct wl_json *one = wl_json_first(nodes); one; one = wl_json_next(one))
		flow->nodes[flow->node_count++] = (struct node){ .id = wl_json_get_string(one, "id", ""),
								 .type = wl_json_get_string(one, "type", ""),
								 .parent = wl_json_get_string(one, "parentId", ""),
								 .json = one,
								 .data = wl_json_get(one, "data") };
	for (const struct wl_json *one = wl_json_first(edges); one; one = wl_json_next(one)) {
		const struct edge edge = { find(flow, wl_json_get_string(one, "source", "")),
					   find(flow, wl_json_get_string(one, "target", "")),
					   wl_json_get_string(one, "sourceHandle", "") };
		if (edge.from >= 0 && edge.to >= 0)
			flow->edges[flow->edge_count++] = edge;
	}
	find_roles(flow);
	make_keys(flow);
	return true;
}

static void write_document(struct flow_writer *flow, const struct wl_json *bundle)
{
	const struct wl_json *source = wl_json_get(bundle, "document");
	const char *description = wl_json_get_string(bundle, "description", "");
	_wl_json_ struct wl_json *document = wl_json_object();
	flow->crews->notes.no_memory |= !document || !read_graph(flow, source);
	if (flow->crews->notes.no_memory)
		return;
	put_text(flow, document, "schema", "crewai.flow/v1");
	put_text(flow, document, "name", wl_json_get_string(bundle, "name", "Flow"));
	if (*description)
		put_text(flow, document, "description", description);
	put_state(flow, wl_json_get(source, "input_schema"), document);
	flow->methods = crewai_child(&flow->crews->notes, document, "methods", false);
	for (int i = 0; i < flow->node_count && flow->methods; i++)
		if (flow->nodes[i].role == ROLE_METHOD)
			put_method(flow, i);
	note_rest(flow, source);
	crewai_write_yaml(flow->crews, FILE_NAME, document);
}

int wl_crewai_export_flow(const struct wl_json *bundle, struct wl_json **ret_export, struct wl_error *err)
{
	struct crewai_writer *crews = calloc(1, sizeof(*crews));
	struct flow_writer flow = { .crews = crews, .at = { .file = FILE_NAME }, .loop = -1 };
	if (!crews)
		return wl_fail(err, ENOMEM, "no memory to write a flow");
	_wl_json_ struct wl_json *made = wl_json_object();
	crews->bundle = bundle;
	crews->files = wl_json_object();
	crews->notes.findings = wl_json_array();
	write_document(&flow, bundle);
	crewai_end_notes(&crews->notes);
	crewai_set(&crews->notes, made, "files", wl_steal(crews->files));
	crewai_set(&crews->notes, made, "findings", wl_steal(crews->notes.findings));
	bool failed = crews->notes.no_memory;
	free(flow.nodes);
	free(flow.edges);
	free(crews);
	if (failed)
		return wl_fail(err, ENOMEM, "no memory to write a flow");
	*ret_export = wl_steal(made);
	return 0;
}
