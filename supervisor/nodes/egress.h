/*
 * Which addresses an http node may reach. Everything that is not a global unicast address is refused (IANA special
 * purpose registries, RFC 6890), unless the operator has allowed its network. The check is made on the address that
 * is connected to, after resolution, so no spelling of a host and no second DNS answer gets around it.
 */
#ifndef WL_SUPERVISOR_NODES_EGRESS_H
#define WL_SUPERVISOR_NODES_EGRESS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

#define EGRESS_MAX_NETWORKS 64

struct egress_network {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	int bits;		   /* of the 128 */
};

struct egress_rules {
	struct egress_network allowed[EGRESS_MAX_NETWORKS];
	int count;
};

/* Read "10.1.0.0/16, fd00::/8"; "" allows none. -EINVAL names the part that is wrong. */
int egress_rules_read(const char *cidrs, struct egress_rules *ret_rules, struct wl_error *err);

/* May this address be connected to? Only AF_INET and AF_INET6 ever may. */
bool egress_allows(const struct egress_rules *rules, const struct sockaddr *address, socklen_t length);

#endif
