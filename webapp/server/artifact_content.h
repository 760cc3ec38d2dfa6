/* Downloads of artifacts: bytes of the object store on their way to clients. */
#ifndef WL_WEBAPP_ARTIFACT_CONTENT_H
#define WL_WEBAPP_ARTIFACT_CONTENT_H

#include "lib/base/settings.h"

#include <stdbool.h>

/* In the parent, before the workers: open the object store that the settings name. Without one downloads answer 503. */
int web_artifacts_open(const struct wl_settings *settings, struct wl_error *err);

/* Whether this worker has downloads under way. */
bool web_artifacts_sending(void);

#endif
