#include "lib/secrets/seal.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define OVERHEAD (NONCE_BYTES + TAG_BYTES)
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

#define VERSION "v1."	  /* before each sealed text */
#define KEY_VERSION "k1." /* before each sealed tenant key */
#define KEY_CONTEXT "tenant key"

_Static_assert(sizeof(KEY_VERSION) + (KEY_BYTES + OVERHEAD + 2) / 3 * 4 <= WL_SEALED_KEY_TEXT, "a sealed key fits");

struct wl_master_key {
	unsigned char bytes[KEY_BYTES];
};

/* A tenant's key in the open, wiped when its scope ends. */
struct open_key {
	unsigned char bytes[KEY_BYTES];
};

static inline void open_key_wipe(struct open_key *key)
{
	sodium_memzero(key, sizeof(*key));
}
#define _open_key_ __attribute__((cleanup(open_key_wipe)))

int wl_master_key_open(const char *hex, struct wl_master_key **ret_key, struct wl_error *err)
{
	size_t length = 0;
	const char *end = NULL;
	if (sodium_init() < 0)
		return wl_fail(err, EIO, "libsodium could not be started");
	struct wl_master_key *key = sodium_malloc(sizeof(*key));
	if (!key)
		return wl_fail(err, ENOMEM, "no memory for the master key");
	if (strlen(hex) != WL_MASTER_KEY_HEX ||
	    sodium_hex2bin(key->bytes, sizeof(key->bytes), hex, WL_MASTER_KEY_HEX, NULL, &length, &end) != 0 ||
	    length != sizeof(key->bytes)) {
		sodium_free(key);
		return wl_fail(err, EINVAL, "WINDLASS_MASTER_KEY (master_key) must be %d hex digits",
			       WL_MASTER_KEY_HEX);
	}
	(void)sodium_mprotect_readonly(key);
	*ret_key = key;
	return 0;
}

void wl_master_key_close(struct wl_master_key *key)
{
	sodium_free(key); /* wipes it */
}

/* <version><base64url of nonce, ciphertext, tag>, allocated. NULL without memory. */
static char *encrypt(const unsigned char *key, const char *version, const char *context, const void *plain,
		     size_t length)
{
	unsigned char *bytes = malloc(length + OVERHEAD);
	size_t skip = strlen(version), room = sodium_base64_encoded_len(length + OVERHEAD, BASE64);
	char *text = malloc(skip + room);
	if (bytes && text) {
		randombytes_buf(bytes, NONCE_BYTES);
		(void)crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE_BYTES, NULL, plain, length,
								 (const unsigned char *)context, strlen(context), NULL,
								 bytes, key);
		memcpy(text, version, skip);
		sodium_bin2base64(text + skip, room, bytes, length + OVERHEAD, BASE64);
		free(bytes);
		return text;
	}
	free(bytes);
	free(text);
	return NULL;
}

/* What encrypt() made, into `plain`, which has room for its text's length. -EACCES. */
static int decrypt(const unsigned char *key, const char *version, const char *context, const char *text,
		   unsigned char *plain, size_t *ret_length)
{
	size_t skip = strlen(version), length = strlen(text), filled = 0;
	const char *end = NULL;
	_wl_free_ unsigned char *bytes = NULL;
	if (strncmp(text, version, skip) != 0)
		return -EACCES;
	bytes = malloc(length);
	if (!bytes)
		return -ENOMEM;
	if (sodium_base642bin(bytes, length, text + skip, length - skip, NULL, &filled, &end, BASE64) != 0 ||
	    end != text + length || filled < OVERHEAD)
		return -EACCES;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, bytes + NONCE_BYTES, filled - NONCE_BYTES,
						       (const unsigned char *)context, strlen(context), bytes,
						       key) != 0)
		return -EACCES;
	*ret_length = filled - OVERHEAD;
	return 0;
}

int wl_tenant_key_make(const struct wl_master_key *master, char ret_sealed[WL_SEALED_KEY_TEXT], struct wl_error *err)
{
	_open_key_ struct open_key key;
	randombytes_buf(key.bytes, sizeof(key.bytes));
	_wl_free_ char *text = encrypt(master->bytes, KEY_VERSION, KEY_CONTEXT, key.bytes, sizeof(key.bytes));
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to seal a key");
	memcpy(ret_sealed, text, strlen(text) + 1);
	return 0;
}

static int open_tenant_key(const struct wl_master_key *master, const char *sealed, struct open_key *key,
			   struct wl_error *err)
{
	unsigned char plain[WL_SEALED_KEY_TEXT];
	size_t length = 0;
	if (!sealed || strlen(sealed) >= WL_SEALED_KEY_TEXT)
		return wl_fail(err, EINVAL, "the tenant has no key to seal with");
	int rc = decrypt(master->bytes, KEY_VERSION, KEY_CONTEXT, sealed, plain, &length);
	if (rc == 0 && length == sizeof(key->bytes))
		memcpy(key->bytes, plain, sizeof(key->bytes));
	sodium_memzero(plain, sizeof(plain));
	if (rc == -ENOMEM)
		return wl_fail(err, ENOMEM, "no memory to open a key");
	if (rc < 0 || length != sizeof(key->bytes))
		return wl_fail(err, EACCES, "the tenant's key was not sealed by this master key");
	return 0;
}

static int check_context(const char *context, struct wl_error *err)
{
	if (!context || !*context || strlen(context) > WL_SEAL_CONTEXT_MAX)
		return wl_fail(err, EINVAL, "a secret needs to say what it belongs to");
	return 0;
}

int wl_seal(const struct wl_master_key *master, const char *sealed_tenant_key, const char *context, const void *plain,
	    size_t length, char **ret_text, struct wl_error *err)
{
	_open_key_ struct open_key key = { { 0 } };
	int rc = check_context(context, err);
	if (rc < 0)
		return rc;
	if (length > WL_SEAL_PLAIN_MAX)
		return wl_fail(err, E2BIG, "a secret has at most %u bytes", WL_SEAL_PLAIN_MAX);
	rc = open_tenant_key(master, sealed_tenant_key, &key, err);
	if (rc < 0)
		return rc;
	char *text = encrypt(key.bytes, VERSION, context, plain, length);
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to seal a secret");
	*ret_text = text;
	return 0;
}

int wl_unseal(const struct wl_master_key *master, const char *sealed_tenant_key, const char *context, const char *text,
	      char **ret_plain, size_t *ret_length, struct wl_error *err)
{
	_open_key_ struct open_key key = { { 0 } };
	size_t room = text ? strlen(text) : 0, length = 0;
	int rc = check_context(context, err);
	if (rc < 0)
		return rc;
	if (room == 0 || room > sodium_base64_encoded_len(WL_SEAL_PLAIN_MAX + OVERHEAD, BASE64) + sizeof(VERSION))
		return wl_fail(err, EACCES, "a sealed secret has an impossible length");
	rc = open_tenant_key(master, sealed_tenant_key, &key, err);
	if (rc < 0)
		return rc;
	unsigned char *plain = malloc(room);
	if (!plain)
		return wl_fail(err, ENOMEM, "no memory to open a secret");
	rc = decrypt(key.bytes, VERSION, context, text, plain, &length);
	if (rc < 0) {
		wl_unsealed_free((char *)plain, room);
		return wl_fail(err, -rc, "a sealed secret does not belong here or was changed");
	}
	plain[length] = '\0';
	*ret_plain = (char *)plain;
	*ret_length = length;
	return 0;
}

void wl_unsealed_free(char *plain, size_t length)
{
	if (plain)
		sodium_memzero(plain, length);
	free(plain);
}
