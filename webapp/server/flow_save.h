/* A flow's document on its way into the store: checked on a thread, then handed to the operation's function. */
#ifndef WL_WEBAPP_FLOW_SAVE_H
#define WL_WEBAPP_FLOW_SAVE_H

#include "webapp/server/api_call.h"
#include "webapp/server/request.h"

/*
 * Check `document` (taken over) and call the request's operation with the members hash, document and, when `body` is
 * given (taken over), that body; `rev` > 0 becomes a member of that name. What is wrong is answered here: faults as 422
 * with their paths.
 */
void web_flow_save(struct web_request *request, struct wl_json *document, struct wl_json *body, int64_t rev);

/* The members of a flow's document from `source`, and from `otherwise` (may be NULL) what it leaves out. NULL: no
 * memory. */
struct wl_json *web_flow_document(const struct wl_json *source, const struct wl_json *otherwise);

/* An object of the members of `source` that are no part of the document: name, description, status. NULL: no memory. */
struct wl_json *web_flow_about(const struct wl_json *source);

/* crewai_routes.c: answer with the files of CrewAI that the bundle in the answer makes. */
web_api_taken web_crewai_bundle_got;

#endif
