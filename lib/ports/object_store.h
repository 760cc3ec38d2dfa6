/*
 * The object store port: named byte strings, a folder of this host (lib/store/object_folder.c) or a bucket of an S3
 * server (lib/store/object_s3.c). Calls block and may be made from many threads at once. An object appears whole or
 * not at all.
 *
 * A key is 1 to OBJECT_KEY_MAX - 1 bytes of a-z, A-Z, 0-9, "-", "_", "." and "/", with no part empty, "." or "..", and
 * no part beginning with a dot: so it is a path below a folder and needs no escaping in a URL.
 */
#ifndef WL_PORTS_OBJECT_STORE_H
#define WL_PORTS_OBJECT_STORE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBJECT_KEY_MAX 256
#define OBJECT_HASH_BYTES 32 /* SHA-256 */
#define OBJECT_LIST_MAX 1000

/* What is stored: `length` bytes of a file from `offset` on, or of memory when fd is -1. */
struct object_source {
	int fd;
	uint64_t offset;
	const void *bytes;
	uint64_t length;
	unsigned char sha256[OBJECT_HASH_BYTES]; /* of those bytes; what is stored is checked against it */
};

struct object_store {
	void *self;
	/*
	 * Store an object; what had the key before is replaced. 0; -EINVAL for a key that is none; -ENOSPC; -EBADMSG
	 * when the bytes are not those of the hash; -EACCES when the store refuses us; -EIO and others.
	 */
	int (*put)(void *self, const char *key, const struct object_source *source, struct wl_error *err);
	/*
	 * Read exactly `length` bytes from `offset` on. 0; -ENOENT without such an object; -ERANGE when it has fewer;
	 * -EACCES, -EIO and others.
	 */
	int (*read)(void *self, const char *key, uint64_t offset, void *into, size_t length, struct wl_error *err);
	/* Remove it; 0 as well when there is none. */
	int (*remove)(void *self, const char *key, struct wl_error *err);
	/*
	 * Up to OBJECT_LIST_MAX keys that begin with `prefix` (empty, or ending in "/"), in no particular order; call
	 * again after removing them. `each` returns 0 to go on. How many were told, or -errno.
	 */
	int (*list)(void *self, const char *prefix, int (*each)(void *context, const char *key), void *context,
		    struct wl_error *err);
	void (*close)(void *self);
};

/* Whether a text is a key; for a prefix give it without its last "/". */
bool object_key_valid(const char *key);

/* SHA-256 of a source's bytes, into source->sha256; 0 or -errno of reading, -ENODATA when the file is shorter. */
int object_source_hash(struct object_source *source, struct wl_error *err);

/* Remove all objects whose key begins with `prefix`, which ends in "/". How many, or -errno. */
int object_remove_prefix(const struct object_store *store, const char *prefix, struct wl_error *err);

#endif
