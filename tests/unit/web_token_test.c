/* lib/secrets: digests, passwords, access and refresh tokens. */
#include "lib/secrets/digest.h"
#include "lib/secrets/password.h"
#include "lib/secrets/token.h"

#include <errno.h>
#include <jwt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_KEY "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define USER "0190d3a8-1c2b-7abc-8def-0123456789ab"
#define FAMILY "0190d3a8-1c2b-7abc-8def-0123456789ac"

static struct wl_token_key *key_of(const char *hex)
{
	struct wl_token_key *key = NULL;
	struct wl_error err;
	assert_int_equal(wl_token_key_open(hex, &key, &err), 0);
	return key;
}

static struct wl_token_claims claims_until(int64_t expires_s)
{
	return (struct wl_token_claims){
		.tenant = 7, .user = USER, .family = FAMILY, .role = "editor", .issued_s = 1, .expires_s = expires_s
	};
}

static void sha256_is_that_of_fips_180(void **state)
{
	(void)state;
	unsigned char digest[WL_SHA256_BYTES];
	char hex[WL_SHA256_HEX];
	wl_sha256("abc", 3, digest);
	assert_string_equal(wl_hex(digest, sizeof(digest), hex),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(wl_unhex(hex, digest, sizeof(digest)), 32);
	assert_int_equal(wl_unhex("abc", digest, sizeof(digest)), -1);
	assert_int_equal(wl_unhex("zz", digest, sizeof(digest)), -1);
	assert_int_equal(wl_unhex("aabb", digest, 1), -1);
}

static void passwords_are_known_again_and_others_not(void **state)
{
	(void)state;
	char hash[WL_PASSWORD_HASH], again[WL_PASSWORD_HASH];
	assert_int_equal(wl_password_hash("correct horse", hash, NULL), 0);
	assert_int_equal(wl_password_hash("correct horse", again, NULL), 0);
	assert_string_not_equal(hash, again);
	assert_non_null(strstr(hash, "$argon2id$"));
	assert_true(wl_password_verify("correct horse", hash));
	assert_false(wl_password_verify("correct hors", hash));
	assert_false(wl_password_verify("", hash));
	assert_false(wl_password_verify("correct horse", "no hash at all"));
	assert_false(wl_password_verify("correct horse", NULL));
}

static void short_or_broken_keys_are_refused(void **state)
{
	(void)state;
	struct wl_token_key *key = NULL;
	struct wl_error err;
	assert_int_equal(wl_token_key_open("abcd", &key, &err), -EINVAL);
	assert_non_null(strstr(err.text, "WINDLASS_TOKEN_KEY"));
	assert_int_equal(wl_token_key_open("", &key, &err), -EINVAL);
	assert_int_equal(wl_token_key_open(KEY "x", &key, &err), -EINVAL);
	assert_null(key);
}

static void a_token_is_read_as_it_was_made(void **state)
{
	(void)state;
	struct wl_token_key *key = key_of(KEY);
	struct wl_token_claims claims = claims_until(1000), got;
	struct wl_error err;
	char *token = NULL;
	assert_int_equal(wl_token_make(key, &claims, &token, &err), 0);
	assert_int_equal(wl_token_read(key, token, 999, &got, &err), 0);
	assert_int_equal(got.tenant, 7);
	assert_string_equal(got.user, USER);
	assert_string_equal(got.family, FAMILY);
	assert_string_equal(got.role, "editor");
	assert_int_equal(wl_token_read(key, token, 1000, &got, &err), -EACCES);
	free(token);
	wl_token_key_close(key);
}

/* Every single character of a token changed once: none may pass. */
static void a_token_that_was_changed_anywhere_is_refused(void **state)
{
	(void)state;
	struct wl_token_key *key = key_of(KEY), *other = key_of(OTHER_KEY);
	struct wl_token_claims claims = claims_until(1000), got;
	struct wl_error err;
	char *token = NULL;
	assert_int_equal(wl_token_make(key, &claims, &token, &err), 0);
	assert_int_equal(wl_token_read(other, token, 1, &got, &err), -EACCES);
	size_t length = strlen(token);
	for (size_t i = 0; i < length - 1; i++) { /* the last one carries two bits that mean nothing */
		char kept = token[i];
		token[i] = kept == 'A' ? 'B' : 'A';
		assert_int_equal(wl_token_read(key, token, 1, &got, &err), -EACCES);
		token[i] = kept;
	}
	for (size_t cut = 0; cut < length; cut++) {
		char kept = token[cut];
		token[cut] = '\0';
		assert_int_equal(wl_token_read(key, token, 1, &got, &err), -EACCES);
		token[cut] = kept;
	}
	free(token);
	wl_token_key_close(key);
	wl_token_key_close(other);
}

/* A token with claims of our choice, signed by an algorithm of our choice. */
static char *forged(jwt_alg_t algorithm, const char *issuer, const char *audience, const char *user, long tenant)
{
	unsigned char key[32];
	jwt_t *jwt = NULL;
	assert_int_equal(wl_unhex(KEY, key, sizeof(key)), 32);
	assert_int_equal(jwt_new(&jwt), 0);
	if (issuer)
		jwt_add_grant(jwt, "iss", issuer);
	jwt_add_grant(jwt, "aud", audience);
	jwt_add_grant(jwt, "sub", user);
	jwt_add_grant(jwt, "fam", FAMILY);
	jwt_add_grant(jwt, "role", "admin");
	jwt_add_grant_int(jwt, "tenant", tenant);
	jwt_add_grant_int(jwt, "exp", 1000);
	jwt_set_alg(jwt, algorithm, algorithm == JWT_ALG_NONE ? NULL : key, algorithm == JWT_ALG_NONE ? 0 : 32);
	char *token = jwt_encode_str(jwt);
	jwt_free(jwt);
	return token;
}

static void tokens_of_another_kind_are_refused(void **state)
{
	(void)state;
	static const struct {
		jwt_alg_t algorithm;
		const char *issuer, *audience, *user;
		long tenant;
		int expected;
	} rows[] = {
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 1, 0 },
		{ JWT_ALG_NONE, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 1, -EACCES },
		{ JWT_ALG_HS384, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 1, -EACCES },
		{ JWT_ALG_HS512, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 1, -EACCES },
		{ JWT_ALG_HS256, "somebody", WL_TOKEN_AUDIENCE, USER, 1, -EACCES },
		{ JWT_ALG_HS256, NULL, WL_TOKEN_AUDIENCE, USER, 1, -EACCES },
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, "another", USER, 1, -EACCES },
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, "root", 1, -EACCES },
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 0, -EACCES },
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, -1, -EACCES },
		{ JWT_ALG_HS256, WL_TOKEN_ISSUER, WL_TOKEN_AUDIENCE, USER, 1L + WL_TOKEN_TENANT_MAX, -EACCES },
	};
	struct wl_token_key *key = key_of(KEY);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wl_token_claims got;
		struct wl_error err;
		char *token = forged(rows[i].algorithm, rows[i].issuer, rows[i].audience, rows[i].user, rows[i].tenant);
		assert_non_null(token);
		assert_int_equal(wl_token_read(key, token, 1, &got, &err), rows[i].expected);
		free(token);
	}
	wl_token_key_close(key);
}

static void refresh_tokens_carry_their_family(void **state)
{
	(void)state;
	char token[WL_REFRESH_TOKEN], other[WL_REFRESH_TOKEN], family[WL_UUID_TEXT];
	unsigned char made[WL_SHA256_BYTES], read[WL_SHA256_BYTES];
	wl_refresh_token_make(FAMILY, token, made);
	wl_refresh_token_make(FAMILY, other, read);
	assert_string_not_equal(token, other);
	assert_int_equal(strlen(token), WL_REFRESH_TOKEN - 1);
	assert_true(wl_refresh_token_read(token, family, read));
	assert_string_equal(family, FAMILY);
	assert_memory_equal(made, read, sizeof(made));
	/* another family makes another token, which nobody knows */
	memcpy(token + strlen(token) - 36, USER, 36);
	assert_true(wl_refresh_token_read(token, family, read));
	assert_memory_not_equal(made, read, sizeof(made));
	assert_false(wl_refresh_token_read("short", family, read));
	token[strlen(token) - 1] = 'x';
	assert_false(wl_refresh_token_read(token, family, read));
}

static void operators_are_of_no_tenant_and_others_of_one(void **state)
{
	(void)state;
	static const struct {
		const char *role;
		int tenant, expected;
	} rows[] = { { WL_TOKEN_OPERATOR, 0, 0 },
		     { WL_TOKEN_OPERATOR, 1, -EACCES },
		     { "admin", 0, -EACCES },
		     { "admin", 1, 0 } };
	struct wl_token_key *key = key_of(KEY);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wl_token_claims claims = {
			.tenant = rows[i].tenant, .user = USER, .family = FAMILY, .expires_s = 100
		};
		struct wl_token_claims got;
		struct wl_error err;
		char *token = NULL;
		(void)snprintf(claims.role, sizeof(claims.role), "%s", rows[i].role);
		assert_int_equal(wl_token_make(key, &claims, &token, &err), 0);
		assert_int_equal(wl_token_read(key, token, 1, &got, &err), rows[i].expected);
		free(token);
	}
	wl_token_key_close(key);
}

static void keys_and_links_are_drawn_and_told_apart(void **state)
{
	(void)state;
	char key[WL_API_KEY], other[WL_API_KEY], token[WL_LINK_TOKEN];
	wl_api_key_make(key);
	wl_api_key_make(other);
	wl_link_token_make(token);
	assert_string_not_equal(key, other);
	assert_int_equal(strlen(key), WL_API_KEY - 1);
	assert_int_equal(strlen(token), WL_LINK_TOKEN - 1);
	assert_true(wl_api_key_looks_like(key));
	assert_false(wl_api_key_looks_like(token));
	assert_false(wl_api_key_looks_like(""));
	assert_false(wl_api_key_looks_like(WL_API_KEY_PREFIX));
	key[10] = '=';
	assert_false(wl_api_key_looks_like(key));
	other[WL_API_KEY - 2] = '\0';
	assert_false(wl_api_key_looks_like(other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operators_are_of_no_tenant_and_others_of_one),
		cmocka_unit_test(keys_and_links_are_drawn_and_told_apart),
		cmocka_unit_test(sha256_is_that_of_fips_180),
		cmocka_unit_test(passwords_are_known_again_and_others_not),
		cmocka_unit_test(short_or_broken_keys_are_refused),
		cmocka_unit_test(a_token_is_read_as_it_was_made),
		cmocka_unit_test(a_token_that_was_changed_anywhere_is_refused),
		cmocka_unit_test(tokens_of_another_kind_are_refused),
		cmocka_unit_test(refresh_tokens_carry_their_family),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
