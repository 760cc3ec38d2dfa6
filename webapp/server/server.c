/*
 * The life of a request: guards, route, token, role, parameters, body, handler. Whatever is wrong ends it there with a
 * problem; a handler sees only what the API's document allows.
 */
#include "webapp/server/server.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/mongo_node_results.h"
#include "lib/store/postgres_session.h"
#include "webapp/server/api_call.h"
#include "webapp/server/artifact_content.h"
#include "webapp/server/body_check.h"
#include "webapp/server/chat_stream.h"
#include "webapp/server/event_channel.h"
#include "webapp/server/event_watch.h"
#include "webapp/server/gateway_call.h"
#include "webapp/server/login_limit.h"
#include "webapp/server/metrics.h"
#include "webapp/server/scheduler_figures.h"
#include "webapp/server/template_routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADERS_MOST 104
#define TOKENS_CACHED 5000
#define PASSWORDS_WAITING 32
#define TASKS_WAITING 256
#define EXPRESSION_CONNECTIONS 2

struct web_worker web;

/* ---- one request ------------------------------------------------------------------------------------------ */

static bool find_route(struct web_request *request)
{
	unsigned allowed = 0;
	request->route_index = web_route_find(web_routes, web_route_count, request->method, request->path,
					      &request->path_values, &allowed);
	if (request->route_index >= 0) {
		request->route = &web_routes[request->route_index];
		return true;
	}
	char allow[WEB_ALLOW_SIZE];
	if (!allowed) {
		web_answer_problem(request, 404, "there is nothing at this path");
		return false;
	}
	web_answer_header(request, "allow", "%s", web_allow_text(allowed | WEB_OPTIONS, allow));
	if (request->method == WEB_OPTIONS)
		web_answer_empty(request, 204);
	else
		web_answer_problem(request, 405, "this path does not take %s", web_method_name(request->method));
	return false;
}

/* What follows on the connection may be a body: so it is closed, whatever is wrong with the request besides. */
static bool framing_refused(struct web_request *request)
{
	struct web_header headers[HEADERS_MOST];
	int status;
	size_t count = web_exchange_headers(request->exchange, headers, HEADERS_MOST);
	const char *wrong =
		web_guard_framing(request->method, web_exchange_host(request->exchange), headers, count, &status);
	if (!wrong)
		return false;
	web_exchange_close_after(request->exchange);
	if (find_route(request))
		web_answer_problem(request, status, "%s", wrong);
	return true;
}

static const char *header_of(void *context, const char *name)
{
	const struct web_request *request = context;
	if (request->inner_answered)
		return strcasecmp(name, "Idempotency-Key") == 0 ? request->inner_key : NULL;
	return web_exchange_header(request->exchange, name);
}

static bool parameters_refused(struct web_request *request)
{
	_wl_free_ struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	int rc = faults ? web_parameters_read(request->route, &request->path_values, request->query, header_of, request,
					      &request->parameters, faults)
			: -ENOMEM;
	if (rc == -EINVAL)
		web_answer_faults(request, 400, faults, "a parameter is wrong");
	else if (rc < 0)
		web_answer_unavailable(request, 1, "no memory");
	return rc != 0;
}

static void handle(struct web_request *request)
{
	web_handler *handler = web_handler_of(request->route->operation);
	(handler ? handler : web_api_operation)(request);
}

/* Who asks is known, when that matters. The client may have gone in between: then nobody waits for an answer. */
static void identified(struct web_request *request)
{
	if (!web_request_waits(request))
		return;
	if (request->route->role != WEB_ROLE_NONE && !web_role_suffices(request->identity.role, request->route->role)) {
		web_answer_problem(request, 403, "this takes the role %s; yours is %s",
				   web_role_name(request->route->role), web_role_name(request->identity.role));
		return;
	}
	if (!parameters_refused(request))
		web_body_check(request, handle);
}

void web_server_handle(struct web_request *request)
{
	if (framing_refused(request) || !find_route(request))
		return;
	if (request->route->role == WEB_ROLE_NONE)
		identified(request);
	else
		web_authenticate(request, identified);
}

void web_server_inner(struct web_request *request, const unsigned char token_digest[WEB_TOKEN_DIGEST])
{
	if (find_route(request))
		web_authenticate_again(request, token_digest, identified);
}

/* ---- jobs of requests ----------------------------------------------------------------------------------------- */

struct pg_job *web_job(struct web_request *request, int tenant, void (*done)(struct pg_job *job))
{
	struct pg_job *job = pg_job_new(tenant, done, request);
	if (job)
		web_request_hold(request);
	else
		web_answer_unavailable(request, 1, "no memory");
	return job;
}

/* What a quota that is used up tells. One that no clock resets is worth another try in an hour. */
static void put_quota(struct web_request *request, const struct wl_json *detail)
{
	double resets_s = wl_json_get_number(detail, "resets_s", 3600), limit = wl_json_get_number(detail, "limit", -1);
	double left = limit - wl_json_get_number(detail, "used", limit);
	web_answer_header(request, "retry-after", "%.0f", resets_s);
	if (limit < 0)
		return;
	web_answer_header(request, "ratelimit-limit", "%.0f", limit);
	web_answer_header(request, "ratelimit-remaining", "%.0f", left > 0 ? left : 0);
	web_answer_header(request, "ratelimit-reset", "%.0f", resets_s);
}

/* "errors" and the quota of a refusal, from the DETAIL of its exception. */
static void answer_refusal(struct web_request *request, int status, const struct pg_job *job)
{
	_wl_json_ struct wl_json *detail = NULL;
	if (job->detail[0] != '{' || wl_json_parse(job->detail, strlen(job->detail), &detail, NULL) < 0)
		detail = NULL;
	const struct wl_json *errors = wl_json_get(detail, "errors");
	_wl_free_ char *errors_text = errors ? wl_json_print(errors) : NULL;
	if (status == 429)
		put_quota(request, detail);
	const char *quota = wl_json_get_string(detail, "quota", NULL);
	if (errors_text)
		web_answer_errors(request, status, job->message, errors_text);
	else if (status == 429 && quota)
		web_answer_problem(request, status, "%s (quota %s: limit %.0f, used %.0f)", job->message, quota,
				   wl_json_get_number(detail, "limit", 0), wl_json_get_number(detail, "used", 0));
	else
		web_answer_problem(request, status, "%s", job->message);
}

bool web_job_failed(struct web_request *request, const struct pg_job *job)
{
	static const struct {
		const char *sqlstate;
		int status;
	} codes[] = { { "WL400", 400 }, { "WL401", 401 }, { "WL403", 403 }, { "WL404", 404 }, { "WL409", 409 },
		      { "WL410", 410 }, { "WL412", 412 }, { "WL422", 422 }, { "WL429", 429 } };
	if (job->outcome == PG_DONE)
		return false;
	if (job->outcome == PG_AWAY) {
		web_answer_unavailable(request, 1, "the database is away or busy");
		return true;
	}
	for (size_t i = 0; i < WL_COUNT_OF(codes); i++) {
		if (strcmp(codes[i].sqlstate, job->sqlstate) != 0)
			continue;
		answer_refusal(request, codes[i].status, job);
		return true;
	}
	if (strcmp(job->sqlstate, "23505") == 0) { /* unique_violation */
		web_answer_problem(request, 409, "somebody else did this at the same time");
		return true;
	}
	wl_log(WL_LOG_ERROR, "%s failed: %s %s (request %s)", request->route->operation, job->sqlstate, job->message,
	       request->id);
	web_answer_problem(request, 500, "the database refused this; the log has request %s", request->id);
	return true;
}

/* ---- the document server ------------------------------------------------------------------------------------------
 */

int web_node_results(int tenant, const char *eid, struct wl_node_result **ret_results, struct wl_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct wl_node_results store;
	static bool open;
	pthread_mutex_lock(&lock);
	int rc = open ? 0 : mongo_node_results_open(web.settings.mongodb_url, &store, err);
	open = open || rc == 0;
	pthread_mutex_unlock(&lock);
	return rc < 0 ? rc : store.load(store.self, tenant, eid, ret_results, err);
}

/* ---- start
 * ------------------------------------------------------------------------------------------------------------ */

static int compile_schemas(struct wl_error *err)
{
	web.body_schemas = calloc((size_t)web_route_count, sizeof(struct wl_json_schema *));
	if (!web.body_schemas)
		return wl_fail(err, ENOMEM, "no memory for schemas");
	for (int i = 0; i < web_route_count; i++) {
		const char *text = web_routes[i].body_schema;
		int rc = text ? wl_json_schema_compile(text, strlen(text), &web.body_schemas[i], err) : 0;
		if (rc < 0)
			return wl_fail_within(err, "the body of %s", web_routes[i].operation);
	}
	return 0;
}

/* Operations without a handler must have their function: {schema.name,...} of those that lack it. */
static int find_functions(PGconn *conn, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer names;
	wl_postgres_array_begin(&names);
	for (int i = 0; i < web_route_count; i++)
		if (!web_handler_of(web_routes[i].operation))
			wl_postgres_array_text(&names, web_routes[i].function);
	if (wl_postgres_array_end(&names, err) < 0)
		return -err->code;
	const char *values[] = { names.data };
	_wl_pg_result_ PGresult *result = PQexecParams(conn,
						       "select string_agg(f, ', ') from unnest($1::text[]) f "
						       "where to_regprocedure(f || '(json, json)') is null",
						       1, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return wl_fail(err, EIO, "PostgreSQL cannot be asked for the API's functions");
	if (PQgetisnull(result, 0, 0))
		return 0;
	return wl_fail(err, EINVAL, "operations of specs/openapi.yaml have neither a handler nor a function: %.300s",
		       PQgetvalue(result, 0, 0));
}

/* Said, not refused: on a server of others nobody may be able to close it (specs/rights.sql). */
static void warn_of_rights(PGconn *conn)
{
	_wl_pg_result_ PGresult *result = PQexecParams(conn,
						       "select has_function_privilege('windlass_tenant', "
						       "'pg_catalog.set_config(text, text, boolean)', 'execute')",
						       0, NULL, NULL, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQgetvalue(result, 0, 0)[0] == 't')
		wl_log(WL_LOG_WARNING,
		       "PostgreSQL lets tenants' roles call set_config(): have a superuser migrate once, "
		       "`make migrate` says what else is open");
}

/* PostgreSQL and Redis must answer now, so that a wrong setting is seen at start. */
static int reach_servers(struct wl_error *err)
{
	PGconn *conn = PQconnectdb(web.settings.postgres_url);
	const char *why = PQerrorMessage(conn);
	int rc = 0;
	if (PQstatus(conn) != CONNECTION_OK)
		rc = wl_fail(err, ECONNREFUSED,
			     "PostgreSQL does not answer at WINDLASS_POSTGRES_URL (postgres_url): %.*s",
			     (int)strcspn(why, "\n"), why);
	else
		rc = find_functions(conn, err);
	if (rc == 0)
		warn_of_rights(conn);
	if (rc == 0)
		rc = pg_password_keep(PQpass(conn), err);
	PQfinish(conn);
	struct wl_redis_address address;
	redisContext *redis = NULL;
	if (rc == 0)
		rc = wl_redis_address_parse(web.settings.redis_url, &address, err);
	if (rc == 0 && wl_redis_connect(&address, 5000, &redis, err) < 0)
		rc = wl_fail_within(err, "Redis does not answer at WINDLASS_REDIS_URL (redis_url)");
	if (redis)
		redisFree(redis);
	return rc;
}

/* Whether the port is free; 0 is changed for a free one. kore binds it itself a moment later. */
static int settle_port(struct wl_settings *settings, struct wl_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE }, *found = NULL;
	char service[8];
	const int on = 1;
	(void)snprintf(service, sizeof(service), "%ld", settings->port);
	if (getaddrinfo(settings->bind, service, &hints, &found) != 0)
		return wl_fail(err, EINVAL, "WINDLASS_BIND (bind) must be an IP address, not '%s'", settings->bind);
	_wl_close_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	int failed = bind(fd, found->ai_addr, found->ai_addrlen) < 0 ? errno : 0;
	freeaddrinfo(found);
	if (failed)
		return wl_fail_errno(err, failed, "port %ld of %s cannot be had; WINDLASS_PORT (port) names another",
				     settings->port, settings->bind);
	struct sockaddr_storage bound;
	socklen_t length = sizeof(bound);
	if (settings->port == 0 && getsockname(fd, (struct sockaddr *)&bound, &length) == 0)
		settings->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
								   : ((struct sockaddr_in *)&bound)->sin_port);
	return 0;
}

/* kore ends with less than a sentence when these are wrong, and its configuration has no way to write a blank. */
static int check_tls(const struct wl_settings *settings, struct wl_error *err)
{
	const struct {
		const char *name, *value;
	} files[] = { { "WINDLASS_TLS_CERTIFICATE", settings->tls_certificate },
		      { "WINDLASS_TLS_KEY", settings->tls_key } };
	if (!*files[0].value != !*files[1].value)
		return wl_fail(err, EINVAL, "https takes both WINDLASS_TLS_CERTIFICATE and WINDLASS_TLS_KEY");
	for (size_t i = 0; i < WL_COUNT_OF(files) && *files[i].value; i++) {
		if (strpbrk(files[i].value, " \t\r\n;{}"))
			return wl_fail(err, EINVAL, "%s: the path may hold no blanks, braces or semicolons",
				       files[i].name);
		if (access(files[i].value, R_OK) < 0)
			return wl_fail_errno(err, errno, "%s: read '%.200s'", files[i].name, files[i].value);
	}
	return 0;
}

static int check_all(struct wl_error *err)
{
	const struct wl_settings *settings = &web.settings;
	int rc = wl_settings_need(settings->postgres_url, "POSTGRES_URL", "PostgreSQL", err);
	rc = rc ? rc : wl_settings_need(settings->redis_url, "REDIS_URL", "Redis", err);
	rc = rc ? rc : wl_settings_need(settings->mongodb_url, "MONGODB_URL", "the document server", err);
	rc = rc ? rc : wl_settings_need(settings->eval_socket, "EVAL_SOCKET", "the expression server", err);
	rc = rc ? rc : wl_settings_need(settings->token_key, "TOKEN_KEY", "the key of access tokens", err);
	rc = rc ? rc : wl_token_key_open(settings->token_key, &web.token_key, err);
	rc = rc ? rc : wl_settings_need(settings->master_key, "MASTER_KEY", "the key of stored credentials", err);
	rc = rc ? rc : wl_master_key_open(settings->master_key, &web.master_key, err);
	rc = rc ? rc : web_handlers_check(err);
	rc = rc ? rc : compile_schemas(err);
	rc = rc ? rc : reach_servers(err);
	rc = rc ? rc : check_tls(settings, err);
	rc = rc ? rc : web_artifacts_open(settings, err);
	rc = rc ? rc : settle_port(&web.settings, err);
	return rc ? rc : web_metrics_open((int)settings->web_workers, err);
}

int web_server_prepare(int argc, char **argv, struct web_listen *ret_listen, bool *ret_leave)
{
	struct wl_error err = { 0 };
	int rc = wl_settings_load(&web.settings, WL_PROGRAM_WEB, argc, argv, &err);
	*ret_leave = rc != 0;
	if (rc > 0)
		return 0;
	wl_log_open("windlass-web", rc < 0 ? WL_LOG_NOTICE : wl_log_level_of(web.settings.log_level));
	if (rc == 0)
		rc = check_all(&err);
	if (rc < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		return 1;
	}
	web_templates_load(web.settings.templates_dir);
	*ret_listen = (struct web_listen){ web.settings.bind,
					   web.settings.port,
					   web.settings.web_workers,
					   web.settings.body_max,
					   *web.settings.tls_key ? web.settings.tls_certificate : NULL,
					   web.settings.tls_key };
	wl_log(WL_LOG_NOTICE, "listening at http%s://%s:%ld", *web.settings.tls_key ? "s" : "", web.settings.bind,
	       web.settings.port);
	return 0;
}

static void look_around(void *context)
{
	(void)context;
	web_metrics_gauges(pg_pool_ready(web.postgres), pg_pool_load(web.postgres),
			   web_thread_pool_waiting(web.threads) + web_thread_pool_waiting(web.passwords),
			   web_redis_up(web.redis));
}

static void redis_back(void *context)
{
	(void)context;
	web_event_watch_read_on();
	web_chat_stream_read_on();
}

static int start(struct wl_error *err)
{
	const struct wl_settings *settings = &web.settings;
	struct wl_redis_address address;
	int rc = wl_redis_address_parse(settings->redis_url, &address, err);
	rc = rc ? rc : web_thread_pool_open((int)settings->web_threads, TASKS_WAITING, &web.threads, err);
	rc = rc ? rc : web_thread_pool_open(1, PASSWORDS_WAITING, &web.passwords, err);
	rc = rc ? rc : wl_expression_pool_open(settings->eval_socket, EXPRESSION_CONNECTIONS, &web.expressions, err);
	rc = rc ? rc : web_event_channel_open(&address, err);
	rc = rc ? rc : web_event_watch_open(err);
	rc = rc ? rc : web_chat_stream_open(err);
	rc = rc ? rc : web_login_limit_open(err);
	rc = rc ? rc : web_scheduler_figures_open(err);
	if (rc < 0)
		return rc;
	web.tokens = web_token_cache_new(TOKENS_CACHED);
	web.postgres = pg_pool_open(settings->postgres_url, (int)settings->web_pg_connections);
	web.redis = web_redis_open(&address, redis_back, NULL, NULL);
	if (!web.tokens || !web.postgres || !web.redis || !web_timer_every(1000, look_around, NULL))
		return wl_fail(err, ENOMEM, "no memory to start");
	return 0;
}

int web_server_start_worker(int index)
{
	struct wl_error err = { 0 };
	web_metrics_worker(index);
	int rc = start(&err);
	if (rc < 0)
		wl_log(WL_LOG_ERROR, "worker %d: %s", index, err.text);
	return rc;
}

void web_server_drain(void)
{
	web.draining = true;
}

void web_server_end_streams(void)
{
	web_event_watch_end();
	web_chat_stream_end();
	web_gateway_drain();
}

bool web_server_sending(void)
{
	return web_artifacts_sending() || web_gateway_busy();
}

long web_server_drain_ms(void)
{
	return web.settings.drain_ms;
}

void web_server_leave(void)
{
	wl_token_key_close(web.token_key);
	wl_master_key_close(web.master_key);
}
