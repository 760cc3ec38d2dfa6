/*
 * Theory of operation
 *
 * A job's messages are: [prepare] [take the tenant's role] ([prepare] execute)* sync. PostgreSQL runs what stands
 * between two syncs as one transaction and commits it at the sync, so the sync's answer is the acknowledgement of the
 * commit, and an error anywhere makes it a rollback. Results come back in the order of the jobs.
 *
 * A statement is prepared on a connection when it is first used there, in the tenant's transaction, because its
 * tables are found by search_path. If that transaction fails before the prepare ran, jobs that follow find no such
 * statement (26000); they are sent once more.
 *
 * A connection that is lost fails all jobs that were under way on it as PG_AWAY, and is opened again with a growing
 * pause. Jobs that no connection takes wait a bounded time in a bounded queue.
 */
#include "webapp/server/postgres_async.h"

#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "webapp/server/bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_PER_CONNECTION 4 /* under way on one connection */
#define JOBS_WAITING_MOST 2000
#define WAIT_MS 3000
#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 2000
#define CONNECT_MS 5000

enum connection_state { PG_CONNECTING, PG_READY, PG_PAUSED };

struct job_queue {
	struct pg_job *head, *tail;
	int count;
};

struct connection {
	struct pg_pool *pool;
	PGconn *conn;
	struct web_watch *watch;
	enum connection_state state;
	uint64_t since_ms; /* when the present state began */
	int retry_ms;
	bool prepared[SQL_STATEMENTS_MOST];
	struct job_queue under_way;
};

struct pg_pool {
	char *url;
	int count;
	struct connection *connections;
	struct job_queue waiting;
	struct job_queue over; /* failed: a timer calls their done() */
	bool over_timer;
	bool told_away;
};

/* ---- queues and jobs -------------------------------------------------------------------------------------- */

static void push(struct job_queue *queue, struct pg_job *job)
{
	job->next = NULL;
	if (queue->tail)
		queue->tail->next = job;
	else
		queue->head = job;
	queue->tail = job;
	queue->count++;
}

static struct pg_job *pop(struct job_queue *queue)
{
	struct pg_job *job = queue->head;
	if (!job)
		return NULL;
	queue->head = job->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	return job;
}

struct pg_job *pg_job_new(int tenant, void (*done)(struct pg_job *job), void *context)
{
	struct pg_job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->tenant = tenant;
	job->done = done;
	job->context = context;
	return job;
}

static void free_results(struct pg_job *job)
{
	for (int i = 0; i < job->step_count; i++) {
		PQclear(job->steps[i].result);
		job->steps[i].result = NULL;
	}
}

static void free_job(struct pg_job *job)
{
	free_results(job);
	for (int i = 0; i < job->step_count; i++)
		for (int n = 0; n < job->steps[i].count; n++)
			free(job->steps[i].values[n]);
	free(job);
}

static void finish(struct pg_job *job, enum pg_outcome outcome)
{
	job->outcome = outcome;
	if (outcome != PG_DONE)
		free_results(job);
	job->done(job);
	free_job(job);
}

void pg_job_step(struct pg_job *job, enum web_statement statement)
{
	if (job->step_count == PG_STEPS) {
		job->failed = true;
		return;
	}
	job->steps[job->step_count++].statement = statement;
}

/* Take an allocated text as the next value of the last step. */
static void add_value(struct pg_job *job, char *text)
{
	struct pg_step *step = job->step_count ? &job->steps[job->step_count - 1] : NULL;
	if (!step || step->count == PG_VALUES) {
		free(text);
		job->failed = true;
		return;
	}
	step->values[step->count++] = text;
}

void pg_job_value(struct pg_job *job, const char *text)
{
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy)
		job->failed = true;
	add_value(job, copy);
}

void pg_job_number(struct pg_job *job, int64_t number)
{
	char text[24];
	(void)snprintf(text, sizeof(text), "%lld", (long long)number);
	pg_job_value(job, text);
}

void pg_job_bytes(struct pg_job *job, const unsigned char *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * length + 3);
	if (!text) {
		job->failed = true;
		add_value(job, NULL);
		return;
	}
	memcpy(text, "\\x", 2);
	for (size_t i = 0; i < length; i++) {
		text[2 + 2 * i] = digits[bytes[i] >> 4];
		text[3 + 2 * i] = digits[bytes[i] & 15];
	}
	text[2 * length + 2] = '\0';
	add_value(job, text);
}

int pg_rows(const struct pg_job *job, int step)
{
	return PQntuples(job->steps[step].result);
}

const char *pg_text(const struct pg_job *job, int step, int row, int column)
{
	const PGresult *result = job->steps[step].result;
	return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

int64_t pg_number(const struct pg_job *job, int step, int row, int column)
{
	const char *text = pg_text(job, step, row, column);
	return text ? strtoll(text, NULL, 10) : 0;
}

static void finish_refused(void *context)
{
	struct pg_pool *pool = context;
	struct job_queue over = pool->over;
	pool->over = (struct job_queue){ 0 };
	pool->over_timer = false;
	for (struct pg_job *job; (job = pop(&over));)
		finish(job, PG_AWAY);
}

/* Fail a job on the next turn of the loop: whoever submitted it may be on the stack. */
static void finish_later(struct pg_pool *pool, struct pg_job *job)
{
	push(&pool->over, job);
	if (!pool->over_timer)
		web_timer_once(0, finish_refused, pool);
	pool->over_timer = true;
}

/* ---- sending ------------------------------------------------------------------------------------------------- */

static void connection_lost(struct connection *connection, const char *why);
static void give_jobs(struct pg_pool *pool);

static bool send_prepared(struct connection *connection, enum web_statement statement, char *const *values, int count,
			  bool *ret_preparing)
{
	char name[16];
	(void)snprintf(name, sizeof(name), "s%d", (int)statement);
	*ret_preparing = !connection->prepared[statement];
	if (*ret_preparing) {
		if (!PQsendPrepare(connection->conn, name, web_statement_sql(statement), 0, NULL))
			return false;
		connection->prepared[statement] = true;
	}
	return PQsendQueryPrepared(connection->conn, name, count, (const char *const *)values, NULL, NULL, 0) == 1;
}

static bool send_messages(struct connection *connection, struct pg_job *job)
{
	job->preparing_tenant = false;
	if (job->tenant) {
		char role[16];
		char *values[] = { role };
		(void)snprintf(role, sizeof(role), "t_%d", job->tenant);
		if (!send_prepared(connection, SQL_TENANT, values, 1, &job->preparing_tenant))
			return false;
	}
	for (int i = 0; i < job->step_count; i++)
		if (!send_prepared(connection, job->steps[i].statement, job->steps[i].values, job->steps[i].count,
				   &job->preparing[i]))
			return false;
	return PQpipelineSync(connection->conn) == 1;
}

static void flush(struct connection *connection)
{
	int rc = PQflush(connection->conn);
	if (rc < 0)
		connection_lost(connection, PQerrorMessage(connection->conn));
	else
		web_watch_want(connection->watch, true, rc == 1);
}

static void send_job(struct connection *connection, struct pg_job *job)
{
	job->result_index = 0;
	job->sqlstate[0] = '\0';
	push(&connection->under_way, job);
	if (send_messages(connection, job))
		flush(connection);
	else
		connection_lost(connection, PQerrorMessage(connection->conn));
}

/* The connection with least to do that can take a job. */
static struct connection *idlest(struct pg_pool *pool)
{
	struct connection *best = NULL;
	for (int i = 0; i < pool->count; i++) {
		struct connection *one = &pool->connections[i];
		if (one->state == PG_READY && one->under_way.count < JOBS_PER_CONNECTION &&
		    (!best || one->under_way.count < best->under_way.count))
			best = one;
	}
	return best;
}

static void give_jobs(struct pg_pool *pool)
{
	struct connection *connection;
	while (pool->waiting.head && (connection = idlest(pool)))
		send_job(connection, pop(&pool->waiting));
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

/*
 * Which step the result at job->result_index belongs to: its index, -1 for the tenant's role. *ret_prepare: it is the
 * result of the prepare before it.
 */
static int place_of_result(const struct pg_job *job, bool *ret_prepare)
{
	int index = job->result_index;
	if (job->tenant) {
		int messages = 1 + job->preparing_tenant;
		if (index < messages) {
			*ret_prepare = job->preparing_tenant && index == 0;
			return -1;
		}
		index -= messages;
	}
	for (int i = 0; i < job->step_count; i++) {
		int messages = 1 + job->preparing[i];
		if (index < messages) {
			*ret_prepare = job->preparing[i] && index == 0;
			return i;
		}
		index -= messages;
	}
	*ret_prepare = false;
	return -1;
}

static void copy_field(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from ? from : "");
}

static void note_error(struct pg_job *job, const PGresult *result)
{
	if (job->sqlstate[0])
		return;
	copy_field(job->sqlstate, sizeof(job->sqlstate), PQresultErrorField(result, PG_DIAG_SQLSTATE));
	copy_field(job->message, sizeof(job->message), PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	copy_field(job->detail, sizeof(job->detail), PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
	if (!job->sqlstate[0])
		memcpy(job->sqlstate, "XX000", 6);
}

static void take_result(struct connection *connection, struct pg_job *job, PGresult *result)
{
	bool prepare = false;
	int step = place_of_result(job, &prepare);
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (step >= 0 && !prepare) {
			PQclear(job->steps[step].result);
			job->steps[step].result = result;
			return;
		}
		break;
	case PGRES_PIPELINE_ABORTED:
		if (!job->sqlstate[0])
			memcpy(job->sqlstate, "25P02", 6);
		break;
	default:
		note_error(job, result);
		break;
	}
	if (prepare && PQresultStatus(result) != PGRES_COMMAND_OK)
		connection->prepared[step < 0 ? SQL_TENANT : job->steps[step].statement] = false;
	PQclear(result);
}

/* Errors that speak of the server's state and not of the statement: class 08, 53, 57, and lost races of locks. */
static bool says_away(const char *sqlstate)
{
	return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "53", 2) == 0 || strncmp(sqlstate, "57", 2) == 0 ||
	       strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0 || strcmp(sqlstate, "55P03") == 0 ||
	       strcmp(sqlstate, "25P02") == 0;
}

/* The sync of the oldest job came. */
static void job_over(struct connection *connection)
{
	struct pg_job *job = pop(&connection->under_way);
	bool unprepared = strcmp(job->sqlstate, "26000") == 0 || strcmp(job->sqlstate, "42P05") == 0;
	if (unprepared && job->retries++ < 2) {
		free_results(job);
		push(&connection->pool->waiting, job);
		return;
	}
	if (!job->sqlstate[0])
		finish(job, PG_DONE);
	else
		finish(job, says_away(job->sqlstate) ? PG_AWAY : PG_REFUSED);
}

static void receive(struct connection *connection)
{
	PGconn *conn = connection->conn;
	if (!PQconsumeInput(conn)) {
		connection_lost(connection, PQerrorMessage(conn));
		return;
	}
	while (connection->conn == conn && connection->under_way.head && !PQisBusy(conn)) {
		struct pg_job *job = connection->under_way.head;
		PGresult *result = PQgetResult(conn);
		if (!result) {
			if (PQstatus(conn) == CONNECTION_BAD) {
				connection_lost(connection, PQerrorMessage(conn));
				return;
			}
			job->result_index++;
		} else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
			PQclear(result);
			job_over(connection);
		} else {
			take_result(connection, job, result);
		}
	}
	give_jobs(connection->pool);
}

/* ---- connections --------------------------------------------------------------------------------------------------
 */

static void no_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

static void forget(struct connection *connection)
{
	web_watch_free(connection->watch);
	connection->watch = NULL;
	PQfinish(connection->conn);
	connection->conn = NULL;
	memset(connection->prepared, 0, sizeof(connection->prepared));
}

static void connection_lost(struct connection *connection, const char *why)
{
	struct pg_pool *pool = connection->pool;
	if (!pool->told_away) {
		size_t length = strcspn(why, "\n");
		wl_log(WL_LOG_WARNING, "PostgreSQL is away: %.*s", (int)length, why);
		pool->told_away = true;
	}
	forget(connection);
	connection->state = PG_PAUSED;
	connection->since_ms = wl_clock_boot_ms();
	for (struct pg_job *job; (job = pop(&connection->under_way));)
		finish_later(pool, job);
}

static void connection_event(void *context, bool readable, bool writable, bool broken);

/* Go on with connecting; libpq may change its socket between two calls. */
static void connect_on(struct connection *connection)
{
	PostgresPollingStatusType status = PQconnectPoll(connection->conn);
	int fd = PQsocket(connection->conn);
	if (status == PGRES_POLLING_FAILED || fd < 0) {
		connection_lost(connection, PQerrorMessage(connection->conn));
		return;
	}
	/* libpq may have closed its socket for another one of the same number, which nobody watches then */
	web_watch_free(connection->watch);
	connection->watch = web_watch_new(fd, connection_event, connection);
	if (!connection->watch) {
		connection_lost(connection, "no memory");
		return;
	}
	if (status != PGRES_POLLING_OK) {
		web_watch_want(connection->watch, status == PGRES_POLLING_READING, status == PGRES_POLLING_WRITING);
		return;
	}
	if (PQsetnonblocking(connection->conn, 1) != 0 || !PQenterPipelineMode(connection->conn)) {
		connection_lost(connection, PQerrorMessage(connection->conn));
		return;
	}
	web_watch_want(connection->watch, true, false);
	connection->state = PG_READY;
	connection->retry_ms = RETRY_LEAST_MS;
	if (connection->pool->told_away)
		wl_log(WL_LOG_NOTICE, "PostgreSQL is back");
	connection->pool->told_away = false;
	give_jobs(connection->pool);
}

static void connection_event(void *context, bool readable, bool writable, bool broken)
{
	struct connection *connection = context;
	if (connection->state == PG_CONNECTING) {
		connect_on(connection);
		return;
	}
	if (connection->state != PG_READY)
		return;
	if (writable)
		flush(connection);
	if (connection->state == PG_READY && (readable || broken))
		receive(connection);
}

static char *password; /* "": none is needed */

int pg_password_keep(const char *text, struct wl_error *err)
{
	free(password);
	password = strdup(text ? text : "");
	return password ? 0 : wl_fail(err, ENOMEM, "no memory for a password");
}

static void connect_start(struct connection *connection)
{
	/* what stands behind dbname overrules the URL: no file is looked into, see pg_password_keep() */
	static const char *const names[] = { "password", "dbname", "application_name", "options", "tcp_user_timeout",
					     "passfile", NULL };
	const char *const values[] = { password,
				       connection->pool->url,
				       "windlass-web",
				       "-c statement_timeout=10000 -c lock_timeout=5000 -c jit=off "
				       "-c idle_in_transaction_session_timeout=10000",
				       "10000",
				       "/dev/null",
				       NULL };
	connection->state = PG_CONNECTING;
	connection->since_ms = wl_clock_boot_ms();
	connection->conn = PQconnectStartParams(names, values, 1);
	if (!connection->conn || PQstatus(connection->conn) == CONNECTION_BAD) {
		connection_lost(connection, connection->conn ? PQerrorMessage(connection->conn) : "no memory");
		return;
	}
	(void)PQsetNoticeReceiver(connection->conn, no_notice, NULL);
	connect_on(connection);
}

/* Every 50 ms: open what is due, give up connecting that takes too long. */
static void look_after(void *context)
{
	struct pg_pool *pool = context;
	uint64_t now = wl_clock_boot_ms();
	for (int i = 0; i < pool->count; i++) {
		struct connection *one = &pool->connections[i];
		uint64_t age = now - one->since_ms;
		if (one->state == PG_PAUSED && age >= (uint64_t)one->retry_ms) {
			uint16_t jitter;
			wl_random_bytes(&jitter, sizeof(jitter));
			one->retry_ms = one->retry_ms * 2 < RETRY_MOST_MS ? one->retry_ms * 2 : RETRY_MOST_MS;
			one->retry_ms -= jitter % (one->retry_ms / 4 + 1);
			connect_start(one);
		} else if (one->state == PG_CONNECTING && age >= CONNECT_MS) {
			connection_lost(one, "the connection took too long");
		}
	}
	while (pool->waiting.head && now - pool->waiting.head->submitted_ms >= WAIT_MS)
		finish(pop(&pool->waiting), PG_AWAY);
}

struct pg_pool *pg_pool_open(const char *url, int connections)
{
	struct pg_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->url = strdup(url);
	pool->connections = calloc((size_t)connections, sizeof(*pool->connections));
	if (!pool->url || !pool->connections || !web_timer_every(50, look_after, pool)) {
		free(pool->url);
		free(pool->connections);
		free(pool);
		return NULL;
	}
	pool->count = connections;
	for (int i = 0; i < connections; i++) {
		pool->connections[i].pool = pool;
		pool->connections[i].retry_ms = RETRY_LEAST_MS;
		connect_start(&pool->connections[i]);
	}
	return pool;
}

int pg_pool_ready(const struct pg_pool *pool)
{
	int ready = 0;
	for (int i = 0; i < pool->count; i++)
		ready += pool->connections[i].state == PG_READY;
	return ready;
}

int pg_pool_load(const struct pg_pool *pool)
{
	int load = pool->waiting.count;
	for (int i = 0; i < pool->count; i++)
		load += pool->connections[i].under_way.count;
	return load;
}

void pg_submit(struct pg_pool *pool, struct pg_job *job)
{
	job->submitted_ms = wl_clock_boot_ms();
	if (job->failed || pool->waiting.count >= JOBS_WAITING_MOST) {
		finish_later(pool, job);
		return;
	}
	push(&pool->waiting, job);
	give_jobs(pool);
}
