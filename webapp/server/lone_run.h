/*
 * Executions of one thing without a flow: a tool, an agent or a crew. They run a document of start, that one node and
 * an output, which the operation's function accepts (extra members "hash", "document", "eid", "timeout_ms").
 */
#ifndef WEBAPP_SERVER_LONE_RUN_H
#define WEBAPP_SERVER_LONE_RUN_H

#include "webapp/server/api_call.h"

/*
 * Call the operation's function with such a document. `node`: {"id","type","data"} as JSON text, whose id holds letters
 * alone; it finds what it is given under .inputs. `waits`: the answer is that of the run, up to 30 s or what Prefer
 * says; else that of the function.
 */
void web_lone_run(struct web_request *request, const char *id, const char *node, double timeout_s, bool waits);

/*
 * The members that such a call has, for operations that call it with more of their own: "hash", "document", "eid",
 * "timeout_ms". NULL without memory.
 */
struct wl_json *web_lone_members(const char *id, const char *node, double timeout_s);

#endif
