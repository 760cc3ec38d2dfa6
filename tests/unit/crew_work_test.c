/* What agents do together on a stage: coworkers, managers, reviews, people, plans, memory, knowledge, tasks beside. */
#include "tests/kit/crew_kit.h"

#define HIERARCHY(more, tasks)                                                                                         \
	"{\"crew\":{\"id\":\"c\",\"name\":\"Crew\",\"agent_ids\":[\"a\",\"b\"],\"collaboration_pattern\":"             \
	"\"hierarchical\",\"config\":{\"tasks\":[" tasks "]," more "}},\"agents\":[" TWO_AGENTS                        \
	"," AGENT("m", "Boss", "") "]}"
#define FREE_TASK "{\"name\":\"t\",\"description\":\"Do it\",\"expected_output\":\"A text\"}"
#define DELEGATING AGENT("a", "Researcher", ",\"allow_delegation\":true,\"tools\":[\"search\"]")
#define MUTUAL DELEGATING "," AGENT("b", "Chief Writer", ",\"allow_delegation\":true")
#define ASKS(where, who)                                                                                               \
	{                                                                                                              \
		.place = where, .tool = "ask_question_to_coworker",                                                    \
		.arguments = "{\"question\":\"Why " who "?\",\"context\":\"All of it\",\"coworker\":\"" who "\"}"      \
	}

/* ---- coworkers ------------------------------------------------------------------------------------------- */

static void a_coworker_does_the_work(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1",
		  .tool = "Delegate work to coworker",
		  .arguments =
			  "{\"task\":\"Write it\",\"context\":\"FACTS\",\"coworker\":\" chief  \\\"WRITER\\\" \"}" },
		{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/1", .text = "WRITTEN" },
		ASKS("task/0/agent/turn/2", "[Nobody, Chief Writer]"),
		ASKS("task/0/agent/turn/3", "[Chief Writer, b]"),
		{ .place = "task/0/agent/turn/3/tool/0/coworker/turn/1", .text = "BECAUSE" },
		{ .place = "task/0/agent/turn/4",
		  .tool = "ask_question_to_coworker",
		  .arguments = "{\"coworker\":\"x\"}" },
		ASKS("task/0/agent/turn/5", "Researcher"),
		{ .place = "task/0/agent/turn/6", .text = "done" },
		{ 0 }
	};
	assert_runs(lines, CREW("", TASK("t1", "a", ""), MUTUAL), NULL);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1")->tools, 3);
	const char *coworker = said("task/0/agent/turn/1/tool/0/coworker/turn/1");
	assert_has(coworker, "Your role: Chief Writer");
	assert_has(coworker, "Write it");
	assert_has(coworker, "FACTS");
	const char *text = said("task/0/agent/turn/6");
	assert_has(text, "[tool] WRITTEN");
	assert_has(text, "[tool failed] There is no coworker \"[Nobody, Chief Writer]\". Your coworkers: Chief Writer");
	assert_has(text, "[tool] BECAUSE");
	assert_has(text, "[tool failed] The arguments need \"question\"");
	assert_has(text, "[tool failed] There is no coworker \"Researcher\"");
	const struct stage_step *step = stage_step(&stage, WL_CREW_STEP_DELEGATION, "task/0/agent/turn/1/tool/0");
	assert_string_equal(step->output, "WRITTEN");
	assert_string_equal(step->name, "Chief Writer");
	assert_int_equal(stage_step(&stage, WL_CREW_STEP_AGENT, "task/0/agent/turn/1/tool/0/coworker")->parent,
			 step->id);
	assert_int_equal(step->parent, stage_step(&stage, WL_CREW_STEP_AGENT, "task/0/agent")->id);
}

/* Each asks the other for ever: the depth has a bound, where the tools are not there any more. */
static void endless_delegation_has_an_end(void **state)
{
	(void)state;
#define D0 "task/0/agent/turn/1"
#define D1 D0 "/tool/0/coworker/turn/1"
#define D2 D1 "/tool/0/coworker/turn/1"
#define D3 D2 "/tool/0/coworker/turn/1"
#define D4 D3 "/tool/0/coworker/turn/1"
	static const struct stage_line lines[] = { ASKS(D0, "Chief Writer"),
						   ASKS(D1, "Researcher"),
						   ASKS(D2, "Chief Writer"),
						   ASKS(D3, "Researcher"),
						   ASKS(D4, "Chief Writer"),
						   { .place = D3 "/tool/0/coworker/turn/2", .text = "4" },
						   { .place = D2 "/tool/0/coworker/turn/2", .text = "3" },
						   { .place = D1 "/tool/0/coworker/turn/2", .text = "2" },
						   { .place = D0 "/tool/0/coworker/turn/2", .text = "1" },
						   { .place = "task/0/agent/turn/2", .text = "0" },
						   { 0 } };
	assert_runs(lines, CREW("", TASK("t1", "a", ""), MUTUAL), NULL);
	assert_string_equal(result.text, "0");
	assert_int_equal(stage_asked(&stage, D3)->tools, 2);
	assert_int_equal(stage_asked(&stage, D4)->tools, 1);
	assert_has(said(D3 "/tool/0/coworker/turn/2"),
		   "[tool failed] There is no tool ask_question_to_coworker. Your tools: search");
	assert_has(said("task/0/agent/turn/2"), "[tool] 1");
}

/* The same question again and again is a loop, whoever asks whom. */
static void the_same_delegation_again_is_a_loop(void **state)
{
	(void)state;
#define AGAIN(n)                                                                                                       \
	ASKS("task/0/agent/turn/" #n, "Chief Writer"),                                                                 \
	{                                                                                                              \
		.place = "task/0/agent/turn/" #n "/tool/0/coworker/turn/1", .text = "no"                               \
	}
	static const struct stage_line lines[] = { AGAIN(1), AGAIN(2), AGAIN(3), AGAIN(4), AGAIN(5), { 0 } };
	assert_int_equal(run(lines, CREW("", TASK("t1", "a", ""), MUTUAL), NULL), -ELOOP);
	assert_int_equal(result.model_calls, 8);
}

static void without_coworkers_there_is_nobody_to_ask(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "alone" }, { 0 } };
	stage.lines = lines;
	assert_int_equal(stage_run_lone(&stage, DELEGATING, "Do", "it", NULL, &result, &err), 0);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1")->tools, 1);
}

static void a_coworker_has_no_more_time_than_who_asks(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1",
						     .tool = "ask_question_to_coworker",
						     .arguments = "{\"question\":\"Why?\",\"coworker\":\"B\"}",
						     .takes_ms = 4000 },
						   { .place = "task/0/agent/turn/1/tool/0/coworker/turn/1",
						     .fault = WL_MODEL_FAULT_LATE,
						     .takes_ms = 6000 },
						   { 0 } };
	static const char crew[] =
		CREW("", TASK("t1", "a", ""),
		     AGENT("a", "A", ",\"allow_delegation\":true,\"max_execution_time\":10") "," AGENT(
			     "b", "B", ",\"max_execution_time\":100"));
	assert_int_equal(run(lines, crew, NULL), -ETIME);
	assert_string_equal(result.code, "agent_timeout");
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1/tool/0/coworker/turn/1")->timeout_ms, 6000);
}

/* ---- managers -------------------------------------------------------------------------------------------- */

static void a_manager_runs_every_task(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1",
		  .tool = "delegate_work_to_coworker",
		  .arguments = "{\"task\":\"x\",\"context\":\"\",\"coworker\":\"writer\"}" },
		{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/1", .text = "by the writer" },
		{ .place = "task/0/agent/turn/2", .text = "approved" },
		ASKS("task/1/agent/turn/1", "Writer"),
		{ .place = "task/1/agent/turn/2", .text = "well then" },
		{ 0 }
	};
	assert_runs(lines,
		    HIERARCHY("\"manager_llm\":{\"llm_provider_id\":\"p\",\"model\":\"m1\"}",
			      FREE_TASK "," TASK("t2", "a", "")),
		    NULL);
	assert_has(said("task/0/agent/turn/1"), "Your role: Crew manager");
	assert_has(said("task/0/agent/turn/2"), "[tool] by the writer");
	/* the task names its agent: he is the one whom the manager may turn to */
	assert_has(said("task/1/agent/turn/2"), "There is no coworker \"Writer\". Your coworkers: Researcher\n");
	assert_string_equal(result.text, "well then");
	new_stage();
	static const struct stage_line own[] = { { .place = "task/0/agent/turn/1", .text = "mine" }, { 0 } };
	assert_runs(own, HIERARCHY("\"manager_agent_id\":\"m\"", FREE_TASK), NULL);
	assert_has(said("task/0/agent/turn/1"), "Your role: Boss");
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/1")->tools, 2);
	assert_has(result.tasks_json, "\"agent\":\"Boss\"");
}

/* ---- reviews --------------------------------------------------------------------------------------------- */

#define SCHEMA ",\"schema\":{\"type\":\"object\",\"required\":[\"n\"]}"

static void an_output_is_made_to_fit_its_schema(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
		{ .place = "task/0/agent/turn/2", .text = "It is five." },
		{ .place = "task/0/agent/turn/3", .text = "{\"m\":5}" },
		{ .place = "task/0/agent/turn/4", .text = "Sure:\n```json\n{\"n\": 5,}\n```" },
		{ .place = "task/1/agent/turn/1", .text = "{\"n\":6}" },
		{ 0 }
	};
	assert_runs(lines, CREW("", TASK("t1", "a", SCHEMA) "," TASK("t2", "b", SCHEMA), TWO_AGENTS), NULL);
	/* a schema in the request keeps models from calling tools: it comes with the repairs */
	assert_null(stage_asked(&stage, "task/0/agent/turn/1")->schema);
	assert_non_null(stage_asked(&stage, "task/0/agent/turn/3")->schema);
	assert_int_equal(stage_asked(&stage, "task/0/agent/turn/3")->choice, WL_MODEL_TOOL_NONE);
	assert_has(said("task/0/agent/turn/4"), "n is missing");
	assert_non_null(stage_asked(&stage, "task/1/agent/turn/1")->schema);
	assert_string_equal(result.json, "{\"n\":6}");
	assert_string_equal(stage.tokens.data, "{\"n\":6}");
	assert_has(result.tasks_json, "\"text\":\"{\\\"n\\\":5}\",\"json\":{\"n\":5}");
}

static void an_output_that_never_fits_is_a_fault(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "no" },
						   { .place = "task/0/agent/turn/2", .text = "no {" },
						   { .place = "task/0/agent/turn/3", .text = "[}" },
						   { .place = "task/0/agent/turn/4", .text = "{}" },
						   { 0 } };
	assert_int_equal(run(lines, CREW("", TASK("t1", "b", SCHEMA), TWO_AGENTS), NULL), -EPROTO);
	assert_string_equal(result.code, "output_invalid");
	assert_has(err.text, "n is missing");
	assert_string_equal(result.tasks_json, "[]");
}

#define GUARD ",\"guardrail\":\"It rhymes\""

static void a_guardrail_sends_the_work_back(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "prose" },
		{ .place = "task/0/guardrail/1", .text = "{\"valid\": false, \"feedback\": \"it does not rhyme\"}" },
		{ .place = "task/0/agent/turn/2", .text = "a verse" },
		{ .place = "task/0/guardrail/2", .text = "I would say so" },
		{ .place = "task/0/guardrail/2/again", .text = "{valid: True, feedback: ''}" },
		{ 0 }
	};
	assert_runs(lines, CREW("", TASK("t1", "b", GUARD), TWO_AGENTS), NULL);
	assert_string_equal(result.text, "a verse");
	assert_string_equal(stage.tokens.data, "a verse");
	assert_has(said("task/0/guardrail/1"), "It rhymes\n\nThe work:\nprose");
	assert_has(said("task/0/agent/turn/2"),
		   "[assistant] prose\n[user] Your answer was checked and did not pass. What has to "
		   "change: it does not rhyme");
	assert_has(stage_step(&stage, WL_CREW_STEP_GUARDRAIL, "task/0/guardrail/1")->output, "it does not rhyme");
}

static void a_guardrail_that_nothing_passes_ends_the_run(void **state)
{
	(void)state;
#define NO "{\"valid\":false,\"feedback\":\"\"}"
#define TRY(n)                                                                                                         \
	{ .place = "task/0/agent/turn/" #n, .text = "prose" },                                                         \
	{                                                                                                              \
		.place = "task/0/guardrail/" #n, .text = NO                                                            \
	}
	static const struct stage_line never[] = { TRY(1), TRY(2), TRY(3), TRY(4), { 0 } };
	static const struct stage_line unread[] = { { .place = "task/0/agent/turn/1", .text = "prose" },
						    { .place = "task/0/guardrail/1", .text = "{\"valid\":\"yes\"}" },
						    { .place = "task/0/guardrail/1/again", .text = "" },
						    { 0 } };
	static const char crew[] = CREW("", TASK("t1", "b", GUARD), TWO_AGENTS);
	assert_int_equal(run(never, crew, NULL), -EPROTO);
	assert_string_equal(result.code, "guardrail_failed");
	assert_int_equal(result.model_calls, 2 * (1 + WL_CREW_GUARDRAIL_RETRIES));
	new_stage();
	assert_int_equal(run(unread, crew, NULL), -EPROTO);
	assert_string_equal(result.code, "guardrail_failed");
	assert_has(err.text, "cannot be read");
}

static void a_person_is_waited_for_and_heard(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "draft" },
		{ .place = "task/0/guardrail/1", .text = "{\"valid\":true,\"feedback\":\"\"}" },
		{ .place = "task/0/human/1", .text = "shorter" },
		{ .place = "task/0/agent/turn/2", .text = "drft" },
		{ .place = "task/0/guardrail/2", .text = "{\"valid\":true,\"feedback\":\"\"}" },
		{ 0 }
	};
	static const char crew[] = CREW("", TASK("t1", "b", GUARD ",\"human_input\":true"), TWO_AGENTS);
	stage.human_waits = 2;
	assert_int_equal(run(lines, crew, NULL), -EINPROGRESS);
	assert_null(result.code);
	assert_string_equal(result.tasks_json, "[]");
	assert_int_equal(run(lines, crew, NULL), -EINPROGRESS);
	assert_runs(lines, crew, NULL);
	assert_string_equal(result.text, "drft");
	assert_string_equal(said("task/0/human/1"), "draft");
	assert_string_equal(said("task/0/human/2"), "drft");
	assert_has(said("task/0/agent/turn/2"), "A person has looked at your answer and says:\nshorter");
	/* two answers, two verdicts, two looks: nothing was asked twice */
	assert_int_equal(stage_fresh(&stage), 6);
}

static void what_is_not_offered_is_refused_unpaid(void **state)
{
	(void)state;
	stage.world.human = NULL;
	assert_int_equal(run(NULL, CREW("", TASK("t1", "b", ",\"human_input\":true"), TWO_AGENTS), NULL), -EINVAL);
	assert_string_equal(result.code, "crew_refused");
	stage.world.condition = NULL;
	assert_int_equal(run(NULL, CREW("", TASK("t1", "b", ",\"condition\":\"x\""), TWO_AGENTS), NULL), -EINVAL);
	stage.world.fits = NULL;
	assert_int_equal(run(NULL, CREW("", TASK("t1", "b", SCHEMA), TWO_AGENTS), NULL), -EINVAL);
	stage.world.knowledge = NULL;
	assert_int_equal(
		run(NULL,
		    CREW("", TASK("t1", "b", ""), AGENT("a", "A", ",\"knowledge\":[\"k\"]") "," AGENT("b", "B", "")),
		    NULL),
		-EINVAL);
	assert_string_equal(result.code, "knowledge_missing");
	assert_int_equal(result.model_calls, 0);
}

/* ---- conditions, plans ----------------------------------------------------------------------------------- */

static void conditions_skip_tasks(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "ONE" },
						   { .place = "task/2/agent/turn/1", .text = "THREE" },
						   { 0 } };
	static const char last[] = "\\\"last\\\":{\\\"text\\\":\\\"ONE\\\",\\\"skipped\\\":false";
	_wl_free_ char *crew = NULL;
	assert_true(
		asprintf(&crew,
			 CREW("",
			      TASK("t1", "b", ",\"condition\":\"\\\"last\\\":null\"") "," TASK(
				      "t2", "b",
				      ",\"condition\":\"never\"") "," TASK("t3", "b",
									   ",\"condition\":\"%s\"") "," TASK("t4", "b",
													     ",\"condit"
													     "ion\":"
													     "\"never"
													     "\""),
			      TWO_AGENTS),
			 last) > 0);
	assert_runs(lines, crew, "{\"a\":1}");
	assert_string_equal(result.text, "THREE");
	assert_has(result.tasks_json,
		   "{\"name\":\"t2\",\"agent\":\"Writer\",\"text\":null,\"json\":null,\"skipped\":true}");
	assert_null(strstr(said("task/2/agent/turn/1"), "----------"));
	assert_string_equal(stage.tokens.data, "THREE");
	assert_int_equal(run(lines,
			     CREW("", TASK("t1", "b", "") "," TASK("t2", "b", ",\"condition\":\"broken\""), TWO_AGENTS),
			     NULL),
			 -EINVAL);
	assert_string_equal(result.code, "condition_invalid");
	assert_has(err.text, "a syntax error");
}

static void a_plan_is_added_to_the_tasks(void **state)
{
	(void)state;
	static const struct stage_line good[] = { { .place = "plan",
						    .text = "{\"plans\":[{\"task\":2,\"plan\":\"STEPS\"},{\"task\":9,"
							    "\"plan\":\"x\"},{\"task\":2,\"plan\":\"y\"}]}" },
						  { .place = "task/0/agent/turn/1", .text = "1" },
						  { .place = "task/1/agent/turn/1", .text = "2" },
						  { 0 } };
	static const struct stage_line bad[] = { { .place = "plan", .text = "first this, then that" },
						 { .place = "task/0/agent/turn/1", .text = "1" },
						 { .place = "task/1/agent/turn/1", .text = "2" },
						 { 0 } };
	static const char crew[] = CREW(",\"planning\":true", TASK("t1", "a", "") "," TASK("t2", "b", ""), TWO_AGENTS);
	assert_runs(good, crew, NULL);
	assert_has(said("plan"), "Task 2: Do t2");
	assert_has(said("task/1/agent/turn/1"), "A plan for it:\nSTEPS");
	assert_null(strstr(said("task/0/agent/turn/1"), "A plan for it"));
	new_stage();
	assert_runs(bad, crew, NULL);
	assert_string_equal(stage_step(&stage, WL_CREW_STEP_PLAN, "plan")->code, "plan_unreadable");
}

/* ---- memory and knowledge -------------------------------------------------------------------------------- */

#define NO_CONTEXT ",\"context\":[]"

static void a_crew_remembers_within_and_between_runs(void **state)
{
	(void)state;
	static const struct stage_line lines[] = {
		{ .place = "task/0/agent/turn/1", .text = "The zoo of Zzyzx buzzes. In it Anna Zola keeps bees." },
		{ .place = "task/1/agent/turn/1", .text = "mmm" },
		{ .place = "task/2/agent/turn/1", .text = "done" },
		{ .place = "task/2/agent/recall", .text = "[{\"text\":\"FROM BEFORE\",\"score\":0.5}]" },
		{ 0 }
	};
	static const char crew[] =
		CREW(",\"memory\":true",
		     TASK("t1", "b", "") "," TASK("t2", "b", NO_CONTEXT) "," TASK("zzz", "b", NO_CONTEXT), TWO_AGENTS);
	stage_remembers(&stage);
	assert_runs(lines, crew, NULL);
	assert_null(strstr(said("task/0/agent/turn/1"), "What you remember"));
	const char *text = said("task/2/agent/turn/1");
	assert_has(text, "What you remember:\n- ");
	assert_has(text, "- Anna Zola: In it Anna Zola keeps bees");
	assert_has(text, "- FROM BEFORE");
	assert_has(stage.remembered.data, "t1: The zoo of Zzyzx buzzes.");
	assert_non_null(stage_step(&stage, WL_CREW_STEP_MEMORY, "task/2/agent"));
	new_stage();
	/* without vectors: the latest outputs */
	assert_runs(lines, crew, NULL);
	assert_has(said("task/2/agent/turn/1"), "What you remember:\n- mmm\n- The zoo of");
	new_stage();
	/* nobody can recall the last output: no vectors are paid for it */
	stage_remembers(&stage);
	stage.world.remember = NULL;
	assert_runs(lines, crew, NULL);
	assert_non_null(stage_asked(&stage, "task/1/memory/0"));
	assert_null(stage_asked(&stage, "task/2/memory/0"));
}

static void a_crew_remembers_without_vectors_too(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "k", .text = "A source." },
						   { .place = "task/0/agent/turn/1", .text = "ONE" },
						   { .place = "task/1/agent/turn/1", .text = "TWO" },
						   { 0 } };
	static const char crew[] = CREW(",\"memory\":true", TASK("t1", "b", "") "," TASK("t2", "a", NO_CONTEXT),
					AGENT("a", "A", ",\"knowledge\":[\"k\"]") "," AGENT("b", "B", ""));
	static const int errors[][2] = { { ENOENT, 0 },
					 { EPROTO, 0 },
					 { EACCES, 0 },
					 { ETIMEDOUT, -ETIMEDOUT },
					 { EAGAIN, -EBUSY },
					 { ECONNREFUSED, -ECONNREFUSED },
					 { EFBIG, -EFBIG },
					 { ESTALE, -ESTALE },
					 { EIO, -EIO },
					 { EDQUOT, -EDQUOT },
					 { EINPROGRESS, -EINPROGRESS },
					 { ECANCELED, -ECANCELED } };
	for (size_t i = 0; i < WL_COUNT_OF(errors); i++) {
		new_stage();
		stage_remembers(&stage);
		stage.embed_error = errors[i][0];
		assert_int_equal(run(lines, crew, NULL), errors[i][1]);
		if (errors[i][1] == 0) {
			assert_has(said("task/1/agent/turn/1"), "What you remember:\n- ONE");
			assert_has(said("task/1/agent/turn/1"), "From your documents:\n---\nA source.");
			assert_null(stage.remembered.data);
		}
		if (errors[i][0] == EDQUOT)
			assert_string_equal(result.code, "budget_exceeded");
		if (errors[i][0] == ECONNREFUSED)
			assert_string_equal(result.code, "model_unavailable");
		if (errors[i][0] == ESTALE)
			assert_string_equal(result.code, "replay_diverged");
	}
}

static void knowledge_is_looked_up(void **state)
{
	(void)state;
	static char book[9001];
	for (size_t i = 0; i < sizeof(book) - 1; i++)
		book[i] = i % 10 == 9 ? ' ' : i < 4000 ? 'q' : i < 5000 ? 'o' : 'x';
	static const struct stage_line lines[] = { { .place = "k1", .text = book },
						   { .place = "k2", .text = "A short one." },
						   { .place = "task/0/agent/turn/1", .text = "done" },
						   { .place = "task/1/agent/turn/1", .text = "done" },
						   { 0 } };
	static const char crew[] = CREW("", TASK("ooo", "a", "") "," TASK("oo", "a", ""),
					AGENT("a", "A", ",\"knowledge\":[\"k1\",\"k2\"]") "," AGENT("b", "B", ""));
	stage_remembers(&stage);
	assert_runs(lines, crew, NULL);
	const char *text = strstr(said("task/0/agent/turn/1"), "From your documents:\n---\n");
	assert_non_null(text);
	assert_has(text, "oooo");
	assert_has(text, "A short one.");
	/* read and embedded once for both tasks */
	assert_int_equal(stage_asked(&stage, "agent/0/knowledge/0")->fresh, 1);
	assert_non_null(stage_step(&stage, WL_CREW_STEP_KNOWLEDGE, "task/1/agent"));
	new_stage();
	assert_runs(lines, crew, NULL);
	text = said("task/0/agent/turn/1");
	assert_has(text, "From your documents:\n---\nqqqq");
	assert_has(text, "A short one.");
	assert_null(strstr(text, "oooo"));
	assert_int_equal(
		run(lines,
		    CREW("", TASK("t", "a", ""), AGENT("a", "A", ",\"knowledge\":[\"gone\"]") "," AGENT("b", "B", "")),
		    NULL),
		-ENOENT);
	assert_string_equal(result.code, "knowledge_missing");
	assert_has(err.text, "there is no artifact gone");
}

/* Without vectors words decide, rare ones before those that stand everywhere. */
static void knowledge_is_looked_up_by_words(void **state)
{
	(void)state;
	static char book[60001];
	for (size_t i = 0; i < sizeof(book) - 1; i += 10)
		memcpy(book + i, "The task. ", 10);
	memcpy(book + 30000, "ZEBRAS eat hay. ", 16);
	static const struct stage_line lines[] = { { .place = "k1", .text = book },
						   { .place = "task/0/agent/turn/1", .text = "done" },
						   { .place = "task/1/agent/turn/1", .text = "done" },
						   { 0 } };
	static const char crew[] = CREW("", TASK("What do zebras of the task eat?", "a", "") "," TASK("??", "a", ""),
					AGENT("a", "A", ",\"knowledge\":[\"k1\"]") "," AGENT("b", "B", ""));
	assert_runs(lines, crew, NULL);
	const char *text = strstr(said("task/0/agent/turn/1"), "From your documents:\n---\n");
	assert_non_null(text);
	const char *second = strstr(text + 30, "\n---\n"), *found = strstr(text, "ZEBRAS eat hay.");
	assert_true(found && second && found < second);
	assert_null(strstr(said("task/1/agent/turn/1"), "ZEBRAS"));
	assert_has(said("task/1/agent/turn/1"), "From your documents:\n---\nThe task.");
}

static void knowledge_has_a_bound(void **state)
{
	(void)state;
	static char book[2000 * 1800 + 4000];
	memset(book, 'x', sizeof(book) - 1);
	static const struct stage_line lines[] = { { .place = "k1", .text = book }, { 0 } };
	assert_int_equal(
		run(lines,
		    CREW("", TASK("t", "a", ""), AGENT("a", "A", ",\"knowledge\":[\"k1\"]") "," AGENT("b", "B", "")),
		    NULL),
		-EMSGSIZE);
	assert_string_equal(result.code, "knowledge_missing");
	assert_has(err.text, "is more than");
}

/* ---- tasks beside each other ----------------------------------------------------------------------------- */

#define ASYNC ",\"async_execution\":true"

static const struct stage_line beside[] = {
	{ .place = "task/0/agent/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
	{ .place = "task/0/agent/turn/2", .text = "ONE" },
	{ .place = "task/1/agent/turn/1", .text = "TWO" },
	{ .place = "task/2/agent/turn/1", .text = "THREE" },
	{ .place = "task/3/agent/turn/1", .text = "FOUR" },
	{ .place = "task/4/agent/turn/1", .text = "FIVE" },
	{ 0 }
};
static const char beside_crew[] =
	CREW("",
	     TASK("t1", "a", ASYNC) "," TASK("t2", "b", ASYNC) "," TASK("t3", "b", NO_CONTEXT) "," TASK(
		     "t4", "b", "") "," TASK("t5", "a", ASYNC),
	     TWO_AGENTS);

static void check_beside(void)
{
	assert_null(strstr(said("task/1/agent/turn/1"), "ONE"));
	assert_null(strstr(said("task/2/agent/turn/1"), "ONE"));
	assert_has(said("task/3/agent/turn/1"), "ONE\n\n----------\n\nTWO\n\n----------\n\nTHREE");
	assert_has(said("task/4/agent/turn/1"), "FOUR");
	assert_string_equal(result.text, "FIVE");
	assert_string_equal(stage.tokens.data, "FIVE");
}

static void asynchronous_tasks_run_beside_and_see_the_same(void **state)
{
	(void)state;
	pthread_barrier_t barrier;
	(void)pthread_barrier_init(&barrier, NULL, 3);
	stage.world.threads = 8;
	stage.meet =
		&barrier; /* the first turns of three tasks wait for each other: one after the other they never meet */
	stage.meet_at = "/agent/turn/1";
	static const char three[] =
		CREW("", TASK("t1", "b", ASYNC) "," TASK("t2", "b", ASYNC) "," TASK("t3", "b", NO_CONTEXT), TWO_AGENTS);
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "ONE" },
						   { .place = "task/1/agent/turn/1", .text = "TWO" },
						   { .place = "task/2/agent/turn/1", .text = "THREE" },
						   { 0 } };
	assert_runs(lines, three, NULL);
	assert_string_equal(result.text, "THREE");
	(void)pthread_barrier_destroy(&barrier);
	for (int threads = 0; threads < 4; threads++) {
		new_stage();
		stage.world.threads = threads;
		assert_runs(beside, beside_crew, NULL);
		check_beside();
	}
}

static void an_asynchronous_task_waits_for_those_it_names(void **state)
{
	(void)state;
	static const char crew[] =
		CREW("",
		     TASK("t1", "a", ASYNC) "," TASK("t2", "b", ASYNC ",\"context\":[\"t1\"]") "," TASK(
			     "t3", "b", ",\"context\":[\"t2\"]"),
		     TWO_AGENTS);
	for (int threads = 0; threads < 4; threads += 3) {
		new_stage();
		stage.world.threads = threads;
		assert_runs(beside, crew, NULL);
		assert_has(said("task/1/agent/turn/1"), "ONE");
		assert_has(said("task/2/agent/turn/1"), "TWO");
		assert_null(strstr(said("task/2/agent/turn/1"), "ONE"));
	}
}

static void a_failure_beside_stops_the_others(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .fault = WL_MODEL_FAULT_FILTER },
						   { .place = "task/1/agent/turn/1", .text = "TWO" },
						   { .place = "task/2/agent/turn/1", .text = "THREE" },
						   { .place = "task/3/agent/turn/1", .text = "FOUR" },
						   { 0 } };
	for (int threads = 0; threads < 4; threads += 3) {
		new_stage();
		stage.world.threads = threads;
		assert_int_equal(run(lines, beside_crew, NULL), -EPROTO);
		assert_string_equal(result.code, "content_filter");
		assert_true(threads > 0 || result.model_calls == 1);
		assert_null(stage_asked(&stage, "task/3/agent/turn/1"));
	}
}

static void who_waits_for_a_person_lets_others_work(void **state)
{
	(void)state;
	static const struct stage_line lines[] = { { .place = "task/0/agent/turn/1", .text = "ONE" },
						   { .place = "task/1/agent/turn/1", .text = "TWO" },
						   { .place = "task/2/agent/turn/1", .text = "THREE" },
						   { 0 } };
	static const char crew[] = CREW(
		"",
		TASK("t1", "b", ASYNC ",\"human_input\":true") "," TASK("t2", "b", NO_CONTEXT) "," TASK("t3", "b", ""),
		TWO_AGENTS);
	for (int threads = 0; threads < 4; threads += 3) {
		new_stage();
		stage.world.threads = threads;
		stage.human_waits = 1;
		assert_int_equal(run(lines, crew, NULL), -EINPROGRESS);
		assert_has(result.tasks_json, "TWO");
		assert_runs(lines, crew, NULL);
		assert_string_equal(result.text, "THREE");
		assert_int_equal(stage_fresh(&stage), 4);
	}
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

#define PAD (1u << 20)
#define HELD_MOST (12u << 20) /* the bound and what one turn may add to it */

struct flood {
	struct wl_model_port port;
	size_t most;
	int summaries;
};

static size_t bytes_of(const struct wl_model_request *request)
{
	size_t bytes = 0;
	for (size_t i = 0; i < request->message_count; i++) {
		const struct wl_model_message *message = &request->messages[i];
		bytes += message->text ? strlen(message->text) : 0;
		for (size_t u = 0; u < message->tool_use_count; u++)
			bytes += strlen(message->tool_uses[u].arguments);
	}
	return bytes;
}

/* A server that takes any length and calls a tool with a megabyte of new arguments each time. */
static int flood_call(void *self, const struct wl_model_request *request, struct wl_model_answer *answer,
		      struct wl_error *why)
{
	struct flood *flood = self;
	static int number;
	(void)why;
	size_t bytes = bytes_of(request);
	flood->most = bytes > flood->most ? bytes : flood->most;
	if (bytes > HELD_MOST)
		fail_msg("a model is asked with %zu bytes", bytes);
	*answer = (struct wl_model_answer){ 0 };
	if (strstr(request->place, "/summary/")) {
		flood->summaries++;
		answer->text = strdup("in short");
		return 0;
	}
	answer->tool_uses = calloc(1, sizeof(*answer->tool_uses));
	answer->tool_use_count = 1;
	char *arguments = malloc(PAD + 64);
	int head = snprintf(arguments, 64, "{\"n\":%d,\"pad\":\"", ++number);
	memset(arguments + head, 'x', PAD);
	(void)snprintf(arguments + head + PAD, 3, "\"}");
	answer->tool_uses[0] =
		(struct wl_model_tool_use){ .id = strdup("u"), .name = strdup("none"), .arguments = arguments };
	return 0;
}

static void a_conversation_without_end_is_bounded(void **state)
{
	(void)state;
	static const struct stage_line none[] = { { 0 } };
	struct flood flood = { .port = { .self = &flood, .call = flood_call } };
	stage.world.models = &flood.port;
	int code = run(none,
		       CREW("", TASK("t1", "a", ""),
			    AGENT("a", "Researcher", ",\"max_iter\":1000") "," AGENT("b", "Writer", "")),
		       NULL);
	assert_int_equal(code, -EMSGSIZE);
	assert_string_equal(result.code, "context_too_long");
	assert_int_equal(flood.summaries, 3);
	assert_true(flood.most > 6 * PAD);
}

static int64_t held, held_most;

static int hold(void *self, int64_t bytes, struct wl_error *ret)
{
	(void)self;
	if (held + bytes > 3 << 20)
		return wl_fail(ret, ENOSPC, "no more");
	held += bytes;
	held_most = held > held_most ? held : held_most;
	return 0;
}

static void a_conversation_that_finds_no_memory_ends_its_run(void **state)
{
	(void)state;
	static const struct stage_line none[] = { { 0 } };
	struct flood flood = { .port = { .self = &flood, .call = flood_call } };
	held = held_most = 0;
	stage.world.models = &flood.port;
	stage.world.hold = hold;
	int code = run(none,
		       CREW("", TASK("t1", "a", ""),
			    AGENT("a", "Researcher", ",\"max_iter\":1000") "," AGENT("b", "Writer", "")),
		       NULL);
	assert_int_equal(code, -ENOSPC);
	assert_string_equal(result.code, "supervisor_full");
	assert_true(held_most > 1 << 20);
	assert_int_equal(held, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		crew_test(a_coworker_does_the_work),
		crew_test(endless_delegation_has_an_end),
		crew_test(the_same_delegation_again_is_a_loop),
		crew_test(without_coworkers_there_is_nobody_to_ask),
		crew_test(a_coworker_has_no_more_time_than_who_asks),
		crew_test(a_manager_runs_every_task),
		crew_test(an_output_is_made_to_fit_its_schema),
		crew_test(an_output_that_never_fits_is_a_fault),
		crew_test(a_guardrail_sends_the_work_back),
		crew_test(a_guardrail_that_nothing_passes_ends_the_run),
		crew_test(a_person_is_waited_for_and_heard),
		crew_test(what_is_not_offered_is_refused_unpaid),
		crew_test(conditions_skip_tasks),
		crew_test(a_plan_is_added_to_the_tasks),
		crew_test(a_crew_remembers_within_and_between_runs),
		crew_test(a_crew_remembers_without_vectors_too),
		crew_test(knowledge_is_looked_up),
		crew_test(knowledge_is_looked_up_by_words),
		crew_test(knowledge_has_a_bound),
		crew_test(asynchronous_tasks_run_beside_and_see_the_same),
		crew_test(an_asynchronous_task_waits_for_those_it_names),
		crew_test(a_failure_beside_stops_the_others),
		crew_test(who_waits_for_a_person_lets_others_work),
		crew_test(a_conversation_without_end_is_bounded),
		crew_test(a_conversation_that_finds_no_memory_ends_its_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
