#include "webapp/server/public_link.h"

#include "webapp/server/server.h"

#include <stdio.h>
#include <string.h>

/* An address that stands for all of this host is none that a browser can be sent to. */
static const char *reachable(const char *bind)
{
	if (strcmp(bind, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(bind, "::") == 0 ? "::1" : bind;
}

void web_public_link(const char *path, const char *token, char link[WEB_LINK_SIZE])
{
	const struct wl_settings *settings = &web.settings;
	size_t length = strlen(settings->public_url);
	while (length && settings->public_url[length - 1] == '/')
		length--;
	if (length) {
		(void)snprintf(link, WEB_LINK_SIZE, "%.*s%s%s", (int)length, settings->public_url, path, token);
		return;
	}
	const char *host = reachable(settings->bind);
	const char *open = strchr(host, ':') ? "[" : "", *close = *open ? "]" : "";
	(void)snprintf(link, WEB_LINK_SIZE, "http%s://%s%s%s:%ld%s%s", *settings->tls_key ? "s" : "", open, host, close,
		       settings->port, path, token);
}
