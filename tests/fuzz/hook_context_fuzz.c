/* Bytes as a query, a body of both kinds, a header's value and a Prefer: what comes out is JSON that others can read.
 */
#include "tests/fuzz/fuzz.h"
#include "webapp/server/core/prefer.h"
#include "webapp/server/hook_context.h"

#include <stdlib.h>
#include <string.h>

static void check_hook_value(struct wl_json *made)
{
	struct wl_json *again = NULL;
	char *text = wl_json_print(made);
	FUZZ_ASSERT(!text || wl_json_parse(text, strlen(text), &again, NULL) == 0);
	FUZZ_ASSERT(!text || wl_json_equal(made, again));
	wl_json_free(again);
	wl_json_free(made);
	free(text);
}

static void check_hook_body(const char *type, const char *text, size_t length)
{
	struct wl_json *made = NULL;
	if (web_hook_body(type, text, length, &made, NULL) == 0)
		check_hook_value(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *text = malloc(length + 1);
	struct wl_json *query = NULL;
	if (!text)
		return 0;
	memcpy(text, bytes, length);
	text[length] = '\0';
	int seconds = web_prefer_wait(text);
	FUZZ_ASSERT(seconds >= 0 && seconds <= WEB_WAIT_MOST_S);
	const struct web_header headers[] = {
		{ "X-One", text }, { "x-one", text }, { text, "value" }, { "Cookie", text }
	};
	struct wl_json *lines = web_hook_headers(headers, sizeof(headers) / sizeof(headers[0]));
	FUZZ_ASSERT(!lines || !wl_json_get(lines, "cookie"));
	if (lines)
		check_hook_value(lines);
	if (web_hook_query(text, &query, NULL) == 0)
		check_hook_value(query);
	check_hook_body("application/json", text, length);
	check_hook_body(NULL, text, length);
	free(text);
	return 0;
}
