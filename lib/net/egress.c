#include "lib/net/egress.h"

#include "lib/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* IPv4 networks that are not global unicast; the same ones behind every mapping of IPv4 into IPv6. */
static const struct {
	unsigned char net[4];
	int bits;
} special4[] = {
	{ { 0, 0, 0, 0 }, 8 },	     /* this network, RFC 791 */
	{ { 100, 64, 0, 0 }, 10 },   /* carrier NAT, RFC 6598 */
	{ { 127, 0, 0, 0 }, 8 },     /* loopback */
	{ { 169, 254, 0, 0 }, 16 },  /* link-local, and where clouds keep their metadata */
	{ { 192, 0, 0, 0 }, 24 },    /* protocol assignments, RFC 6890 */
	{ { 192, 0, 2, 0 }, 24 },    /* documentation, RFC 5737 */
	{ { 192, 88, 99, 0 }, 24 },  /* 6to4 relays, RFC 7526 */
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

/* Private networks: what a home, an office or a cluster gives its own machines. */
static const struct {
	unsigned char net[4];
	int bits;
} private4[] = { { { 10, 0, 0, 0 }, 8 }, { { 172, 16, 0, 0 }, 12 }, { { 192, 168, 0, 0 }, 16 } };

/*
 * Where clouds answer their guests with credentials. 169.254.169.254 lies in link-local, 100.100.100.200 in carrier
 * NAT and 192.0.0.192 in protocol assignments, which are special anyway; these lie in networks that are not.
 */
static const unsigned char azure_wire_server[4] = { 168, 63, 129, 16 };
static const struct {
	unsigned char net[8];
	int bits;
} metadata6[] = {
	{ { 0xfd, 0x00, 0x0e, 0xc2 }, 32 },		/* fd00:ec2::254 of EC2 */
	{ { 0xfd, 0x20, 0x00, 0xce }, 32 },		/* fd20:ce::254 of Compute Engine */
	{ { 0xfd, 0x00, 0x00, 0x42, 0, 0, 0, 0 }, 64 }, /* fd00:42::42 of Scaleway */
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

static enum wl_address_class class4(const unsigned char address[4])
{
	for (size_t i = 0; i < WL_COUNT_OF(private4); i++)
		if (within(address, private4[i].net, private4[i].bits))
			return WL_ADDRESS_PRIVATE;
	for (size_t i = 0; i < WL_COUNT_OF(special4); i++)
		if (within(address, special4[i].net, special4[i].bits))
			return WL_ADDRESS_SPECIAL;
	return within(address, azure_wire_server, 32) ? WL_ADDRESS_SPECIAL : WL_ADDRESS_GLOBAL;
}

/* An address that leads to an IPv4 one through a gateway is never more than that one is, and never private. */
static enum wl_address_class class4_behind(const unsigned char address[4])
{
	return class4(address) == WL_ADDRESS_GLOBAL ? WL_ADDRESS_GLOBAL : WL_ADDRESS_SPECIAL;
}

static enum wl_address_class unique_local(const unsigned char address[16])
{
	for (size_t i = 0; i < WL_COUNT_OF(metadata6); i++)
		if (within(address, metadata6[i].net, metadata6[i].bits))
			return WL_ADDRESS_SPECIAL;
	return WL_ADDRESS_PRIVATE;
}

static enum wl_address_class class6(const unsigned char address[16])
{
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
	static const unsigned char six_to_four[2] = { 0x20, 0x02 };
	static const unsigned char isatap[2][4] = { { 0x00, 0x00, 0x5e, 0xfe }, { 0x02, 0x00, 0x5e, 0xfe } };
	if (memcmp(address, mapped_prefix, 12) == 0)
		return class4(address + 12);
	if (memcmp(address, nat64, 12) == 0)
		return class4_behind(address + 12);
	if (memcmp(address, six_to_four, 2) == 0)
		return class4_behind(address + 2);
	if ((address[0] & 0xfe) == 0xfc)
		return unique_local(address);
	/* today all global unicast lies in 2000::/3; loopback, link-local and multicast do not */
	if ((address[0] & 0xe0) != 0x20)
		return WL_ADDRESS_SPECIAL;
	for (size_t i = 0; i < WL_COUNT_OF(special6); i++)
		if (within(address, special6[i].net, special6[i].bits))
			return WL_ADDRESS_SPECIAL;
	if (memcmp(address + 8, isatap[0], 4) == 0 || memcmp(address + 8, isatap[1], 4) == 0)
		return class4_behind(address + 12); /* RFC 5214 */
	return WL_ADDRESS_GLOBAL;
}

/* The address in sixteen bytes; false for another family, or for one that is bound to an interface. */
static bool widen(const struct sockaddr *address, socklen_t length, unsigned char ret_wide[16])
{
	if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		memcpy(ret_wide, mapped_prefix, 12);
		memcpy(ret_wide + 12, &in.sin_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 in;
		memcpy(&in, address, sizeof(in));
		memcpy(ret_wide, &in.sin6_addr, 16);
		return in.sin6_scope_id == 0;
	}
	return false;
}

enum wl_address_class wl_address_class(const struct sockaddr *address, socklen_t length)
{
	unsigned char wide[16];
	return widen(address, length, wide) ? class6(wide) : WL_ADDRESS_SPECIAL;
}

/* The port of an address of a family that widen() takes. */
static int port_of(const struct sockaddr *address)
{
	struct sockaddr_in in; /* sockaddr_in6 has its port at the same place */
	memcpy(&in, address, sizeof(in));
	return ntohs(in.sin_port);
}

static bool listed(const struct wl_egress_rules *rules, const unsigned char address[16], int port)
{
	for (int i = 0; i < rules->count; i++)
		if (within(address, rules->allowed[i].address, rules->allowed[i].bits) &&
		    (rules->allowed[i].port == 0 || rules->allowed[i].port == port))
			return true;
	return false;
}

bool wl_egress_allows(const struct wl_egress_rules *rules, const struct sockaddr *address, socklen_t length,
		      bool allow_private)
{
	unsigned char wide[16];
	if (!widen(address, length, wide))
		return false;
	if (listed(rules, wide, port_of(address)))
		return true;
	enum wl_address_class found = class6(wide);
	return found == WL_ADDRESS_GLOBAL || (found == WL_ADDRESS_PRIVATE && allow_private);
}

/* The part of a pattern or host that names it: without brackets, and without the dot at its end. */
static void bare_host(const char **host, size_t *length)
{
	if (*length >= 2 && (*host)[0] == '[' && (*host)[*length - 1] == ']') {
		(*host)++;
		*length -= 2;
	} else if (*length > 1 && (*host)[*length - 1] == '.') {
		(*length)--;
	}
}

/* Split "name:port"; the colons of an address in brackets are its own. A port that is no number is -1. */
static size_t split_port(const char *pattern, int standard_port, int *ret_port)
{
	const char *from = strchr(pattern, ']');
	const char *colon = strrchr(from ? from : pattern, ':');
	*ret_port = standard_port;
	if (!colon)
		return strlen(pattern);
	char *end = NULL;
	long port = strtol(colon + 1, &end, 10);
	*ret_port = colon[1] && !*end && port > 0 && port < 65536 ? (int)port : -1;
	return (size_t)(colon - pattern);
}

static bool pattern_matches(const char *pattern, const char *host, size_t host_length, int port, int standard_port)
{
	int wanted = 0;
	size_t length = split_port(pattern, standard_port, &wanted);
	if (wanted != port)
		return false;
	bool below = length > 2 && pattern[0] == '*' && pattern[1] == '.';
	if (below) {
		pattern++;
		length--;
	}
	bare_host(&pattern, &length);
	if (below)
		return host_length > length && strncasecmp(host + host_length - length, pattern, length) == 0;
	return length > 0 && host_length == length && strncasecmp(host, pattern, length) == 0;
}

bool wl_egress_host_matches(const char *const *patterns, size_t count, const char *host, int port, int standard_port)
{
	size_t length = strlen(host);
	bare_host(&host, &length);
	for (size_t i = 0; i < count; i++)
		if (pattern_matches(patterns[i], host, length, port, standard_port))
			return true;
	return false;
}

/* A port behind the bits: 0 when there is none, -1 when it is of no use. The text then ends before it. */
static long read_port(char *bits)
{
	char *colon = strchr(bits, ':'), *end = NULL;
	if (!colon)
		return 0;
	*colon++ = '\0';
	long port = strtol(colon, &end, 10);
	return *colon >= '0' && *colon <= '9' && !*end && port > 0 && port < 65536 ? port : -1;
}

static int read_network(const char *text, struct wl_egress_network *ret_network, struct wl_error *err)
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
	long port = slash ? read_port(slash) : 0;
	bool is_four = inet_pton(AF_INET, copy, &four) == 1;
	long most = is_four ? 32 : 128;
	long bits = slash ? strtol(slash, &end, 10) : most;
	if ((!is_four && inet_pton(AF_INET6, copy, &six) != 1) || (slash && (end == slash || *end)) || bits < 0 ||
	    bits > most || port < 0)
		return wl_fail(err, EINVAL, "setting egress_allow: '%.60s' is not a network such as 10.1.0.0/16", text);
	if (is_four) {
		memcpy(ret_network->address, mapped_prefix, 12);
		memcpy(ret_network->address + 12, &four, 4);
	} else {
		memcpy(ret_network->address, &six, 16);
	}
	ret_network->bits = (int)bits + (is_four ? 96 : 0);
	ret_network->port = (int)port;
	return 0;
}

int wl_egress_rules_read(const char *cidrs, struct wl_egress_rules *ret_rules, struct wl_error *err)
{
	struct wl_egress_rules rules = { .count = 0 };
	char copy[2048];
	if (strlen(cidrs) >= sizeof(copy))
		return wl_fail(err, EINVAL, "setting egress_allow is longer than %zu bytes", sizeof(copy) - 1);
	strcpy(copy, cidrs);
	char *rest = NULL;
	for (char *part = strtok_r(copy, ", \t", &rest); part; part = strtok_r(NULL, ", \t", &rest)) {
		if (rules.count == WL_EGRESS_MAX_NETWORKS)
			return wl_fail(err, EINVAL, "setting egress_allow has more than %d networks",
				       WL_EGRESS_MAX_NETWORKS);
		if (read_network(part, &rules.allowed[rules.count], err) < 0)
			return -err->code;
		rules.count++;
	}
	*ret_rules = rules;
	return 0;
}
