/* A crew's run on a stage: tasks, contexts, tools, the text form, and what ends a run. */
#include "tests/kit/crew_kit.h"

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

static void context_is_what_a_task_names(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "ONE" },   { .place = "task/1/agent/turn/1", .text = "TWO" },
		{ .place = "task/2/agent/turn/1", .text = "THREE" }, { .place = "task/3/agent/turn/1", .text = "FOUR" },
		{ .place = "task/4/agent/turn/1", .text = "FIVE" },  { 0 }
	};
	assert_runs(lines,
		    CREW("",
			 TASK("t1", "a", "") "," TASK("t2", "a", "") "," TASK("t3", "b", "") "," TASK(
				 "t4", "b", ",\"context\":[]") "," TASK("t5", "b", ",\"context\":[\"t1\",\"t3\"]"),
			 TWO_AGENTS),
		    NULL);
	assert_has(said("task/2/agent/turn/1"), "ONE\n\n----------\n\nTWO");
	assert_null(strstr(said("task/3/agent/turn/1"), "ONE"));
	assert_has(said("task/4/agent/turn/1"), "ONE\n\n----------\n\nTHREE");
	assert_string_equal(result.text, "FIVE");
}

static void names_in_braces_are_filled_in(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "x" }, { 0 } };
	static const char crew[] = CREW("",
					"{\"name\":\"t\",\"description\":\"On {topic} of {the-year}: {\\\"a\\\": 1}\","
					"\"expected_output\":\"{list}\",\"agent_id\":\"a\"}",
					AGENT("a", "Knows {topic}", "") "," AGENT("b", "B", ""));
	assert_runs(lines, crew, "{\"topic\":\"bees {the-year}\",\"the-year\":2026,\"list\":[1]}");
	assert_has(said("task/0/agent/turn/1"), "On bees {the-year} of 2026: {\"a\": 1}");
	assert_has(said("task/0/agent/turn/1"), "Knows bees");
	assert_has(said("task/0/agent/turn/1"), "has to be: [1]");
	assert_int_equal(run(lines, crew, "{\"topic\":\"bees\",\"list\":1}"), -EINVAL);
	assert_string_equal(result.code, "input_missing");
	assert_has(err.text, "{the-year}");
	assert_int_equal(result.model_calls, 0);
}

static void a_lone_agent_hears_what_is_said(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "Hello {you}" }, { 0 } };
	stage.lines = lines;
	assert_int_equal(stage_run_lone(&stage, "{\"id\":\"a\",\"name\":\"Ann\",\"system_prompt\":\"Be kind\"}",
					"Hi {there}", NULL, NULL, &result, &err),
			 0);
	assert_string_equal(said("task/0/agent/turn/1"), "[system] Be kind\n[user] Hi {there}\n");
	assert_string_equal(result.text, "Hello {you}");
	assert_string_equal(stage.tokens.data, "Hello {you}");
}

/* ---- tools ----------------------------------------------------------------------------------------------- */

static void parallel_tool_uses_are_answered_in_order(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"z\":1}" },
		{ .place = "task/0/agent/turn/1", .tool = "nothing", .arguments = "{}" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "[1]" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"y\"}" },
		{ .place = "task/0/agent/turn/1/tool/0", .text = "\"plain \\u00e4 text\"" },
		{ .place = "task/0/agent/turn/1/tool/5", .text = "input_invalid", .error = 1 },
		{ .place = "task/0/agent/turn/2", .text = "done" },
		{ 0 }
	};
	assert_runs(lines, ONE_TASK, NULL);
	const char *text = said("task/0/agent/turn/2");
	assert_has(text, "[tool] plain \xc3\xa4 text\n[tool failed] The arguments have to be one JSON object: ");
	assert_has(text, "[tool failed] The arguments do not fit the tool's schema: q is missing\n"
			 "[tool failed] There is no tool nothing. Your tools: search\n"
			 "[tool failed] The arguments have to be one JSON object: it is not an object\n"
			 "[tool failed] input_invalid: as the script wants it\n");
	assert_null(stage_asked(&stage, "task/0/agent/turn/1/tool/1"));
	assert_int_equal(result.tool_calls, 2);
	assert_string_equal(stage_step(&stage, WL_CREW_STEP_TOOL, "task/0/agent/turn/1/tool/2")->code, "tool_failed");
}

static void uses_with_one_id_and_without_end_are_told_apart(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"y\"}" },
		{ .place = "task/0/agent/turn/1/tool/0", .text = "\"FIRST\"" },
		{ .place = "task/0/agent/turn/1/tool/60", .text = "\"OTHER\"" },
		{ .place = "task/0/agent/turn/2", .fault = WL_MODEL_FAULT_TOOLS },
		{ .place = "task/0/agent/turn/3", .text = "Final Answer: done" },
		{ 0 }
	};
	stage.use_id = "call_0";
	stage.use_times = 60;
	assert_runs(lines, ONE_TASK, NULL);
	/* 64 of 120 are looked at; three of each are made */
	assert_int_equal(result.tool_calls, 6);
	assert_non_null(stage_step(&stage, WL_CREW_STEP_TOOL, "task/0/agent/turn/1/tool/63"));
	assert_null(stage_step(&stage, WL_CREW_STEP_TOOL, "task/0/agent/turn/1/tool/64"));
	const char *text = said("task/0/agent/turn/3");
	assert_has(text, "{\"q\":\"x\"}\n[user] Observation: FIRST\n");
	assert_has(text, "{\"q\":\"y\"}\n[user] Observation: OTHER\n");
	assert_has(text, "only the first ones were called");
}

static void tools_of_one_name_are_told_apart(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search_2", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/2", .tool = "ask_question_to_coworker_2", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/3", .text = "done" },
		{ 0 }
	};
	assert_runs(
		lines,
		CREW("", TASK("t1", "a", ""),
		     AGENT("a", "A",
			   ",\"tools\":[\"search\",\"search#other\",\"ask_question_to_coworker\",\"a b\"]") "," AGENT("b",
														      "B",
														      "")),
		NULL);
	assert_int_equal(result.tool_calls, 2);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1")->tools, 4);
}

static void a_tool_that_is_gone_ends_the_run_unpaid(void **state)
{
	(void)state;
	static const char *const missing[] = { "search", NULL };
	stage.missing = missing;
	assert_int_equal(run(NULL, ONE_TASK, NULL), -ENOENT);
	assert_string_equal(result.code, "tool_missing");
	assert_int_equal(result.model_calls, 0);
}

static void max_iter_forces_an_answer(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"1\"}" },
		{ .place = "task/0/agent/turn/2", .tool = "search", .arguments = "{\"q\":\"2\"}" },
		{ .place = "task/0/agent/turn/3",
		  .text = "what I have",
		  .tool = "search",
		  .arguments = "{\"q\":\"3\"}" },
		{ 0 }
	};
	assert_runs(lines,
		    CREW("", TASK("t1", "a", ""),
			 AGENT("a", "A", ",\"max_iter\":2,\"max_tokens\":70,\"tools\":[\"search\"]") "," AGENT("b", "B",
													       "")),
		    NULL);
	assert_string_equal(result.text, "what I have");
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1")->max_tokens, 70);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/3")->choice, WL_MODEL_TOOL_NONE);
	assert_has(said("task/0/agent/turn/3"), "used up your steps");
	assert_int_equal(result.tool_calls, 2);
}

/* ---- the text form --------------------------------------------------------------------------------------- */

static void a_server_without_tools_gets_text_in_mid_run(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "hm", .tool = "search", .arguments = "{\"q\":\"1\"}" },
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"2\"}" },
		{ .place = "task/0/agent/turn/2", .fault = WL_MODEL_FAULT_TOOLS },
		{ .place = "task/0/agent/turn/3",
		  .text = "Thought: more\nAction: *Search*\nAction Input: {'q': 'three',}\nObservation: made up\n"
			  "Final Answer: wrong" },
		{ .place = "task/0/agent/turn/4", .text = "I wonder" },
		{ .place = "task/0/agent/turn/5", .text = "Action: search" },
		{ .place = "task/0/agent/turn/6",
		  .text = "Thought: I can answer now\nFinal Answer:  it is so\nObservation: no" },
		{ 0 }
	};
	assert_runs(lines, ONE_TASK, NULL);
	assert_string_equal(result.text, "it is so");
	assert_string_equal(stage.tokens.data, "it is so");
	const char *text = said("task/0/agent/turn/3");
	assert_has(text, "Tool: search\n");
	assert_has(text,
		   "[assistant] Thought: hm\nAction: search\nAction Input: {\"q\":\"1\"}\n[user] Observation: "
		   "{\"found\":1}\n"
		   "[assistant] Action: search\nAction Input: {\"q\":\"2\"}\n[user] Observation: {\"found\":1}\n");
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/3")->tools, 0);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/3")->stops, 1);
	assert_string_equal(said("task/0/agent/turn/3/tool/0"), "{\"q\":\"three\"}");
	assert_null(strstr(said("task/0/agent/turn/4"), "made up"));
	assert_has(said("task/0/agent/turn/5"), "either Action and Action Input");
	assert_has(said("task/0/agent/turn/6"), "needs a line \"Action Input:\"");
	assert_non_null(stage_step(&stage, WL_CREW_STEP_NOTE, "task/0/agent"));
}

static void a_model_that_keeps_to_no_form_is_taken_at_its_word(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .fault = WL_MODEL_FAULT_TOOLS },
						   { .place = "task/0/agent/turn/2", .text = "just text" },
						   { .place = "task/0/agent/turn/3", .text = "text again" },
						   { .place = "task/0/agent/turn/4", .text = "so be it" },
						   { 0 } };
	assert_runs(lines, ONE_TASK, NULL);
	assert_string_equal(result.text, "so be it");
	assert_string_equal(stage.tokens.data, "so be it");
}

static void a_refusal_of_tools_without_tools_is_a_fault(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .fault = WL_MODEL_FAULT_TOOLS },
						   { 0 } };
	assert_int_equal(run(lines, CREW("", TASK("t", "b", ""), TWO_AGENTS), NULL), -EPROTO);
	assert_string_equal(result.code, "tools_unsupported");
}

/* ---- what goes wrong ------------------------------------------------------------------------------------- */

static void empty_answers_are_asked_again_then_a_fault(void **state)
{
	(void)state;
	static const struct stage_line once[] = { { .place = "task/0/agent/turn/1", .text = " \n" },
						  { .place = "task/0/agent/turn/2" },
						  { .place = "task/0/agent/turn/3", .text = "here" },
						  { 0 } };
	static const struct stage_line ever[] = { { .place = "task/0/agent/turn/1" },
						  { .place = "task/0/agent/turn/2", .text = "" },
						  { .place = "task/0/agent/turn/3" },
						  { 0 } };
	static const struct stage_line between[] = {
		{ .place = "task/0/agent/turn/1" },
		{ .place = "task/0/agent/turn/2" },
		{ .place = "task/0/agent/turn/3", .tool = "search", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/4" },
		{ .place = "task/0/agent/turn/5", .text = "there" },
		{ 0 }
	};
	assert_runs(between, ONE_TASK, NULL);
	assert_string_equal(result.text, "there");
	new_stage();
	assert_runs(once, ONE_TASK, NULL);
	assert_string_equal(result.text, "here");
	assert_has(said("task/0/agent/turn/2"), "Nothing came back");
	new_stage();
	assert_int_equal(run(ever, ONE_TASK, NULL), -ENODATA);
	assert_string_equal(result.code, "answer_empty");
	assert_int_equal(result.model_calls, 3);
}

#define SAME(n)                                                                                                        \
	{                                                                                                              \
		.place = "task/0/agent/turn/" #n, .tool = "search", .arguments = "{\"q\":\"x\", \"r\":1}"              \
	}

static void the_same_call_again_and_again_ends_the_run(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		SAME(1),
		SAME(2),
		{ .place = "task/0/agent/turn/3", .tool = "search", .arguments = "{\"r\": 1, \"q\": \"x\"}" },
		SAME(4),
		SAME(5),
		{ 0 }
	};
	assert_int_equal(run(lines, ONE_TASK, NULL), -ELOOP);
	assert_string_equal(result.code, "tool_loop");
	assert_int_equal(result.tool_calls, WL_CREW_REPEAT_MAX);
	assert_int_equal(result.model_calls, 5);
	assert_has(said("task/0/agent/turn/5"), "[tool failed] You have called search with these arguments 3 times");
	assert_has(said("task/0/agent/turn/5"), "the last time: {\"found\":1}");
}

static void a_hint_comes_before_the_end_of_a_loop(void **state)
{
	(void)state;
#define USE                                                                                                            \
	{                                                                                                              \
		.place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}"                         \
	}
	static const struct stage_line lines[] = {
		USE, USE, USE, USE, USE, USE, { .place = "task/0/agent/turn/2", .text = "sorry" }, { 0 }
	};
	assert_runs(lines, ONE_TASK, NULL);
	assert_int_equal(result.tool_calls, 3);
	assert_string_equal(result.text, "sorry");
}

static void a_broken_call_again_and_again_ends_the_run_too(void **state)
{
	(void)state;
#define BROKEN(n)                                                                                                      \
	{                                                                                                              \
		.place = "task/0/agent/turn/" #n, .tool = "search", .arguments = "{\"q\""                              \
	}
	static const struct stage_line lines[] = { BROKEN(1), BROKEN(2), BROKEN(3), BROKEN(4), BROKEN(5), { 0 } };
	assert_int_equal(run(lines, ONE_TASK, NULL), -ELOOP);
	assert_int_equal(result.tool_calls, 0);
}

static void faults_of_models_keep_their_words(void **state)
{
	(void)state;
	for (int fault = WL_MODEL_FAULT_PROVIDER; fault <= WL_MODEL_FAULT_STOPPED; fault++) {
		const struct stage_line lines[] = {
			{ .place = "task/0/agent/turn/1", .fault = (enum wl_model_fault)fault }, { 0 }
		};
		new_stage();
		int code = run(lines, CREW("", TASK("t", "b", ""), TWO_AGENTS), NULL);
		assert_int_equal(code, fault == WL_MODEL_FAULT_STOPPED ? -ECANCELED : -EPROTO);
		assert_string_equal(result.code, wl_model_fault_word((enum wl_model_fault)fault));
		assert_int_equal(result.usage.prompt, 10);
	}
}

static void ports_may_let_the_run_wait_or_begin_again(void **state)
{
	(void)state;
	static const int errors[][2] = { { EINPROGRESS, -EINPROGRESS }, { EAGAIN, -EAGAIN },	{ EIO, -EIO },
					 { ECANCELED, -ECANCELED },	{ ECONNREFUSED, -EIO }, { ENOMEM, -EIO } };
	for (size_t i = 0; i < WL_COUNT_OF(errors); i++) {
		const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .error = errors[i][0] }, { 0 } };
		new_stage();
		assert_int_equal(run(lines, ONE_TASK, NULL), errors[i][1]);
		assert_null(result.code);
	}
}

static void a_budget_reached_in_the_middle_counts_what_was_spent(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "ONE" },
		{ .place = "task/1/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/1/agent/turn/2", .fault = WL_MODEL_FAULT_BUDGET },
		{ 0 }
	};
	assert_int_equal(run(lines, CREW("", TASK("t1", "b", "") "," TASK("t2", "a", ""), TWO_AGENTS), NULL), -EPROTO);
	assert_string_equal(result.code, "budget_exceeded");
	assert_int_equal(result.usage.prompt, 30);
	assert_int_equal(result.model_calls, 3);
	assert_has(result.tasks_json, "\"text\":\"ONE\"");
	assert_null(strstr(result.tasks_json, "t2"));
	assert_null(result.text);
}

static void time_and_rates_go_by_the_worlds_clock(void **state)
{
	(void)state;
	static const struct stage_line slow[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}", .takes_ms = 6000 },
		{ .place = "task/0/agent/turn/2", .tool = "search", .arguments = "{\"q\":\"y\"}", .takes_ms = 6000 },
		{ 0 }
	};
	static const struct stage_line fast[] = { { .place = "task/0/agent/turn/1", .text = "1", .takes_ms = 1000 },
						  { .place = "task/1/agent/turn/1", .text = "2", .takes_ms = 1000 },
						  { .place = "task/2/agent/turn/1", .text = "3" },
						  { .place = "task/3/agent/turn/1", .text = "4" },
						  { 0 } };
	assert_int_equal(
		run(slow,
		    CREW("", TASK("t", "a", ""),
			 AGENT("a", "A", ",\"max_execution_time\":10,\"tools\":[\"search\"]") "," AGENT("b", "B", "")),
		    NULL),
		-ETIME);
	assert_string_equal(result.code, "agent_timeout");
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/2")->timeout_ms, 4000);
	assert_int_equal(stage.paused_ms, 0);
	new_stage();
	assert_runs(fast,
		    CREW(",\"max_rpm\":3",
			 TASK("t1", "a", "") "," TASK("t2", "b", "") "," TASK("t3", "a", "") "," TASK("t4", "b", ""),
			 AGENT("a", "A", ",\"max_rpm\":1") "," AGENT("b", "B", "")),
		    NULL);
	assert_int_equal(stage.paused_ms, 58000);
}

static void an_answer_from_the_record_is_no_call_of_the_minute(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "1" },
						   { .place = "task/1/agent/turn/1", .text = "2" },
						   { .place = "task/2/agent/turn/1", .text = "3" },
						   { 0 } };
	static const char crew[] =
		CREW(",\"max_rpm\":1", TASK("t1", "a", "") "," TASK("t2", "b", "") "," TASK("t3", "a", ""), TWO_AGENTS);
	assert_runs(lines, crew, NULL);
	assert_int_equal(stage.paused_ms, 120000);
	assert_runs(lines, crew, NULL);
	assert_int_equal(stage.paused_ms, 120000);
	assert_int_equal(stage_fresh(&stage), 3);
}

/* ---- conversations that are too long --------------------------------------------------------------------- */

static void a_long_conversation_is_summarised(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"1\"}" },
		{ .place = "task/0/agent/turn/2", .tool = "search", .arguments = "{\"q\":\"2\"}" },
		{ .place = "task/0/agent/turn/3", .tool = "search", .arguments = "{\"q\":\"3\"}" },
		{ .place = "task/0/agent/turn/4", .fault = WL_MODEL_FAULT_CONTEXT },
		{ .place = "task/0/agent/summary/1", .text = "IN SHORT" },
		{ .place = "task/0/agent/turn/5", .fault = WL_MODEL_FAULT_CONTEXT },
		{ .place = "task/0/agent/summary/2", .text = "SHORTER" },
		{ .place = "task/0/agent/turn/6", .text = "done" },
		{ 0 }
	};
	assert_runs(lines, ONE_TASK, NULL);
	assert_string_equal(result.text, "done");
	assert_has(said("task/0/agent/summary/1"), "Agent calls search with {\"q\":\"1\"}\nTool: {\"found\":1}");
	assert_has(said("task/0/agent/turn/5"), "IN SHORT");
	assert_has(said("task/0/agent/turn/5"), "search({\"q\":\"2\"})");
	assert_null(strstr(said("task/0/agent/turn/5"), "search({\"q\":\"1\"})"));
	assert_has(said("task/0/agent/turn/6"), "SHORTER");
	assert_null(strstr(said("task/0/agent/turn/6"), "IN SHORT"));
	assert_has(said("task/0/agent/turn/6"), "search({\"q\":\"3\"})\n[tool]");
}

static void a_middle_that_is_too_long_is_taken_in_parts(void **state)
{
	(void)state;
	static char long_text[9000];
	memset(long_text, '1', sizeof(long_text) - 1);
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"1\"}" },
		{ .place = "task/0/agent/turn/1/tool/0", .text = long_text },
		{ .place = "task/0/agent/turn/2", .fault = WL_MODEL_FAULT_CONTEXT },
		{ .place = "task/0/agent/summary/1", .fault = WL_MODEL_FAULT_CONTEXT },
		{ .place = "task/0/agent/summary/2", .text = "PART ONE" },
		{ .place = "task/0/agent/summary/3", .text = "PART TWO" },
		{ .place = "task/0/agent/turn/3", .text = "done" },
		{ 0 }
	};
	assert_runs(lines, ONE_TASK, NULL);
	assert_has(said("task/0/agent/turn/3"), "PART ONE\nPART TWO");
}

static void a_summary_leaves_no_result_without_its_call(void **state)
{
	(void)state;
#define BOTH(n)                                                                                                        \
	{ .place = "task/0/agent/turn/" #n, .tool = "search", .arguments = "{\"q\":\"a" #n "\"}" },                    \
	{                                                                                                              \
		.place = "task/0/agent/turn/" #n, .tool = "search", .arguments = "{\"q\":\"b" #n "\"}"                 \
	}
	static const struct stage_line lines[] = { BOTH(1),
						   BOTH(2),
						   { .place = "task/0/agent/turn/3", .fault = WL_MODEL_FAULT_CONTEXT },
						   { .place = "task/0/agent/summary/1", .text = "IN SHORT" },
						   { .place = "task/0/agent/turn/4", .error = EIO },
						   { 0 } };
	assert_int_equal(run(lines, ONE_TASK, NULL), -EIO);
	/* a fault that was got over is not the run's */
	assert_null(result.code);
	assert_has(said("task/0/agent/turn/4"),
		   "IN SHORT\n\n[assistant] -\n  search({\"q\":\"a2\"})\n  search({\"q\":\"b2\"})\n"
		   "[tool] {\"found\":1}\n[tool] {\"found\":1}\n");
}

static void a_task_that_is_too_long_is_a_fault(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .fault = WL_MODEL_FAULT_CONTEXT },
						   { 0 } };
	assert_int_equal(run(lines, ONE_TASK, NULL), -EPROTO);
	assert_string_equal(result.code, "context_too_long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		crew_test(tasks_follow_each_other),
		crew_test(context_is_what_a_task_names),
		crew_test(names_in_braces_are_filled_in),
		crew_test(a_lone_agent_hears_what_is_said),
		crew_test(parallel_tool_uses_are_answered_in_order),
		crew_test(uses_with_one_id_and_without_end_are_told_apart),
		crew_test(tools_of_one_name_are_told_apart),
		crew_test(a_tool_that_is_gone_ends_the_run_unpaid),
		crew_test(max_iter_forces_an_answer),
		crew_test(a_server_without_tools_gets_text_in_mid_run),
		crew_test(a_model_that_keeps_to_no_form_is_taken_at_its_word),
		crew_test(a_refusal_of_tools_without_tools_is_a_fault),
		crew_test(empty_answers_are_asked_again_then_a_fault),
		crew_test(the_same_call_again_and_again_ends_the_run),
		crew_test(a_hint_comes_before_the_end_of_a_loop),
		crew_test(a_broken_call_again_and_again_ends_the_run_too),
		crew_test(faults_of_models_keep_their_words),
		crew_test(ports_may_let_the_run_wait_or_begin_again),
		crew_test(a_budget_reached_in_the_middle_counts_what_was_spent),
		crew_test(time_and_rates_go_by_the_worlds_clock),
		crew_test(an_answer_from_the_record_is_no_call_of_the_minute),
		crew_test(a_long_conversation_is_summarised),
		crew_test(a_middle_that_is_too_long_is_taken_in_parts),
		crew_test(a_summary_leaves_no_result_without_its_call),
		crew_test(a_task_that_is_too_long_is_a_fault),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
