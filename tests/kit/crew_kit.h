/*
 * What the tests of crews have in common: short words for definitions, the stage that each test gets anew, and looks at
 * what was said on it. Included once by each test program.
 */
#ifndef TESTS_KIT_CREW_KIT_H
#define TESTS_KIT_CREW_KIT_H

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

static inline int set_up(void **state)
{
	(void)state;
	stage_init(&stage, NULL);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	if (stage.faults.length > 0)
		print_error("%s", stage.faults.data);
	int bad = stage.faults.length > 0;
	stage_release(&stage);
	wl_crew_result_release(&result);
	return bad;
}

/* Another stage in the middle of a test, after a look at what the one before has to complain of. */
static inline void new_stage(void)
{
	if (stage.faults.length > 0)
		fail_msg("%s", stage.faults.data);
	stage_release(&stage);
	stage_init(&stage, NULL);
}

static inline int run(const struct stage_line *lines, const char *document, const char *inputs)
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

static inline void assert_has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text ? text : "(nothing)");
}

static inline const char *said(const char *place)
{
	const struct stage_entry *entry = stage_asked(&stage, place);
	if (!entry)
		fail_msg("%s was not asked", place);
	return entry->said;
}

#define crew_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
