/*
 * What models write, read three ways: as JSON to be set right, as the text form of tool calls, and as a text with names
 * in braces. What is set right is JSON of a bounded size; what is read lies within the text.
 */
#include "lib/base/cleanup.h"
#include "lib/crew/interpolate.h"
#include "lib/crew/json_repair.h"
#include "lib/crew/react.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void within(const char *text, size_t length, const char *part, size_t part_length)
{
	FUZZ_ASSERT(part >= text && part_length <= length && (size_t)(part - text) <= length - part_length);
}

static void fuzz_repair(const char *text, size_t length)
{
	_wl_json_ struct wl_json *json = NULL, *again = NULL;
	if (wl_crew_repair_json(text, length, &json, NULL) < 0)
		return;
	FUZZ_ASSERT(wl_json_is(json, WL_JSON_OBJECT) || wl_json_is(json, WL_JSON_ARRAY));
	_wl_free_ char *printed = wl_json_print(json);
	FUZZ_ASSERT(printed && strlen(printed) <= 8 * length + 16);
	/* what was set right once needs nothing more */
	FUZZ_ASSERT(wl_crew_repair_json(printed, strlen(printed), &again, NULL) == 0 && wl_json_equal(json, again));
}

static void fuzz_react(const char *text, size_t length)
{
	struct wl_crew_react read = wl_crew_react_read(text, length);
	FUZZ_ASSERT(read.length <= length);
	if (read.kind == WL_CREW_REACT_FINAL)
		within(text, read.length, read.answer, read.answer_length);
	if (read.kind != WL_CREW_REACT_ACTION)
		return;
	within(text, read.length, read.action, read.action_length);
	within(text, read.length, read.input, read.input_length);
	FUZZ_ASSERT(read.action + read.action_length < read.input);
}

static void fuzz_names(const char *text, const struct wl_json *inputs)
{
	_wl_free_ char *filled = NULL;
	size_t length = 0;
	const char *name = wl_crew_next_name(text, &length);
	if (name)
		within(text, strlen(text), name - 1, length + 2);
	if (wl_crew_interpolate(text, inputs, &filled, NULL) == 0 && !name)
		FUZZ_ASSERT(strcmp(filled, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_wl_json_ struct wl_json *inputs = wl_json_object();
	_wl_free_ char *text = malloc(length + 1);
	if (!text || !inputs || wl_json_set_string(inputs, "a", "{a}") < 0)
		return 0;
	memcpy(text, bytes, length);
	text[length] = '\0';
	fuzz_repair(text, length);
	fuzz_react(text, length);
	fuzz_names(text, inputs);
	return 0;
}
