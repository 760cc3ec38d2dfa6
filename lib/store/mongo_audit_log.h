/* The audit log over the MongoDB protocol. */
#ifndef WL_STORE_MONGO_AUDIT_LOG_H
#define WL_STORE_MONGO_AUDIT_LOG_H

#include "lib/ports/audit_log.h"

/* Connect and try it. 0, -EINVAL for a bad URL, -ECONNREFUSED, -ENOMEM. The caller closes it by its port. */
int mongo_audit_log_open(const char *url, struct wl_audit_log *ret_log, struct wl_error *err);

#endif
