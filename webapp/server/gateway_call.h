/*
 * Model calls of clients from outside. Each has a thread of its own while it is under way; what the model says goes
 * piece by piece to the loop, which writes it to the client.
 */
#ifndef WL_WEBAPP_GATEWAY_CALL_H
#define WL_WEBAPP_GATEWAY_CALL_H

#include "lib/llm/front.h"
#include "lib/llm/metered_call.h"
#include "webapp/server/request.h"

struct gateway_call;

/* What a call does, on its thread. 0, or -errno with web_gateway_fail() said. */
typedef int web_gateway_work(struct gateway_call *call, struct wl_error *err);

/* Start it; answers 429 or 503 itself when that cannot be. The request's body goes to the call. */
void web_gateway_start(struct web_request *request, web_gateway_work *work);

/* For the work, on its thread. */
struct wl_json *web_gateway_take_body(struct gateway_call *call);
struct wl_buffer *web_gateway_answer(struct gateway_call *call); /* of a call that does not stream: its JSON */
const struct wl_metered *web_gateway_world(void);
int web_gateway_tenant(const struct gateway_call *call);
int web_gateway_cancel_fd(const struct gateway_call *call);
const char *web_gateway_id(const struct gateway_call *call);
/* Give what `pieces` holds to the client, and empty it. Waits while the client has enough to swallow. */
void web_gateway_send(struct gateway_call *call, struct wl_buffer *pieces);
bool web_gateway_has_sent(const struct gateway_call *call);
/* All is said: the client gets the end of its stream, its answer, or (`result` below 0) the failure. What the work does
 * after this the client does not wait for. Work that returns without it has said all by that. */
void web_gateway_said(struct gateway_call *call, int result, const struct wl_error *err);
/* Why it failed: the status, and the word of the client's format (a literal or NULL). */
void web_gateway_fail(struct gateway_call *call, int status, const char *code, uint64_t retry_after_ms);

/* While the server drains: calls may end by themselves; near the end of the time they are stopped and written down. */
void web_gateway_drain(void);
bool web_gateway_busy(void);

#endif
