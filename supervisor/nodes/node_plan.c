#include "lib/base/cleanup.h"
#include "supervisor/nodes/node.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

/* Copy a member that may hold expressions into the template. 0 also when it is absent. */
static int copy_member(struct wl_json *template, const struct wl_json *data, const char *name)
{
	const struct wl_json *member = wl_json_get(data, name);
	return member ? wl_json_set(template, name, wl_json_copy(member)) : 0;
}

static int condition_template(const struct wl_json *data, struct wl_json **ret_template)
{
	*ret_template = wl_json_copy(wl_json_get(data, "if"));
	return *ret_template ? 0 : -ENOMEM;
}

static int switch_template(const struct wl_json *data, struct wl_json **ret_template)
{
	_wl_json_ struct wl_json *template = wl_json_object();
	struct wl_json *cases = wl_json_array();
	int failed = copy_member(template, data, "value");
	for (const struct wl_json *one = wl_json_first(wl_json_get(data, "cases")); one; one = wl_json_next(one)) {
		struct wl_json *copy = wl_json_object();
		failed |= wl_json_set_string(copy, "name", wl_json_get_string(one, "name", ""));
		failed |= copy_member(copy, one, "equals");
		failed |= copy_member(copy, one, "when");
		failed |= wl_json_append(cases, copy);
	}
	failed |= wl_json_set(template, "cases", cases);
	if (failed)
		return -ENOMEM;
	*ret_template = wl_steal(template);
	return 0;
}

static int http_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	static const char *const members[] = { "method", "url", "headers", "query", "body" };
	_wl_json_ struct wl_json *template = wl_json_object();
	for (size_t i = 0; i < WL_COUNT_OF(members); i++)
		if (copy_member(template, data, members[i]) < 0)
			return -ENOMEM;
	const struct wl_json *status = wl_json_first(wl_json_get(data, "expect"));
	for (; status && plan->expect_count < (int)WL_COUNT_OF(plan->expect); status = wl_json_next(status))
		plan->expect[plan->expect_count++] = (int)wl_json_number(status, 0);
	*ret_template = wl_steal(template);
	return *ret_template ? 0 : -ENOMEM;
}

static uint32_t limit_of(const struct wl_json *limits, const char *name, double factor)
{
	double value = wl_json_get_number(limits, name, 0) * factor;
	return value > 0 && value < 1e9 ? (uint32_t)value : 0;
}

/* A member that may hold expressions is the whole template; none when it is absent. */
static int member_template(const struct wl_json *data, const char *name, struct wl_json **ret_template)
{
	const struct wl_json *value = wl_json_get(data, name);
	*ret_template = value ? wl_json_copy(value) : NULL;
	return value && !*ret_template ? -ENOMEM : 0;
}

int node_plan_program(const struct wl_json *data, struct node_plan *plan)
{
	static const char *const languages[] = {
		[NODE_PYTHON] = "python", [NODE_JAVASCRIPT] = "javascript", [NODE_BASH] = "bash"
	};
	const char *language = wl_json_get_string(data, "language", "");
	int found = -1;
	for (int i = 0; i < (int)WL_COUNT_OF(languages); i++)
		if (strcmp(languages[i], language) == 0)
			found = i;
	const char *source = wl_json_get_string(data, "source", NULL);
	if (found < 0 || !source)
		return -EINVAL;
	plan->language = (enum node_language)found;
	plan->source = strdup(source);
	return plan->source ? 0 : -ENOMEM;
}

int node_plan_sandbox(const struct wl_json *data, struct node_plan *plan)
{
	const char *profile = wl_json_get_string(data, "profile", "default");
	/* both words stand for the profile that the sandbox takes when none is named */
	bool standard = strcmp(profile, "default") == 0 || strcmp(profile, SANDBOX_PROFILE_DEFAULT) == 0;
	plan->profile = standard ? NULL : strdup(profile);
	if (!standard && !plan->profile)
		return -ENOMEM;
	const struct wl_json *limits = wl_json_get(data, "limits");
	plan->limits.memory_mb = limit_of(limits, "memory_mb", 1);
	plan->limits.cpu_milli = limit_of(limits, "cpu", 1000);
	plan->limits.pids = limit_of(limits, "pids", 1);
	plan->limits.output_kb = limit_of(limits, "output_kb", 1);
	return 0;
}

/* Copies of texts that a node may do without. */
static int copy_text(const struct wl_json *data, const char *name, char **ret_text)
{
	const char *text = wl_json_get_string(data, name, NULL);
	*ret_text = text ? strdup(text) : NULL;
	return text && !*ret_text ? -ENOMEM : 0;
}

/* `models`: true, or an object with what the program may ask for. */
static int read_models(const struct wl_json *models, struct node_plan *plan)
{
	bool object = wl_json_is(models, WL_JSON_OBJECT);
	plan->models.wanted = object || wl_json_bool(models, false);
	plan->models.max_calls = (int)wl_json_get_number(models, "max_calls", 0);
	if (!object)
		return 0;
	int result = copy_text(models, "provider_id", &plan->models.provider_id);
	return result < 0 ? result : copy_text(models, "model", &plan->models.model);
}

int node_plan_code(const struct wl_json *data, struct node_plan *plan)
{
	int result = node_plan_program(data, plan);
	plan->parse_text = strcmp(wl_json_get_string(data, "parse", "json"), "text") == 0;
	result = result < 0 ? result : node_plan_sandbox(data, plan);
	return result < 0 ? result : read_models(wl_json_get(data, "models"), plan);
}

static int code_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	int result = node_plan_code(data, plan);
	return result < 0 ? result : member_template(data, "input", ret_template);
}

static void copy_id(const struct wl_json *data, const char *name, char ret_id[WL_UUID_TEXT])
{
	(void)snprintf(ret_id, WL_UUID_TEXT, "%s", wl_json_get_string(data, name, ""));
	for (char *at = ret_id; *at; at++)
		*at = (char)tolower((unsigned char)*at);
}

static int tool_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	copy_id(data, "tool_id", plan->tool_id);
	return member_template(data, "input", ret_template);
}

static int copy_schema(const struct wl_json *data, struct node_plan *plan)
{
	const struct wl_json *schema = wl_json_get(data, "schema");
	bool empty = !wl_json_is(schema, WL_JSON_OBJECT) || wl_json_count(schema) == 0;
	plan->schema_json = empty ? NULL : wl_json_print(schema);
	return !empty && !plan->schema_json ? -ENOMEM : 0;
}

static int copy_stops(const struct wl_json *stops, struct node_plan *plan)
{
	plan->stops = calloc(wl_json_count(stops) + 1, sizeof(*plan->stops));
	if (!plan->stops)
		return -ENOMEM;
	for (const struct wl_json *one = wl_json_first(stops); one; one = wl_json_next(one)) {
		plan->stops[plan->stop_count] = strdup(wl_json_string(one, ""));
		if (!plan->stops[plan->stop_count])
			return -ENOMEM;
		plan->stop_count++;
	}
	return 0;
}

static int object_template(const struct wl_json *data, const char *const *members, size_t count,
			   struct wl_json **ret_template)
{
	_wl_json_ struct wl_json *template = wl_json_object();
	for (size_t i = 0; i < count; i++)
		if (copy_member(template, data, members[i]) < 0)
			return -ENOMEM;
	*ret_template = wl_steal(template);
	return *ret_template ? 0 : -ENOMEM;
}

static int llm_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	static const char *const members[] = { "system", "prompt", "images" };
	plan->temperature = wl_json_get_number(data, "temperature", NAN);
	plan->max_tokens = (int)wl_json_get_number(data, "max_tokens", 0);
	if (copy_text(data, "provider_id", &plan->provider_id) < 0 || copy_text(data, "model", &plan->model) < 0 ||
	    copy_schema(data, plan) < 0 || copy_stops(wl_json_get(data, "stop"), plan) < 0)
		return -ENOMEM;
	return object_template(data, members, WL_COUNT_OF(members), ret_template);
}

static int agent_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	static const char *const members[] = { "task", "expected_output", "input" };
	copy_id(data, "agent_id", plan->resource_id);
	return copy_schema(data, plan) < 0 ? -ENOMEM
					   : object_template(data, members, WL_COUNT_OF(members), ret_template);
}

static int crew_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	static const char *const members[] = { "input", "context" };
	copy_id(data, "crew_id", plan->resource_id);
	plan->has_context = wl_json_get(data, "context") != NULL;
	return plan->has_context ? object_template(data, members, WL_COUNT_OF(members), ret_template)
				 : member_template(data, "input", ret_template);
}

static int loop_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	plan->parallel = (int)wl_json_get_number(data, "parallel", 1);
	plan->max_items = (int)wl_json_get_number(data, "max_items", 1000);
	return member_template(data, "items", ret_template);
}

static int subflow_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	(void)snprintf(plan->flow_id, sizeof(plan->flow_id), "%s", wl_json_get_string(data, "flow_id", ""));
	plan->version = (int)wl_json_get_number(data, "version", 0);
	return member_template(data, "input", ret_template);
}

static int wait_template(const struct wl_json *data, struct wl_json **ret_template)
{
	_wl_json_ struct wl_json *template = wl_json_object();
	if (copy_member(template, data, "seconds") < 0 || copy_member(template, data, "until") < 0)
		return -ENOMEM;
	*ret_template = wl_steal(template);
	return 0;
}

static int approval_template(const struct wl_json *data, struct node_plan *plan, struct wl_json **ret_template)
{
	const struct wl_json *roles = wl_json_get(data, "roles");
	plan->roles_json = roles ? wl_json_print(roles) : strdup("[\"admin\",\"editor\"]");
	plan->expires_s = (int)wl_json_get_number(data, "expires_s", 604800);
	return plan->roles_json ? member_template(data, "message", ret_template) : -ENOMEM;
}

/* The handle that a pinned output stands for: of a switch only cases that compare with a plain value can tell. */
static const char *pinned_handle(const struct wl_flow_node *node, const struct wl_json *data,
				 const struct wl_json *pinned)
{
	if (node->kind == WL_KIND_CONDITION)
		return wl_json_is(pinned, WL_JSON_NULL) || !wl_json_bool(pinned, true) ? "false" : "true";
	if (node->kind == WL_KIND_APPROVAL)
		return wl_json_get_bool(pinned, "approved", false) ? "approved" : "rejected";
	if (node->kind != WL_KIND_SWITCH)
		return NULL;
	int index = 0;
	const struct wl_json *one = wl_json_first(wl_json_get(data, "cases"));
	for (; one && index < node->case_count; one = wl_json_next(one), index++)
		if (wl_json_get(one, "equals") && wl_json_equal(wl_json_get(one, "equals"), pinned))
			return node->cases[index];
	return "default";
}

static int keep_pinned(const struct wl_flow_node *node, const struct wl_json *data, struct node_plan *plan)
{
	const struct wl_json *pinned = wl_json_get(data, "pinned");
	if (!pinned)
		return 0;
	plan->pinned_json = wl_json_print(pinned);
	plan->pinned_handle = pinned_handle(node, data, pinned);
	return plan->pinned_json ? 0 : -ENOMEM;
}

static int make_template(const struct wl_flow_node *node, const struct wl_json *data, struct node_plan *plan,
			 struct wl_json **ret_template)
{
	switch (node->kind) {
	case WL_KIND_OUTPUT:
	case WL_KIND_TRANSFORM:
		return member_template(data, "value", ret_template);
	case WL_KIND_CONDITION:
		return condition_template(data, ret_template);
	case WL_KIND_SWITCH:
		return switch_template(data, ret_template);
	case WL_KIND_HTTP:
		return http_template(data, plan, ret_template);
	case WL_KIND_CODE:
		return code_template(data, plan, ret_template);
	case WL_KIND_TOOL:
		return tool_template(data, plan, ret_template);
	case WL_KIND_LOOP:
		return loop_template(data, plan, ret_template);
	case WL_KIND_SUBFLOW:
		return subflow_template(data, plan, ret_template);
	case WL_KIND_WAIT:
		return wait_template(data, ret_template);
	case WL_KIND_APPROVAL:
		return approval_template(data, plan, ret_template);
	case WL_KIND_LLM:
		return llm_template(data, plan, ret_template);
	case WL_KIND_AGENT:
		return agent_template(data, plan, ret_template);
	case WL_KIND_CREW:
		return crew_template(data, plan, ret_template);
	case WL_KIND_START:
	case WL_KIND_JOIN:
	case WL_KIND_NOTE:
	case WL_KIND_COUNT:
		break;
	}
	return 0;
}

int node_plan_make(const struct wl_flow_node *node, struct node_plan *ret_plan, struct wl_error *err)
{
	struct node_plan plan = { 0 };
	_wl_json_ struct wl_json *data = NULL;
	_wl_json_ struct wl_json *template = NULL;
	const char *text = node->data_json ? node->data_json : "{}";
	if (wl_json_parse(text, strlen(text), &data, err) < 0)
		return wl_fail_within(err, "node %.64s", node->id);
	int result = make_template(node, data, &plan, &template);
	if (result == 0)
		result = keep_pinned(node, data, &plan);
	if (result == 0 && template) {
		plan.template_json = wl_json_print(template);
		if (!plan.template_json)
			result = -ENOMEM;
	}
	if (result < 0) {
		node_plan_release(&plan);
		return wl_fail(err, -result, "node %.64s of kind %s cannot be made ready", node->id,
			       wl_node_kind_name(node->kind));
	}
	if (plan.template_json) {
		plan.template_length = strlen(plan.template_json);
		/* outside of strings compact JSON never has two braces in a row */
		plan.has_expressions = strstr(plan.template_json, "{{") != NULL;
	}
	*ret_plan = plan;
	return 0;
}

void node_plan_release(struct node_plan *plan)
{
	free(plan->template_json);
	free(plan->roles_json);
	free(plan->pinned_json);
	free(plan->source);
	free(plan->profile);
	free(plan->models.provider_id);
	free(plan->models.model);
	free(plan->schema_json);
	free(plan->provider_id);
	free(plan->model);
	for (int i = 0; i < plan->stop_count; i++)
		free(plan->stops[i]);
	free(plan->stops);
	*plan = (struct node_plan){ 0 };
}
