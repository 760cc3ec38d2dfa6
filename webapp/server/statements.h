/*
 * Every SQL statement of the web server. Each is prepared once a connection. Those of tenants name tables without a
 * schema: search_path and role are those of the transaction's tenant.
 */
#ifndef WL_WEBAPP_STATEMENTS_H
#define WL_WEBAPP_STATEMENTS_H

#define SQL_TIME(column) "to_char(" column " at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

#define SQL_FLOW_COLUMNS                                                                                               \
	"f.id, f.name, f.description, f.status, f.rev, f.published, f.created_by, " SQL_TIME(                          \
		"f.created_at") ", " SQL_TIME("f.updated_at")

/* Whether somebody sees a flow f: who he is, and whether he is an admin. An execution's flow may be away: then he does.
 */
#define SQL_SEEN(user, admin)                                                                                          \
	"(f.visibility is distinct from 'private' or " admin "::boolean or f.created_by = " user                       \
	"::uuid or exists (select from flow_shares s where s.flow_id = f.id and s.user_id = " user "::uuid))"

#define SQL_FLOWS_WHERE                                                                                                \
	" from flows f where (f.deleted_at is not null) = $4::boolean and " SQL_SEEN(                                  \
		"$5", "$6") " and ($1::text is null or f.status = $1)"                                                 \
			    " and ($2::uuid is null or f.created_by = $2)"                                             \
			    " and ($3::text is null or position(lower($3) in lower(f.name)) > 0"                       \
			    " or position(lower($3) in lower(f.description)) > 0)"

#define SQL_FLOWS_PAGE(order)                                                                                          \
	"select " SQL_FLOW_COLUMNS SQL_FLOWS_WHERE " order by " order ", f.id limit $7::int offset $8::int"

/* What is in flight tells the state of a row that is not final. */
#define SQL_STATUS                                                                                                     \
	"case when e.status not in ('queued', 'running') then e.status when l.state in ('R', 'W') then 'running' "     \
	"else "                                                                                                        \
	"'queued' end"

#define SQL_EXECUTIONS                                                                                                 \
	" from executions e left join lateral (select state, cancel, started_at from control.live where eid = e.id) l" \
	" on e.status in ('queued', 'running')"

#define SQL_EXECUTION_COLUMNS                                                                                          \
	"e.id, e.flow_id, e.version, " SQL_STATUS                                                                      \
	", e.user_id, " SQL_TIME("e.created_at") ", " SQL_TIME("coalesce(e.start_time, l.started_at)") ", " SQL_TIME(  \
		"e.end_time") ", " SQL_TIME("e.deadline") ", "                                                         \
							  "e.labels, e.source, e.source_id, e.error"

/* X(NAME, sql) */
#define WEB_STATEMENTS(X)                                                                                              \
	X(SCHEDULE_BASIS, "select api.schedule_basis($1::json, $2::json)")                                             \
	X(PING, "select 1")                                                                                            \
	X(TENANT, "select set_config('role', $1, true), set_config('search_path', $1, true)")                          \
	X(HOOK_FIND, "select tenant, suspended, enabled, tenant_key, secret, old_secret, inputs, outcome, doc_hash, "  \
		     "input_schema from control.hook_find($1::uuid)")                                                  \
	X(HOOK_REFUSED, "select control.hook_refused($1::json)")                                                       \
	X(TENANT_KEY, "select control.my_tenant_key_or($1)")                                                           \
	X(LOGIN, "select user_id, password_hash, state, known from control.login_candidates($1, $2, $3)")              \
	X(LOGIN_WAIT, "select control.login_wait($1, $2)")                                                             \
	X(LOGIN_FAILED, "select control.login_failed($1::json, $2::json)")                                             \
	X(SESSION_ROTATE, "select outcome, user_id, tenant, role from control.session_rotate($1::bytea, $2::bytea, "   \
			  "$3::int, $4, $5)")                                                                          \
	X(SESSION_CHECK, "select outcome, role from control.session_check($1::uuid)")                                  \
	X(OPERATOR_CHECK, "select outcome, role from control.operator_check($1::uuid, $2::uuid)")                      \
	X(KEY_CHECK, "select outcome, role, id, tenant, user_id, expires from control.key_check($1::bytea, $2, $3)")   \
	X(LOGINS_ENDED, "select f::text from control.logins_ended($1::uuid[]) f")                                      \
	X(INVITATION_CHECK, "select control.invitation_check($1)")                                                     \
	X(PASSWORD_RESET_CHECK, "select control.password_reset_check($1)")                                             \
	X(PASSWORD_OF, "select control.password_of($1::uuid)")                                                         \
	X(OPERATOR, "select id, password_hash, state, family from control.operator_candidate($1)")                     \
	X(OPERATOR_LOGGED_IN, "select control.operator_logged_in($1::uuid, $2, $3)")                                   \
	X(FLOW_GET,                                                                                                    \
	  "select " SQL_FLOW_COLUMNS ", d.doc, coalesce((select json_agg(json_build_object("                           \
	  "'version', n.version, 'name', n.name, 'note', n.note, 'created_by', n.created_by, "                         \
	  "'created_at', " SQL_TIME(                                                                                   \
		  "n.created_at") ") order by n.version desc) from "                                                   \
				  "(select * from flow_versions v where v.flow_id = f.id order by "                    \
				  "v.version desc limit 20) n), "                                                      \
				  "'[]'::json) from flows f join flow_docs d on d.hash = f.draft_hash "                \
				  "where f.id = $1::uuid and f.deleted_at is null and " SQL_SEEN("$2", "$3"))          \
	X(FLOW_FOR_UPDATE, "select rev, doc from api.flow_for_update($1::json, $2::json)")                             \
	X(FLOWS_COUNT, "select count(*)" SQL_FLOWS_WHERE)                                                              \
	X(FLOWS_BY_NAME, SQL_FLOWS_PAGE("f.name"))                                                                     \
	X(FLOWS_BY_NAME_DOWN, SQL_FLOWS_PAGE("f.name desc"))                                                           \
	X(FLOWS_BY_CREATED, SQL_FLOWS_PAGE("f.created_at"))                                                            \
	X(FLOWS_BY_CREATED_DOWN, SQL_FLOWS_PAGE("f.created_at desc"))                                                  \
	X(FLOWS_BY_UPDATED, SQL_FLOWS_PAGE("f.updated_at"))                                                            \
	X(FLOWS_BY_UPDATED_DOWN, SQL_FLOWS_PAGE("f.updated_at desc"))                                                  \
	X(EXECUTE_DOCUMENT,                                                                                            \
	  "select encode(d.hash, 'hex'), d.doc->'input_schema' from flows f "                                          \
	  "left join flow_versions v on v.flow_id = f.id and v.version = coalesce($2::int, f.published) "              \
	  "join flow_docs d on d.hash = case when $3::boolean or ($2::int is null and f.published is null) "           \
	  "then f.draft_hash else v.doc_hash end where f.id = $1::uuid and f.deleted_at is null")                      \
	X(ACCEPT, "select outcome, eid, shard, gen, seq, quota, used, resets_s from control.accept_batch($1::json)")   \
	X(EXECUTION_GET, "select " SQL_EXECUTION_COLUMNS                                                               \
			 ", e.inputs, e.outputs, coalesce(l.cancel, false), api.run_usage(e.id)" SQL_EXECUTIONS        \
			 " left join flows f on f.id = e.flow_id where e.id = $1::uuid and " SQL_SEEN("$2", "$3"))     \
	X(NEED_EXECUTION, "select api.need_execution($1::json, $2::uuid, $3)")                                         \
	X(NEED_FLOW, "select api.need_flow($1::json, $2::uuid, $3)")                                                   \
	X(RUN_OPTIONS, "select api.check_run_options($1::json, $2::json)")                                             \
	X(RETRY_OF, "select api.retry_of($1::json, $2::uuid) is null")                                                 \
	X(EXECUTION_STATE, "select " SQL_STATUS ", e.outputs, e.error, " SQL_TIME("e.end_time") SQL_EXECUTIONS         \
	  " where e.id = $1::uuid")

enum web_statement {
#define X(NAME, sql) SQL_##NAME,
	WEB_STATEMENTS(X)
#undef X
		SQL_STATEMENT_COUNT
};

/* Behind the statements above stand the calls of operations, one for each route (webapp/server/api_call.h). */
#define WEB_ROUTES_MOST 256
#define SQL_STATEMENTS_MOST (SQL_STATEMENT_COUNT + WEB_ROUTES_MOST)

/* The statement that calls the function of a route. */
static inline enum web_statement web_statement_of_route(int route_index)
{
	return (enum web_statement)(SQL_STATEMENT_COUNT + route_index);
}

/* The text of a statement of either kind. */
const char *web_statement_sql(enum web_statement statement);

#endif
