#include "lib/store/postgres_session.h"

#include "lib/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE_MS 50
#define LONGEST_PAUSE_MS 2000

int wl_postgres_session_init(struct wl_postgres_session *session, const char *url,
			     const struct wl_postgres_statement *statements, struct wl_error *err)
{
	char *fault = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &fault);
	if (!options) {
		/* libpq's sentence may repeat the password: keep to our own */
		PQfreemem(fault);
		return wl_fail(err, EINVAL, "postgres_url must be postgresql://user:password@host:port/database");
	}
	PQconninfoFree(options);
	*session = (struct wl_postgres_session){ .url = strdup(url), .statements = statements };
	return session->url ? 0 : wl_fail_errno(err, ENOMEM, "open a session of PostgreSQL");
}

static void drop_connection(struct wl_postgres_session *session)
{
	if (session->connection)
		PQfinish(session->connection);
	session->connection = NULL;
	memset(session->prepared, 0, sizeof(session->prepared));
	memset(session->called, 0, sizeof(session->called));
}

void wl_postgres_session_release(struct wl_postgres_session *session)
{
	drop_connection(session);
	free(session->url);
	session->url = NULL;
}

/* libpq's messages end with a newline and may have several lines: the first is the sentence. */
static int fail_with(struct wl_error *err, int code, const char *message)
{
	int length = (int)strcspn(message, "\n");
	return wl_fail(err, code, "PostgreSQL: %.*s", length > 300 ? 300 : length, message);
}

static int open_connection(struct wl_postgres_session *session, struct wl_error *err)
{
	/* the url may overrule these; keepalives and the user timeout notice a cut network within half a minute */
	const char *const names[] = { "connect_timeout",  "keepalives_idle",  "keepalives_interval",
				      "keepalives_count", "tcp_user_timeout", "application_name",
				      "client_encoding",  "dbname",	      NULL };
	const char *const values[] = { "5", "10", "5", "3", "30000", "windlass", "UTF8", session->url, NULL };
	session->connection = PQconnectdbParams(names, values, 1);
	if (!session->connection)
		return wl_fail_errno(err, ENOMEM, "connect to PostgreSQL");
	if (PQstatus(session->connection) != CONNECTION_OK)
		return fail_with(err, ECONNREFUSED, PQerrorMessage(session->connection));
	/* no call of ours takes long: one that does must not hold its locks for ever */
	_wl_pg_result_ PGresult *set =
		PQexecParams(session->connection, "SET statement_timeout = '30s'", 0, NULL, NULL, NULL, NULL, 0);
	if (PQresultStatus(set) != PGRES_COMMAND_OK)
		return fail_with(err, ECONNREFUSED, PQerrorMessage(session->connection));
	return 0;
}

static void ignore_notice(void *context, const char *message)
{
	(void)context;
	(void)message;
}

static int use_connection(struct wl_postgres_session *session, struct wl_error *err)
{
	if (session->connection && PQstatus(session->connection) == CONNECTION_OK)
		return 0;
	drop_connection(session);
	if (wl_clock_boot_ms() < session->next_try_ms)
		return wl_fail(err, ECONNREFUSED, "PostgreSQL is away; the next attempt to connect follows soon");
	if (open_connection(session, err) < 0) {
		drop_connection(session);
		session->pause_ms = session->pause_ms ? session->pause_ms * 2 : FIRST_PAUSE_MS;
		if (session->pause_ms > LONGEST_PAUSE_MS)
			session->pause_ms = LONGEST_PAUSE_MS;
		session->next_try_ms = wl_clock_boot_ms() + (uint64_t)session->pause_ms;
		return -err->code;
	}
	(void)PQsetNoticeProcessor(session->connection, ignore_notice, NULL);
	session->pause_ms = 0;
	return 0;
}

/* What a failed result means; drops the connection when it is of no more use. */
static int fail_result(struct wl_postgres_session *session, const PGresult *result, struct wl_error *err)
{
	static const struct {
		const char *state; /* SQLSTATE or its class: PostgreSQL 15, appendix A */
		int code;
		bool drop;
	} meanings[] = {
		{ "08", EPIPE, true },	 { "57P", EPIPE, true },     { "57014", ETIMEDOUT, false },
		{ "40", EAGAIN, false }, { "55P03", EAGAIN, false }, { "53100", ENOSPC, false },
		{ "53", EAGAIN, false }, { "25006", EPIPE, true }, /* a standby answered */
	};
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	int code = state ? EIO : EPIPE;
	bool drop = !state || PQstatus(session->connection) != CONNECTION_OK;
	for (size_t i = 0; state && i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) != 0)
			continue;
		code = meanings[i].code;
		drop = drop || meanings[i].drop;
		break;
	}
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	(void)fail_with(err, code, primary ? primary : PQerrorMessage(session->connection));
	if (drop)
		drop_connection(session);
	return -code;
}

static int prepare(struct wl_postgres_session *session, int statement, struct wl_error *err)
{
	const struct wl_postgres_statement *row = &session->statements[statement];
	if (session->prepared[statement])
		return 0;
	_wl_pg_result_ PGresult *result = PQprepare(session->connection, row->name, row->sql, row->params, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return fail_result(session, result, err);
	session->prepared[statement] = true;
	return 0;
}

int wl_postgres_run(struct wl_postgres_session *session, int statement, const char *const *params,
		    PGresult **ret_result, struct wl_error *err)
{
	const struct wl_postgres_statement *row = &session->statements[statement];
	if (use_connection(session, err) < 0 || prepare(session, statement, err) < 0)
		return -err->code;
	_wl_pg_result_ PGresult *result =
		PQexecPrepared(session->connection, row->name, row->params, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		return fail_result(session, result, err);
	*ret_result = result;
	result = NULL;
	return 0;
}

/* 1: the call is prepared under the function's name; 0: the session has as many as it keeps. */
static int prepare_call(struct wl_postgres_session *session, const char *function, const char *sql,
			struct wl_error *err)
{
	int place = 0;
	while (place < WL_POSTGRES_STATEMENTS && session->called[place]) {
		if (strcmp(session->called[place], function) == 0)
			return 1;
		place++;
	}
	if (place == WL_POSTGRES_STATEMENTS)
		return 0;
	_wl_pg_result_ PGresult *result = PQprepare(session->connection, function, sql, 1, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return fail_result(session, result, err);
	session->called[place] = function;
	return 1;
}

int wl_postgres_call(struct wl_postgres_session *session, const char *function, const char *json, char **ret_json,
		     struct wl_error *err)
{
	char sql[128];
	(void)snprintf(sql, sizeof(sql), "SELECT %s($1::json)", function);
	int prepared = use_connection(session, err) < 0 ? -err->code : prepare_call(session, function, sql, err);
	if (prepared < 0)
		return prepared;
	_wl_pg_result_ PGresult *result =
		prepared ? PQexecPrepared(session->connection, function, 1, &json, NULL, NULL, 0)
			 : PQexecParams(session->connection, sql, 1, NULL, &json, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return fail_result(session, result, err);
	bool nothing = PQntuples(result) == 0 || PQgetisnull(result, 0, 0);
	char *text = nothing ? NULL : strdup(PQgetvalue(result, 0, 0));
	if (!nothing && !text)
		return wl_fail_errno(err, ENOMEM, "keep what %s gave", function);
	*ret_json = text;
	return 0;
}

void wl_postgres_array_begin(struct wl_buffer *array)
{
	wl_buffer_init(array, 0);
	(void)wl_buffer_append_char(array, '{');
}

static void separate(struct wl_buffer *array)
{
	if (array->length > 1)
		(void)wl_buffer_append_char(array, ',');
}

void wl_postgres_array_number(struct wl_buffer *array, int64_t number)
{
	separate(array);
	(void)wl_buffer_appendf(array, "%lld", (long long)number);
}

/* Always quoted, so that no text is taken for NULL or for a delimiter (PostgreSQL 15 §8.15.6). */
void wl_postgres_array_text(struct wl_buffer *array, const char *text)
{
	separate(array);
	if (!text) {
		(void)wl_buffer_append_text(array, "NULL");
		return;
	}
	(void)wl_buffer_append_char(array, '"');
	while (*text) {
		size_t plain = strcspn(text, "\"\\");
		(void)wl_buffer_append(array, text, plain);
		text += plain;
		if (*text) {
			(void)wl_buffer_append_char(array, '\\');
			(void)wl_buffer_append_char(array, *text++);
		}
	}
	(void)wl_buffer_append_char(array, '"');
}

int wl_postgres_array_end(struct wl_buffer *array, struct wl_error *err)
{
	(void)wl_buffer_append_char(array, '}');
	return array->failed ? wl_fail_errno(err, array->failed, "write an array") : 0;
}
