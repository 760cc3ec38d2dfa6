/* Definitions of crews: what is taken, what each fault is called, and the names that a crew asks for. */
#include "tests/kit/crew_kit.h"

#include <math.h>

static struct wl_json *parse(const char *text)
{
	struct wl_json *json = NULL;
	if (wl_json_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return json;
}

static int make(const char *text, struct wl_crew **ret_crew)
{
	_wl_json_ struct wl_json *json = parse(text);
	err = (struct wl_error){ 0 };
	return wl_crew_make(json, ret_crew, &err);
}

static void a_definition_is_taken_whole(void **state)
{
	(void)state;
	_wl_crew_ struct wl_crew *crew = NULL;
	static const char text[] =
		"{\"crew\":{\"id\":\"c\",\"name\":\"C\",\"agent_ids\":[\"A1\",\"a2\"],\"collaboration_pattern\":"
		"\"hierarchical\",\"config\":{\"manager_agent_id\":\"m\",\"planning\":true,\"memory\":true,\"max_rpm\":"
		"7,"
		"\"tasks\":[{\"name\":\"t1\",\"description\":\"d\",\"expected_output\":\"e\",\"async_execution\":true},"
		"{\"name\":\"t2\",\"description\":\"d\",\"expected_output\":\"e\",\"agent_id\":\"a1\",\"context\":["
		"\"t1\"],"
		"\"schema\":{\"type\":\"object\"},\"guardrail\":\"g\",\"condition\":\"c\",\"human_input\":true}]}},"
		"\"agents\":["
		"{\"id\":\"other\",\"name\":\"nobody\",\"config\":{\"max_iter\":-5}},"
		"{\"id\":\"a2\",\"name\":\"Two\"},"
		"{\"id\":\"a1\",\"name\":\"One\",\"system_prompt\":\"s\",\"llm_provider_id\":\"p\",\"config\":{"
		"\"role\":\"r\","
		"\"goal\":\"g\",\"backstory\":\"b\",\"model\":\"m1\",\"tools\":[\"x\",\"y#z\"],\"max_iter\":3,\"max_"
		"rpm\":4,"
		"\"max_execution_time\":5,\"allow_delegation\":true,\"temperature\":0.5,\"max_tokens\":6,\"memory\":"
		"true,\"knowledge\":["
		"\"k\"]}},"
		"{\"id\":\"m\",\"name\":\"Boss\"}]}";
	if (make(text, &crew) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(crew->agent_count, 3);
	assert_int_equal(crew->manager, 2);
	const struct wl_crew_agent *one = &crew->agents[0];
	assert_string_equal(one->name, "One");
	assert_string_equal(one->provider_id, "p");
	assert_int_equal(one->tool_count, 2);
	assert_string_equal(one->tool_ids[1], "y#z");
	assert_true(one->max_iter == 3 && one->max_rpm == 4 && one->max_execution_s == 5);
	assert_true(one->allow_delegation && one->memory && one->temperature == 0.5 && one->max_tokens == 6);
	assert_null(crew->agents[1].model);
	assert_true(isnan(crew->agents[1].temperature));
	assert_string_equal(crew->agents[1].role, "");
	const struct wl_crew_task *task = &crew->tasks[1];
	assert_true(task->agent == 0 && task->has_context && task->context_count == 1 && task->context[0] == 0);
	assert_string_equal(task->schema, "{\"type\":\"object\"}");
	assert_true(task->human_input && !task->async && crew->tasks[0].async && crew->tasks[0].agent == -1);
	assert_true(crew->planning && crew->memory && crew->max_rpm == 7 && !crew->lone);
}

#define A AGENT("a", "A", "")
#define B AGENT("b", "B", "")
#define M AGENT("m", "M", "")
#define FREE(more) "{\"name\":\"t\",\"description\":\"d\",\"expected_output\":\"e\"" more "}"
#define LED(config, agents)                                                                                            \
	"{\"crew\":{\"agent_ids\":[\"a\"],\"collaboration_pattern\":\"hierarchical\",\"config\":{\"tasks\":[" FREE(    \
		"") "]" config "}},\"agents\":[" agents "]}"

static const struct {
	const char *document, *fault;
} faults[] = {
	{ "{}", "agents has to be a list" },
	{ "{\"crew\":null,\"agents\":{}}", "agents has to be a list" },
	{ "{\"crew\":null,\"agents\":[]}", "agents has to hold one agent" },
	{ "{\"crew\":null,\"agents\":[" A "," B "]}", "agents has to hold one agent" },
	{ "{\"crew\":null,\"agents\":[1]}", "agents[0] has to be an object" },
	{ "{\"crew\":3,\"agents\":[]}", "crew has to be an object or null" },
	{ "{\"crew\":{},\"agents\":[]}", "crew.config has to be an object" },
	{ "{\"crew\":{\"config\":{},\"collaboration_pattern\":\"flat\"},\"agents\":[]}",
	  "crew.collaboration_pattern has to be sequential or hierarchical" },
	{ "{\"crew\":{\"config\":{}},\"agents\":[]}", "crew.agent_ids has to name 1 to 100 agents" },
	{ "{\"crew\":{\"config\":{},\"agent_ids\":[7]},\"agents\":[]}", "crew.agent_ids[0] has to be an agent's id" },
	{ "{\"crew\":{\"config\":{},\"agent_ids\":[\"a\",\"A\"]},\"agents\":[" A "]}",
	  "crew.agent_ids[1] is there twice" },
	{ "{\"crew\":{\"config\":{},\"agent_ids\":[\"a\",\"z\"]},\"agents\":[" A "]}",
	  "crew.agent_ids[1] names no agent that is there: z" },
	{ "{\"crew\":{\"config\":{},\"agent_ids\":[\"a\"]},\"agents\":[" A "]}",
	  "crew.config.tasks has to hold 1 to 200" },
	{ CREW("", "5", A "," B), "crew.config.tasks[0] has to be an object" },
	{ CREW("", FREE(""), A "," B), "crew.config.tasks[0].agent_id is missing" },
	{ CREW("", FREE(",\"agent_id\":\"z\""), A "," B), "crew.config.tasks[0].agent_id is none of agent_ids" },
	{ CREW("", TASK("t", "a", "") "," TASK("t", "a", ""), A "," B),
	  "crew.config.tasks[1].name is an earlier task's" },
	{ CREW("", TASK("t", "a", ",\"context\":[\"t\"]"), A "," B),
	  "crew.config.tasks[0].context[0] names no task before this one" },
	{ CREW("", TASK("t", "a", "") "," TASK("u", "a", ",\"context\":[\"t\",\"v\"]") "," TASK("v", "a", ""), A "," B),
	  "crew.config.tasks[1].context[1] names no task before this one" },
	{ CREW("", TASK("t", "a", ",\"context\":\"t\""), A "," B), "crew.config.tasks[0].context has to be a list" },
	{ CREW("", TASK("t", "a", ",\"schema\":\"x\""), A "," B), "crew.config.tasks[0].schema has to be" },
	{ CREW("", TASK("t", "a", ",\"guardrail\":\"\""), A "," B), "crew.config.tasks[0].guardrail is missing" },
	{ CREW("", TASK("t", "a", ",\"human_input\":1"), A "," B),
	  "crew.config.tasks[0].human_input has to be true or false" },
	{ CREW("", TASK("t", "a", ",\"async_execution\":true,\"condition\":\"x\""), A "," B),
	  "crew.config.tasks[0].async_execution cannot be together with a condition" },
	{ CREW("", TASK("t", "a", ",\"async_execution\":true") "," TASK("u", "a", ",\"async_execution\":true"),
	       A "," B),
	  "crew.config.tasks[1].async_execution: a crew ends with at most one asynchronous task" },
	{ CREW("", "{\"name\":\"\",\"description\":\"d\",\"expected_output\":\"e\"}", A "," B),
	  "crew.config.tasks[0].name is missing" },
	{ CREW("", "{\"name\":\"t\",\"description\":[],\"expected_output\":\"e\"}", A "," B),
	  "crew.config.tasks[0].description has to be text" },
	{ CREW("", "{\"name\":\"t\",\"description\":\"d\"}", A "," B),
	  "crew.config.tasks[0].expected_output is missing" },
	{ CREW(",\"max_rpm\":0", TASK("t", "a", ""), A "," B),
	  "crew.config.max_rpm has to be a whole number from 1 to 100000" },
	{ CREW(",\"planning\":\"yes\"", TASK("t", "a", ""), A "," B), "crew.config.planning has to be true or false" },
	{ CREW("", TASK("t", "a", ""), "{\"id\":\"a\"}," B), "agents[0].name is missing" },
	{ CREW("", TASK("t", "a", ""), A ",{\"id\":\"b\",\"name\":\"B\",\"config\":[]}"),
	  "agents[1].config has to be an object" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"max_iter\":1.5")),
	  "agents[1].config.max_iter has to be" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"max_iter\":1001")),
	  "agents[1].config.max_iter has to be" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"max_execution_time\":\"5\"")),
	  "agents[1].config.max_execution_time has to be a whole number from 1 to 604800" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"max_tokens\":0")),
	  "agents[1].config.max_tokens has to be a whole number from 1 to 1000000" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"temperature\":2.5")), "agents[1].config.temperature" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"tools\":[\"x\",\"\"]")),
	  "agents[1].config.tools[1] has to be text" },
	{ CREW("", TASK("t", "a", ""), A "," AGENT("b", "B", ",\"knowledge\":{}")),
	  "agents[1].config.knowledge has to be a list" },
	{ LED("", A), "crew.config needs manager_agent_id or manager_llm" },
	{ LED(",\"manager_llm\":5", A), "crew.config.manager_llm has to be an object" },
	{ LED(",\"manager_agent_id\":\"a\"", A), "crew.config.manager_agent_id: the manager is none of the agents" },
	{ LED(",\"manager_agent_id\":\"z\"", A), "crew.config.manager_agent_id names no agent that is there" },
	{ LED(",\"manager_agent_id\":\"m\"", A "," AGENT("m", "M", ",\"tools\":[\"x\"]")),
	  "crew.config.manager_agent_id: a manager has no tools" },
};

static void each_fault_names_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(faults); i++) {
		struct wl_crew *crew = NULL;
		if (make(faults[i].document, &crew) != -EINVAL || !strstr(err.text, faults[i].fault))
			fail_msg("%s: \"%s\" is not \"%s\"", faults[i].document, err.text, faults[i].fault);
		assert_null(crew);
	}
}

static void a_crew_has_bounds(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer text = { 0 };
	struct wl_crew *crew = NULL;
	(void)wl_buffer_append_text(&text, "{\"crew\":{\"agent_ids\":[\"a\"],\"config\":{\"tasks\":[");
	for (int i = 0; i <= WL_CREW_TASKS_MAX; i++)
		(void)wl_buffer_appendf(&text, "%s" FREE(",\"agent_id\":\"a\""), i ? "," : "");
	(void)wl_buffer_append_text(&text, "]}},\"agents\":[" A "]}");
	assert_int_equal(make(text.data, &crew), -EINVAL);
	assert_has(err.text, "crew.config.tasks has to hold 1 to 200 tasks");
	wl_buffer_clear(&text);
	(void)wl_buffer_append_text(&text, "{\"crew\":null,\"agents\":[{\"name\":\"");
	for (int i = 0; i < 100001; i++)
		(void)wl_buffer_append_char(&text, 'x');
	(void)wl_buffer_append_text(&text, "\"}]}");
	assert_int_equal(make(text.data, &crew), -EINVAL);
	assert_has(err.text, "agents[0].name is too long");
}

static char *names_of(const struct wl_crew *crew)
{
	_wl_json_ struct wl_json *names = wl_crew_inputs(crew);
	return wl_json_print(names);
}

static void the_names_that_are_asked_for(void **state)
{
	(void)state;
	_wl_crew_ struct wl_crew *crew = NULL, *lone = NULL;
	static const char text[] =
		CREW("",
		     "{\"name\":\"t\",\"description\":\"{topic} {_a-1} {1x} { b} {topic}\","
		     "\"expected_output\":\"{\\\"json\\\": {deep}}\",\"agent_id\":\"a\"}",
		     AGENT("a", "{who}", ",\"goal\":\"{{twice}}\",\"backstory\":\"{un{closed}\"") "," B);
	assert_int_equal(make(text, &crew), 0);
	_wl_free_ char *names = names_of(crew);
	assert_string_equal(names, "[\"_a-1\",\"closed\",\"deep\",\"topic\",\"twice\",\"who\"]");
	assert_int_equal(make("{\"crew\":null,\"agents\":[" A "]}", &lone), 0);
	assert_true(lone->lone);
	assert_int_equal(wl_crew_set_task(lone, "{said}", NULL, NULL), 0);
	assert_int_equal(wl_crew_set_task(lone, "{said} again", "x", "{}"), 0);
	assert_int_equal(lone->task_count, 1);
	_wl_free_ char *none = names_of(lone);
	assert_string_equal(none, "[]");
}

static void a_lone_agent_without_a_task_does_nothing(void **state)
{
	(void)state;
	_wl_crew_ struct wl_crew *crew = NULL;
	assert_int_equal(make("{\"crew\":null,\"agents\":[" A "]}", &crew), 0);
	assert_int_equal(wl_crew_run(crew, NULL, &stage.world, &result, &err), -EINVAL);
	assert_string_equal(result.code, "crew_refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		crew_test(a_definition_is_taken_whole),
		crew_test(each_fault_names_its_place),
		crew_test(a_crew_has_bounds),
		crew_test(the_names_that_are_asked_for),
		crew_test(a_lone_agent_without_a_task_does_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
