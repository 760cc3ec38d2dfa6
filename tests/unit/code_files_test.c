/* What a code node makes of the files that its program left, with doubles for the sandbox and the artifacts' keeper. */
#include "lib/base/cleanup.h"
#include "supervisor/nodes/node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define EID "01a209e1-462e-7c05-b1fb-84fb6648b075"

/* ---- doubles --------------------------------------------------------------------------------------------------- */

struct program {
	const char *output;
	int exit_code;
	int files; /* each with its number as content */
	enum sandbox_out_fault fault;
	int lost; /* times that the sandbox is lost before it works */
	bool was_asked;
};

static int run_program(void *self, const struct sandbox_request *request, struct sandbox_result *ret_result,
		       struct wl_error *err)
{
	struct program *program = self;
	int fd = -1;
	program->was_asked = request->out.files > 0;
	if (program->files > 0 && program->was_asked && (fd = request->open_out(request->context)) < 0)
		return wl_fail(err, -fd, "no place");
	for (int i = 0; i < program->files && fd >= 0; i++)
		assert_int_equal(pwrite(fd, &"0123456789"[i], 1, i), 1);
	if (program->lost-- > 0)
		return wl_fail(err, EIO, "the sandbox was lost");
	*ret_result = (struct sandbox_result){ .exit_code = program->exit_code,
					       .output = strdup(program->output),
					       .output_length = strlen(program->output),
					       .log_tail = strdup(""),
					       .files_passed_over = 3,
					       .out_fault = program->fault };
	strcpy(ret_result->out_fault_name, program->fault ? "some/file" : "");
	if (program->fault || program->exit_code || !program->was_asked)
		return 0;
	ret_result->files = calloc((size_t)program->files + 1, sizeof(*ret_result->files));
	for (int i = 0; i < program->files; i++) {
		ret_result->files[i] = (struct sandbox_out_file){ .offset = (uint64_t)i, .length = 1 };
		assert_true(asprintf(&ret_result->files[i].name, "f%d", i) > 0);
		ret_result->file_count++;
	}
	return 0;
}

struct keeper {
	int results[8]; /* of each call; the last stays */
	int calls;
	int files;	   /* of the last call */
	char contents[16]; /* of the last call */
	int places;	   /* descriptors that were given */
};

static int give_place(void *self, struct wl_error *err)
{
	(void)err;
	((struct keeper *)self)->places++;
	return memfd_create("files", MFD_CLOEXEC);
}

static int keep_files(void *self, const struct artifact_batch *batch, char **ret_json, struct wl_error *err)
{
	struct keeper *keeper = self;
	int result = keeper->results[keeper->calls < 7 ? keeper->calls : 7];
	assert_string_equal(batch->eid, EID);
	assert_string_equal(batch->node, "n");
	assert_int_equal(batch->tenant, 7);
	keeper->calls++;
	keeper->files = (int)batch->count;
	memset(keeper->contents, 0, sizeof(keeper->contents));
	for (size_t i = 0; i < batch->count; i++)
		assert_int_equal(pread(batch->fd, keeper->contents + i, 1, (off_t)batch->files[i].offset), 1);
	if (result < 0)
		return wl_fail(err, -result, "a sentence");
	*ret_json = strdup("[{\"id\":\"x\"}]");
	return 0;
}

/* ---- one run ------------------------------------------------------------------------------------------------------
 */

struct stage {
	struct program program;
	struct keeper keeper;
	int epoch;
	bool without_keeper;
	struct node_outcome outcome;
};

static void run_stage(struct stage *stage)
{
	struct wl_flow_node node = { .id = "n",
				     .kind = WL_KIND_CODE,
				     .data_json = (char *)"{\"language\":\"python\",\"source\":\"\",\"input\":1}",
				     .retry.attempts = 1 };
	struct node_plan plan;
	struct wl_error err = { 0 };
	if (node_plan_make(&node, &plan, &err) < 0)
		fail_msg("%s", err.text);
	struct sandbox_port sandbox = { .self = &stage->program, .run = run_program };
	struct artifact_port artifacts = { .self = &stage->keeper,
					   .limits = { .files = 8, .file_bytes = 10, .total_bytes = 20 },
					   .place = give_place,
					   .keep = keep_files };
	struct node_world world = { .sandbox = &sandbox, .artifacts = stage->without_keeper ? NULL : &artifacts };
	struct node_call call = { .tenant = 7,
				  .eid = EID,
				  .epoch = stage->epoch ? stage->epoch : 1,
				  .node = &node,
				  .plan = &plan,
				  .upstream = "null",
				  .upstream_length = 4,
				  .cancel_fd = -1 };
	node_run(&world, &call, &stage->outcome);
	node_plan_release(&plan);
	node_world_release(&world);
}

static void clear_stage(struct stage *stage)
{
	node_outcome_release(&stage->outcome);
}

#define _stage_ __attribute__((cleanup(clear_stage)))

static void expect_failure(const struct stage *stage, enum node_result result, const char *code)
{
	char start[64];
	(void)snprintf(start, sizeof(start), "{\"code\":\"%s\"", code);
	assert_int_equal(stage->outcome.result, result);
	assert_non_null(stage->outcome.error_json);
	assert_int_equal(strncmp(stage->outcome.error_json, start, strlen(start)), 0);
	assert_null(stage->outcome.outputs_json);
	assert_non_null(stage->outcome.receipt_json);
	assert_null(strstr(stage->outcome.receipt_json, "\"artifacts\""));
}

static void files_are_kept_and_named_in_the_receipt(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42", .files = 3 } };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_string_equal(stage.outcome.outputs_json, "42");
	assert_string_equal(stage.keeper.contents, "012");
	assert_non_null(strstr(stage.outcome.receipt_json, "\"artifacts\":[{\"id\":\"x\"}],\"files_passed_over\":3}"));
}

static void nobody_is_asked_without_files(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42" } };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_true(stage.program.was_asked);
	assert_int_equal(stage.keeper.calls + stage.keeper.places, 0);
}

/* An earlier attempt of the execution may have kept some. */
static void a_later_attempt_without_files_says_so(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42" }, .epoch = 2 };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_int_equal(stage.keeper.calls, 1);
	assert_int_equal(stage.keeper.files, 0);
}

static void a_lost_sandbox_begins_its_files_anew(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42", .files = 2, .lost = 2 } };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_int_equal(stage.keeper.places, 1);
	assert_string_equal(stage.keeper.contents, "01");
}

static void servers_that_are_away_are_waited_for(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42", .files = 1 },
				       .keeper = { .results = { -ECONNREFUSED, -EPIPE, -EIO, 0 } } };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_int_equal(stage.keeper.calls, 4);
}

static void what_cannot_be_kept_fails_the_node(void **state)
{
	static const struct {
		int keeps;
		enum node_result result;
		const char *code;
	} rows[] = { { -EDQUOT, NODE_FAILED_FOR_GOOD, "storage_quota" },
		     { -ESTALE, NODE_STOPPED, "cancelled" },
		     { -EACCES, NODE_FAILED, "artifact_store" },
		     { -ENOENT, NODE_FAILED, "artifact_store" },
		     { -ENOMEM, NODE_FAILED, "artifact_store" } };
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_stage_ struct stage stage = { .program = { .output = "42", .files = 1 },
					       .keeper = { .results = { rows[i].keeps } } };
		run_stage(&stage);
		expect_failure(&stage, rows[i].result, rows[i].code);
	}
}

static void what_may_not_come_out_fails_the_node(void **state)
{
	static const struct {
		enum sandbox_out_fault fault;
		const char *code;
	} rows[] = { { SANDBOX_OUT_MANY, "output_cap" },	{ SANDBOX_OUT_FILE_LARGE, "output_cap" },
		     { SANDBOX_OUT_TOTAL_LARGE, "output_cap" }, { SANDBOX_OUT_DEEP, "output_cap" },
		     { SANDBOX_OUT_NAME, "artifact_name" },	{ SANDBOX_OUT_UNREADABLE, "artifact_unreadable" } };
	(void)state;
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
		_stage_ struct stage stage = { .program = { .output = "42", .fault = rows[i].fault } };
		run_stage(&stage);
		expect_failure(&stage, NODE_FAILED, rows[i].code);
		assert_non_null(strstr(stage.outcome.error_json, "some/file"));
		assert_int_equal(stage.keeper.calls, 0);
	}
}

static void failed_programs_leave_nothing(void **state)
{
	(void)state;
	_stage_ struct stage failed = { .program = { .output = "42", .files = 1, .exit_code = 3 } };
	run_stage(&failed);
	expect_failure(&failed, NODE_FAILED, "exit");
	_stage_ struct stage unreadable = { .program = { .output = "no json", .files = 1 } };
	run_stage(&unreadable);
	expect_failure(&unreadable, NODE_FAILED, "output_not_json");
	assert_int_equal(failed.keeper.calls + unreadable.keeper.calls, 0);
}

static void without_a_keeper_none_are_asked_for(void **state)
{
	(void)state;
	_stage_ struct stage stage = { .program = { .output = "42", .files = 1 }, .epoch = 2, .without_keeper = true };
	run_stage(&stage);
	assert_int_equal(stage.outcome.result, NODE_OK);
	assert_false(stage.program.was_asked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_kept_and_named_in_the_receipt),
		cmocka_unit_test(nobody_is_asked_without_files),
		cmocka_unit_test(a_later_attempt_without_files_says_so),
		cmocka_unit_test(a_lost_sandbox_begins_its_files_anew),
		cmocka_unit_test(servers_that_are_away_are_waited_for),
		cmocka_unit_test(what_cannot_be_kept_fails_the_node),
		cmocka_unit_test(what_may_not_come_out_fails_the_node),
		cmocka_unit_test(failed_programs_leave_nothing),
		cmocka_unit_test(without_a_keeper_none_are_asked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
