/* lib/secrets/seal: secrets sealed with a tenant's key, which the master key seals. */
#include "lib/secrets/seal.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_MASTER "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SECRET "{\"api_key\":\"sk-very-secret\"}"

struct fixture {
	struct wl_master_key *master;
	char tenant[WL_SEALED_KEY_TEXT], other_tenant[WL_SEALED_KEY_TEXT];
};

static struct wl_master_key *master_of(const char *hex)
{
	struct wl_master_key *key = NULL;
	assert_int_equal(wl_master_key_open(hex, &key, NULL), 0);
	return key;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->master = master_of(MASTER);
	assert_int_equal(wl_tenant_key_make(f->master, f->tenant, NULL), 0);
	assert_int_equal(wl_tenant_key_make(f->master, f->other_tenant, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	wl_master_key_close(f->master);
	free(f);
	return 0;
}

static char *sealed(const struct fixture *f, const char *context, const char *plain)
{
	char *text = NULL;
	assert_int_equal(wl_seal(f->master, f->tenant, context, plain, strlen(plain), &text, NULL), 0);
	return text;
}

static int opens(const struct wl_master_key *master, const char *tenant, const char *context, const char *text)
{
	struct wl_error err = { 0 };
	char *plain = NULL;
	size_t length = 0;
	int rc = wl_unseal(master, tenant, context, text, &plain, &length, &err);
	assert_null(strstr(err.text, "very-secret"));
	if (rc < 0)
		assert_null(plain);
	wl_unsealed_free(plain, length);
	return rc;
}

static void master_keys_are_64_hex_digits(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "abcd", MASTER "00",
					   "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" };
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		struct wl_error err;
		struct wl_master_key *key = NULL;
		assert_int_equal(wl_master_key_open(bad[i], &key, &err), -EINVAL);
		assert_non_null(strstr(err.text, "WINDLASS_MASTER_KEY"));
		assert_null(key);
	}
	wl_master_key_close(NULL);
}

static void what_was_sealed_opens_again(void **state)
{
	struct fixture *f = *state;
	_wl_free_ char *text = sealed(f, "tool:1", SECRET);
	_wl_free_ char *again = sealed(f, "tool:1", SECRET);
	char *plain = NULL;
	size_t length = 0;
	assert_memory_equal(text, "v1.", 3);
	assert_null(strstr(text, "secret"));
	assert_string_not_equal(text, again);
	assert_int_equal(wl_unseal(f->master, f->tenant, "tool:1", text, &plain, &length, NULL), 0);
	assert_int_equal(length, strlen(SECRET));
	assert_string_equal(plain, SECRET);
	wl_unsealed_free(plain, length);
}

static void bytes_of_every_value_and_none_at_all_are_kept(void **state)
{
	struct fixture *f = *state;
	char bytes[256], *plain = NULL;
	size_t length = 0;
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	_wl_free_ char *text = NULL, *empty = NULL;
	assert_int_equal(wl_seal(f->master, f->tenant, "c", bytes, sizeof(bytes), &text, NULL), 0);
	assert_int_equal(wl_unseal(f->master, f->tenant, "c", text, &plain, &length, NULL), 0);
	assert_int_equal(length, sizeof(bytes));
	assert_memory_equal(plain, bytes, sizeof(bytes));
	wl_unsealed_free(plain, length);
	assert_int_equal(wl_seal(f->master, f->tenant, "c", "", 0, &empty, NULL), 0);
	assert_int_equal(wl_unseal(f->master, f->tenant, "c", empty, &plain, &length, NULL), 0);
	assert_int_equal(length, 0);
	wl_unsealed_free(plain, length);
}

static void it_opens_nowhere_else(void **state)
{
	struct fixture *f = *state;
	struct wl_master_key *other = master_of(OTHER_MASTER);
	_wl_free_ char *text = sealed(f, "tool:1", SECRET);
	assert_int_equal(opens(f->master, f->tenant, "tool:1", text), 0);
	assert_int_equal(opens(f->master, f->tenant, "tool:2", text), -EACCES);
	assert_int_equal(opens(f->master, f->tenant, "tool:", text), -EACCES);
	assert_int_equal(opens(f->master, f->other_tenant, "tool:1", text), -EACCES);
	assert_int_equal(opens(other, f->tenant, "tool:1", text), -EACCES);
	assert_int_equal(opens(f->master, text, "tool:1", f->tenant), -EACCES);
	assert_int_equal(opens(f->master, "", "tool:1", text), -EACCES);
	assert_int_equal(opens(f->master, NULL, "tool:1", text), -EINVAL);
	assert_int_equal(opens(f->master, f->tenant, "", text), -EINVAL);
	assert_int_equal(opens(f->master, f->tenant, "tool:1", ""), -EACCES);
	wl_master_key_close(other);
}

static void every_changed_byte_is_noticed(void **state)
{
	struct fixture *f = *state;
	_wl_free_ char *text = sealed(f, "tool:1", SECRET);
	size_t length = strlen(text);
	for (size_t i = 0; i < length; i++) {
		char was = text[i];
		text[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(opens(f->master, f->tenant, "tool:1", text), -EACCES);
		text[i] = '!';
		assert_int_equal(opens(f->master, f->tenant, "tool:1", text), -EACCES);
		text[i] = was;
	}
	for (size_t i = 0; i < length; i++) {
		_wl_free_ char *cut = strndup(text, i);
		assert_int_equal(opens(f->master, f->tenant, "tool:1", cut), -EACCES);
	}
}

static void sizes_are_bounded(void **state)
{
	struct fixture *f = *state;
	_wl_free_ char *large = calloc(1, WL_SEAL_PLAIN_MAX + 1), *text = NULL;
	char context[WL_SEAL_CONTEXT_MAX + 2];
	struct wl_error err;
	memset(context, 'x', sizeof(context));
	context[sizeof(context) - 1] = '\0';
	assert_int_equal(wl_seal(f->master, f->tenant, "c", large, WL_SEAL_PLAIN_MAX + 1, &text, &err), -E2BIG);
	assert_int_equal(wl_seal(f->master, f->tenant, context, "x", 1, &text, &err), -EINVAL);
	assert_null(text);
	assert_int_equal(wl_seal(f->master, f->tenant, "c", large, WL_SEAL_PLAIN_MAX, &text, &err), 0);
	assert_int_equal(opens(f->master, f->tenant, "c", text), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(master_keys_are_64_hex_digits),
		cmocka_unit_test(what_was_sealed_opens_again),
		cmocka_unit_test(bytes_of_every_value_and_none_at_all_are_kept),
		cmocka_unit_test(it_opens_nowhere_else),
		cmocka_unit_test(every_changed_byte_is_noticed),
		cmocka_unit_test(sizes_are_bounded),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
