/* `windlass-warden --check`: what this host lacks for sandboxes, in words. */
#ifndef WL_SANDBOX_HOST_CHECK_H
#define WL_SANDBOX_HOST_CHECK_H

#include "supervisor/sandbox/maker.h"

#include <stdbool.h>

/* Print one line a fact to standard output, "ok: ..." or "missing: ...". True when nothing is missing. */
bool host_check_facts(void);

/* Make one sandbox for tenant 1 and run /bin/true in it. 0, or a sentence. */
int host_check_trial(struct maker *maker, const struct sandbox_profile *profile, struct wl_error *err);

#endif
