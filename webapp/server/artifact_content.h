/* Downloads of artifacts and exports: bytes of the object store on their way to clients; and the store itself. */
#ifndef WL_WEBAPP_ARTIFACT_CONTENT_H
#define WL_WEBAPP_ARTIFACT_CONTENT_H

#include "lib/base/settings.h"
#include "lib/ports/object_store.h"
#include "webapp/server/api_call.h"

#include <stdbool.h>

/* In the parent, before the workers: open the object store that the settings name. Without one downloads answer 503. */
int web_artifacts_open(const struct wl_settings *settings, struct wl_error *err);

/* NULL: this server has none. */
const struct object_store *web_artifacts_store(void);

/*
 * Answer with an object, or the range of it that the request's headers name. `answer` has its SHA-256 as the etag and
 * {"key","name","size","content_type"}; without content_type it is sent as application/octet-stream, which no browser
 * shows.
 */
void web_content_answer(struct web_request *request, const struct web_api_answer *answer);

/* Whether this worker has downloads under way. */
bool web_artifacts_sending(void);

#endif
