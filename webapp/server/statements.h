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

#define SQL_VERSION_COLUMNS "v.version, v.name, v.note, v.created_by, " SQL_TIME("v.created_at")

#define SQL_FLOWS_WHERE                                                                                                \
	" from flows f where f.deleted_at is null and ($1::text is null or f.status = $1)"                             \
	" and ($2::uuid is null or f.created_by = $2)"                                                                 \
	" and ($3::text is null or position(lower($3) in lower(f.name)) > 0"                                           \
	" or position(lower($3) in lower(f.description)) > 0)"

#define SQL_FLOWS_PAGE(order)                                                                                          \
	"select " SQL_FLOW_COLUMNS SQL_FLOWS_WHERE " order by " order ", f.id limit $4::int offset $5::int"

/* What is in flight tells the state of a row that is not final. */
#define SQL_STATUS                                                                                                     \
	"case when e.status not in ('queued', 'running') then e.status when l.state = 'R' then 'running' else "        \
	"'queued' end"

#define SQL_EXECUTIONS                                                                                                 \
	" from executions e left join lateral (select state, cancel, started_at from control.live where eid = e.id) l" \
	" on e.status in ('queued', 'running')"

#define SQL_EXECUTION_COLUMNS                                                                                          \
	"e.id, e.flow_id, e.version, " SQL_STATUS                                                                      \
	", e.user_id, " SQL_TIME("e.created_at") ", " SQL_TIME("coalesce(e.start_time, l.started_at)") ", " SQL_TIME(  \
		"e.end_time") ", " SQL_TIME("e.deadline") ", "                                                         \
							  "e.labels, e.error"

/* X(NAME, sql) */
#define WEB_STATEMENTS(X)                                                                                              \
	X(PING, "select 1")                                                                                            \
	X(TENANT, "select set_config('role', $1, true), set_config('search_path', $1, true)")                          \
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
	X(FLOW_SLOT, "select control.flow_slot()")                                                                     \
	X(DOCUMENT_PUT, "insert into flow_docs (hash, doc) values ($1::bytea, $2::json) on conflict do nothing")       \
	X(FLOW_INSERT, "insert into flows as f (id, name, description, draft_hash, created_by) "                       \
		       "values ($1::uuid, $2, $3, $4::bytea, $5::uuid) returning " SQL_FLOW_COLUMNS)                   \
	X(FLOW_GET, "select " SQL_FLOW_COLUMNS ", d.doc, coalesce((select json_agg(json_build_object("                 \
		    "'version', n.version, 'name', n.name, 'note', n.note, 'created_by', n.created_by, "               \
		    "'created_at', " SQL_TIME(                                                                         \
			    "n.created_at") ") order by n.version desc) from "                                         \
					    "(select * from flow_versions v where v.flow_id = f.id order by "          \
					    "v.version desc limit 20) n), "                                            \
					    "'[]'::json) from flows f join flow_docs d on d.hash = f.draft_hash "      \
					    "where f.id = $1::uuid and f.deleted_at is null")                          \
	X(FLOW_UPDATE, "update flows f set name = coalesce($3::text, f.name), "                                        \
		       "description = coalesce($4::text, f.description), "                                             \
		       "status = case when $5::text is null then f.status when $5 = 'archived' then 'archived' "       \
		       "when f.published is not null then 'published' else 'draft' end, "                              \
		       "draft_hash = coalesce($6::bytea, f.draft_hash), rev = f.rev + 1, updated_at = now() "          \
		       "where f.id = $1::uuid and f.rev = $2::int and f.deleted_at is null "                           \
		       "returning " SQL_FLOW_COLUMNS)                                                                  \
	X(FLOW_DELETE, "update flows set deleted_at = now(), updated_at = now() "                                      \
		       "where id = $1::uuid and deleted_at is null returning id")                                      \
	X(FLOW_PUBLISH,                                                                                                \
	  "with f as (select * from flows where id = $1::uuid and deleted_at is null for update), "                    \
	  "last as (select v.* from flow_versions v join f on v.flow_id = f.id and v.version = f.published), "         \
	  "made as (insert into flow_versions (flow_id, version, doc_hash, name, note, created_by) "                   \
	  "select f.id, coalesce((select max(version) from flow_versions o where o.flow_id = f.id), 0) + 1, "          \
	  "f.draft_hash, f.name, $2, $3::uuid from f where f.status <> 'archived' "                                    \
	  "and not exists (select from last where last.doc_hash = f.draft_hash) returning *), "                        \
	  "marked as (update flows set published = made.version, status = 'published', updated_at = now() "            \
	  "from made where flows.id = made.flow_id) "                                                                  \
	  "select case when f.status = 'archived' then 'archived' when made.version is null then 'same' else 'made' "  \
	  "end, " SQL_VERSION_COLUMNS " from f left join made on true left join last on true "                         \
	  "left join lateral (select coalesce(made.version, last.version) as version, "                                \
	  "coalesce(made.name, last.name) as name, coalesce(made.note, last.note) as note, "                           \
	  "coalesce(made.created_by, last.created_by) as created_by, "                                                 \
	  "coalesce(made.created_at, last.created_at) as created_at) v on true")                                       \
	X(VERSIONS_COUNT, "select (select count(*) from flow_versions v where v.flow_id = f.id) from flows f "         \
			  "where f.id = $1::uuid and f.deleted_at is null")                                            \
	X(VERSIONS_PAGE, "select " SQL_VERSION_COLUMNS " from flow_versions v where v.flow_id = $1::uuid "             \
			 "order by v.version desc limit $2::int offset $3::int")                                       \
	X(VERSION_GET, "select " SQL_VERSION_COLUMNS ", d.doc from flow_versions v "                                   \
		       "join flow_docs d on d.hash = v.doc_hash join flows f on f.id = v.flow_id "                     \
		       "where v.flow_id = $1::uuid and v.version = $2::int and f.deleted_at is null")                  \
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
	X(ACCEPT, "select outcome, eid, shard, gen, seq, quota, used, resets_s from control.accept_batch($1::json) "   \
		  "order by ord")                                                                                      \
	/* A document that was changed between the check of the inputs and here must not run: divide by zero. */       \
	X(ACCEPT_CHECK, "select 1 / (count(*) = 0)::int from json_to_recordset($1::json) x(eid uuid, hash text) "      \
			"join executions e on e.id = x.eid where e.doc_hash <> decode(x.hash, 'hex')")                 \
	X(EXECUTIONS_PAGE,                                                                                             \
	  "select " SQL_EXECUTION_COLUMNS ", (extract(epoch from e.created_at) * 1000000)::bigint" SQL_EXECUTIONS      \
	  " where ($1::uuid is null or e.flow_id = $1) and ($2::text is null or " SQL_STATUS " = $2) "                 \
	  "and (e.created_at, e.id) < (coalesce(timestamptz 'epoch' + $3::bigint * interval '1 microsecond', "         \
	  "'infinity'), coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) "                                  \
	  "order by e.created_at desc, e.id desc limit $5::int")                                                       \
	X(EXECUTION_GET, "select " SQL_EXECUTION_COLUMNS                                                               \
			 ", e.inputs, e.outputs, coalesce(l.cancel, false)" SQL_EXECUTIONS " where e.id = $1::uuid")   \
	X(EXECUTION_STATE, "select " SQL_STATUS ", e.outputs, e.error, " SQL_TIME("e.end_time") SQL_EXECUTIONS         \
	  " where e.id = $1::uuid")                                                                                    \
	X(CANCEL, "select outcome, shard from control.cancel($1::uuid)")

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
