/* Fills the port lib/ports/crew_memory.h of knowledge: artifacts that agents may look things up in. */
#ifndef WL_SUPERVISOR_KNOWLEDGE_H
#define WL_SUPERVISOR_KNOWLEDGE_H

#include "lib/base/settings.h"
#include "lib/ports/crew_memory.h"

/* The settings must live as long. 0; -EINVAL for a setting that is wrong; -errno of the folder of objects; -ENOMEM. */
int knowledge_open(const struct wl_settings *settings, struct wl_knowledge_source *ret_source, struct wl_error *err);

#endif
