/*
 * Which addresses requests of tenants may reach, and which hosts one request may name.
 *
 * An address that is not global unicast (IANA special purpose registries, RFC 6890) is refused, unless the operator
 * has allowed its network. The check is made on the address that is connected to, after resolution, so that no
 * spelling of a host and no second DNS answer gets around it. An IPv4 address inside an IPv6 one counts as that IPv4
 * address.
 */
#ifndef WL_NET_EGRESS_H
#define WL_NET_EGRESS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define WL_EGRESS_MAX_NETWORKS 64

struct wl_egress_network {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	int bits;		   /* of the 128 */
	int port;		   /* the only one; 0: any */
};

/* What the operator allows beyond global unicast. Read-only once it was read, so that threads share it. */
struct wl_egress_rules {
	struct wl_egress_network allowed[WL_EGRESS_MAX_NETWORKS];
	int count;
};

enum wl_address_class {
	WL_ADDRESS_GLOBAL,  /* anyone may reach it */
	WL_ADDRESS_PRIVATE, /* RFC 1918, RFC 4193: with allow_private */
	WL_ADDRESS_SPECIAL, /* loopback, link-local, metadata, multicast …: only when the operator lists it */
};

/* The class of an address; anything but AF_INET and AF_INET6 is special. `length` in bytes. */
enum wl_address_class wl_address_class(const struct sockaddr *address, socklen_t length);

/*
 * Read "10.1.0.0/16, fd00::/8, 127.0.0.1/32:8000", where a port behind the bits opens that one only; "" allows none.
 * -EINVAL names the part that is wrong.
 */
int wl_egress_rules_read(const char *cidrs, struct wl_egress_rules *ret_rules, struct wl_error *err);

/*
 * May this address be connected to? allow_private: an admin has let this tool or provider reach private networks; it
 * opens neither loopback nor link-local nor any metadata address.
 */
bool wl_egress_allows(const struct wl_egress_rules *rules, const struct sockaddr *address, socklen_t length,
		      bool allow_private);

/*
 * Does `host` at `port` match one of `patterns`: a name, an address, "*.name" for all names below it, each with
 * ":port" behind it when another port than standard_port is meant? Letters compare without case; one dot at the end
 * of a name counts for nothing. An IPv6 address stands in brackets in a pattern and may do so in `host`.
 */
bool wl_egress_host_matches(const char *const *patterns, size_t count, const char *host, int port, int standard_port);

#endif
