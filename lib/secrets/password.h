/*
 * Passwords: Argon2id (RFC 9106) by libsodium. A call takes tens of milliseconds and WL_PASSWORD_MEMORY bytes: never
 * on an event loop. Thread-safe.
 */
#ifndef WL_SECRETS_PASSWORD_H
#define WL_SECRETS_PASSWORD_H

#include "lib/base/error.h"

#include <stdbool.h>

#define WL_PASSWORD_HASH 128 /* longest stored form with its NUL; it names algorithm, parameters and salt */
#define WL_PASSWORD_MEMORY (32u << 20)
#define WL_PASSWORD_PASSES 2

/* Hash a password under a fresh salt. 0; -ENOMEM when the memory for it is not there. */
int wl_password_hash(const char *password, char ret_hash[WL_PASSWORD_HASH], struct wl_error *err);

/*
 * Whether the password is the one behind `hash`. With hash NULL (no such user) it does the same work and returns
 * false, so that the time does not tell who has an account.
 */
bool wl_password_verify(const char *password, const char *hash);

#endif
