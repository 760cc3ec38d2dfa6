#include "webapp/server/login_limit.h"

#include "lib/base/clock.h"
#include "lib/secrets/digest.h"
#include "webapp/server/core/rate_limit.h"
#include "webapp/server/server.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ADDRESSES 4096
#define EMAIL_MAX 320

static struct web_rate_limit *of_addresses, *of_logins;

int web_login_limit_open(struct wl_error *err)
{
	of_addresses = web_rate_limit_new(ADDRESSES, web.settings.address_logins_per_minute);
	of_logins = web_rate_limit_new(ADDRESSES, web.settings.logins_per_minute);
	return of_addresses && of_logins ? 0 : wl_fail(err, ENOMEM, "no memory for the limits of logins");
}

/* Who holds an address of IPv6 holds the 2^64 of its network as well (RFC 6177): they count as one. */
void web_login_network(const struct web_request *request, char text[WEB_NETWORK_TEXT])
{
	struct in6_addr address;
	(void)web_exchange_peer(request->exchange, text, WEB_NETWORK_TEXT);
	if (inet_pton(AF_INET6, text, &address) != 1 || IN6_IS_ADDR_V4MAPPED(&address))
		return;
	memset(&address.s6_addr[8], 0, 8);
	(void)inet_ntop(AF_INET6, &address, text, WEB_NETWORK_TEXT);
}

static bool refused(struct web_request *request, struct web_rate_limit *limit, const char *name)
{
	unsigned char key[WL_SHA256_BYTES];
	wl_sha256(name, strlen(name), key);
	int64_t wait_ms = web_rate_limit_take(limit, key, (int64_t)wl_clock_boot_ms());
	if (wait_ms > 0)
		web_answer_too_many(request, (int)((wait_ms + 999) / 1000), "too many logins from your address");
	return wait_ms > 0;
}

bool web_login_limited(struct web_request *request, const char *email)
{
	char network[WEB_NETWORK_TEXT], both[WEB_NETWORK_TEXT + EMAIL_MAX + 2];
	web_login_network(request, network);
	if (refused(request, of_addresses, network))
		return true;
	if (!email)
		return false;
	(void)snprintf(both, sizeof(both), "%s %s", network, email);
	for (char *at = both; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	return refused(request, of_logins, both);
}
