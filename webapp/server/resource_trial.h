/*
 * Asking servers of others on behalf of a tenant: whether a provider or a tool can be reached. On threads of their own,
 * so that a slow server holds up nobody's flows.
 */
#ifndef WL_WEBAPP_RESOURCE_TRIAL_H
#define WL_WEBAPP_RESOURCE_TRIAL_H

#include "lib/codec/json.h"
#include "lib/llm/llm.h"
#include "lib/net/http_client.h"
#include "webapp/server/api_call.h"
#include "webapp/server/thread_pool.h"

struct web_trial;

/* On a thread: finds out. Writes the answer's body into `answer`; -ENOMEM or -EIO answer 503. */
typedef int web_trial_run(struct web_trial *trial, struct wl_buffer *answer, struct wl_error *err);

/* Read the thing that the request's id names, with its credentials, then run the trial and answer 200. */
void web_trial_start(struct web_request *request, const char *kind, web_trial_run *run);

/* The thing's body as it is stored (read-only). */
const struct wl_json *web_trial_body(const struct web_trial *trial);

/* Its credentials in the open: NULL when it has none. -EACCES when they cannot be opened. The caller frees them. */
int web_trial_credentials(const struct web_trial *trial, struct wl_json **ret_credentials, struct wl_error *err);

/* What calls of models on these threads share. */
struct wl_llm *web_trial_llm(void);

/* Send a request by the egress rules of this server; as wl_http_send(). */
int web_trial_send(const struct wl_http_request *request, struct wl_http_response *response, struct wl_error *err);

/*
 * Run a task of a request on these threads; -EAGAIN when they are busy, or the tenant has too many. When it has ended,
 * on the loop, web_trial_task_ended() is to be called.
 */
int web_trial_task(struct web_request *request, struct web_task *task, struct wl_error *err);
void web_trial_task_ended(const struct web_request *request);
/* The egress rules of this server; they stand once a task was handed over. */
const struct wl_egress_rules *web_trial_egress(void);

#endif
