/* Fills the port lib/ports/artifacts.h: bytes go to the object store, rows to PostgreSQL
 * (specs/sql/0012_artifacts.sql). */
#ifndef WL_SUPERVISOR_ARTIFACTS_H
#define WL_SUPERVISOR_ARTIFACTS_H

#include "lib/base/settings.h"
#include "lib/ports/artifacts.h"

/* The settings must live as long. 0; -EINVAL for a setting that is wrong; -errno of the folder of objects; -ENOMEM. */
int artifacts_open(const struct wl_settings *settings, struct artifact_port *ret_port, struct wl_error *err);

#endif
