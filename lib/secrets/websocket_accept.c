#include "lib/secrets/websocket_accept.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_TEXT 24
#define KEY_BYTES 16

bool wl_websocket_accept(const char *key, char ret_accept[WL_WEBSOCKET_ACCEPT])
{
	unsigned char nonce[KEY_BYTES + 2], digest[SHA_DIGEST_LENGTH];
	char text[KEY_TEXT + sizeof(GUID)];
	size_t length = 0;
	if (strlen(key) != KEY_TEXT ||
	    sodium_base642bin(nonce, sizeof(nonce), key, KEY_TEXT, NULL, &length, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    length != KEY_BYTES)
		return false;
	(void)snprintf(text, sizeof(text), "%s%s", key, GUID);
	(void)SHA1((const unsigned char *)text, strlen(text), digest);
	(void)sodium_bin2base64(ret_accept, WL_WEBSOCKET_ACCEPT, digest, sizeof(digest),
				sodium_base64_VARIANT_ORIGINAL);
	return true;
}
