/* Which addresses and hosts requests may reach. */
#include "lib/base/cleanup.h"
#include "lib/net/egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool allows_with(const struct wl_egress_rules *rules, const char *address, bool allow_private)
{
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	if (inet_pton(AF_INET, address, &four.sin_addr) == 1)
		return wl_egress_allows(rules, (struct sockaddr *)&four, sizeof(four), allow_private);
	assert_int_equal(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
	return wl_egress_allows(rules, (struct sockaddr *)&six, sizeof(six), allow_private);
}

static bool allows(const struct wl_egress_rules *rules, const char *address)
{
	return allows_with(rules, address, false);
}

static const char *const refused[] = {
	"0.0.0.0",
	"10.0.0.1",
	"10.255.255.255",
	"100.64.0.1",
	"100.127.255.255",
	"127.0.0.1",
	"127.255.0.1",
	"169.254.169.254",
	"172.16.0.1",
	"172.31.255.255",
	"192.0.0.1",
	"192.0.2.1",
	"192.168.0.1",
	"198.18.0.1",
	"198.19.255.255",
	"198.51.100.1",
	"203.0.113.9",
	"224.0.0.1",
	"240.0.0.1",
	"255.255.255.255",
	"::",
	"::1",
	"::ffff:127.0.0.1",
	"::ffff:10.0.0.1",
	"::127.0.0.1",
	"64:ff9b::a00:1",
	"fc00::1",
	"fdff::1",
	"fe80::1",
	"ff02::1",
	"2001:db8::1",
	"2001::1",
	"2002:a00:1::",
	"2002:7f00:1::",
	"100::1",
	"fec0::1",
	"::ffff:169.254.169.254",
	"168.63.129.16",
	"100.100.100.200",
	"192.0.0.192",
	"192.88.99.1",
	"fd00:ec2::254",
	"fd20:ce::254",
	"64:ff9b::7f00:1",
	"64:ff9b::a9fe:a9fe",
	"64:ff9b:1::a00:1",
	"2002:a9fe:a9fe::1",
	"2001:0:4136:e378:8000:63bf:3fff:fdd2",
	"2606:4700::5efe:10.0.0.1",
	"2606:4700::200:5efe:127.0.0.1",
	"3fff::1",
	"4000::1",
};
static const char *const allowed[] = { "1.1.1.1",	   "8.8.8.8",
				       "100.63.255.255",   "100.128.0.1",
				       "172.15.255.255",   "172.32.0.1",
				       "192.167.255.255",  "198.17.255.255",
				       "223.255.255.255",  "2606:4700::1",
				       "2a00:1450::1",	   "::ffff:8.8.8.8",
				       "64:ff9b::808:808", "2606:4700::5efe:8.8.8.8",
				       "2002:808:808::1",  "168.63.129.17" };

static void test_egress_table(void **state)
{
	(void)state;
	struct wl_egress_rules rules;
	struct wl_error err;
	assert_int_equal(wl_egress_rules_read("", &rules, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(refused); i++)
		if (allows(&rules, refused[i]))
			fail_msg("%s was allowed", refused[i]);
	for (size_t i = 0; i < WL_COUNT_OF(allowed); i++)
		if (!allows(&rules, allowed[i]))
			fail_msg("%s was refused", allowed[i]);
	struct sockaddr local = { .sa_family = AF_UNIX };
	assert_false(wl_egress_allows(&rules, &local, sizeof(local), true));
}

static void test_egress_allow_list(void **state)
{
	(void)state;
	struct wl_egress_rules rules;
	struct wl_error err;
	assert_int_equal(wl_egress_rules_read("10.1.0.0/16, fd00:1::/32 192.168.7.9", &rules, &err), 0);
	assert_true(allows(&rules, "10.1.255.1") && allows(&rules, "::ffff:10.1.0.1"));
	assert_true(allows(&rules, "fd00:1::9") && allows(&rules, "192.168.7.9"));
	assert_false(allows(&rules, "10.2.0.1") || allows(&rules, "fd00:2::1") || allows(&rules, "192.168.7.8"));
	static const char *const wrong[] = { "10.0.0.0/33",   "10.0.0/8",     "host/8",	      "::/129",
					     "10.0.0.0/",     "10.0.0.0/8x",  "/8",	      "10.0.0.0/8:",
					     "10.0.0.1:80",   "10.0.0.0/8:0", "10.0.0.0/8:x", "10.0.0.0/8:65536",
					     "10.0.0.0/8:-1", "10.0.0.0/:80" };
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++)
		assert_int_equal(wl_egress_rules_read(wrong[i], &rules, &err), -EINVAL);
	char many[2048] = "";
	for (int i = 0; i <= WL_EGRESS_MAX_NETWORKS; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many), "10.0.%d.0/24,", i);
	assert_int_equal(wl_egress_rules_read(many, &rules, &err), -EINVAL);
}

static void test_a_port_of_a_network(void **state)
{
	(void)state;
	struct wl_egress_rules rules;
	struct wl_error err;
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	assert_int_equal(wl_egress_rules_read("127.0.0.1/32:8000, ::1/128:90", &rules, &err), 0);
	for (int port = 0; port < 65536; port += 10) {
		four.sin_port = six.sin6_port = htons((uint16_t)port);
		assert_int_equal(wl_egress_allows(&rules, (struct sockaddr *)&four, sizeof(four), true), port == 8000);
		assert_int_equal(wl_egress_allows(&rules, (struct sockaddr *)&six, sizeof(six), true), port == 90);
	}
}

/* What an admin's allow_private opens, and what it does not. */
static void test_private_networks(void **state)
{
	(void)state;
	static const char *const opened[] = { "10.0.0.1",	"10.255.255.255",  "172.16.0.1",
					      "172.31.255.255", "192.168.0.1",	   "fc00::1",
					      "fdff::1",	"::ffff:10.0.0.1", "fd00:ec3::254" };
	static const char *const closed[] = { "127.0.0.1",	  "::1",
					      "169.254.169.254",  "fe80::1",
					      "0.0.0.0",	  "100.64.0.1",
					      "100.100.100.200",  "224.0.0.1",
					      "fd00:ec2::254",	  "fd20:ce::254",
					      "fd00:42::42",	  "ff02::1",
					      "::ffff:127.0.0.1", "64:ff9b::a00:1",
					      "2002:a00:1::",	  "168.63.129.16",
					      "192.0.0.192",	  "255.255.255.255",
					      "198.18.0.1",	  "::" };
	struct wl_egress_rules none, loopback;
	struct wl_error err;
	assert_int_equal(wl_egress_rules_read("", &none, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(opened); i++)
		if (!allows_with(&none, opened[i], true) || allows_with(&none, opened[i], false))
			fail_msg("%s", opened[i]);
	for (size_t i = 0; i < WL_COUNT_OF(closed); i++)
		if (allows_with(&none, closed[i], true))
			fail_msg("%s was allowed", closed[i]);
	assert_int_equal(wl_egress_rules_read("127.0.0.0/8", &loopback, &err), 0);
	assert_true(allows_with(&loopback, "127.0.0.1", true) && allows_with(&loopback, "::ffff:127.0.0.1", false));
	assert_false(allows_with(&loopback, "::1", true) || allows_with(&loopback, "169.254.169.254", true));
}

/* An address that is bound to an interface is never reached, however global it looks. */
static void test_scoped_addresses(void **state)
{
	(void)state;
	struct wl_egress_rules rules;
	struct wl_error err;
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_scope_id = 1 };
	assert_int_equal(inet_pton(AF_INET6, "2606:4700::1", &six.sin6_addr), 1);
	assert_int_equal(wl_egress_rules_read("::/0", &rules, &err), 0);
	assert_false(wl_egress_allows(&rules, (struct sockaddr *)&six, sizeof(six), true));
	six.sin6_scope_id = 0;
	assert_true(wl_egress_allows(&rules, (struct sockaddr *)&six, sizeof(six), false));
	assert_false(wl_egress_allows(&rules, (struct sockaddr *)&six, sizeof(struct sockaddr_in), false));
}

static void test_hosts(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *host;
		int port;
		bool matches;
	} rows[] = {
		{ "api.example.com", "api.example.com", 443, true },
		{ "API.example.com", "api.EXAMPLE.com", 443, true },
		{ "api.example.com", "api.example.com.", 443, true },
		{ "api.example.com.", "api.example.com", 443, true },
		{ "api.example.com", "api.example.com", 8443, false },
		{ "api.example.com:8443", "api.example.com", 8443, true },
		{ "api.example.com:8443", "api.example.com", 443, false },
		{ "api.example.com:443", "api.example.com", 443, true },
		{ "api.example.com", "example.com", 443, false },
		{ "api.example.com", "api.example.com.evil.test", 443, false },
		{ "api.example.com", "xapi.example.com", 443, false },
		{ "*.example.com", "api.example.com", 443, true },
		{ "*.example.com", "a.b.example.com", 443, true },
		{ "*.example.com", "example.com", 443, false },
		{ "*.example.com", ".example.com", 443, false },
		{ "*.example.com", "evilexample.com", 443, false },
		{ "*.example.com:9", "api.example.com", 9, true },
		{ "*", "api.example.com", 443, false },
		{ "*.", "api.example.com", 443, false },
		{ "", "api.example.com", 443, false },
		{ "", "", 443, false },
		{ "10.0.0.1", "10.0.0.1", 443, true },
		{ "10.0.0.1:80", "10.0.0.1", 80, true },
		{ "[2606:4700::1]", "2606:4700::1", 443, true },
		{ "[2606:4700::1]:8", "[2606:4700::1]", 8, true },
		{ "[2606:4700::1]:8", "2606:4700::1", 443, false },
		{ "api.example.com:x", "api.example.com", 443, false },
		{ "api.example.com:", "api.example.com", 443, false },
		{ "api.example.com:99999999999", "api.example.com", 443, false },
	};
	for (size_t i = 0; i < WL_COUNT_OF(rows); i++)
		if (wl_egress_host_matches(&rows[i].pattern, 1, rows[i].host, rows[i].port, 443) != rows[i].matches)
			fail_msg("%s and %s:%d", rows[i].pattern, rows[i].host, rows[i].port);
	static const char *const two[] = { "a.test", "b.test" };
	assert_true(wl_egress_host_matches(two, 2, "b.test", 80, 80));
	assert_false(wl_egress_host_matches(two, 0, "b.test", 80, 80));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_egress_table),	    cmocka_unit_test(test_egress_allow_list),
		cmocka_unit_test(test_a_port_of_a_network), cmocka_unit_test(test_private_networks),
		cmocka_unit_test(test_scoped_addresses),    cmocka_unit_test(test_hosts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
