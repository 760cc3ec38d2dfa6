/*
 * One blocking connection to PostgreSQL with statements that are prepared on their first use. It reconnects on the
 * next call after it broke; between two attempts to connect lie 50 to 2,000 ms, during which calls fail at once.
 * A call is never repeated silently: whether a broken one took effect only its caller can find out.
 */
#ifndef WL_STORE_POSTGRES_SESSION_H
#define WL_STORE_POSTGRES_SESSION_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define WL_POSTGRES_STATEMENTS 32
#define WL_POSTGRES_PARAMS 8

struct wl_postgres_statement {
	const char *name;
	const char *sql; /* with $1 to $n */
	int params;	 /* n */
};

struct wl_postgres_session {
	char *url;
	const struct wl_postgres_statement *statements; /* at most WL_POSTGRES_STATEMENTS */
	PGconn *connection;
	bool prepared[WL_POSTGRES_STATEMENTS];
	const char *called[WL_POSTGRES_STATEMENTS]; /* functions whose call is prepared */
	uint64_t next_try_ms;			    /* CLOCK_BOOTTIME */
	int pause_ms;
};

/* Keep url and the table; nothing is connected yet. 0, -EINVAL for a url that libpq cannot read, -ENOMEM. */
int wl_postgres_session_init(struct wl_postgres_session *session, const char *url,
			     const struct wl_postgres_statement *statements, struct wl_error *err);
void wl_postgres_session_release(struct wl_postgres_session *session);

/*
 * Run a statement of the table. params: texts, NULL for NULL. *ret_result is the caller's (PQclear).
 * Errors: -ECONNREFUSED it cannot be reached · -EPIPE the connection broke, the effect is unknown · -ETIMEDOUT ·
 * -EAGAIN a deadlock or a lack of resources that passes · -ENOSPC its disk is full · -EIO anything else.
 */
int wl_postgres_run(struct wl_postgres_session *session, int statement, const char *const *params,
		    PGresult **ret_result, struct wl_error *err);

/*
 * Call a function that takes one JSON value and gives one: `function` is its name with its schema, a literal of ours.
 * *ret_json is allocated, NULL when the function gave NULL. Errors as wl_postgres_run(); the session needs no table.
 */
int wl_postgres_call(struct wl_postgres_session *session, const char *function, const char *json, char **ret_json,
		     struct wl_error *err);

/* Append one element of an array literal such as {1,2}; begin with wl_postgres_array_begin(), NULL is NULL. */
void wl_postgres_array_begin(struct wl_buffer *array);
void wl_postgres_array_number(struct wl_buffer *array, int64_t number);
void wl_postgres_array_text(struct wl_buffer *array, const char *text);
/* Close it; 0 or -ENOMEM. */
int wl_postgres_array_end(struct wl_buffer *array, struct wl_error *err);

static inline void wl_cleanup_pg_result(PGresult **result)
{
	if (*result)
		PQclear(*result);
}

#define _wl_pg_result_ __attribute__((cleanup(wl_cleanup_pg_result)))

#endif
