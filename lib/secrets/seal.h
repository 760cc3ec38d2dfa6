/*
 * Sealed secrets: what a tenant entrusts to us (API keys, signing secrets) lies in the database as ciphertext. Each
 * tenant has a random key of its own, itself sealed by the master key, so that forgetting the tenant's key makes all
 * its secrets unreadable. XChaCha20-Poly1305 by libsodium (draft-irtf-cfrg-xchacha-03): its nonces are long enough to
 * be drawn at random. Thread-safe.
 */
#ifndef WL_SECRETS_SEAL_H
#define WL_SECRETS_SEAL_H

#include "lib/base/error.h"

#include <stddef.h>

#define WL_MASTER_KEY_HEX 64
#define WL_SEALED_KEY_TEXT 128	     /* a tenant's sealed key with its NUL */
#define WL_SEAL_PLAIN_MAX (1u << 20) /* bytes of one secret */
#define WL_SEAL_CONTEXT_MAX 256	     /* bytes of a context */

struct wl_master_key;

/* Take the master key from its hex text (WL_MASTER_KEY_HEX digits). -EINVAL with a sentence that names the setting;
 * -ENOMEM. The caller closes it. */
int wl_master_key_open(const char *hex, struct wl_master_key **ret_key, struct wl_error *err);
/* Wipe and free it; NULL is fine. */
void wl_master_key_close(struct wl_master_key *key);

/* Draw a tenant's key and give it sealed, as text. -EIO when it cannot be sealed. */
int wl_tenant_key_make(const struct wl_master_key *master, char ret_sealed[WL_SEALED_KEY_TEXT], struct wl_error *err);

/*
 * Seal `length` bytes (at most WL_SEAL_PLAIN_MAX) for a tenant. `context` says what the secret belongs to, such as
 * "tool:<id>": it is authenticated, so a sealed text that was moved to another place does not open there. *ret_text,
 * "v1.<base64url>", is the caller's to free. -EINVAL for a key or context that is none, -E2BIG, -ENOMEM, -EACCES when
 * the tenant's key was not sealed by this master key.
 */
int wl_seal(const struct wl_master_key *master, const char *sealed_tenant_key, const char *context, const void *plain,
	    size_t length, char **ret_text, struct wl_error *err);

/*
 * Open a sealed text. *ret_plain has *ret_length bytes and a NUL behind them; the caller gives it to
 * wl_unsealed_free(). -EACCES when it does not belong to this tenant and context or was changed; else as wl_seal().
 */
int wl_unseal(const struct wl_master_key *master, const char *sealed_tenant_key, const char *context, const char *text,
	      char **ret_plain, size_t *ret_length, struct wl_error *err);

/* Wipe and free what wl_unseal() gave, or any other plain secret from malloc(); NULL is fine. */
void wl_unsealed_free(char *plain, size_t length);

#endif
