/* Rows for tests of the ledger: tenants, a published flow, accepted executions. Made with the superuser's rights. */
#ifndef TESTS_KIT_LEDGER_KIT_H
#define TESTS_KIT_LEDGER_KIT_H

#include "lib/base/ids.h"

#include <libpq-fe.h>
#include <stdint.h>

#define KIT_USER "00000000-0000-7000-8000-000000000001"
#define KIT_FLOW "00000000-0000-7000-8000-0000000000f1"

/* Register a tenant with one published flow KIT_FLOW whose document is {"nodes":[]}; returns its number. */
int kit_tenant(PGconn *admin, const char *slug);

struct kit_accept {
	char outcome[16]; /* accepted, replayed, quota, … */
	char eid[WL_UUID_TEXT];
	int shard;
	int64_t gen, seq;
};

/* Accept one execution in the tenant's role, in a transaction of its own. idem: a key and, in hex, its body's hash, or
 * NULL. */
struct kit_accept kit_accept(PGconn *connection, int tenant, const char *eid, const char *inputs, const char *idem,
			     const char *req_hash, int64_t timeout_ms);

/* The first column of the first row of a statement as text, "" for none; ends the test when it fails. */
char *kit_value(PGconn *connection, char out[256], const char *sql);

#endif
