/*
 * CrewAI's projects: expressions both ways, comments in JSON, findings for every key that the formats have, and as
 * properties over generated crews and flows: what is exported comes back as it was, and comes out the same again.
 */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai.h"
#include "lib/codec/crewai_cel.h"
#include "lib/codec/flow_document.h"
#include "lib/codec/jsonc.h"
#include "tests/kit/opened.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char directory_text[] =
	"{\"tools\":[{\"id\":\"00000000-0000-7000-8000-0000000000a1\",\"name\":\"look up\"},"
	"{\"id\":\"00000000-0000-7000-8000-0000000000a2\",\"name\":\"SerperDevTool\"}],"
	"\"providers\":[{\"id\":\"00000000-0000-7000-8000-0000000000b1\",\"name\":\"one\",\"provider_type\":\"openai\"}"
	","
	"{\"id\":\"00000000-0000-7000-8000-0000000000b2\",\"name\":\"two\",\"provider_type\":\"openai\",\"models\":["
	"\"m/x\"]},"
	"{\"id\":\"00000000-0000-7000-8000-0000000000b3\",\"name\":\"demo\",\"provider_type\":\"demo\"}]}";
static struct wl_json *directory;
static int last_id;

static void next_id(void *self, char *id)
{
	(void)self;
	(void)snprintf(id, 37, "00000000-0000-7000-8000-%012d", ++last_id);
}

/* Import; fails the test on faults. */
static struct wl_json *import(const struct wl_json *files, struct wl_flow_faults *faults)
{
	const struct wl_crewai_context context = { .directory = directory, .new_id = next_id };
	struct wl_json *project = NULL;
	struct wl_error err = { 0 };
	memset(faults, 0, sizeof(*faults));
	last_id = 0;
	if (wl_crewai_import(files, &context, &project, faults, &err) == 0)
		return project;
	assert_int_equal(err.code, EINVAL);
	assert_true(faults->count > 0);
	return NULL;
}

static struct wl_json *import_right(const struct wl_json *files)
{
	static struct wl_flow_faults faults;
	struct wl_json *project = import(files, &faults);
	if (!project)
		fail_msg("%s: %s", faults.items[0].path, faults.items[0].text);
	return project;
}

static bool has_finding(const struct wl_json *project, const char *path, const char *severity)
{
	for (const struct wl_json *one = wl_json_first(wl_json_get(project, "findings")); one; one = wl_json_next(one))
		if (strcmp(wl_json_get_string(one, "path", ""), path) == 0 &&
		    (!severity || strcmp(wl_json_get_string(one, "severity", ""), severity) == 0))
			return true;
	return false;
}

static struct wl_json *file(const char *path, const char *text)
{
	struct wl_json *files = wl_json_object();
	assert_int_equal(wl_json_set_string(files, path, text), 0);
	return files;
}

/* ---- JSON with comments ----------------------------------------------------------------------------------------- */

static void comments_and_last_commas_are_read(void **state)
{
	(void)state;
	static const char *const right[][2] = {
		{ "// a\n{\"a\": 1, /* b */ \"b\": [1, 2,], }", "{\"a\":1,\"b\":[1,2]}" },
		{ "[\"//no\", \"/*no*/\", \"\\\",]\", \"a,]\"]", "[\"//no\",\"/*no*/\",\"\\\",]\",\"a,]\"]" },
		{ "1 // end", "1" },
		{ "[1, /* x */ // y\n ]", "[1]" },
	};
	static const char *const wrong[] = { "[,]",    "{,}",	"[1,,]", "{\"a\":,}", "/* x", "[1] /",
					     "{a: 1}", "['a']", "\"a",	 "[1 2]",     "" };
	for (size_t i = 0; i < WL_COUNT_OF(right); i++) {
		_wl_json_ struct wl_json *value = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(wl_jsonc_parse(right[i][0], strlen(right[i][0]), &value, &err), 0);
		_wl_free_ char *text = wl_json_print(value);
		assert_string_equal(text, right[i][1]);
	}
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++) {
		struct wl_json *value = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(wl_jsonc_parse(wrong[i], strlen(wrong[i]), &value, &err), -EINVAL);
		assert_null(value);
	}
}

static void faults_of_json_have_the_place_in_the_file(void **state)
{
	(void)state;
	struct wl_json *value = NULL;
	struct wl_error err = { 0 };
	static const char text[] = "{ // one\n  /* two\n three */ \"a\": nope\n}";
	assert_int_equal(wl_jsonc_parse(text, sizeof(text) - 1, &value, &err), -EINVAL);
	assert_non_null(strstr(err.text, "line 3"));
	static const char open[] = "{\n  /* two";
	assert_int_equal(wl_jsonc_parse(open, sizeof(open) - 1, &value, &err), -EINVAL);
	assert_string_equal(err.text, "line 2 column 3: this comment is not closed");
	static const char nul[] = "[1,\0]";
	assert_int_equal(wl_jsonc_parse(nul, sizeof(nul) - 1, &value, &err), -EINVAL);
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static const char *known_output(void *self, const char *name, bool *ret_model)
{
	(void)self;
	*ret_model = name[0] == 'm';
	return strcmp(name, "nothing") == 0 ? NULL : name;
}

static void expressions_go_to_jq_and_back(void **state)
{
	(void)state;
	const struct crewai_names names = { .find = known_output, .state = ".inputs", .item = true };
	static const char *const pairs[][2] = {
		{ "state.topic", ".inputs.topic" },
		{ "outputs.a.b[0]['c']", ".nodes.a.b[0][\"c\"]" },
		{ "outputs.m.raw == 'x'", ".nodes.m.text == \"x\"" },
		{ "outputs[\"m\"].json_dict.k", ".nodes.m.json.k" },
		{ "has(state.a) && !(item > 3)", "(.inputs.a != null) and ((.item > 3) | not)" },
		{ "size(state.l) >= 2 ? 'a' : \"b\"", "if ((.inputs.l | length) >= 2) then \"a\" else \"b\" end" },
		{ "'x' in state.l",
		  "\"x\" as $_1 | .inputs.l | if type == \"object\" then has($_1) else index([$_1]) != null end" },
		{ "state.s.startsWith('p')", "\"p\" as $_1 | .inputs.s | startswith($_1)" },
		{ "state.l.map(x, x.n * 2)", "[.inputs.l[] as $x | ($x.n * 2)]" },
		{ "state.l.filter(x, x > 1)", "[.inputs.l[] as $x | select(($x > 1)) | $x]" },
		{ "state.l.all(x, x > 1) || state.l.exists(y, y < 0)",
		  "([.inputs.l[] as $x | ($x > 1)] | all) or ([.inputs.l[] as $y | ($y < 0)] | any)" },
		{ "{'a': [1, -2.5e3], 'b': null}", "{(\"a\"): [1, (-2.5e3)], (\"b\"): null}" },
		{ "int(state.n) + 0x1F", "(.inputs.n | tonumber | trunc) + 31" },
		{ "'\\u00e9\\x41\\n'", "\"\303\251A\\n\"" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(pairs); i++) {
		_wl_free_ char *jq = NULL, *cel = NULL, *again = NULL;
		struct wl_error err = { 0 };
		if (crewai_cel_to_jq(pairs[i][0], strlen(pairs[i][0]), &names, &jq, &err) < 0)
			fail_msg("%s: %s", pairs[i][0], err.text);
		assert_string_equal(jq, pairs[i][1]);
		if (crewai_jq_to_cel(jq, strlen(jq), &names, &cel, &err) < 0 ||
		    crewai_cel_to_jq(cel, strlen(cel), &names, &again, &err) < 0)
			fail_msg("%s, %s: %s", jq, cel ? cel : "", err.text);
		assert_string_equal(again, jq);
	}
}

static void expressions_that_are_not_understood_are_refused(void **state)
{
	(void)state;
	const struct crewai_names names = { .find = known_output, .state = ".inputs" };
	static const char *const wrong[] = {
		"",
		"1 +",
		"state.",
		"now()",
		"state.x.matches('a')",
		"outputs",
		"outputs.nothing",
		"item",
		"env.HOME",
		"'open",
		"'\\q'",
		"'''a'''",
		"(1",
		"[1",
		"{'a' 1}",
		"a ? b",
		"1 2",
		"state[",
		"x.map(y)",
		"'\\ud800'",
		"has()",
	};
	char deep[400];
	memset(deep, '(', sizeof(deep));
	for (size_t i = 0; i <= WL_COUNT_OF(wrong); i++) {
		char *jq = NULL;
		struct wl_error err = { 0 };
		const char *text = i < WL_COUNT_OF(wrong) ? wrong[i] : deep;
		size_t length = i < WL_COUNT_OF(wrong) ? strlen(text) : sizeof(deep);
		assert_int_equal(crewai_cel_to_jq(text, length, &names, &jq, &err), -EINVAL);
		assert_null(jq);
		assert_true(err.text[0] != '\0');
	}
	static const char *const strange[] = { ".inputs // 1", ".",	    "..",      "input",	      ".nodes[]",
					       "env",	       "\"\\(1)\"", ".vars.a", "$__loc__ | x" };
	for (size_t i = 0; i < WL_COUNT_OF(strange); i++) {
		char *cel = NULL;
		struct wl_error err = { 0 };
		assert_int_equal(crewai_jq_to_cel(strange[i], strlen(strange[i]), &names, &cel, &err), -EINVAL);
		assert_null(cel);
	}
}

/* ---- every key --------------------------------------------------------------------------------------------------- */

static const char *const agent_keys[] = {
	"cache",
	"verbose",
	"callbacks",
	"function_calling_llm",
	"use_system_prompt",
	"system_template",
	"prompt_template",
	"response_template",
	"step_callback",
	"cache_handler",
	"allow_code_execution",
	"code_execution_mode",
	"respect_context_window",
	"max_retry_limit",
	"multimodal",
	"reasoning",
	"max_reasoning_attempts",
	"knowledge_sources",
	"knowledge_storage",
	"knowledge_config",
	"embedder",
	"agent_knowledge_context",
	"crew_knowledge_context",
	"knowledge_search_query",
	"inject_date",
	"date_format",
	"from_repository",
	"guardrail",
	"guardrail_max_retries",
	"mcps",
	"apps",
	"skills",
	"a2a",
	"tool_failure_policy",
	"planning_config",
	"checkpoint",
	"executor_class",
	"unheard_of",
};
static const char *const task_keys[] = { "callback",
					 "callbacks",
					 "output_file",
					 "create_directory",
					 "markdown",
					 "guardrail_max_retries",
					 "allow_crewai_trigger_context",
					 "input_files",
					 "condition",
					 "security_config",
					 "unheard_of" };
static const char *const crew_keys[] = { "verbose",
					 "embedder",
					 "step_callback",
					 "task_callback",
					 "before_kickoff_callbacks",
					 "after_kickoff_callbacks",
					 "planning_llm",
					 "chat_llm",
					 "knowledge_sources",
					 "stream",
					 "output_log_file",
					 "tracing",
					 "checkpoint",
					 "skills",
					 "cache",
					 "unheard_of" };

static void put_keys(struct wl_json *into, const char *const *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(wl_json_set_string(into, keys[i], "x"), 0);
}

static void each_key_is_taken_or_has_its_finding(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *agent = parsed("{\"role\":\"r\",\"goal\":\"g\",\"backstory\":\"b\"}");
	_wl_json_ struct wl_json *crew = parsed("{\"agents\":[\"a\"],\"tasks\":[{\"name\":\"t\",\"description\":\"d\","
						"\"expected_output\":\"e\",\"agent\":\"a\","
						"\"output_pydantic\":\"Model\",\"output_json\":{\"python\":\"m.C\"},"
						"\"guardrails\":[\"one\",\"two\",{\"python\":\"m.g\"}],"
						"\"tools\":[\"custom:look up\",\"Nope\"]}]}");
	put_keys(agent, agent_keys, WL_COUNT_OF(agent_keys));
	put_keys((struct wl_json *)wl_json_at(wl_json_get(crew, "tasks"), 0), task_keys, WL_COUNT_OF(task_keys));
	put_keys(crew, crew_keys, WL_COUNT_OF(crew_keys));
	_wl_free_ char *agent_text = wl_json_print(agent), *crew_text = wl_json_print(crew);
	_wl_json_ struct wl_json *files = file("crew.jsonc", crew_text);
	assert_int_equal(wl_json_set_string(files, "agents/a.jsonc", agent_text), 0);
	_wl_json_ struct wl_json *project = import_right(files);
	char path[120];
	for (size_t i = 0; i < WL_COUNT_OF(agent_keys); i++)
		if (!has_finding(project, agent_keys[i], NULL))
			fail_msg("agent: %s", agent_keys[i]);
	for (size_t i = 0; i < WL_COUNT_OF(task_keys); i++) {
		(void)snprintf(path, sizeof(path), "tasks[0].%s", task_keys[i]);
		if (!has_finding(project, path, NULL))
			fail_msg("task: %s", task_keys[i]);
	}
	for (size_t i = 0; i < WL_COUNT_OF(crew_keys); i++)
		if (!has_finding(project, crew_keys[i], NULL))
			fail_msg("crew: %s", crew_keys[i]);
	assert_true(has_finding(project, "unheard_of", "needs_attention"));
	assert_true(has_finding(project, "tasks[0].output_pydantic", "needs_attention"));
	assert_true(has_finding(project, "tasks[0].guardrails[0]", "needs_attention"));
	assert_true(has_finding(project, "tasks[0].tools[1]", "needs_attention"));
	const struct wl_json *made = wl_json_at(wl_json_get(project, "crews"), 0);
	assert_string_equal(wl_json_get_string(made, "state", ""), "draft");
	const struct wl_json *task = wl_json_at(wl_json_get(wl_json_get(made, "config"), "tasks"), 0);
	assert_string_equal(wl_json_get_string(task, "guardrail", ""), "one\ntwo");
	const struct wl_json *config = wl_json_get(wl_json_at(wl_json_get(project, "agents"), 0), "config");
	assert_int_equal(wl_json_count(wl_json_get(config, "tools")), 1);
}

static void models_are_matched_by_type_and_name(void **state)
{
	(void)state;
	static const struct {
		const char *llm, *provider, *model, *finding;
	} cases[] = {
		{ "\"openai/gpt-4o\"", "b1", "gpt-4o", NULL },
		{ "\"openai/m/x\"", "b2", "m/x", NULL }, /* the one that lists it */
		{ "\"gpt-4o\"", "b1", "gpt-4o", NULL },
		{ "{\"model\":\"gpt-4o\",\"provider\":\"openai\",\"temperature\":0.5}", "b1", "gpt-4o", NULL },
		{ "\"demo/echo\"", "b3", "echo", NULL },
		{ "\"anthropic/claude\"", NULL, "claude", "llm" },
		{ "\"gemini/flash\"", NULL, "gemini/flash", "llm" },
		{ "{\"model\":\"gpt-4o\",\"max_completion_tokens\":900}", "b1", "gpt-4o", NULL },
		{ "{\"model\":\"openai/gpt-4o\",\"api_key\":\"sk-secret\"}", "b1", "gpt-4o", "llm.api_key" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		char agent[300];
		(void)snprintf(agent, sizeof(agent), "{\"role\":\"r\",\"llm\":%s}", cases[i].llm);
		_wl_json_ struct wl_json *files =
			file("crew.jsonc", "{\"agents\":[\"a\"],\"tasks\":[{\"name\":\"t\",\"description\":\"d\","
					   "\"expected_output\":\"e\",\"agent\":\"a\"}]}");
		assert_int_equal(wl_json_set_string(files, "agents/a.jsonc", agent), 0);
		_wl_json_ struct wl_json *project = import_right(files);
		const struct wl_json *made = wl_json_at(wl_json_get(project, "agents"), 0);
		const char *id = wl_json_get_string(made, "llm_provider_id", NULL);
		assert_true((id != NULL) == (cases[i].provider != NULL));
		assert_true(!id || strcmp(id + strlen(id) - 2, cases[i].provider) == 0);
		assert_string_equal(wl_json_get_string(wl_json_get(made, "config"), "model", ""), cases[i].model);
		assert_true(!cases[i].finding || has_finding(project, cases[i].finding, "needs_attention"));
		assert_int_equal(wl_json_get_number(wl_json_get(made, "config"), "max_tokens", 0),
				 strstr(cases[i].llm, "900") ? 900 : 0);
		_wl_free_ char *all = wl_json_print(project);
		assert_null(strstr(all, "sk-secret"));
	}
}

/* ---- generated crews -------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned draw(unsigned most)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % most;
}

/* A text of pieces that YAML, JSON and Python read in ways of their own. */
static const char *words(char text[200])
{
	static const char *const pieces[] = { "a",	 " b", ": ",	   "#c",  "- d",  "'",	"\"", "\\n",
					      "{topic}", "{{", "yes",	   "1.5", "null", "\n", "\t", "|",
					      ">",	 "&x", "\303\251", "%",	  "[",	  "}" };
	text[0] = 'w';
	text[1] = '\0';
	for (unsigned i = draw(12); i > 0; i--)
		(void)strcat(text, pieces[draw(WL_COUNT_OF(pieces))]);
	(void)strcat(text, "."); /* line ends at the end are YAML's */
	return text;
}

static void put_words(struct wl_json *into, const char *member)
{
	char text[200];
	assert_int_equal(wl_json_set_string(into, member, words(text)), 0);
}

static void maybe_number(struct wl_json *into, const char *member)
{
	if (draw(2))
		assert_int_equal(wl_json_set_number(into, member, 1 + draw(50)), 0);
}

static void maybe_bool(struct wl_json *into, const char *member)
{
	if (draw(3) == 0)
		assert_int_equal(wl_json_set_bool(into, member, draw(2)), 0);
}

static void make_agent(struct wl_json *agents, int number)
{
	static const char *const names[] = { "Writer", "data finder",	    "class", "crew",
					     "a-b_c",  "\303\251t\303\251", "writer" };
	struct wl_json *agent = wl_json_object(), *config = wl_json_object();
	char text[64];
	(void)snprintf(text, sizeof(text), "agent-%d", number);
	assert_int_equal(wl_json_append(agents, agent) | wl_json_set_string(agent, "id", text), 0);
	(void)snprintf(text, sizeof(text), "%s%d", names[draw(WL_COUNT_OF(names))], number);
	assert_int_equal(wl_json_set_string(agent, "name", text) | wl_json_set(agent, "config", config), 0);
	static const char *const parts[] = { "role", "goal", "backstory" };
	for (size_t i = 0; i < WL_COUNT_OF(parts); i++)
		if (draw(5))
			put_words(config, parts[i]);
	if (draw(2))
		put_words(agent, "system_prompt");
	if (draw(2))
		put_words(agent, "description");
	static const char *const ids[] = { "b1", "b2", "b3" };
	(void)snprintf(text, sizeof(text), "00000000-0000-7000-8000-0000000000%s", ids[draw(3)]);
	if (draw(4))
		assert_int_equal(wl_json_set_string(agent, "llm_provider_id", text), 0);
	if (draw(3))
		assert_int_equal(wl_json_set_string(config, "model", draw(2) ? "m/x" : "gpt"), 0);
	if (draw(3) == 0)
		assert_int_equal(wl_json_set_number(config, "temperature", draw(5) / 4.0), 0);
	if (draw(3) == 0)
		assert_int_equal(wl_json_set(config, "tools",
					     parsed("[\"00000000-0000-7000-8000-0000000000a2\",\"00000000-0000-7000-"
						    "8000-0000000000a1\"]")),
				 0);
	if (draw(4) == 0)
		assert_int_equal(wl_json_set(config, "knowledge", parsed("[\"00000000-0000-7000-8000-0000000000c1\"]")),
				 0);
	maybe_number(config, "max_iter");
	maybe_number(config, "max_rpm");
	maybe_number(config, "max_execution_time");
	maybe_number(config, "max_tokens");
	maybe_bool(config, "allow_delegation");
	maybe_bool(config, "memory");
}

static void make_task(struct wl_json *tasks, int number, int agents)
{
	static const char *const names[] = { "find", "Find it!", "while", "tasks", "a.b", "1st" };
	struct wl_json *task = wl_json_object();
	char text[64];
	assert_int_equal(wl_json_append(tasks, task), 0);
	(void)snprintf(text, sizeof(text), "%s %d", names[draw(WL_COUNT_OF(names))], number);
	assert_int_equal(wl_json_set_string(task, "name", text), 0);
	put_words(task, "description");
	put_words(task, "expected_output");
	(void)snprintf(text, sizeof(text), "agent-%d", draw((unsigned)agents));
	assert_int_equal(wl_json_set_string(task, "agent_id", text), 0);
	if (draw(2)) {
		struct wl_json *context = wl_json_array();
		assert_int_equal(wl_json_set(task, "context", context), 0);
		for (int i = 0; i < number; i++)
			if (draw(2))
				assert_int_equal(
					wl_json_append(context, wl_json_new_string(wl_json_get_string(
									wl_json_at(tasks, (size_t)i), "name", ""))),
					0);
	}
	if (draw(3) == 0)
		put_words(task, "guardrail");
	if (draw(3) == 0)
		assert_int_equal(wl_json_set_string(task, "condition", "{{ .outputs.x == 1 }}"), 0);
	if (draw(3) == 0)
		assert_int_equal(wl_json_set(task, "schema", parsed("{\"type\":\"object\",\"required\":[\"a\"]}")), 0);
	maybe_bool(task, "human_input");
	maybe_bool(task, "async_execution");
}

static struct wl_json *make_bundle(void)
{
	struct wl_json *bundle = wl_json_copy(directory), *agents = wl_json_array(), *crew = wl_json_object();
	struct wl_json *config = wl_json_object(), *tasks = wl_json_array(), *ids = wl_json_array();
	int agent_count = 1 + (int)draw(4), task_count = 1 + (int)draw(5);
	bool manager = draw(3) == 0, hierarchical = manager || draw(3) == 0;
	assert_int_equal(wl_json_set(bundle, "agents", agents) | wl_json_set(bundle, "crew", crew) |
				 wl_json_set(crew, "config", config) | wl_json_set(config, "tasks", tasks) |
				 wl_json_set(crew, "agent_ids", ids),
			 0);
	put_words(crew, "name");
	if (draw(2))
		put_words(crew, "description");
	assert_int_equal(
		wl_json_set_string(crew, "collaboration_pattern", hierarchical ? "hierarchical" : "sequential"), 0);
	for (int i = 0; i < agent_count + manager; i++) {
		make_agent(agents, i);
		const char *id = wl_json_get_string(wl_json_at(agents, (size_t)i), "id", "");
		assert_int_equal(i < agent_count ? wl_json_append(ids, wl_json_new_string(id))
						 : wl_json_set_string(config, "manager_agent_id", id),
				 0);
	}
	for (int i = 0; i < task_count; i++)
		make_task(tasks, i, agent_count);
	if (hierarchical && !manager)
		assert_int_equal(
			wl_json_set(config, "manager_llm",
				    parsed(draw(2) ? "{\"llm_provider_id\":\"00000000-0000-7000-8000-0000000000b1\","
						     "\"model\":\"big\"}"
						   : "{\"llm_provider_id\":\"00000000-0000-7000-8000-0000000000b3\"}")),
			0);
	maybe_bool(config, "planning");
	maybe_bool(config, "memory");
	maybe_number(config, "max_rpm");
	return bundle;
}

/* ---- what comes back -------------------------------------------------------------------------------------------- */

static void replace(char *text, const char *from, const char *to)
{
	for (char *at = strstr(text, from); at; at = strstr(at + strlen(to), from))
		memcpy(at, to, strlen(to)); /* both have the same length, but the ending digits of ids do not meet */
}

/* Agents and crew with sorted members, ids in place of the agents' by their order, and without states. */
static char *comparable(const struct wl_json *agents, const struct wl_json *crew)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	_wl_json_ struct wl_json *all = wl_json_object();
	assert_int_equal(
		wl_json_set(all, "agents", wl_json_copy(agents)) | wl_json_set(all, "crew", wl_json_copy(crew)), 0);
	for (const struct wl_json *one = wl_json_first(wl_json_get(all, "agents")); one; one = wl_json_next(one))
		assert_int_equal(
			wl_json_set_string((struct wl_json *)one, "state", "?") |
				wl_json_set_string((struct wl_json *)one, "key", wl_json_get_string(one, "id", "")),
			0);
	struct wl_json *made = (struct wl_json *)wl_json_get(all, "crew");
	assert_int_equal(wl_json_set_string(made, "state", "?") | wl_json_set_string(made, "id", "?"), 0);
	assert_int_equal(wl_json_write_sorted(&out, all), 0);
	char *text = wl_buffer_steal(&out);
	int number = 0;
	for (const struct wl_json *one = wl_json_first(agents); one; one = wl_json_next(one), number++) {
		const char *id = wl_json_get_string(one, "id", "");
		char quoted[64], mark[64];
		(void)snprintf(quoted, sizeof(quoted), "\"%s\"", id);
		(void)snprintf(mark, sizeof(mark), "\"<%0*d>\"", (int)strlen(id) - 2, number);
		replace(text, quoted, mark);
	}
	/* ids of both kinds to one length */
	_wl_buffer_ struct wl_buffer even = { 0 };
	for (const char *at = text; *at; at++) {
		wl_buffer_append_char(&even, *at);
		if (strncmp(at, "\"<0", 3) == 0)
			at += 2 + strspn(at + 2, "0") - 1;
	}
	free(text);
	return wl_buffer_steal(&even);
}

static void generated_crews_come_back(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 300; n++) {
		seed = n;
		_wl_json_ struct wl_json *bundle = make_bundle();
		for (int format = WL_CREWAI_YAML; format <= WL_CREWAI_JSONC; format++) {
			_wl_json_ struct wl_json *out = NULL, *twice = NULL;
			struct wl_error err = { 0 };
			assert_int_equal(wl_crewai_export_crew(bundle, (enum wl_crewai_format)format, &out, &err), 0);
			assert_int_equal(wl_crewai_export_crew(bundle, (enum wl_crewai_format)format, &twice, &err), 0);
			assert_true(wl_json_equal(out, twice));
			_wl_json_ struct wl_json *project = import_right(wl_json_get(out, "files"));
			_wl_free_ char *before = comparable(wl_json_get(bundle, "agents"), wl_json_get(bundle, "crew"));
			_wl_free_ char *after = comparable(wl_json_get(project, "agents"),
							   wl_json_at(wl_json_get(project, "crews"), 0));
			if (strcmp(before, after) != 0)
				fail_msg("crew %u, format %d\n%s\n%s", n, format, before, after);
		}
	}
}

/* ---- generated flows -------------------------------------------------------------------------------------------- */

static void append_action(struct wl_buffer *out, int number, bool router)
{
	static const char *const plain[] = {
		"{\"call\":\"expression\",\"expr\":\"state.x + 1\"}",
		"{\"call\":\"script\",\"code\":\"a = state\\n\\nif a:\\n    return 1\\nreturn outputs\"}",
		"{\"call\":\"code\",\"ref\":\"my.flows:run\",\"with\":{\"a\":\"x ${state.y} {{ "
		"z\",\"b\":[1,\"${state.l[0]}\"]}}",
		"{\"call\":\"tool\",\"ref\":\"SerperDevTool\",\"with\":{\"q\":\"${state.q}\"}}",
		"{\"call\":\"agent\",\"with\":{\"role\":\"r\",\"goal\":\"g\",\"backstory\":\"b\",\"llm\":\"openai/m/"
		"x\",\"input\":\"Say ${state.q}!\"}}",
		"{\"call\":\"crew\",\"with\":{\"agents\":{\"a\":{\"role\":\"r\",\"goal\":\"g\",\"backstory\":\"b\"}},"
		"\"tasks\":[{\"name\":\"t\","
		"\"description\":\"d\",\"expected_output\":\"e\",\"agent\":\"a\"}],\"inputs\":{\"topic\":\"${state."
		"topic}\"}}}",
		"{\"call\":\"each\",\"in\":\"state.rows\",\"do\":[{\"name\":\"one\",\"action\":{\"call\":"
		"\"expression\",\"expr\":\"item.a\"}},"
		"{\"name\":\"two\",\"if\":\"outputs.one > 1 && item.b == "
		"'c'\",\"action\":{\"call\":\"script\",\"code\":\"return item\"}}]}",
	};
	(void)number;
	wl_buffer_append_text(out, plain[router ? draw(2) : draw(WL_COUNT_OF(plain))]);
}

/* A word that an earlier method gives: its name, or an event of a router. */
static void append_word(struct wl_buffer *out, int number, const bool *routers)
{
	int other = (int)draw((unsigned)number);
	if (routers[other] && draw(2))
		wl_buffer_appendf(out, "\"go_%d_%u\"", other, draw(2));
	else
		wl_buffer_appendf(out, "\"m%d\"", other);
}

static void append_condition(struct wl_buffer *out, int number, const bool *routers, int depth)
{
	if (depth == 2 || draw(2)) {
		append_word(out, number, routers);
		return;
	}
	wl_buffer_appendf(out, "{\"%s\":[", draw(2) ? "or" : "and");
	append_condition(out, number, routers, depth + 1);
	wl_buffer_append_char(out, ',');
	append_condition(out, number, routers, depth + 1);
	wl_buffer_append_text(out, "]}");
}

static char *make_flow(void)
{
	_wl_buffer_ struct wl_buffer out = { 0 };
	bool routers[12] = { false };
	int count = 1 + (int)draw(9);
	wl_buffer_append_text(&out, "{\"schema\":\"crewai.flow/v1\",\"name\":\"F\",");
	if (draw(2))
		wl_buffer_append_text(&out,
				      "\"state\":{\"type\":\"dict\",\"default\":{\"x\":1,\"o\":{\"p\":{\"q\":[]}}}},");
	wl_buffer_append_text(&out, "\"methods\":{");
	for (int i = 0; i < count; i++) {
		bool router = routers[i] = draw(4) == 0;
		bool feedback = !router && draw(5) == 0;
		wl_buffer_appendf(&out, "%s\"m%d\":{\"do\":", i ? "," : "", i);
		append_action(&out, i, router);
		if (draw(3) == 0)
			wl_buffer_append_text(&out, ",\"description\":\"what: it # does\"");
		if (i == 0 || draw(5) == 0)
			wl_buffer_append_text(&out, ",\"start\":true");
		if (i > 0) {
			wl_buffer_append_text(&out, ",\"listen\":");
			append_condition(&out, i, routers, 0);
		}
		if (router)
			wl_buffer_appendf(&out, ",\"router\":true,\"emit\":[\"go_%d_0\",\"go_%d_1\"]", i, i);
		if (feedback)
			wl_buffer_append_text(&out, ",\"human_feedback\":{\"message\":\"Good {{ enough?\"}");
		wl_buffer_append_char(&out, '}');
	}
	wl_buffer_append_text(&out, "}}");
	return wl_buffer_steal(&out);
}

static void check_graph(const struct wl_json *flow)
{
	static struct wl_flow_faults faults;
	struct wl_flow_graph graph = { 0 };
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *document = wl_json_object();
	static const char *const members[] = { "nodes", "edges" };
	for (size_t i = 0; i < WL_COUNT_OF(members); i++)
		assert_int_equal(wl_json_set(document, members[i], wl_json_copy(wl_json_get(flow, members[i]))), 0);
	memset(&faults, 0, sizeof(faults));
	if (wl_flow_document_read(document, &graph, &faults, &err) < 0)
		fail_msg("%s: %s", faults.items[0].path, faults.items[0].text);
	wl_flow_graph_release(&graph);
}

static void generated_flows_come_back(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 400; n++) {
		seed = n;
		_wl_free_ char *text = make_flow();
		_wl_json_ struct wl_json *files = file("flow.json", text), *out = NULL, *bundle = NULL;
		_wl_json_ struct wl_json *first = import_right(files);
		struct wl_error err = { 0 };
		check_graph(wl_json_get(first, "flow"));
		bundle = wl_json_copy(first);
		assert_int_equal(
			wl_json_set_string(bundle, "name", "F") |
				wl_json_set(bundle, "document", wl_json_copy(wl_json_get(first, "flow"))) |
				wl_json_set(bundle, "tools", wl_json_copy(wl_json_get(directory, "tools"))) |
				wl_json_set(bundle, "providers", wl_json_copy(wl_json_get(directory, "providers"))),
			0);
		assert_int_equal(wl_crewai_export_flow(bundle, &out, &err), 0);
		_wl_json_ struct wl_json *again = import_right(wl_json_get(out, "files"));
		if (wl_json_equal(wl_json_get(first, "flow"), wl_json_get(again, "flow")) &&
		    wl_json_equal(wl_json_get(first, "agents"), wl_json_get(again, "agents")) &&
		    wl_json_equal(wl_json_get(first, "crews"), wl_json_get(again, "crews")))
			continue;
		_wl_free_ char *a = wl_json_print(first), *b = wl_json_print(again), *c = wl_json_print(out);
		fail_msg("flow %u\n%s\n%s\n%s\n%s", n, text, a, b, c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_and_last_commas_are_read),
		cmocka_unit_test(faults_of_json_have_the_place_in_the_file),
		cmocka_unit_test(expressions_go_to_jq_and_back),
		cmocka_unit_test(expressions_that_are_not_understood_are_refused),
		cmocka_unit_test(each_key_is_taken_or_has_its_finding),
		cmocka_unit_test(models_are_matched_by_type_and_name),
		cmocka_unit_test(generated_crews_come_back),
		cmocka_unit_test(generated_flows_come_back),
	};
	directory = parsed(directory_text);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	wl_json_free(directory);
	return failed;
}
