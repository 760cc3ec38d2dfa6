/*
 * What a server of the Model Context Protocol says, a line a message: whatever it is, the session ends, fails with a
 * sentence or waits on; it never asks two things at once and never says more than it may. The first byte chooses what
 * the session is for.
 */
#include "lib/mcp/answer.h"
#include "lib/mcp/session.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void hear_note(void *context, const char *text, size_t length)
{
	FUZZ_ASSERT(length > 0 && strlen(text) == length && text[length - 1] == '\n');
	FUZZ_ASSERT(++*(int *)context <= WL_MCP_NOTES_MAX);
}

/* Take all that is to be said, as a transport does. */
static void take_all(struct wl_mcp_session *session, int *said)
{
	struct wl_mcp_message message;
	for (;;) {
		bool waits = wl_mcp_session_waits(session);
		if (!wl_mcp_session_take(session, waits, &message))
			return;
		FUZZ_ASSERT(!waits || message.kind == WL_MCP_REPLY);
		FUZZ_ASSERT(strncmp(message.text, "{\"jsonrpc\":\"2.0\"", 16) == 0 && !strchr(message.text, '\n'));
		FUZZ_ASSERT(++*said < WL_MCP_ASKED_MAX + WL_MCP_PAGES_MAX + 8);
		free(message.text);
	}
}

/* Says of each how long it is. */
static int keep_lengths(void *context, const struct wl_mcp_data *data, size_t count, struct wl_json **ret_kept,
			struct wl_error *err)
{
	struct wl_json *kept = wl_json_array();
	(void)context;
	(void)err;
	for (size_t i = 0; i < count; i++)
		FUZZ_ASSERT(wl_json_append(kept, wl_json_new_number((double)strlen(data[i].base64))) == 0);
	*ret_kept = kept;
	return 0;
}

static const struct wl_mcp_keeper keeper = { .keep = keep_lengths };

static void look_at_end(const struct wl_mcp_session *session)
{
	const struct wl_mcp_fault *fault = wl_mcp_session_fault(session);
	const struct wl_json *result = wl_mcp_session_result(session);
	struct wl_error err = { 0 };
	char *text = NULL;
	FUZZ_ASSERT(!fault->code || fault->text[0]);
	FUZZ_ASSERT(!fault->code || !result);
	if (!result)
		return;
	int failed = wl_mcp_answer_output(result, &keeper, &text, &err);
	FUZZ_ASSERT((failed == 0) == (text != NULL) && (failed == 0 || err.text[0]));
	free(text);
	text = wl_mcp_answer_text(result);
	FUZZ_ASSERT(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct wl_mcp_goal goals[] = { { .tool = NULL },
						    { .tool = "t", .arguments = "{\"a\":1}" },
						    { .tool = "t", .arguments = "{}", .pin = "0" } };
	struct wl_mcp_session *session = NULL;
	struct wl_error err = { 0 };
	int notes = 0, said = 0, fed = 0;
	if (length < 1)
		return 0;
	struct wl_mcp_goal goal = goals[bytes[0] % 3];
	goal.on_note = hear_note;
	goal.context = &notes;
	FUZZ_ASSERT(wl_mcp_session_new(&goal, &session, &err) == 0);
	const char *at = (const char *)bytes + 1, *end = (const char *)bytes + length;
	take_all(session, &said);
	while (at < end && fed == 0 && !wl_mcp_session_ended(session)) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		size_t piece = line_end ? (size_t)(line_end - at) : (size_t)(end - at);
		fed = wl_mcp_session_feed(session, at, piece, &err);
		FUZZ_ASSERT(fed == 0 || err.text[0]);
		at += piece + 1;
		if (fed == 0)
			take_all(session, &said);
	}
	char *cancel = wl_mcp_session_cancel(session);
	FUZZ_ASSERT(!cancel || wl_mcp_session_waits(session));
	free(cancel);
	if (wl_mcp_session_ended(session))
		look_at_end(session);
	wl_mcp_session_free(session);
	return 0;
}
