/*
 * The world fails, or the run is stopped, at the first call, at the second, ... until nothing is left to break: a run
 * over the same record comes to the same end each time and asks nothing again that was answered.
 */
#include "tests/kit/crew_kit.h"

/* All that a crew can do, in one run. */
static const struct stage_line lines[] = {
	{ .place = "k1", .text = "Bees live in hives. Ants do not." },
	{ .place = "plan", .text = "{\"plans\":[{\"task\":1,\"plan\":\"STEPS\"}]}" },
	/* 0: beside the others, with two tools at once and a hint */
	{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
	{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"y\"}" },
	{ .place = "task/0/agent/turn/2", .text = "ONE of Many Bees." },
	/* 1: a coworker, who uses the text form, and whose conversation becomes too long */
	{ .place = "task/1/agent/turn/1",
	  .tool = "delegate_work_to_coworker",
	  .arguments = "{\"task\":\"Write\",\"context\":\"all\",\"coworker\":\"researcher\"}" },
	{ .place = "task/1/agent/turn/1/tool/0/coworker/turn/1", .fault = WL_MODEL_FAULT_TOOLS },
	{ .place = "task/1/agent/turn/1/tool/0/coworker/turn/2", .text = "Action: search\nAction Input: {q: 'z'}" },
	{ .place = "task/1/agent/turn/1/tool/0/coworker/turn/3", .fault = WL_MODEL_FAULT_CONTEXT },
	{ .place = "task/1/agent/turn/1/tool/0/coworker/summary/1", .text = "IN SHORT" },
	{ .place = "task/1/agent/turn/1/tool/0/coworker/turn/4", .text = "Final Answer: WRITTEN" },
	{ .place = "task/1/agent/turn/2", .text = "TWO" },
	/* 3: schema, guardrail, person */
	{ .place = "task/3/agent/turn/1", .text = "five" },
	{ .place = "task/3/agent/turn/2", .text = "{\"n\":5}" },
	{ .place = "task/3/guardrail/1", .text = "{\"valid\":false,\"feedback\":\"more\"}" },
	{ .place = "task/3/agent/turn/3", .text = "{\"n\":6}" },
	{ .place = "task/3/guardrail/2", .text = "{\"valid\":true,\"feedback\":\"\"}" },
	{ .place = "task/3/human/1", .text = "even more" },
	{ .place = "task/3/agent/turn/4", .text = "{\"n\":7}" },
	{ .place = "task/3/guardrail/3", .text = "{\"valid\":true,\"feedback\":\"\"}" },
	{ 0 }
};

static const char everything[] =
	CREW(",\"planning\":true,\"memory\":true",
	     TASK("t1", "a", ",\"async_execution\":true") "," TASK("t2", "b", ",\"context\":[]") "," TASK(
		     "t3", "b", ",\"condition\":\"never\"") "," TASK("t4", "b",
								     ",\"schema\":{\"required\":[\"n\"]},\"guardrail\":"
								     "\"It counts\",\"human_input\":true"),
	     AGENT("a", "Researcher", ",\"tools\":[\"search\"],\"knowledge\":[\"k1\"]") "," AGENT(
		     "b", "Writer", ",\"allow_delegation\":true"));

static char *good_text, *good_tasks;
static unsigned good_fresh;
static int good_calls, good_model_calls;

static void begin(int threads)
{
	new_stage();
	stage_remembers(&stage);
	stage.world.threads = threads;
}

static void learn_what_is_right(void)
{
	begin(0);
	assert_runs(lines, everything, NULL);
	good_text = strdup(result.text);
	good_tasks = strdup(result.tasks_json);
	good_fresh = stage_fresh(&stage);
	good_calls = stage.calls;
	good_model_calls = result.model_calls;
	assert_string_equal(good_text, "{\"n\":7}");
	assert_true(good_calls > 30);
}

static void check_end(int n)
{
	if (strcmp(result.text, good_text) != 0 || strcmp(result.tasks_json, good_tasks) != 0)
		fail_msg("after call %d: %s, %s", n, result.text, result.tasks_json);
	/* what is spent counts once, in the run that comes to the end: from the record or not */
	assert_int_equal(result.model_calls, good_model_calls);
	assert_int_equal(stage_fresh(&stage), good_fresh);
	for (size_t i = 0; i < stage.entry_count; i++)
		assert_true(stage.entries[i].fresh <= 1);
}

static void free_what_is_right(void)
{
	free(good_text);
	free(good_tasks);
}

static void break_each_call(bool cancel, int threads, int expected)
{
	int code = -1;
	int n = 1;
	for (; code < 0; n++) {
		begin(threads);
		*(cancel ? &stage.cancel_at : &stage.fail_at) = n;
		code = run(lines, everything, NULL);
		stage.cancel_at = stage.fail_at = 0;
		if (code == 0)
			break;
		if (code != expected)
			fail_msg("call %d: %d %s", n, code, err.text);
		assert_null(result.text);
		assert_runs(lines, everything, NULL);
		check_end(n);
	}
	assert_int_equal(n, good_calls + 1);
}

static void a_world_that_fails_at_any_call_changes_nothing(void **state)
{
	(void)state;
	learn_what_is_right();
	break_each_call(false, 0, -EIO);
	break_each_call(false, 3, -EIO);
	free_what_is_right();
}

static void a_run_is_stopped_at_any_call_and_begun_again(void **state)
{
	(void)state;
	learn_what_is_right();
	break_each_call(true, 0, -ECANCELED);
	break_each_call(true, 3, -ECANCELED);
	free_what_is_right();
}

/* Each life of the run makes one new call and dies. */
static void one_call_a_life_comes_to_the_same_end(void **state)
{
	(void)state;
	learn_what_is_right();
	begin(0);
	int lives = 0, code;
	do {
		stage.calls = 0;
		stage.fail_at = 3; /* knowledge is read anew in each life, and counts as a call */
		code = run(lines, everything, NULL);
		assert_true(code == 0 || code == -EIO);
	} while (code < 0 && ++lives < 1000);
	assert_true(lives > good_calls / 3);
	check_end(0);
	free_what_is_right();
}

/*
 * Models that do anything: a run ends, with an answer or a fault that has a word, asks at no place twice, and ends the
 * same way over its record, whether tasks run beside each other or not, and when it is cut off in the middle.
 */
static const char anything[] =
	CREW(",\"memory\":true",
	     TASK("t1", "a", ",\"async_execution\":true") "," TASK("t2", "b", "") "," TASK(
		     "t3", "a", ",\"schema\":{\"required\":[\"n\"]},\"guardrail\":\"It counts\""),
	     AGENT("a", "Researcher", ",\"max_iter\":4,\"allow_delegation\":true,\"tools\":[\"search\"]") "," AGENT(
		     "b", "Writer", ",\"max_iter\":3,\"allow_delegation\":true"));

static int run_anything(char **ret_told)
{
	int code = run(NULL, anything, NULL);
	if (code == -EIO)
		return code;
	assert_true(code == 0 || result.code);
	assert_true(asprintf(ret_told, "%d %s %s %s", code, result.code ? result.code : "",
			     result.text ? result.text : "", result.tasks_json) > 0);
	return code;
}

static void models_may_do_anything(void **state)
{
	(void)state;
	int good = 0;
	for (unsigned seed = 1; seed <= 300; seed++) {
		_wl_free_ char *first = NULL, *again = NULL, *cut = NULL;
		begin(0);
		stage.seed = seed;
		good += run_anything(&first) == 0;
		unsigned fresh = stage_fresh(&stage);
		int calls = stage.calls;
		(void)run_anything(&again);
		assert_string_equal(again, first);
		assert_int_equal(stage_fresh(&stage), fresh);
		begin(0);
		stage.seed = seed;
		stage.fail_at = 1 + (int)(seed % (unsigned)calls);
		assert_int_equal(run_anything(&cut), -EIO);
		stage.fail_at = 0;
		(void)run_anything(&cut);
		assert_string_equal(cut, first);
		assert_int_equal(stage_fresh(&stage), fresh);
	}
	assert_true(good > 20 && good < 280); /* else the models do not do just anything */
}

static void a_stop_before_the_first_call_costs_nothing(void **state)
{
	(void)state;
	static atomic_bool stop = true;
	begin(0);
	stage.world.stop = &stop;
	assert_int_equal(run(lines, everything, NULL), -ECANCELED);
	assert_int_equal(stage.calls, 0);
	assert_int_equal(result.model_calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		crew_test(a_world_that_fails_at_any_call_changes_nothing),
		crew_test(a_run_is_stopped_at_any_call_and_begun_again),
		crew_test(one_call_a_life_comes_to_the_same_end),
		crew_test(models_may_do_anything),
		crew_test(a_stop_before_the_first_call_costs_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
