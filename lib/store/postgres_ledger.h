/* The ledger port over PostgreSQL: one blocking connection, for one thread. */
#ifndef WL_STORE_POSTGRES_LEDGER_H
#define WL_STORE_POSTGRES_LEDGER_H

#include "lib/ports/ledger.h"

/*
 * Make a ledger; nothing is connected yet. url: a connection URI of libpq. 0, -EINVAL or -ENOMEM. The caller ends it
 * with ret_ledger->close(ret_ledger->self). Errors of the calls: see wl_postgres_run(); after -EPIPE the effect of
 * the call is unknown, and every call may be made again.
 */
int wl_postgres_ledger_open(const char *url, struct wl_ledger *ret_ledger, struct wl_error *err);

#endif
