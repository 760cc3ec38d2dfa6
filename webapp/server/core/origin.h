/* Whether a web page may speak to this server: the header Origin (RFC 6454 §7) of a request. Pure. */
#ifndef WL_WEBAPP_CORE_ORIGIN_H
#define WL_WEBAPP_CORE_ORIGIN_H

#include <stdbool.h>

/*
 * True without an Origin: no page asks. Else it must be that of public_url ("" or NULL: not known), or the one that the
 * request was sent to when that is localhost or an address: a name that a stranger may let point here (DNS rebinding)
 * proves nothing. Which scheme it came by is not known behind a proxy, so that is not compared then. `host` is the Host
 * header, NULL: none.
 */
bool web_origin_allowed(const char *origin, const char *host, const char *public_url);

#endif
