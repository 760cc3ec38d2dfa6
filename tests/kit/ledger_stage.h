/* What each test of the ledger port works on: a private PostgreSQL, two connections, and one tenant. */
#ifndef TESTS_KIT_LEDGER_STAGE_H
#define TESTS_KIT_LEDGER_STAGE_H

#include "lib/store/postgres_ledger.h"
#include "tests/kit/ledger_kit.h"
#include "tests/kit/servers.h"

extern struct servers servers;
extern PGconn *admin; /* the superuser */
extern PGconn *app;   /* windlass_app */
extern struct wl_ledger ledger;
extern int tenant; /* "acme", as kit_tenant() makes it */

/* For cmocka_run_group_tests(): make and release all of it. */
int ledger_stage_set_up(void **state);
int ledger_stage_tear_down(void **state);

#endif
