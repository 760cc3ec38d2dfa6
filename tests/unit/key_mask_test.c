/* A provider's key in what its server says: wherever it stands, nobody reads it. */
#include "lib/llm/key_mask.h"

#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY "sk-0123456789"

static char told[512];

static void tell(const char *text, size_t length)
{
	(void)snprintf(told + strlen(told), sizeof(told) - strlen(told), "%.*s|", (int)length, text);
}

static void take_text(void *context, const char *text, size_t length)
{
	(void)context;
	tell(text, length);
}

static void take_tool(void *context, size_t index, const char *id, const char *name)
{
	(void)context;
	(void)index;
	tell(id ? id : "-", id ? strlen(id) : 1);
	tell(name, strlen(name));
}

static void take_arguments(void *context, size_t index, const char *text, size_t length)
{
	(void)index;
	take_text(context, text, length);
}

static void test_a_key_is_masked_wherever_it_stands(void **state)
{
	(void)state;
	static const struct wl_llm_provider chain = { .api_key = KEY };
	static const struct wl_model_stream inner = { .text = take_text,
						      .tool_begin = take_tool,
						      .tool_arguments = take_arguments };
	struct wl_key_mask mask;
	_wl_model_answer_ struct wl_model_answer answer = { .text = strdup("my key is " KEY "."),
							    .model = strdup("m " KEY),
							    .tool_uses = calloc(1, sizeof(*answer.tool_uses)),
							    .tool_use_count = 1 };
	answer.tool_uses[0] = (struct wl_model_tool_use){ strdup(KEY), strdup("f" KEY), strdup("{\"k\":\"" KEY "\"}") };
	told[0] = '\0';
	wl_key_mask_open(&chain, 1, &inner, &mask);
	mask.stream.text(mask.stream.context, "my key is sk-01234", 18);
	mask.stream.text(mask.stream.context, "56789.", 6);
	mask.stream.tool_begin(mask.stream.context, 0, KEY, "f" KEY);
	mask.stream.tool_begin(mask.stream.context, 1, NULL, "g");
	assert_int_equal(wl_key_mask_close(&mask, &answer), 0);
	assert_string_equal(told, "my key is |***.|***|***|-|g|{\"k\":\"***\"}|");
	assert_string_equal(answer.text, "my key is ***.");
	assert_string_equal(answer.model, "m ***");
	assert_string_equal(answer.tool_uses[0].id, "***");
	assert_string_equal(answer.tool_uses[0].name, "f***");
	assert_string_equal(answer.tool_uses[0].arguments, "{\"k\":\"***\"}");
}

static void test_what_holds_no_key_stays(void **state)
{
	(void)state;
	static const struct wl_llm_provider chain[] = { { .api_key = NULL }, { .api_key = "short" } };
	struct wl_key_mask mask;
	_wl_model_answer_ struct wl_model_answer answer = { .text = strdup("a short text") };
	wl_key_mask_open(chain, 2, NULL, &mask);
	assert_int_equal(wl_key_mask_close(&mask, &answer), 0);
	assert_string_equal(answer.text, "a short text");
	assert_null(answer.model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_key_is_masked_wherever_it_stands),
		cmocka_unit_test(test_what_holds_no_key_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
