/* Actions of a flow's methods as nodes, and the texts with ${...} in them. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 50
#define TEMPLATE_DEPTH 16

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static const char *find_output(void *self, const char *name, bool *ret_model)
{
	const struct crewai_flow *flow = self;
	for (int i = flow->step_count - 1; i >= 0; i--)
		if (strcmp(flow->steps[i].name, name) == 0) {
			*ret_model = flow->steps[i].model;
			return flow->steps[i].id;
		}
	const struct crewai_method *method = crewai_flow_method(flow, name);
	if (!method || !flow->before[(method - flow->methods) * flow->count + flow->current])
		return NULL;
	*ret_model = method->model;
	return method->key;
}

static struct crewai_names names_of(struct crewai_flow *flow)
{
	return (struct crewai_names){ .find = find_output, .self = flow, .state = flow->state, .item = flow->in_each };
}

/* A whole expression, with or without ${ } around it, as {{ jq }}. NULL with a finding. */
static char *whole_expression(struct crewai_flow *flow, const struct crewai_place *place, const char *text)
{
	const struct crewai_names names = names_of(flow);
	struct wl_error err = { 0 };
	_wl_free_ char *jq = NULL;
	char *made = NULL;
	size_t length = strlen(text), start = strspn(text, " \t\r\n");
	while (length > start && strchr(" \t\r\n", text[length - 1]))
		length--;
	if (length - start > 3 && strncmp(text + start, "${", 2) == 0 && text[length - 1] == '}') {
		start += 2;
		length--;
	}
	if (crewai_cel_to_jq(text + start, length - start, &names, &jq, &err) < 0) {
		crewai_note(&flow->reader->notes, place, CREWAI_ATTENTION, "this expression is not understood: %.200s",
			    err.text);
		return NULL;
	}
	if (asprintf(&made, "{{ %s }}", jq) < 0) {
		flow->reader->notes.no_memory = true;
		return NULL;
	}
	return made;
}

char *crewai_plain_text(const char *text)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	wl_buffer_append(&out, "", 0);
	for (; *text; text++) {
		if (strncmp(text, "{{", 2) != 0) {
			wl_buffer_append_char(&out, *text);
			continue;
		}
		wl_buffer_append_text(&out, "{{ \"{{\" }}");
		text++;
	}
	return out.failed ? NULL : out.data ? wl_buffer_steal(&out) : strdup("");
}

/* Where the expression that begins behind ${ ends: its closing brace, outside of texts and inner braces. 0: nowhere. */
static size_t expression_length(const char *text)
{
	int depth = 1;
	for (size_t i = 0; text[i]; i++) {
		if (text[i] == '"' || text[i] == '\'') {
			char quote = text[i++];
			for (; text[i] && text[i] != quote; i++)
				if (text[i] == '\\' && text[i + 1])
					i++;
			if (!text[i])
				return 0;
		} else if (text[i] == '{') {
			depth++;
		} else if (text[i] == '}' && --depth == 0) {
			return i;
		}
	}
	return 0;
}

static bool append_part(struct crewai_flow *flow, const struct crewai_place *place, const char *text, size_t length,
			struct wl_buffer *out)
{
	const struct crewai_names names = names_of(flow);
	struct wl_error err = { 0 };
	_wl_free_ char *jq = NULL;
	if (length == 0 || crewai_cel_to_jq(text, length, &names, &jq, &err) < 0) {
		crewai_note(&flow->reader->notes, place, CREWAI_ATTENTION, "this expression is not understood: %.200s",
			    length ? err.text : "it is not closed, or empty");
		return false;
	}
	wl_buffer_appendf(out, "{{ %s }}", jq);
	return true;
}

static void append_plain(struct wl_buffer *out, const char *text, size_t length)
{
	_wl_free_ char *piece = strndup(text, length);
	_wl_free_ char *plain = piece ? crewai_plain_text(piece) : NULL;
	wl_buffer_append_text(out, plain ? plain : "");
}

/* A text with ${...} in it as one with {{...}}; what is not understood stays as it was, with a finding. */
static struct wl_json *template_text(struct crewai_flow *flow, const struct crewai_place *place, const char *text)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	size_t start = strspn(text, " \t\r\n"), length = strlen(text);
	while (length > start && strchr(" \t\r\n", text[length - 1]))
		length--;
	/* one expression alone keeps its value's type, blanks around it or not */
	if (strncmp(text + start, "${", 2) == 0) {
		size_t inside = expression_length(text + start + 2);
		if (inside && start + 2 + inside + 1 == length)
			text += start;
		if (inside && start + 2 + inside + 1 == length)
			return append_part(flow, place, text + 2, inside, &out) ? wl_json_new_string(out.data)
										: wl_json_new_string(text);
	}
	for (const char *at = text; *at;) {
		const char *begin = strstr(at, "${");
		append_plain(&out, at, begin ? (size_t)(begin - at) : strlen(at));
		if (!begin)
			break;
		size_t inside = expression_length(begin + 2);
		if (!append_part(flow, place, begin + 2, inside, &out))
			return wl_json_new_string(text);
		at = begin + 2 + inside + 1;
	}
	return out.failed ? NULL : wl_json_new_string(out.data ? out.data : "");
}

static struct wl_json *template_value(struct crewai_flow *flow, const struct crewai_place *place,
				      const struct wl_json *value, int depth)
{
	bool array = wl_json_is(value, WL_JSON_ARRAY);
	int index = 0;
	if (depth > TEMPLATE_DEPTH) {
		crewai_fault(flow->reader, place, "is nested too deep");
		return wl_json_new_null();
	}
	if (wl_json_is(value, WL_JSON_STRING))
		return template_text(flow, place, wl_json_string(value, ""));
	if (!array && !wl_json_is(value, WL_JSON_OBJECT))
		return wl_json_copy(value);
	struct wl_json *made = array ? wl_json_array() : wl_json_object();
	for (const struct wl_json *one = wl_json_first(value); one && made; one = wl_json_next(one), index++) {
		const struct crewai_place at = { .parent = place,
						 .key = array ? NULL : wl_json_key(one),
						 .index = index };
		struct wl_json *child = template_value(flow, &at, one, depth + 1);
		if (array)
			crewai_append(&flow->reader->notes, made, child);
		else
			crewai_set(&flow->reader->notes, made, wl_json_key(one), child);
	}
	return made;
}

static void put_input(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *value,
		      struct wl_json *data)
{
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		crewai_fault(flow->reader, place, "is not a mapping");
		return;
	}
	crewai_set(&flow->reader->notes, data, "input", template_value(flow, place, value, 0));
}

/* ---- programs --------------------------------------------------------------------------------------------------- */

/* What a script sees of the flow: the outputs that are there before it. */
static void put_script_input(struct crewai_flow *flow, struct wl_json *data)
{
	struct crewai_notes *notes = &flow->reader->notes;
	_wl_buffer_ struct wl_buffer text = { 0 };
	struct wl_json *input = crewai_child(notes, data, "input", false);
	wl_buffer_appendf(&text, "{{ %s }}", flow->state);
	crewai_set(notes, input, "state", text.data ? wl_json_new_string(text.data) : NULL);
	struct wl_json *outputs = crewai_child(notes, input, "outputs", false);
	for (int i = 0; i < flow->count; i++) {
		char value[CREWAI_ID_TEXT + 16];
		if (!flow->before[i * flow->count + flow->current] || !flow->methods[i].reached)
			continue;
		(void)snprintf(value, sizeof(value), "{{ .nodes.%s }}", flow->methods[i].key);
		crewai_set(notes, outputs, flow->methods[i].key, wl_json_new_string(value));
	}
	for (int i = 0; i < flow->step_count; i++) {
		char value[CREWAI_ID_TEXT + 16];
		(void)snprintf(value, sizeof(value), "{{ .nodes.%s }}", flow->steps[i].id);
		crewai_set(notes, outputs, flow->steps[i].name, wl_json_new_string(value));
	}
	if (flow->in_each)
		crewai_set(notes, input, "item", wl_json_new_string("{{ .item }}"));
}

static bool is_blank_line(const char *line)
{
	return line[strspn(line, " \t\r")] == '\n' || line[strspn(line, " \t\r")] == '\0';
}

static void put_script(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *action,
		       struct wl_json *data)
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct crewai_place code_at = { .parent = place, .key = "code" };
	const char *code = wl_json_get_string(action, "code", NULL);
	_wl_buffer_ struct wl_buffer source = { 0 };
	if (!code) {
		crewai_fault(flow->reader, &code_at, "is not a text");
		return;
	}
	wl_buffer_append_text(&source, CREWAI_SCRIPT_HEAD);
	for (const char *line = code; *line;) {
		size_t length = strcspn(line, "\n");
		wl_buffer_append_text(&source, is_blank_line(line) ? "" : "    ");
		wl_buffer_append(&source, line, is_blank_line(line) ? 0 : length);
		wl_buffer_append_char(&source, '\n');
		line += length + (line[length] == '\n');
	}
	if (!*code)
		wl_buffer_append_text(&source, "    pass\n");
	wl_buffer_append_text(&source, CREWAI_SCRIPT_TAIL);
	crewai_set(notes, data, "language", wl_json_new_string("python"));
	crewai_set(notes, data, "source", source.failed ? NULL : wl_json_new_string(source.data));
	put_script_input(flow, data);
	crewai_note(notes, place, strstr(code, "state[") || strstr(code, "state.") ? CREWAI_ATTENTION : CREWAI_CHANGED,
		    "runs in a sandbox and sees values: what it writes into the state others do not see");
	if (strstr(code, "\"\"\"") || strstr(code, "'''") || strstr(code, "\\\n"))
		crewai_note(notes, &code_at, CREWAI_CHANGED, "texts over several lines are indented with the rest");
}

/* A program of the project: a tool of the tenant's when one has its name, else a node that says what is missing. */
static void put_reference(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *action,
			  struct wl_json *data, struct wl_json *node)
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct crewai_place with_at = { .parent = place, .key = "with" },
				  ref_at = { .parent = place, .key = "ref" };
	const struct wl_json *with = wl_json_get(action, "with");
	const char *ref = wl_json_get_string(action, "ref", NULL);
	const char *id = ref ? crewai_find_tool(flow->reader->context->directory, ref) : NULL;
	_wl_buffer_ struct wl_buffer source = { 0 };
	if (!ref || !*ref) {
		crewai_fault(flow->reader, &ref_at, "is not the name of a program");
		return;
	}
	if (id) {
		crewai_set(notes, node, "type", wl_json_new_string("tool"));
		crewai_set(notes, data, "tool_id", wl_json_new_string(id));
	} else {
		wl_buffer_append_text(&source, "raise SystemExit(");
		_wl_buffer_ struct wl_buffer message = { 0 };
		wl_buffer_appendf(&message, "put the program of %.200s here, or make it a tool", ref);
		wl_buffer_append_json_string(&source, message.data ? message.data : "", message.length);
		wl_buffer_append_text(&source, ")\n");
		crewai_set(notes, data, "language", wl_json_new_string("python"));
		crewai_set(notes, data, "source", source.failed ? NULL : wl_json_new_string(source.data));
		crewai_note(notes, &ref_at, CREWAI_ATTENTION,
			    "there is no tool named '%.80s': write the program into the node, or make the tool", ref);
	}
	if (with && !wl_json_is(with, WL_JSON_NULL))
		put_input(flow, &with_at, with, data);
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* The members of an inline agent that are the action's own. */
static struct wl_json *agent_definition(struct crewai_flow *flow, const struct wl_json *with)
{
	struct wl_json *made = wl_json_object();
	for (const struct wl_json *one = wl_json_first(with); one && made; one = wl_json_next(one))
		if (strcmp(wl_json_key(one), "input") != 0)
			crewai_set(&flow->reader->notes, made, wl_json_key(one), wl_json_copy(one));
	return made;
}

static void put_agent(struct crewai_flow *flow, const struct crewai_place *place, const char *name,
		      const struct wl_json *action, struct wl_json *data)
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct crewai_place with_at = { .parent = place, .key = "with" },
				  input_at = { .parent = &with_at, .key = "input" };
	const struct wl_json *with = wl_json_get(action, "with");
	const char *input = wl_json_get_string(with, "input", NULL);
	if (!wl_json_is(with, WL_JSON_OBJECT) || !input || !*input) {
		crewai_fault(flow->reader, wl_json_is(with, WL_JSON_OBJECT) ? &input_at : &with_at,
			     wl_json_is(with, WL_JSON_OBJECT) ? "is not a text" : "is not a mapping");
		return;
	}
	_wl_json_ struct wl_json *definition = agent_definition(flow, with);
	if (!definition) {
		notes->no_memory = true;
		return;
	}
	struct wl_json *body = crewai_read_agent(flow->reader, &with_at, name, definition, NULL);
	if (body)
		crewai_set(notes, data, "agent_id", wl_json_new_string(wl_json_get_string(body, "id", "")));
	crewai_set(notes, data, "task", template_text(flow, &input_at, input));
}

static void put_crew(struct crewai_flow *flow, const struct crewai_place *place, const char *name,
		     const struct wl_json *action, struct wl_json *data)
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct crewai_place with_at = { .parent = place, .key = "with" },
				  inputs_at = { .parent = place, .key = "inputs" };
	const struct wl_json *inputs = NULL, *given = wl_json_get(action, "inputs");
	struct wl_json *body =
		crewai_read_inline_crew(flow->reader, &with_at, name, wl_json_get(action, "with"), &inputs);
	if (!body)
		return;
	crewai_set(notes, data, "crew_id", wl_json_new_string(wl_json_get_string(body, "id", "")));
	const struct crewai_place own_at = { .parent = &with_at, .key = "inputs" };
	if (!inputs && !given)
		return;
	_wl_json_ struct wl_json *all = wl_json_object();
	for (const struct wl_json *one = wl_json_first(inputs); one && all; one = wl_json_next(one))
		crewai_set(notes, all, wl_json_key(one), wl_json_copy(one));
	for (const struct wl_json *one = wl_json_is(given, WL_JSON_OBJECT) ? wl_json_first(given) : NULL; one && all;
	     one = wl_json_next(one))
		crewai_set(notes, all, wl_json_key(one), wl_json_copy(one));
	if (all)
		put_input(flow, given ? &inputs_at : &own_at, all, data);
}

/* ---- each ------------------------------------------------------------------------------------------------------- */

static void put_atomic(struct crewai_flow *flow, const struct crewai_place *place, const char *id, const char *parent,
		       const struct wl_json *action, const char *call, const char *label);

/* A step that runs only if: a condition before it. `ends` becomes what the next step follows. */
static void put_step(struct crewai_flow *flow, const struct crewai_place *place, const struct crewai_method *loop,
		     const struct wl_json *step, struct crewai_end ends[2])
{
	struct crewai_notes *notes = &flow->reader->notes;
	const struct crewai_place if_at = { .parent = place, .key = "if" },
				  action_at = { .parent = place, .key = "action" };
	struct crewai_step *made = &flow->steps[flow->step_count];
	const struct wl_json *action = wl_json_get(step, "action");
	const char *condition = wl_json_get_string(step, "if", NULL), *call = wl_json_get_string(action, "call", "");
	struct crewai_end skipped = { 0 };
	crewai_flow_id(flow, loop->key, made->name, made->id);
	if (condition) {
		char id[CREWAI_ID_TEXT];
		crewai_flow_id(flow, made->id, "if", id);
		_wl_free_ char *jq = whole_expression(flow, &if_at, condition);
		struct wl_json *data = crewai_flow_node(flow, id, "condition", loop->key);
		crewai_set(notes, data, "if", jq ? wl_json_new_string(jq) : wl_json_new_bool(true));
		for (int i = 0; i < 2; i++)
			if (*ends[i].node)
				crewai_flow_edge(flow, &ends[i], id);
		memset(ends, 0, 2 * sizeof(*ends));
		(void)snprintf(ends[0].node, sizeof(ends[0].node), "%s", id);
		(void)snprintf(ends[0].handle, sizeof(ends[0].handle), "true");
		skipped = ends[0];
		(void)snprintf(skipped.handle, sizeof(skipped.handle), "false");
	}
	put_atomic(flow, &action_at, made->id, loop->key, action, call, NULL);
	for (int i = 0; i < 2; i++)
		if (*ends[i].node)
			crewai_flow_edge(flow, &ends[i], made->id);
	memset(ends, 0, 2 * sizeof(*ends));
	(void)snprintf(ends[0].node, sizeof(ends[0].node), "%s", made->id);
	ends[1] = skipped;
	made->model = strcmp(call, "crew") == 0 || strcmp(call, "agent") == 0;
	flow->step_count++;
}

/* The last step may have been left out: the item's result is that of the last one that ran. */
static void put_last(struct crewai_flow *flow, const struct crewai_method *loop, struct crewai_end ends[2])
{
	_wl_buffer_ struct wl_buffer value = { 0 };
	char id[CREWAI_ID_TEXT];
	crewai_flow_id(flow, loop->key, "last", id);
	struct wl_json *data = crewai_flow_node(flow, id, "transform", loop->key);
	wl_buffer_append_text(&value, "{{ [");
	for (int i = 0; i < flow->step_count; i++)
		wl_buffer_appendf(&value, "%s.nodes.%s", i ? ", " : "", flow->steps[i].id);
	wl_buffer_append_text(&value, "] | map(select(. != null)) | last }}");
	crewai_set(&flow->reader->notes, data, "value", value.failed ? NULL : wl_json_new_string(value.data));
	for (int i = 0; i < 2; i++)
		crewai_flow_edge(flow, &ends[i], id);
}

/* Whether a step is one; faults tell why not. */
static bool check_step(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *step)
{
	static const char *const known[] = { "name", "if", "action" };
	const char *name = wl_json_get_string(step, "name", "");
	const struct wl_json *condition = wl_json_get(step, "if");
	bool right = wl_json_is(step, WL_JSON_OBJECT) && *name && strlen(name) <= 60 &&
		     wl_json_is(wl_json_get(step, "action"), WL_JSON_OBJECT) &&
		     (!condition || wl_json_is(condition, WL_JSON_STRING) || wl_json_is(condition, WL_JSON_NULL));
	for (int i = 0; i < flow->step_count && right; i++)
		right = strcmp(flow->steps[i].name, name) != 0;
	if (!right)
		crewai_fault(flow->reader, place, "is no step with a name of its own, an action and perhaps an if");
	for (const struct wl_json *one = wl_json_first(step); one && right; one = wl_json_next(one)) {
		const struct crewai_place at = { .parent = place, .key = wl_json_key(one) };
		bool is_known = false;
		for (size_t i = 0; i < WL_COUNT_OF(known); i++)
			is_known |= strcmp(known[i], wl_json_key(one)) == 0;
		if (!is_known)
			crewai_note(&flow->reader->notes, &at, CREWAI_ATTENTION,
				    "is no key that is known here; it is left out");
	}
	return right;
}

static void put_steps(struct crewai_flow *flow, const struct crewai_place *place, const struct crewai_method *loop,
		      const struct wl_json *steps)
{
	struct crewai_place at = { .parent = place };
	struct crewai_end ends[2] = { 0 };
	flow->in_each = true;
	for (const struct wl_json *one = wl_json_first(steps); one; one = wl_json_next(one), at.index++) {
		if (!check_step(flow, &at, one))
			break;
		flow->steps[flow->step_count].name = wl_json_get_string(one, "name", "");
		put_step(flow, &at, loop, one, ends);
	}
	if (*ends[1].node)
		put_last(flow, loop, ends);
	flow->in_each = false;
	flow->step_count = 0;
}

static void put_each(struct crewai_flow *flow, const struct crewai_method *method, const struct crewai_place *place,
		     struct wl_json *data)
{
	const struct crewai_place in_at = { .parent = place, .key = "in" }, do_at = { .parent = place, .key = "do" };
	const struct wl_json *steps = wl_json_get(method->action, "do");
	const char *items = wl_json_get_string(method->action, "in", NULL);
	size_t count = wl_json_count(steps);
	if (!items || !wl_json_is(steps, WL_JSON_ARRAY) || count < 1 || count > STEPS_MAX) {
		crewai_fault(flow->reader, items ? &do_at : &in_at,
			     items ? "is no list of 1 to 50 steps" : "is not an expression");
		return;
	}
	_wl_free_ char *jq = whole_expression(flow, &in_at, items);
	crewai_set(&flow->reader->notes, data, "items", jq ? wl_json_new_string(jq) : wl_json_array());
	flow->steps = calloc(count, sizeof(*flow->steps));
	flow->reader->notes.no_memory |= !flow->steps;
	if (flow->steps)
		put_steps(flow, &do_at, method, steps);
	free(flow->steps);
	flow->steps = NULL;
}

/* ---- one action ------------------------------------------------------------------------------------------------- */

static void note_unknown(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *action,
			 const char *const *known)
{
	for (const struct wl_json *one = wl_json_first(action); one; one = wl_json_next(one)) {
		const struct crewai_place at = { .parent = place, .key = wl_json_key(one) };
		bool is_known = strcmp(wl_json_key(one), "call") == 0;
		for (size_t i = 0; known[i]; i++)
			is_known |= strcmp(known[i], wl_json_key(one)) == 0;
		if (!is_known)
			crewai_note(&flow->reader->notes, &at, CREWAI_ATTENTION,
				    "is no key that is known here; it is left out");
	}
}

static void put_expression(struct crewai_flow *flow, const struct crewai_place *place, const struct wl_json *action,
			   struct wl_json *data)
{
	const struct crewai_place at = { .parent = place, .key = "expr" };
	const char *text = wl_json_get_string(action, "expr", NULL);
	if (!text) {
		crewai_fault(flow->reader, &at, "is not an expression");
		return;
	}
	_wl_free_ char *jq = whole_expression(flow, &at, text);
	crewai_set(&flow->reader->notes, data, "value", jq ? wl_json_new_string(jq) : wl_json_new_null());
}

static const struct {
	const char *call, *type, *known[4];
} actions[] = {
	{ "code", "code", { "ref", "with" } },	      { "tool", "code", { "ref", "with" } },
	{ "script", "code", { "code", "language" } }, { "expression", "transform", { "expr" } },
	{ "crew", "crew", { "with", "inputs" } },     { "agent", "agent", { "with" } },
	{ "each", "loop", { "in", "do" } },
};

static void put_label(struct crewai_flow *flow, const struct crewai_place *place, const char *label,
		      struct wl_json *data)
{
	if (!label || !*label)
		return;
	if (strlen(label) > 200)
		crewai_note(&flow->reader->notes, place, CREWAI_CHANGED,
			    "a description that is longer than a label is left out");
	else
		crewai_set(&flow->reader->notes, data, "label", wl_json_new_string(label));
}

static void put_atomic(struct crewai_flow *flow, const struct crewai_place *place, const char *id, const char *parent,
		       const struct wl_json *action, const char *call, const char *label)
{
	size_t kind = 0;
	while (kind < WL_COUNT_OF(actions) && strcmp(actions[kind].call, call) != 0)
		kind++;
	const struct crewai_place call_at = { .parent = place, .key = "call" };
	if (kind == WL_COUNT_OF(actions) || (parent && strcmp(call, "each") == 0)) {
		crewai_fault(flow->reader, &call_at, "is no action that is known here");
		return;
	}
	note_unknown(flow, place, action, actions[kind].known);
	struct wl_json *data = crewai_flow_node(flow, id, actions[kind].type, parent);
	size_t last = wl_json_count(flow->nodes);
	struct wl_json *node = (struct wl_json *)wl_json_at(flow->nodes, last ? last - 1 : 0); /* just made */
	if (!data)
		return;
	put_label(flow, place, label, data);
	if (strcmp(call, "code") == 0 || strcmp(call, "tool") == 0)
		put_reference(flow, place, action, data, node);
	else if (strcmp(call, "script") == 0)
		put_script(flow, place, action, data);
	else if (strcmp(call, "expression") == 0)
		put_expression(flow, place, action, data);
	else if (strcmp(call, "agent") == 0)
		put_agent(flow, place, id, action, data);
	else if (strcmp(call, "crew") == 0)
		put_crew(flow, place, id, action, data);
	else
		put_each(flow, crewai_flow_method(flow, id), place, data);
}

void crewai_flow_action(struct crewai_flow *flow, struct crewai_method *method, const char *label)
{
	const struct crewai_place at = { .parent = &method->at, .key = "do" };
	put_atomic(flow, &at, method->key, NULL, method->action, method->call, label);
}
