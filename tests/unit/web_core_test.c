/* The pure part of the web server: routes, parameters, framing guards, the cache of tokens, limits of rates. */
#include "webapp/server/core/guards.h"
#include "webapp/server/core/parameters.h"
#include "webapp/server/core/rate_limit.h"
#include "webapp/server/core/route.h"
#include "webapp/server/core/token_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "0190d3a8-1c2b-7abc-8def-0123456789ab"

/* ---- routes ------------------------------------------------------------------------------------------------- */

static const char *found(enum web_method method, const char *path, unsigned *ret_allowed)
{
	struct web_path_values values;
	int index = web_route_find(web_routes, web_route_count, method, path, &values, ret_allowed);
	return index < 0 ? NULL : web_routes[index].operation;
}

static void routes_are_found_by_method_and_path(void **state)
{
	(void)state;
	unsigned allowed = 0;
	assert_string_equal(found(WEB_GET, "/api/v1/flows", &allowed), "flows_list");
	assert_string_equal(found(WEB_POST, "/api/v1/flows", &allowed), "flows_create");
	assert_string_equal(found(WEB_HEAD, "/healthz", &allowed), "healthz");
	assert_string_equal(found(WEB_GET, "/api/v1/flows/" ID, &allowed), "flows_get");
	assert_string_equal(found(WEB_GET, "/api/v1/flows/" ID "/versions/3", &allowed), "flow_versions_get");
	assert_string_equal(found(WEB_POST, "/api/v1/flows/" ID "/execute", &allowed), "flows_execute");
	assert_string_equal(found(WEB_POST, "/api/v1/executions/cancel", &allowed), "executions_cancel_many");
}

static void paths_that_are_not_quite_a_route_are_refused(void **state)
{
	(void)state;
	static const char *const paths[] = {
		"/",
		"",
		"/api/v1/flows/",
		"/api/v1/flows//",
		"/api/v1/flows/x/y",
		"/api/v1//flows",
		"//",
		"/api/v1/flow",
		"/healthz/",
		"/healthz%00",
		"/API/v1/flows",
		"/api/v1/flows/x/execute/",
	};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		unsigned allowed = 1;
		assert_null(found(WEB_GET, paths[i], &allowed));
		assert_int_equal(allowed, 0);
	}
}

static void a_known_path_tells_its_methods(void **state)
{
	(void)state;
	unsigned allowed = 0;
	char text[WEB_ALLOW_SIZE];
	assert_null(found(WEB_PATCH, "/api/v1/flows/" ID, &allowed));
	assert_string_equal(web_allow_text(allowed, text), "GET, HEAD, PUT, DELETE");
	assert_null(found(WEB_PUT, "/api/v1/flows/import", &allowed)); /* no flow whose id is import */
	assert_string_equal(web_allow_text(allowed, text), "POST");
	assert_null(found(WEB_GET, "/api/v1/auth/login", &allowed));
	assert_string_equal(web_allow_text(allowed, text), "POST");
	assert_string_equal(web_allow_text(0, text), "");
	assert_string_equal(web_allow_text(127, text), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

static void path_values_point_into_the_path(void **state)
{
	(void)state;
	struct web_path_values values;
	assert_true(web_path_matches("/a/{x}/b/{y}", "/a/one/b/t%2Fwo", &values));
	assert_int_equal(values.count, 2);
	assert_int_equal(values.length[0], 3);
	assert_memory_equal(values.text[1], "t%2Fwo", 6);
	assert_false(web_path_matches("/{a}/{b}/{c}/{d}/{e}", "/1/2/3/4/5", &values));
}

static void every_route_has_what_the_server_needs(void **state)
{
	(void)state;
	assert_true(web_route_count > 15);
	for (int i = 0; i < web_route_count; i++) {
		assert_non_null(web_routes[i].operation);
		assert_true(web_routes[i].parameter_count <= WEB_PARAMETERS_MAX);
		assert_true(web_routes[i].body_schema || !web_routes[i].body_required);
	}
	assert_int_equal(strlen(web_api_document), web_api_document_length);
}

static void roles_are_ordered(void **state)
{
	(void)state;
	assert_true(web_role_of("viewer") < web_role_of("executor"));
	assert_true(web_role_of("executor") < web_role_of("editor"));
	assert_true(web_role_of("editor") < web_role_of("admin"));
	assert_int_equal(web_role_of("root"), WEB_ROLE_NONE);
	assert_int_equal(web_role_of(""), WEB_ROLE_NONE);
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static const char *const colours[] = { "red", "green", NULL };
static const struct web_parameter sample_parameters[] = {
	{ .name = "id", .place = WEB_IN_PATH, .type = WEB_UUID, .most = INT64_MAX, .required = true },
	{ .name = "limit", .place = WEB_IN_QUERY, .type = WEB_INTEGER, .least = 1, .most = 100, .standard = "20" },
	{ .name = "colour", .place = WEB_IN_QUERY, .type = WEB_STRING, .most = INT64_MAX, .words = colours },
	{ .name = "search", .place = WEB_IN_QUERY, .type = WEB_STRING, .least = 1, .most = 5 },
	{ .name = "cursor", .place = WEB_IN_QUERY, .type = WEB_STRING, .most = 100, .pattern = "^[0-9]{1,3}-[a-f]+$" },
	{ .name = "If-Match", .place = WEB_IN_HEADER, .type = WEB_STRING, .most = 8 },
};
static const struct web_route sample = { .path = "/x/{id}",
					 .parameters = sample_parameters,
					 .parameter_count = sizeof(sample_parameters) / sizeof(sample_parameters[0]) };

static const char *header_value;

static const char *one_header(void *context, const char *name)
{
	(void)context;
	return strcmp(name, "If-Match") == 0 ? header_value : NULL;
}

static int read_sample(const char *id, const char *query, struct web_parameters *parameters,
		       struct wl_flow_faults *faults)
{
	struct web_path_values values = { .text = { id }, .length = { strlen(id) }, .count = 1 };
	memset(faults, 0, sizeof(*faults));
	return web_parameters_read(&sample, &values, query, one_header, NULL, parameters, faults);
}

static void good_parameters_are_decoded(void **state)
{
	(void)state;
	struct web_parameters parameters;
	struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	header_value = "\"3\"";
	assert_int_equal(read_sample("0190D3A8-1c2b-7abc-8def-0123456789ab",
				     "limit=7&search=a%20%C3%A9+b&colour=green&&cursor=12-abc", &parameters, faults),
			 0);
	assert_int_equal(web_parameter_number(&parameters, "limit", 0), 7);
	assert_string_equal(web_parameter_text(&parameters, "search", ""), "a \xc3\xa9 b");
	assert_string_equal(web_parameter_text(&parameters, "id", ""), ID);
	assert_string_equal(web_parameter_text(&parameters, "If-Match", ""), "\"3\"");
	web_parameters_release(&parameters);
	header_value = NULL;
	assert_int_equal(read_sample(ID, NULL, &parameters, faults), 0);
	assert_int_equal(web_parameter_number(&parameters, "limit", 0), 20);
	assert_null(web_parameter_text(&parameters, "colour", NULL));
	web_parameters_release(&parameters);
	free(faults);
}

static void bad_parameters_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *id, *query, *path;
	} rows[] = {
		{ "nothing", "", "id" },
		{ ID "0", "", "id" },
		{ ID, "limit=0", "limit" },
		{ ID, "limit=101", "limit" },
		{ ID, "limit=1e1", "limit" },
		{ ID, "limit=+5", "limit" },
		{ ID, "limit= 5", "limit" },
		{ ID, "limit=", "limit" },
		{ ID, "limit=99999999999999999999", "limit" },
		{ ID, "limit=5&limit=6", "limit" },
		{ ID, "colour=blue", "colour" },
		{ ID, "colour=red%00", "colour" },
		{ ID, "colour=%zz", "colour" },
		{ ID, "colour=%2", "colour" },
		{ ID, "search=", "search" },
		{ ID, "search=123456", "search" },
		{ ID, "search=%ff", "search" },
		{ ID, "search=%c0%80", "search" },
		{ ID, "search=%ed%a0%80", "search" },
		{ ID, "search=%f4%90%80%80", "search" },
		{ ID, "cursor=1234-a", "cursor" },
		{ ID, "cursor=-a", "cursor" },
		{ ID, "cursor=1-", "cursor" },
		{ ID, "cursor=1-ag", "cursor" },
		{ ID, "unknown=1", "unknown" },
		{ ID, "id=" ID, "id" },
		{ ID, "If-Match=1", "If-Match" },
	};
	struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	header_value = NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct web_parameters parameters;
		assert_int_equal(read_sample(rows[i].id, rows[i].query, &parameters, faults), -EINVAL);
		assert_int_equal(faults->count, 1);
		assert_string_equal(faults->items[0].path, rows[i].path);
		web_parameters_release(&parameters);
	}
	free(faults);
}

static void all_faults_come_at_once(void **state)
{
	(void)state;
	struct web_parameters parameters;
	struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	header_value = "123456789";
	assert_int_equal(read_sample("x", "limit=0&colour=blue", &parameters, faults), -EINVAL);
	assert_int_equal(faults->count, 4);
	web_parameters_release(&parameters);
	free(faults);
}

static void a_query_of_very_many_pairs_is_refused(void **state)
{
	(void)state;
	char query[4 * (WEB_QUERY_MAX + 2)] = "";
	for (int i = 0; i <= WEB_QUERY_MAX; i++)
		strcat(query, "&&");
	struct web_parameters parameters;
	struct wl_flow_faults *faults = calloc(1, sizeof(*faults));
	header_value = NULL;
	assert_int_equal(read_sample(ID, query, &parameters, faults), -EINVAL);
	web_parameters_release(&parameters);
	free(faults);
}

/* ---- framing ----------------------------------------------------------------------------------------------------- */

static void good_framing_passes(void **state)
{
	(void)state;
	int status;
	const struct web_header post[] = { { "Content-Length", "12" }, { "X-Hostile", "y" } };
	const struct web_header zero[] = { { "content-length", "000" } };
	assert_null(web_guard_framing(WEB_POST, "example.org:8080", post, 2, &status));
	assert_null(web_guard_framing(WEB_GET, "[::1]:80", zero, 1, &status));
	assert_null(web_guard_framing(WEB_DELETE, "127.0.0.1", NULL, 0, &status));
}

static void framing_that_two_parsers_could_read_differently_is_refused(void **state)
{
	(void)state;
	static const struct {
		enum web_method method;
		const char *host;
		struct web_header headers[2];
		size_t count;
		int status;
	} rows[] = {
		{ WEB_POST, "a", { { "Transfer-Encoding", "chunked" } }, 1, 411 },
		{ WEB_POST, "a", { { "transfer-encoding", "" } }, 1, 411 },
		{ WEB_POST, "a", { { "Content-Length", "5" }, { "CONTENT-LENGTH", "5" } }, 2, 400 },
		{ WEB_POST, "a", { { "Content-Length", "+5" } }, 1, 400 },
		{ WEB_POST, "a", { { "Content-Length", "5, 5" } }, 1, 400 },
		{ WEB_POST, "a", { { "Content-Length", "" } }, 1, 400 },
		{ WEB_POST, "a", { { "Content-Length", "0x5" } }, 1, 400 },
		{ WEB_GET, "a", { { "Content-Length", "1" } }, 1, 400 },
		{ WEB_HEAD, "a", { { "Content-Length", "1" } }, 1, 400 },
		{ WEB_DELETE, "a", { { "Content-Length", "1" } }, 1, 400 },
		{ WEB_OPTIONS, "a", { { "Content-Length", "1" } }, 1, 400 },
		{ WEB_GET, "a", { { "hOsT", "b" } }, 1, 400 },
		{ WEB_GET, "", { { "x", "y" } }, 1, 400 },
		{ WEB_GET, "a b", { { "x", "y" } }, 1, 400 },
		{ WEB_GET, "a/b", { { "x", "y" } }, 1, 400 },
		{ WEB_GET, NULL, { { "x", "y" } }, 1, 400 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = 0;
		assert_non_null(
			web_guard_framing(rows[i].method, rows[i].host, rows[i].headers, rows[i].count, &status));
		assert_int_equal(status, rows[i].status);
	}
}

static void json_content_is_known_by_its_type(void **state)
{
	(void)state;
	assert_true(web_content_is_json("application/json"));
	assert_true(web_content_is_json("Application/JSON; charset=utf-8"));
	assert_true(web_content_is_json("application/json ;x"));
	assert_false(web_content_is_json(NULL));
	assert_false(web_content_is_json(""));
	assert_false(web_content_is_json("application/jsonp"));
	assert_false(web_content_is_json("text/json"));
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static void digest_of(int number, unsigned char digest[WEB_TOKEN_DIGEST])
{
	memset(digest, 0, WEB_TOKEN_DIGEST);
	memcpy(digest, &number, sizeof(number));
}

static void put(struct web_token_cache *cache, int number, int64_t expires_s, int64_t now_ms)
{
	unsigned char digest[WEB_TOKEN_DIGEST];
	struct web_identity identity = { .tenant = number, .role = WEB_ROLE_VIEWER, .expires_s = expires_s };
	digest_of(number, digest);
	web_token_cache_put(cache, digest, &identity, now_ms);
}

static int get(struct web_token_cache *cache, int number, int64_t now_s, int64_t now_ms, bool *ret_fresh)
{
	unsigned char digest[WEB_TOKEN_DIGEST];
	struct web_identity identity = { 0 };
	digest_of(number, digest);
	return web_token_cache_get(cache, digest, now_s, now_ms, 4000, &identity, ret_fresh) ? identity.tenant : 0;
}

static void tokens_are_remembered_until_they_expire(void **state)
{
	(void)state;
	bool fresh;
	struct web_token_cache *cache = web_token_cache_new(4);
	put(cache, 1, 100, 0);
	assert_int_equal(get(cache, 1, 99, 3999, &fresh), 1);
	assert_true(fresh);
	assert_int_equal(get(cache, 1, 99, 4000, &fresh), 1);
	assert_false(fresh);
	assert_int_equal(get(cache, 1, 100, 0, &fresh), 0);
	assert_int_equal(get(cache, 1, 99, 0, &fresh), 0);
	web_token_cache_free(cache);
}

static void the_token_longest_unused_makes_room(void **state)
{
	(void)state;
	bool fresh;
	struct web_token_cache *cache = web_token_cache_new(3);
	for (int i = 1; i <= 3; i++)
		put(cache, i, 100, 0);
	assert_int_equal(get(cache, 1, 0, 0, &fresh), 1);
	put(cache, 4, 100, 0);
	assert_int_equal(get(cache, 2, 0, 0, &fresh), 0);
	assert_int_equal(get(cache, 1, 0, 0, &fresh), 1);
	assert_int_equal(get(cache, 3, 0, 0, &fresh), 3);
	assert_int_equal(get(cache, 4, 0, 0, &fresh), 4);
	web_token_cache_free(cache);
}

/* The table against a plain list, by many random steps. */
static void the_cache_agrees_with_a_list(void **state)
{
	(void)state;
	enum { ROOM = 8, NUMBERS = 24, STEPS = 20000 };
	int order[NUMBERS + 1], count = 0;
	unsigned seed = 7;
	struct web_token_cache *cache = web_token_cache_new(ROOM);
	for (int step = 0; step < STEPS; step++) {
		seed = seed * 1103515245u + 12345u;
		int number = 1 + (int)((seed >> 16) % NUMBERS), what = (int)((seed >> 8) % 8), at = 0;
		bool fresh;
		while (at < count && order[at] != number)
			at++;
		if (what == 0) {
			unsigned char digest[WEB_TOKEN_DIGEST];
			digest_of(number, digest);
			web_token_cache_drop(cache, digest);
			if (at < count)
				memmove(order + at, order + at + 1, (size_t)(--count - at) * sizeof(int));
			continue;
		}
		bool known = at < count;
		if (what < 4)
			assert_int_equal(get(cache, number, 0, 0, &fresh), known ? number : 0);
		else
			put(cache, number, 100, 0);
		if (known)
			memmove(order + at, order + at + 1, (size_t)(--count - at) * sizeof(int));
		if (known || what >= 4)
			order[count++] = number;
		if (count > ROOM)
			memmove(order, order + 1, (size_t)--count * sizeof(int));
	}
	web_token_cache_free(cache);
}

/* ---- limits of rates ---------------------------------------------------------------------------------------- */

static int64_t take(struct web_rate_limit *limit, int number, int64_t now_ms)
{
	unsigned char key[WEB_RATE_KEY];
	digest_of(number, key);
	return web_rate_limit_take(limit, key, now_ms);
}

static void a_bucket_gives_a_minute_at_once_and_fills_again(void **state)
{
	(void)state;
	struct web_rate_limit *limit = web_rate_limit_new(4, 30);
	for (int i = 0; i < 30; i++)
		assert_int_equal(take(limit, 1, 5000), 0);
	assert_int_equal(take(limit, 1, 5000), 2000);
	unsigned char key[WEB_RATE_KEY];
	digest_of(1, key);
	assert_int_equal(web_rate_limit_look(limit, key, 5000), 2000);
	digest_of(9, key);
	assert_int_equal(web_rate_limit_look(limit, key, 5000), 0); /* of a key that is not there */
	assert_int_equal(take(limit, 1, 6999), 1);		    /* a refusal has taken nothing */
	assert_int_equal(take(limit, 2, 6999), 0);
	assert_int_equal(take(limit, 1, 7000), 0);
	assert_int_equal(take(limit, 1, 7000), 2000);
	for (int i = 0; i < 30; i++) /* no more than a minute's tokens are kept */
		assert_int_equal(take(limit, 1, 5000000), 0);
	assert_int_equal(take(limit, 1, 5000000), 2000);
	web_rate_limit_free(limit);
}

static void no_limit_is_none(void **state)
{
	(void)state;
	struct web_rate_limit *limit = web_rate_limit_new(1, 0);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(take(limit, 1, 0), 0);
	web_rate_limit_free(limit);
}

static void the_key_longest_unused_makes_room(void **state)
{
	(void)state;
	struct web_rate_limit *limit = web_rate_limit_new(3, 1);
	for (int number = 1; number <= 3; number++)
		assert_int_equal(take(limit, number, 1000), 0);
	assert_true(take(limit, 1, 1000) > 0); /* refused, but used: 2 is the oldest now */
	assert_int_equal(take(limit, 4, 1000), 0);
	assert_true(take(limit, 1, 1000) > 0);
	assert_true(take(limit, 3, 1000) > 0);
	assert_true(take(limit, 4, 1000) > 0);
	assert_int_equal(take(limit, 2, 1000), 0);
	for (int number = 0; number < 10000; number++) /* many strangers: the table neither grows nor breaks */
		assert_int_equal(take(limit, 100 + number, 1000), 0);
	assert_true(take(limit, 10099, 1000) > 0);
	web_rate_limit_free(limit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_are_found_by_method_and_path),
		cmocka_unit_test(paths_that_are_not_quite_a_route_are_refused),
		cmocka_unit_test(a_known_path_tells_its_methods),
		cmocka_unit_test(path_values_point_into_the_path),
		cmocka_unit_test(every_route_has_what_the_server_needs),
		cmocka_unit_test(roles_are_ordered),
		cmocka_unit_test(good_parameters_are_decoded),
		cmocka_unit_test(bad_parameters_are_named),
		cmocka_unit_test(all_faults_come_at_once),
		cmocka_unit_test(a_query_of_very_many_pairs_is_refused),
		cmocka_unit_test(good_framing_passes),
		cmocka_unit_test(framing_that_two_parsers_could_read_differently_is_refused),
		cmocka_unit_test(json_content_is_known_by_its_type),
		cmocka_unit_test(tokens_are_remembered_until_they_expire),
		cmocka_unit_test(the_token_longest_unused_makes_room),
		cmocka_unit_test(the_cache_agrees_with_a_list),
		cmocka_unit_test(a_bucket_gives_a_minute_at_once_and_fills_again),
		cmocka_unit_test(no_limit_is_none),
		cmocka_unit_test(the_key_longest_unused_makes_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
