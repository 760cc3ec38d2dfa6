#include "webapp/server/lone_run.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/codec/flow_document.h"
#include "lib/secrets/digest.h"
#include "webapp/server/wait_end.h"

#include <string.h>

#define MARGIN_S 10 /* of the run beyond its one node */

/* start -> the node -> output, as it is stored. Allocated; NULL without memory. */
static char *document_text(const char *id, const char *node)
{
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *document = NULL;
	wl_buffer_init(&text, 0);
	(void)wl_buffer_appendf(
		&text,
		"{\"nodes\":[{\"id\":\"start\",\"type\":\"start\",\"position\":{\"x\":0,\"y\":0},\"data\":{}},"
		"%s,{\"id\":\"output\",\"type\":\"output\",\"position\":{\"x\":480,\"y\":0},"
		"\"data\":{\"value\":\"{{ .nodes.%s }}\"}}],"
		"\"edges\":[{\"id\":\"e1\",\"source\":\"start\",\"target\":\"%s\"},"
		"{\"id\":\"e2\",\"source\":\"%s\",\"target\":\"output\"}]}",
		node, id, id, id);
	if (text.failed || wl_json_parse(text.data, text.length, &document, NULL) < 0)
		return NULL;
	return wl_flow_document_canonical(document);
}

struct wl_json *web_lone_members(const char *id, const char *node, double timeout_s)
{
	unsigned char hash[WL_SHA256_BYTES];
	char hex[WL_SHA256_HEX], eid[WL_UUID_TEXT];
	_wl_json_ struct wl_json *extra = wl_json_object();
	_wl_free_ char *canonical = document_text(id, node);
	if (!extra || !canonical)
		return NULL;
	wl_sha256(canonical, strlen(canonical), hash);
	int rc = wl_json_set_string(extra, "hash", wl_hex(hash, sizeof(hash), hex));
	rc = rc ? rc : wl_json_set_raw(extra, "document", canonical);
	rc = rc ? rc : wl_json_set_string(extra, "eid", wl_uuid7(wl_clock_wall_ms(), eid));
	rc = rc ? rc : wl_json_set_number(extra, "timeout_ms", (timeout_s + MARGIN_S) * 1000);
	return rc ? NULL : wl_steal(extra);
}

static void accepted(struct web_request *request, const struct web_api_answer *answer)
{
	const char *prefer = web_parameter_text(&request->parameters, "Prefer", NULL);
	_wl_json_ struct wl_json *body = NULL;
	if (wl_json_parse(answer->body, strlen(answer->body), &body, NULL) < 0)
		web_answer_unavailable(request, 1, "no memory");
	else
		web_wait_end(request, wl_json_get_string(body, "execution_id", ""),
			     prefer ? web_prefer_wait(prefer) : WEB_WAIT_MOST_S, NULL);
}

void web_lone_run(struct web_request *request, const char *id, const char *node, double timeout_s, bool waits)
{
	struct wl_json *extra = web_lone_members(id, node, timeout_s);
	if (extra)
		web_api_call(request, extra, waits ? accepted : NULL);
	else
		web_answer_unavailable(request, 1, "no memory");
}
