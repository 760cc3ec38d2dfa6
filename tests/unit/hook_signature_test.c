/* Signatures of webhooks: what is signed, what is taken, and what is refused with which sentence. */
#include "lib/base/cleanup.h"
#include "lib/secrets/hook_signature.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1735689600
#define BODY "{\"order\":7}"
#define SECRET "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
/* printf '1735689600.{"order":7}' | openssl dgst -sha256 -hmac "$SECRET" */
#define MAC "92703bac7734e3d0d8ad122cf68f3753025d236184042740f82f927bd3a01166"

static int verify(const char *header, const char *secret, int64_t now_s, unsigned char *ret_signed,
		  struct wl_error *err)
{
	unsigned char unused[WL_SHA256_BYTES];
	return wl_hook_verify(header, &secret, 1, now_s, BODY, strlen(BODY), ret_signed ? ret_signed : unused, err);
}

static void it_is_the_hmac_that_everybody_knows(void **state)
{
	(void)state;
	const char *secret = SECRET;
	char text[WL_HOOK_SIGNATURE_TEXT];
	assert_string_equal(wl_hook_sign(&secret, 1, NOW, BODY, strlen(BODY), text), "t=1735689600,v1=" MAC);
	assert_int_equal(verify(text, SECRET, NOW, NULL, NULL), 0);
}

static void two_secrets_sign_and_either_is_enough(void **state)
{
	(void)state;
	const char *both[] = { SECRET, "whsec_other" };
	char text[WL_HOOK_SIGNATURE_TEXT];
	unsigned char first[WL_SHA256_BYTES], second[WL_SHA256_BYTES];
	wl_hook_sign(both, 2, NOW, BODY, strlen(BODY), text);
	assert_int_equal(verify(text, both[0], NOW, first, NULL), 0);
	assert_int_equal(verify(text, both[1], NOW, second, NULL), 0);
	assert_memory_equal(first, second, sizeof(first));
	assert_int_equal(verify(text, "whsec_third", NOW, NULL, NULL), -EACCES);
	assert_int_equal(verify("t=1735689600,v1=" MAC, both[0], NOW, second, NULL), 0);
	assert_memory_equal(first, second, sizeof(first)); /* one of its signatures alone is still the same request */
}

static void clocks_may_be_five_minutes_off(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	static const int off[] = { -301, -300, 0, 300, 301 };
	for (size_t i = 0; i < WL_COUNT_OF(off); i++) {
		bool taken = off[i] >= -300 && off[i] <= 300;
		assert_int_equal(verify("t=1735689600,v1=" MAC, SECRET, NOW - off[i], NULL, &err), taken ? 0 : -EACCES);
		assert_true(taken || strstr(err.text, " s off"));
	}
}

static void headers_that_cannot_be_read_are_refused(void **state)
{
	(void)state;
	static const char *const headers[] = {
		"",
		",",
		"t=1735689600",
		"v1=" MAC,
		"t=1735689600,v1=" MAC ",",
		"t=1735689600;v1=" MAC,
		"t=01735689600,v1=" MAC,
		"t=+1735689600,v1=" MAC,
		"t= 1735689600,v1=" MAC,
		"t=1735689600 ,v1=" MAC,
		"t=1735689600,v1=" MAC "0",
		"t=1735689600,v1=" MAC " ",
		"t=1735689600,t=1735689600,v1=" MAC,
		"t=1735689600,v1=x" MAC,
		"t=9999999999999,v1=" MAC,
		"t=,v1=" MAC,
		"t=1735689600,v1=",
		"t=1735689600,v1",
		"t=1735689600,v1=zz" MAC,
		"T=1735689600,V1=" MAC,
		"t=1735689600,v1=" MAC ",,",
	};
	for (size_t i = 0; i < WL_COUNT_OF(headers); i++) {
		struct wl_error err = { 0 };
		assert_int_equal(verify(headers[i], SECRET, NOW, NULL, &err), -EACCES);
		assert_non_null(strstr(err.text, "is not t=<seconds>"));
	}
	struct wl_error err = { 0 };
	assert_int_equal(verify(NULL, SECRET, NOW, NULL, &err), -EACCES);
	assert_non_null(strstr(err.text, "missing"));
}

static void a_flood_of_signatures_is_refused(void **state)
{
	(void)state;
	char header[1024] = "t=1735689600";
	for (int i = 0; i < WL_HOOK_SIGNATURE_V1_MAX; i++)
		strcat(header, ",v1=" MAC);
	assert_int_equal(verify(header, SECRET, NOW, NULL, NULL), 0);
	strcat(header, ",v1=" MAC);
	assert_int_equal(verify(header, SECRET, NOW, NULL, NULL), -EACCES);
}

static void what_was_changed_does_not_fit(void **state)
{
	(void)state;
	const char *secret = SECRET;
	unsigned char digest[WL_SHA256_BYTES];
	assert_int_equal(
		wl_hook_verify("t=1735689600,v1=" MAC, &secret, 1, NOW, BODY " ", strlen(BODY) + 1, digest, NULL),
		-EACCES);
	assert_int_equal(wl_hook_verify("t=1735689600,v1=" MAC, &secret, 0, NOW, BODY, strlen(BODY), digest, NULL),
			 -EACCES);
	assert_int_equal(verify("t=1735689601,v1=" MAC, SECRET, NOW, NULL, NULL), -EACCES);
	/* other elements may stand beside, hex digits may be large */
	assert_int_equal(verify("kid=a, t=1735689600 , v1=" MAC, SECRET, NOW, NULL, NULL), -EACCES);
	assert_int_equal(verify("kid=a, t=1735689600,\tv1=" MAC ",v2=x", SECRET, NOW, NULL, NULL), 0);
}

static void secrets_are_random_and_long(void **state)
{
	(void)state;
	char first[WL_HOOK_SECRET], second[WL_HOOK_SECRET];
	wl_hook_secret_make(first);
	wl_hook_secret_make(second);
	assert_int_equal(strlen(first), WL_HOOK_SECRET - 1);
	assert_memory_equal(first, "whsec_", 6);
	assert_string_not_equal(first, second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_the_hmac_that_everybody_knows),
		cmocka_unit_test(two_secrets_sign_and_either_is_enough),
		cmocka_unit_test(clocks_may_be_five_minutes_off),
		cmocka_unit_test(headers_that_cannot_be_read_are_refused),
		cmocka_unit_test(a_flood_of_signatures_is_refused),
		cmocka_unit_test(what_was_changed_does_not_fit),
		cmocka_unit_test(secrets_are_random_and_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
