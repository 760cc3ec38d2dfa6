/*
 * A URL, and behind a newline where its answer points: whatever is let through is http or https, has a host that the
 * text names, and no user; what is relative stays on its origin unless it names another host.
 */
#include "lib/net/egress.h"
#include "lib/net/http_url.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void check_http_url(const char *text, const struct wl_http_url *url)
{
	struct in_addr address;
	char *whole = NULL;
	FUZZ_ASSERT(*url->host && url->port > 0 && url->port < 65536);
	FUZZ_ASSERT(url->standard_port == 80 || url->standard_port == 443);
	FUZZ_ASSERT(!strpbrk(url->host, "@/?#\\ \r\n\t"));
	if (inet_pton(AF_INET, url->host, &address) == 1)
		FUZZ_ASSERT(strstr(text, url->host));
	FUZZ_ASSERT(curl_url_get(url->parsed, CURLUPART_URL, &whole, 0) == CURLUE_OK);
	FUZZ_ASSERT(strncmp(whole, "http://", 7) == 0 || strncmp(whole, "https://", 8) == 0);
	FUZZ_ASSERT(!strpbrk(whole, "\r\n\t"));
	FUZZ_ASSERT(memchr(whole + 8, '@', strcspn(whole + 8, "/?#")) == NULL);
	const char *pattern = url->host;
	if (!strchr(url->host, ':') && url->port == url->standard_port)
		FUZZ_ASSERT(wl_egress_host_matches(&pattern, 1, url->host, url->port, url->standard_port));
	curl_free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct wl_http_url first = { 0 }, second = { 0 };
	char *text = strndup((const char *)bytes, length);
	if (!text)
		return 0;
	char *next = strchr(text, '\n');
	if (next)
		*next++ = '\0';
	if (wl_http_url_read(text, NULL, &first, NULL) == 0) {
		check_http_url(text, &first);
		if (next && wl_http_url_read(next, &first, &second, NULL) == 0) {
			bool stays = wl_http_url_same_origin(&first, &second);
			FUZZ_ASSERT(stays || strncmp(next, "//", 2) == 0 || memchr(next, ':', strcspn(next, "/?#")));
			check_http_url(stays ? text : next, &second);
			wl_http_url_release(&second);
		}
		wl_http_url_release(&first);
	}
	free(text);
	return 0;
}
