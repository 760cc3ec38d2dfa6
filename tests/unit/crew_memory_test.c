/*
 * Memory that is not to be had: each allocation of a crew's run fails once, and the run either comes to its end all the
 * same or says that the world failed. It never takes a lack of memory for something that a model said.
 */
#include "tests/kit/crew_kit.h"

#ifdef WL_SANITIZED
/* A sanitizer has the allocator for itself. */
static void each_allocation_may_fail(void **state)
{
	(void)state;
	skip();
}
#else

/* Allocations on this thread that still succeed; below 0: all of them do. The stage's own are not counted. */
static _Thread_local long left = -1;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static bool fails(void)
{
	if (left < 0)
		return false;
	return left-- == 0; /* that one and no other */
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return fails() ? NULL : __libc_realloc(block, size);
}

/* The stage's functions with memory enough: `call` runs while nothing is counted. */
static struct crew_stage plain;

#define ENOUGH(type, call)                                                                                             \
	do {                                                                                                           \
		long kept = left;                                                                                      \
		left = -1;                                                                                             \
		type ended = call;                                                                                     \
		left = kept;                                                                                           \
		return ended;                                                                                          \
	} while (0)

static int call_model(void *self, const struct wl_model_request *request, struct wl_model_answer *answer,
		      struct wl_error *ret)
{
	ENOUGH(int, plain.models.call(self, request, answer, ret));
}

static int embed(void *self, const char *provider, const char *model, const char *const *texts, size_t count,
		 const char *place, float **ret_vectors, size_t *ret_dimensions, struct wl_error *ret)
{
	ENOUGH(int, plain.models.embed(self, provider, model, texts, count, place, ret_vectors, ret_dimensions, ret));
}

static int describe(void *self, const char *id, struct wl_tool_description *description, struct wl_error *ret)
{
	ENOUGH(int, plain.tools.describe(self, id, description, ret));
}

static int call_tool(void *self, const struct wl_tool_request *request, struct wl_tool_answer *answer,
		     struct wl_error *ret)
{
	ENOUGH(int, plain.tools.call(self, request, answer, ret));
}

static int fits(void *self, const char *schema, const char *value, struct wl_error *ret)
{
	ENOUGH(int, plain.world.fits(self, schema, value, ret));
}

static int human(void *self, const char *place, const char *task, const char *output, enum wl_crew_verdict *verdict,
		 char **feedback, struct wl_error *ret)
{
	ENOUGH(int, plain.world.human(self, place, task, output, verdict, feedback, ret));
}

static int knowledge(void *self, const char *place, const char *id, char **text, struct wl_error *ret)
{
	ENOUGH(int, plain.world.knowledge(self, place, id, text, ret));
}

static int recall(void *self, const char *place, const float *vector, size_t dimensions, int count, char **json,
		  struct wl_error *ret)
{
	ENOUGH(int, plain.world.recall(self, place, vector, dimensions, count, json, ret));
}

static int remember(void *self, const char *place, const char *text, const float *vector, size_t dimensions,
		    struct wl_error *ret)
{
	ENOUGH(int, plain.world.remember(self, place, text, vector, dimensions, ret));
}

static void step(void *self, const struct wl_crew_step *one)
{
	long kept = left;
	left = -1;
	plain.world.step(self, one);
	left = kept;
}

static void token(void *self, const char *agent, const char *text, size_t length)
{
	long kept = left;
	left = -1;
	plain.world.token(self, agent, text, length);
	left = kept;
}

static void begin(void)
{
	new_stage();
	stage_remembers(&stage);
	plain = stage;
	stage.models.call = call_model;
	stage.models.embed = embed;
	stage.tools.describe = describe;
	stage.tools.call = call_tool;
	stage.world.fits = fits;
	stage.world.human = human;
	stage.world.knowledge = knowledge;
	stage.world.recall = recall;
	stage.world.remember = remember;
	stage.world.step = step;
	stage.world.token = token;
	stage.run++;
}

static const struct stage_line script[] = {
	{ .place = "k1", .text = "Bees live in hives." },
	{ .place = "plan", .text = "{plans:[{\"task\":1,\"plan\":\"STEPS\"}]}" },
	{ .place = "task/0/agent/turn/1",
	  .tool = "delegate_work_to_coworker",
	  .arguments = "{\"task\":\"Write\",\"context\":\"all\",\"coworker\":\"researcher\"}" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/1", .tool = "search", .arguments = "{\"q\":\"x\"}" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/1", .tool = "nothing", .arguments = "{\"q\":\"x\"" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/1/tool/0", .text = "\"found\"" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/2", .fault = WL_MODEL_FAULT_CONTEXT },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/summary/1", .text = "IN SHORT" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/3", .fault = WL_MODEL_FAULT_TOOLS },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/4", .text = "Action: search\nAction Input: {q: 'z'}" },
	{ .place = "task/0/agent/turn/1/tool/0/coworker/turn/5", .text = "Final Answer: WRITTEN" },
	{ .place = "task/0/agent/turn/2", .text = "Many Bees." },
	{ .place = "task/1/agent/turn/1", .text = "five" },
	{ .place = "task/1/agent/turn/2", .text = "{n:6}" },
	{ .place = "task/1/guardrail/1", .text = "{valid:false,feedback:'more'}" },
	{ .place = "task/1/agent/turn/3", .text = "{\"n\":6}" },
	{ .place = "task/1/guardrail/2", .text = "{\"valid\":true,\"feedback\":\"\"}" },
	{ .place = "task/1/human/1", .text = "even more" },
	{ .place = "task/1/agent/turn/4", .text = "{\"n\":7}" },
	{ .place = "task/1/guardrail/3", .text = "{\"valid\":true,\"feedback\":\"\"}" },
	{ .place = "task/1/agent/recall", .text = "[{\"text\":\"FROM BEFORE\",\"score\":0.5}]" },
	{ 0 }
};

static const char document[] = CREW(
	",\"planning\":true,\"memory\":true",
	TASK("t1", "b", ",\"context\":[]") "," TASK(
		"t4", "b", ",\"schema\":{\"required\":[\"n\"]},\"guardrail\":\"It counts {a}\",\"human_input\":true"),
	AGENT("a", "Researcher", ",\"goal\":\"{a}\",\"tools\":[\"search\"],\"knowledge\":[\"k1\"]") "," AGENT(
		"b", "Writer", ",\"allow_delegation\":true"));

static int run_with(const struct wl_crew *crew, const struct wl_json *inputs, long allocations)
{
	wl_crew_result_release(&result);
	err = (struct wl_error){ 0 };
	left = allocations;
	int code = wl_crew_run(crew, inputs, &stage.world, &result, &err);
	bool reached = left < 0;
	left = -1;
	stage.run++;
	return code == 0 && allocations >= 0 && !reached ? 1 : code;
}

/* 1: the run made fewer allocations than n, and there is nothing left to break. */
static int break_one(const struct wl_crew *crew, const struct wl_json *inputs, long n, const char *good)
{
	begin();
	stage.lines = script;
	int code = run_with(crew, inputs, n);
	if (code == -EIO) {
		assert_true(*err.text != '\0');
		assert_null(result.code);
	}
	/* over the record, where the stage minds each word that is not as it was; when all is well, that too */
	if (code == 0 || code == -EIO)
		code = run_with(crew, inputs, -1);
	if (code < 0)
		fail_msg("allocation %ld: %d %s", n, code, err.text);
	if (stage.faults.length > 0)
		fail_msg("allocation %ld: %s", n, stage.faults.data);
	if (strcmp(result.tasks_json, good) != 0)
		fail_msg("allocation %ld: %s", n, result.tasks_json);
	return code;
}

static void each_allocation_may_fail(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *json = NULL, *inputs = NULL;
	_wl_crew_ struct wl_crew *crew = NULL;
	static const char given[] = "{\"a\":1}";
	assert_int_equal(wl_json_parse(document, strlen(document), &json, &err), 0);
	assert_int_equal(wl_json_parse(given, strlen(given), &inputs, &err), 0);
	assert_int_equal(wl_crew_make(json, &crew, &err), 0);
	begin();
	stage.lines = script;
	if (run_with(crew, inputs, -1) < 0)
		fail_msg("%s", err.text);
	_wl_free_ char *good = strdup(result.tasks_json);
	long n = 0;
	while (break_one(crew, inputs, n, good) == 0)
		n++;
	assert_true(n > 300);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = { crew_test(each_allocation_may_fail) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
