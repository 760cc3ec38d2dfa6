#include "tests/kit/ledger_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PGresult *must(PGconn *connection, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		(void)fprintf(stderr, "%s\n", PQerrorMessage(connection));
		_Exit(99);
	}
	return result;
}

char *kit_value(PGconn *connection, char out[256], const char *sql)
{
	PGresult *result = must(connection, PQexec(connection, sql));
	(void)snprintf(out, 256, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return out;
}

int kit_tenant(PGconn *admin, const char *slug)
{
	char sql[2048], value[256];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT tenant FROM control.register('%s', '%s', gen_random_uuid(), '%s@example.org', 'x')",
		       slug, slug, slug);
	int tenant = atoi(kit_value(admin, value, sql));
	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO t_%1$d.flow_docs VALUES (sha256('doc'), '{\"nodes\":[]}');"
		       "INSERT INTO t_%1$d.flows (id, name, draft_hash, status, published, created_by) "
		       "VALUES ('" KIT_FLOW "', 'flow', sha256('doc'), 'published', 1, '" KIT_USER "');"
		       "INSERT INTO t_%1$d.flow_versions (flow_id, version, doc_hash, name, created_by) "
		       "VALUES ('" KIT_FLOW "', 1, sha256('doc'), 'flow', '" KIT_USER "')",
		       tenant);
	PQclear(must(admin, PQexec(admin, sql)));
	return tenant;
}

struct kit_accept kit_accept(PGconn *connection, int tenant, const char *eid, const char *inputs, const char *idem,
			     const char *req_hash, int64_t timeout_ms)
{
	struct kit_accept out = { 0 };
	char role[64], timeout[32];
	(void)snprintf(role, sizeof(role), "BEGIN; SET LOCAL ROLE t_%d", tenant);
	(void)snprintf(timeout, sizeof(timeout), "%lld", (long long)timeout_ms);
	PQclear(must(connection, PQexec(connection, role)));
	const char *params[] = { eid, KIT_FLOW, inputs, timeout, KIT_USER, idem, req_hash };
	PGresult *result = must(
		connection,
		PQexecParams(
			connection,
			"SELECT outcome, eid, shard, gen, seq FROM control.accept_batch(json_build_array("
			"json_strip_nulls(json_build_object('ord', 0, 'eid', $1::text, 'flow', $2::text, 'may_draft', "
			"false, 'inputs', $3::json, 'timeout_ms', $4::bigint, 'user_id', $5::text, 'idem', $6::text, "
			"'req_hash', $7::text))))",
			7, NULL, params, NULL, NULL, 0));
	(void)snprintf(out.outcome, sizeof(out.outcome), "%s", PQgetvalue(result, 0, 0));
	(void)snprintf(out.eid, sizeof(out.eid), "%s", PQgetvalue(result, 0, 1));
	out.shard = atoi(PQgetvalue(result, 0, 2));
	out.gen = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
	out.seq = strtoll(PQgetvalue(result, 0, 4), NULL, 10);
	PQclear(result);
	PQclear(must(connection, PQexec(connection, "COMMIT")));
	return out;
}
