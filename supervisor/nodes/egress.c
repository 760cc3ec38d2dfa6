#include "supervisor/nodes/egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* IPv4 networks that are not global unicast; the same ones behind every mapping of IPv4 into IPv6. */
static const struct {
	unsigned char net[4];
	int bits;
} special4[] = {
	{ { 0, 0, 0, 0 }, 8 },	     /* this network, RFC 791 */
	{ { 10, 0, 0, 0 }, 8 },	     /* private, RFC 1918 */
	{ { 100, 64, 0, 0 }, 10 },   /* carrier NAT, RFC 6598 */
	{ { 127, 0, 0, 0 }, 8 },     /* loopback */
	{ { 169, 254, 0, 0 }, 16 },  /* link-local, and where clouds keep their metadata */
	{ { 172, 16, 0, 0 }, 12 },   /* private */
	{ { 192, 0, 0, 0 }, 24 },    /* protocol assignments, RFC 6890 */
	{ { 192, 0, 2, 0 }, 24 },    /* documentation, RFC 5737 */
	{ { 192, 88, 99, 0 }, 24 },  /* 6to4 relays, RFC 7526 */
	{ { 192, 168, 0, 0 }, 16 },  /* private */
	{ { 198, 18, 0, 0 }, 15 },   /* benchmarks, RFC 2544 */
	{ { 198, 51, 100, 0 }, 24 }, /* documentation */
	{ { 203, 0, 113, 0 }, 24 },  /* documentation */
	{ { 224, 0, 0, 0 }, 4 },     /* multicast */
	{ { 240, 0, 0, 0 }, 4 },     /* reserved, and broadcast */
};

/* Parts of 2000::/3 that are not plain global unicast. */
static const struct {
	unsigned char net[4];
	int bits;
} special6[] = {
	{ { 0x20, 0x01, 0x00, 0x00 }, 23 }, /* protocol assignments (Teredo, ORCHID), RFC 2928 */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* documentation, RFC 3849 */
	{ { 0x3f, 0xff, 0x00, 0x00 }, 20 }, /* documentation, RFC 9637 */
};

static bool within(const unsigned char *address, const unsigned char *net, int bits)
{
	int bytes = bits / 8;
	if (memcmp(address, net, (size_t)bytes) != 0)
		return false;
	if (bits % 8 == 0)
		return true;
	int mask = (0xff << (8 - bits % 8)) & 0xff;
	return (address[bytes] & mask) == (net[bytes] & mask);
}

static const unsigned char mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool global4(const unsigned char address[4])
{
	for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++)
		if (within(address, special4[i].net, special4[i].bits))
			return false;
	return true;
}

static bool global6(const unsigned char address[16])
{
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
	static const unsigned char six_to_four[2] = { 0x20, 0x02 };
	if (memcmp(address, mapped_prefix, 12) == 0 || memcmp(address, nat64, 12) == 0)
		return global4(address + 12);
	if (memcmp(address, six_to_four, 2) == 0)
		return global4(address + 2);
	/* today all global unicast lies in 2000::/3; loopback, link-local, unique local and multicast do not */
	if ((address[0] & 0xe0) != 0x20)
		return false;
	for (size_t i = 0; i < sizeof(special6) / sizeof(special6[0]); i++)
		if (within(address, special6[i].net, special6[i].bits))
			return false;
	return true;
}

static bool listed(const struct egress_rules *rules, const unsigned char address[16])
{
	for (int i = 0; i < rules->count; i++)
		if (within(address, rules->allowed[i].address, rules->allowed[i].bits))
			return true;
	return false;
}

bool egress_allows(const struct egress_rules *rules, const struct sockaddr *address, socklen_t length)
{
	unsigned char wide[16];
	if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		memcpy(wide, mapped_prefix, 12);
		memcpy(wide + 12, &in.sin_addr, 4);
	} else if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 in;
		memcpy(&in, address, sizeof(in));
		memcpy(wide, &in.sin6_addr, 16);
	} else {
		return false;
	}
	return listed(rules, wide) || global6(wide);
}

static int read_network(const char *text, struct egress_network *ret_network, struct wl_error *err)
{
	char copy[64];
	struct in_addr four;
	struct in6_addr six;
	if (strlen(text) >= sizeof(copy))
		return wl_fail(err, EINVAL, "setting egress_allow: '%.60s' is not a network", text);
	strcpy(copy, text);
	char *slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';
	char *end = NULL;
	bool is_four = inet_pton(AF_INET, copy, &four) == 1;
	long most = is_four ? 32 : 128;
	long bits = slash ? strtol(slash, &end, 10) : most;
	if ((!is_four && inet_pton(AF_INET6, copy, &six) != 1) || (slash && (end == slash || *end)) || bits < 0 ||
	    bits > most)
		return wl_fail(err, EINVAL, "setting egress_allow: '%.60s' is not a network such as 10.1.0.0/16", text);
	if (is_four) {
		memcpy(ret_network->address, mapped_prefix, 12);
		memcpy(ret_network->address + 12, &four, 4);
	} else {
		memcpy(ret_network->address, &six, 16);
	}
	ret_network->bits = (int)bits + (is_four ? 96 : 0);
	return 0;
}

int egress_rules_read(const char *cidrs, struct egress_rules *ret_rules, struct wl_error *err)
{
	struct egress_rules rules = { .count = 0 };
	char copy[2048];
	if (strlen(cidrs) >= sizeof(copy))
		return wl_fail(err, EINVAL, "setting egress_allow is longer than %zu bytes", sizeof(copy) - 1);
	strcpy(copy, cidrs);
	char *rest = NULL;
	for (char *part = strtok_r(copy, ", \t", &rest); part; part = strtok_r(NULL, ", \t", &rest)) {
		if (rules.count == EGRESS_MAX_NETWORKS)
			return wl_fail(err, EINVAL, "setting egress_allow has more than %d networks",
				       EGRESS_MAX_NETWORKS);
		if (read_network(part, &rules.allowed[rules.count], err) < 0)
			return -err->code;
		rules.count++;
	}
	*ret_rules = rules;
	return 0;
}
