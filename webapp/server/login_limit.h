/* How many logins and registrations are let through to the thread of passwords, by where they come from. */
#ifndef WL_WEBAPP_LOGIN_LIMIT_H
#define WL_WEBAPP_LOGIN_LIMIT_H

#include "lib/base/error.h"
#include "webapp/server/request.h"

#include <arpa/inet.h>

#define WEB_NETWORK_TEXT INET6_ADDRSTRLEN

/* Make the worker's tables from its settings. -ENOMEM. */
int web_login_limit_open(struct wl_error *err);

/* Where a request comes from: its address, of IPv6 the network of 64 bits. */
void web_login_network(const struct web_request *request, char text[WEB_NETWORK_TEXT]);

/*
 * Whether a request has had its share: then it is answered with 429. Each address has one, and with `email` (NULL:
 * none) so has each pair of address and e-mail address. Never an e-mail address alone: else anybody could keep its
 * owner out.
 */
bool web_login_limited(struct web_request *request, const char *email);

#endif
