/* The answer to a WebSocket's key (RFC 6455 §4.2.2). */
#ifndef WL_SECRETS_WEBSOCKET_ACCEPT_H
#define WL_SECRETS_WEBSOCKET_ACCEPT_H

#include <stdbool.h>

#define WL_WEBSOCKET_ACCEPT 29 /* base64 of a SHA-1, and the NUL */

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. False unless the key is base64 of 16 bytes. */
bool wl_websocket_accept(const char *key, char ret_accept[WL_WEBSOCKET_ACCEPT]);

#endif
