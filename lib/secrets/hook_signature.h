/*
 * Signatures of webhooks, as the header Windlass-Signature has them:
 *
 *     t=<seconds since 1970>,v1=<64 hex digits>[,v1=<64 hex digits>]...
 *
 * v1 is HMAC-SHA256 (RFC 2104) by the webhook's secret, all of its text, over "<t>.<body>". While a secret overlaps
 * with the one before it, a sender may sign with both, and a receiver takes either. Elements of other names are passed
 * over. The time is inside of what is signed, so that an old request cannot be sent again.
 */
#ifndef WL_SECRETS_HOOK_SIGNATURE_H
#define WL_SECRETS_HOOK_SIGNATURE_H

#include "lib/base/error.h"
#include "lib/secrets/digest.h"

#include <stddef.h>
#include <stdint.h>

#define WL_HOOK_SECRET 50	     /* "whsec_", 43 characters of base64url, and the NUL */
#define WL_HOOK_SECRETS_MAX 2	     /* good at once */
#define WL_HOOK_SIGNATURE_TEXT 192   /* a header with WL_HOOK_SECRETS_MAX signatures, and the NUL */
#define WL_HOOK_SIGNATURE_V1_MAX 8   /* signatures of a header that are looked at */
#define WL_HOOK_SIGNATURE_SKEW_S 300 /* how far the time may be off */

/* Draw a secret of 256 random bits. The caller wipes it. */
void wl_hook_secret_make(char ret_secret[WL_HOOK_SECRET]);

/* Sign a body at the time `now_s` with 1 to WL_HOOK_SECRETS_MAX secrets. Returns `ret_text`. */
char *wl_hook_sign(const char *const *secrets, int count, int64_t now_s, const void *body, size_t length,
		   char ret_text[WL_HOOK_SIGNATURE_TEXT]);

/*
 * Check the header against any of the secrets, in a time that tells nothing of them. 0 with the SHA-256 of what was
 * signed, the same for one request whichever secret it was signed with. -EACCES with a sentence for the sender: no
 * header, one that cannot be read, a time that is more than WL_HOOK_SIGNATURE_SKEW_S off, or no v1 that fits.
 */
int wl_hook_verify(const char *header, const char *const *secrets, int count, int64_t now_s, const void *body,
		   size_t length, unsigned char ret_signed[WL_SHA256_BYTES], struct wl_error *err);

#endif
