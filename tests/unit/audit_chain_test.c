#include "lib/secrets/audit_chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

struct link {
	char entry[32], prev[WL_SHA256_HEX], hash[WL_SHA256_HEX];
};

static void make_chain(struct link links[4])
{
	const char *before = "";
	for (int i = 0; i < 4; i++) {
		(void)snprintf(links[i].entry, sizeof(links[i].entry), "{\"seq\":%d}", i + 1);
		(void)snprintf(links[i].prev, sizeof(links[i].prev), "%s", before);
		assert_int_equal(wl_audit_hash(before, links[i].entry, links[i].hash), 0);
		before = links[i].hash;
	}
}

/* How many entries hold. */
static int64_t walk(const struct link links[4], struct wl_audit_walk *walk)
{
	*walk = (struct wl_audit_walk){ 0 };
	for (int i = 0; i < 4; i++)
		(void)wl_audit_walk_next(walk, i + 1, links[i].prev, links[i].hash, links[i].entry);
	return walk->seq;
}

static void test_the_hash_is_sha256_of_both_texts(void **state)
{
	char hash[WL_SHA256_HEX];
	(void)state;
	assert_int_equal(wl_audit_hash("a", "bc", hash), 0);
	/* FIPS 180-2, example "abc" */
	assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_a_whole_chain_holds(void **state)
{
	struct link links[4];
	struct wl_audit_walk at;
	(void)state;
	make_chain(links);
	assert_int_equal(walk(links, &at), 4);
	assert_false(at.broken);
	assert_string_equal(at.hash, links[3].hash);
}

static void test_a_changed_entry_is_named(void **state)
{
	struct link links[4];
	struct wl_audit_walk at;
	(void)state;
	make_chain(links);
	links[1].entry[2] = 'S';
	assert_int_equal(walk(links, &at), 1);
	assert_true(at.broken);
	assert_non_null(strstr(at.fault, "entry 2 was changed"));
}

static void test_an_entry_whose_hash_was_computed_anew_breaks_the_next_one(void **state)
{
	struct link links[4];
	struct wl_audit_walk at;
	(void)state;
	make_chain(links);
	links[1].entry[2] = 'S';
	assert_int_equal(wl_audit_hash(links[1].prev, links[1].entry, links[1].hash), 0);
	assert_int_equal(walk(links, &at), 2);
	assert_non_null(strstr(at.fault, "entry 3 does not build on"));
}

static void test_a_gap_is_seen(void **state)
{
	struct link links[4];
	struct wl_audit_walk at = { 0 };
	(void)state;
	make_chain(links);
	assert_true(wl_audit_walk_next(&at, 1, links[0].prev, links[0].hash, links[0].entry));
	assert_false(wl_audit_walk_next(&at, 3, links[2].prev, links[2].hash, links[2].entry));
	assert_non_null(strstr(at.fault, "entry 2 is missing"));
	assert_false(wl_audit_walk_next(&at, 2, links[1].prev, links[1].hash, links[1].entry));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_hash_is_sha256_of_both_texts),
		cmocka_unit_test(test_a_whole_chain_holds),
		cmocka_unit_test(test_a_changed_entry_is_named),
		cmocka_unit_test(test_an_entry_whose_hash_was_computed_anew_breaks_the_next_one),
		cmocka_unit_test(test_a_gap_is_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
