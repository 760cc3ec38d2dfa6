/* Every file of the fuzzers' corpus through its target: what once was a fault stays right. */
#include "lib/base/cleanup.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define LLVMFuzzerTestOneInput fuzz_json
#include "tests/fuzz/json_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_http_url
#include "tests/fuzz/http_url_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_yaml
#include "tests/fuzz/yaml_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_flow_file
#include "tests/fuzz/flow_file_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_flow_document
#include "tests/fuzz/flow_document_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_expression_text
#include "tests/fuzz/expression_text_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_eval_frame
#include "tests/fuzz/eval_frame_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_plain_path
#include "tests/fuzz/plain_path_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_out_files
#include "tests/fuzz/out_files_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_object_list
#include "tests/fuzz/object_list_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_artifact_range
#include "tests/fuzz/artifact_range_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_zone
#include "tests/fuzz/zone_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_mcp_session
#include "tests/fuzz/mcp_session_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_llm_stream
#include "tests/fuzz/llm_stream_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_llm_fault
#include "tests/fuzz/llm_fault_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_llm_demo
#include "tests/fuzz/llm_demo_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_llm_front
#include "tests/fuzz/llm_front_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_cron
#include "tests/fuzz/cron_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_openapi_document
#include "tests/fuzz/openapi_document_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_hook_signature
#include "tests/fuzz/hook_signature_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_hook_context
#include "tests/fuzz/hook_context_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_mcp_message
#include "tests/fuzz/mcp_message_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_crew_text
#include "tests/fuzz/crew_text_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_jsonc
#include "tests/fuzz/jsonc_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_crewai
#include "tests/fuzz/crewai_fuzz.c"
#undef LLVMFuzzerTestOneInput
#undef TESTS_FUZZ_FUZZ_H
#undef FUZZ_ASSERT
#define LLVMFuzzerTestOneInput fuzz_crewai_cel
#include "tests/fuzz/crewai_cel_fuzz.c"

static int run_folder(const char *name, int (*target)(const uint8_t *, size_t))
{
	char path[512];
	int count = 0;
	(void)snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", name);
	DIR *folder = opendir(path);
	if (!folder)
		fail_msg("%s is not there: run this from the root of the checkout", path);
	for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
		static uint8_t bytes[65536];
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "tests/fuzz/corpus/%s/%s", name, entry->d_name);
		_wl_fclose_ FILE *file = fopen(path, "re");
		assert_non_null(file);
		size_t length = fread(bytes, 1, sizeof(bytes), file);
		/* of exact size: a read past the end is seen by the sanitizer */
		_wl_free_ uint8_t *copy = malloc(length ? length : 1);
		memcpy(copy, bytes, length);
		assert_int_equal(target(copy, length), 0);
		count++;
	}
	(void)closedir(folder);
	return count;
}

static void the_corpus_holds(void **state)
{
	(void)state;
	assert_true(run_folder("json", fuzz_json) > 0);
	assert_true(run_folder("http_url", fuzz_http_url) > 0);
	assert_true(run_folder("yaml", fuzz_yaml) > 0);
	assert_true(run_folder("flow_file", fuzz_flow_file) > 0);
	assert_true(run_folder("flow_document", fuzz_flow_document) > 0);
	assert_true(run_folder("expression_text", fuzz_expression_text) > 0);
	assert_true(run_folder("eval_frame", fuzz_eval_frame) > 0);
	assert_true(run_folder("plain_path", fuzz_plain_path) > 0);
	assert_true(run_folder("out_files", fuzz_out_files) > 0);
	assert_true(run_folder("object_list", fuzz_object_list) > 0);
	assert_true(run_folder("artifact_range", fuzz_artifact_range) > 0);
	assert_true(run_folder("zone", fuzz_zone) > 0);
	assert_true(run_folder("mcp_session", fuzz_mcp_session) > 0);
	assert_true(run_folder("llm_stream", fuzz_llm_stream) > 0);
	assert_true(run_folder("llm_fault", fuzz_llm_fault) > 0);
	assert_true(run_folder("llm_demo", fuzz_llm_demo) > 0);
	assert_true(run_folder("llm_front", fuzz_llm_front) > 0);
	assert_true(run_folder("cron", fuzz_cron) > 0);
	assert_true(run_folder("openapi_document", fuzz_openapi_document) > 0);
	assert_true(run_folder("hook_signature", fuzz_hook_signature) > 0);
	assert_true(run_folder("hook_context", fuzz_hook_context) > 0);
	assert_true(run_folder("mcp_message", fuzz_mcp_message) > 0);
	assert_true(run_folder("jsonc", fuzz_jsonc) > 0);
	assert_true(run_folder("crewai", fuzz_crewai) > 0);
	assert_true(run_folder("crewai_cel", fuzz_crewai_cel) > 0);
	assert_true(run_folder("crew_text", fuzz_crew_text) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_corpus_holds) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
