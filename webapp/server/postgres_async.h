/*
 * PostgreSQL on the worker's loop: a few connections in pipeline mode shared by all requests. A job is one
 * transaction: its statements and their sync go out in one piece and come back in one, and several jobs may be under
 * way on one connection. A tenant's job first takes the tenant's role and search_path for that transaction alone.
 */
#ifndef WL_WEBAPP_POSTGRES_ASYNC_H
#define WL_WEBAPP_POSTGRES_ASYNC_H

#include "lib/base/error.h"
#include "webapp/server/statements.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PG_STEPS 4
#define PG_VALUES 8

enum pg_outcome {
	PG_DONE,    /* committed: the server has acknowledged it */
	PG_REFUSED, /* an error of SQL; nothing was stored */
	PG_AWAY	    /* no server, too slow or too busy; for writes nothing may be assumed */
};

struct pg_step {
	enum web_statement statement;
	char *values[PG_VALUES]; /* owned; NULL: SQL's null */
	int count;
	PGresult *result; /* owned; set when the outcome is PG_DONE */
};

struct pg_job {
	int tenant; /* 0: none */
	struct pg_step steps[PG_STEPS];
	int step_count;
	void (*done)(struct pg_job *job); /* the job and its results are freed when it returns */
	void *context;

	enum pg_outcome outcome;
	char sqlstate[6]; /* of a refusal */
	char message[256];
	char detail[2048];

	/* the pool's own */
	struct pg_job *next;
	uint64_t submitted_ms;
	int setup_result, result_index;
	bool preparing[PG_STEPS], preparing_tenant;
	int retries;
	bool failed;
};

struct pg_pool;

/*
 * In the parent: keep the password that a first connection used, wherever it came from. A worker cannot look for it in
 * files: its seccomp filter ends it. 0 or -ENOMEM.
 */
int pg_password_keep(const char *password, struct wl_error *err);

/* Start `connections` connections to a postgresql:// URL; they come up on the loop. NULL without memory. */
struct pg_pool *pg_pool_open(const char *url, int connections);
/* How many connections are up, and jobs under way or waiting. */
int pg_pool_ready(const struct pg_pool *pool);
int pg_pool_load(const struct pg_pool *pool);

/* A job that calls `done` on the loop when it is over, never from inside pg_submit(). NULL without memory. */
struct pg_job *pg_job_new(int tenant, void (*done)(struct pg_job *job), void *context);
/* Add a statement; then its values in order. Values are copied. What has no memory makes the job fail as PG_AWAY. */
void pg_job_step(struct pg_job *job, enum web_statement statement);
void pg_job_value(struct pg_job *job, const char *text);
void pg_job_number(struct pg_job *job, int64_t number);
void pg_job_bytes(struct pg_job *job, const unsigned char *bytes, size_t length);
void pg_submit(struct pg_pool *pool, struct pg_job *job);

/* Cells of a step's result: rows, the text or NULL for SQL's null, a number. */
int pg_rows(const struct pg_job *job, int step);
const char *pg_text(const struct pg_job *job, int step, int row, int column);
int64_t pg_number(const struct pg_job *job, int step, int row, int column);

#endif
