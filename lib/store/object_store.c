#include "lib/store/object_store.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HASH_CHUNK 65536

int object_source_hash(struct object_source *source, struct wl_error *err)
{
	char chunk[HASH_CHUNK];
	crypto_hash_sha256_state state;
	uint64_t at = 0;
	if (source->fd < 0) {
		(void)crypto_hash_sha256(source->sha256, source->bytes, source->length);
		return 0;
	}
	(void)crypto_hash_sha256_init(&state);
	while (at < source->length) {
		size_t want = source->length - at < sizeof(chunk) ? (size_t)(source->length - at) : sizeof(chunk);
		ssize_t got = pread(source->fd, chunk, want, (off_t)(source->offset + at));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return wl_fail_errno(err, got < 0 ? errno : ENODATA, "cannot read what is to be stored");
		(void)crypto_hash_sha256_update(&state, (const unsigned char *)chunk, (unsigned long long)got);
		at += (uint64_t)got;
	}
	(void)crypto_hash_sha256_final(&state, source->sha256);
	return 0;
}

struct removal {
	const struct object_store *store;
	int count;
	struct wl_error *err;
};

static int remove_one(void *context, const char *key)
{
	struct removal *removal = context;
	int result = removal->store->remove(removal->store->self, key, removal->err);
	removal->count += result == 0;
	return result;
}

int object_remove_prefix(const struct object_store *store, const char *prefix, struct wl_error *err)
{
	struct removal removal = { .store = store, .err = err };
	int told;
	do {
		told = store->list(store->self, prefix, remove_one, &removal, err);
	} while (told > 0);
	return told < 0 ? told : removal.count;
}

int object_store_open(const char *objects_dir, const char *s3_url, struct object_store *ret_store, struct wl_error *err)
{
	if (*s3_url)
		return object_s3_open(s3_url, ret_store, err);
	if (*objects_dir)
		return object_folder_open(objects_dir, ret_store, err);
	return wl_fail(err, ENOENT, "there is no object store: set WINDLASS_OBJECTS_DIR or WINDLASS_S3_URL");
}
