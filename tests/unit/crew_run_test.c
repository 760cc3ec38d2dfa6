/* A crew's run on a stage: tasks, contexts, tools, the text form, and what ends a run. */
#include "lib/base/cleanup.h"
#include "tests/kit/crew_stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define AGENT(id, name, more) "{\"id\":\"" id "\",\"name\":\"" name "\",\"config\":{\"role\":\"" name "\"" more "}}"
#define TASK(name, agent, more)                                                                                        \
	"{\"name\":\"" name "\",\"description\":\"Do " name "\",\"expected_output\":\"A text\",\"agent_id\":\"" agent  \
	"\"" more "}"
#define CREW(more, tasks, agents)                                                                                      \
	"{\"crew\":{\"id\":\"c\",\"name\":\"Crew\",\"agent_ids\":[\"a\",\"b\"],\"collaboration_pattern\":"             \
	"\"sequential\",\"config\":{\"tasks\":[" tasks "]" more "}},\"agents\":[" agents "]}"
#define TWO_AGENTS AGENT("a", "Researcher", ",\"tools\":[\"search\"]") "," AGENT("b", "Writer", "")
#define ONE_TASK CREW("", TASK("t1", "a", ""), TWO_AGENTS)

static struct crew_stage stage;
static struct wl_crew_result result;
static struct wl_error err;

static int set_up(void **state)
{
	(void)state;
	stage_init(&stage, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (stage.faults.length > 0)
		print_error("%s", stage.faults.data);
	int bad = stage.faults.length > 0;
	stage_release(&stage);
	wl_crew_result_release(&result);
	return bad;
}

static int run(const struct stage_line *lines, const char *document, const char *inputs)
{
	stage.lines = lines;
	wl_crew_result_release(&result);
	return stage_run(&stage, document, inputs, &result, &err);
}

#define assert_runs(lines, document, inputs)                                                                           \
	do {                                                                                                           \
		if (run(lines, document, inputs) < 0)                                                                  \
			fail_msg("%s", err.text);                                                                      \
	} while (0)

static void assert_has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text ? text : "(nothing)");
}

static const char *said(const char *place)
{
	const struct stage_entry *entry = stage_asked(&stage, place);
	if (!entry)
		fail_msg("%s was not asked", place);
	return entry->said;
}

static void tasks_follow_each_other(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1",
						     .text = "let me look",
						     .tool = "search",
						     .arguments = "{\"q\":\"x\"}" },
						   { .place = "task/0/agent/turn/2", .text = " The first output. " },
						   { .place = "task/1/agent/turn/1", .text = "The second output." },
						   { 0 } };
	assert_runs(lines, CREW("", TASK("t1", "a", "") "," TASK("t2", "b", ""), TWO_AGENTS), NULL);
	assert_string_equal(result.text, "The second output.");
	assert_null(result.json);
	assert_string_equal(said("task/0/agent/turn/1/tool/0"), "{\"q\":\"x\"}");
	assert_has(said("task/0/agent/turn/2"), "  search({\"q\":\"x\"})\n[tool] {\"found\":1}");
	assert_has(said("task/1/agent/turn/1"), "The first output.");
	assert_has(said("task/1/agent/turn/1"), "Your role: Writer");
	assert_int_equal(result.model_calls, 3);
	assert_int_equal(result.tool_calls, 1);
	assert_int_equal(result.usage.prompt, 30);
	assert_true(result.cost > 0.74 && result.cost < 0.76);
	assert_has(result.tasks_json, "{\"name\":\"t1\",\"agent\":\"Researcher\",\"text\":\"The first output.\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tasks_follow_each_other, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
