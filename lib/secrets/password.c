#include "lib/secrets/password.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

_Static_assert(crypto_pwhash_STRBYTES <= WL_PASSWORD_HASH, "a stored hash must fit");

int wl_password_hash(const char *password, char ret_hash[WL_PASSWORD_HASH], struct wl_error *err)
{
	if (crypto_pwhash_str_alg(ret_hash, password, strlen(password), WL_PASSWORD_PASSES, WL_PASSWORD_MEMORY,
				  crypto_pwhash_ALG_ARGON2ID13) != 0)
		return wl_fail(err, ENOMEM, "no memory to hash a password");
	return 0;
}

bool wl_password_verify(const char *password, const char *hash)
{
	if (hash)
		return crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
	unsigned char salt[crypto_pwhash_SALTBYTES] = { 0 };
	unsigned char key[32];
	bool hashed = crypto_pwhash(key, sizeof(key), password, strlen(password), salt, WL_PASSWORD_PASSES,
				    WL_PASSWORD_MEMORY, crypto_pwhash_ALG_ARGON2ID13) == 0;
	(void)hashed; /* the result is nobody's; the work was what counts */
	sodium_memzero(key, sizeof(key));
	return false;
}
