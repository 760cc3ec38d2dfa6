/*
 * Objects as files below one folder, the key being the path. A new object is written under .tmp, which no key can name,
 * made durable, and renamed: so no reader sees half of one, and a crash leaves at most a file under .tmp, which is
 * removed when the store is opened much later. Several processes may use the folder at once.
 */
#include "lib/store/object_store.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/ids.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPY_CHUNK 65536
#define LEFTOVER_S 86400 /* no upload takes so long */
#define PLACE_TRIES 16	 /* a folder may be removed, for being empty, just before a file is put into it */
#define LIST_DEPTH 16

struct folder {
	int root;
};

static int check_key(const char *key, struct wl_error *err)
{
	return object_key_valid(key) ? 0 : wl_fail(err, EINVAL, "'%.64s' is no key of an object", key);
}

/* ---- put ------------------------------------------------------------------------------------------------- */

/* Copy the source into `fd` and check that it is what its hash says. */
static int copy(const struct object_source *source, int fd, struct wl_error *err)
{
	char chunk[COPY_CHUNK];
	unsigned char digest[OBJECT_HASH_BYTES];
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	for (uint64_t at = 0; at < source->length;) {
		size_t want = source->length - at < sizeof(chunk) ? (size_t)(source->length - at) : sizeof(chunk);
		const char *bytes = source->fd < 0 ? (const char *)source->bytes + at : chunk;
		ssize_t got =
			source->fd < 0 ? (ssize_t)want : pread(source->fd, chunk, want, (off_t)(source->offset + at));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return wl_fail_errno(err, got < 0 ? errno : ENODATA, "cannot read what is to be stored");
		int failed = wl_write_all(fd, bytes, (size_t)got);
		if (failed)
			return wl_fail_errno(err, -failed, "cannot write an object");
		(void)crypto_hash_sha256_update(&state, (const unsigned char *)bytes, (unsigned long long)got);
		at += (uint64_t)got;
	}
	(void)crypto_hash_sha256_final(&state, digest);
	if (memcmp(digest, source->sha256, sizeof(digest)) != 0)
		return wl_fail(err, EBADMSG, "an object changed while it was stored");
	return fsync(fd) < 0 ? wl_fail_errno(err, errno, "cannot write an object") : 0;
}

/* Make an entry of a folder durable. */
static int sync_folder(int root, const char *path)
{
	_wl_close_ int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Make the folders above a key, each durable in the one above it. */
static int make_folders(int root, const char *key)
{
	char path[OBJECT_KEY_MAX];
	(void)snprintf(path, sizeof(path), "%s", key);
	for (char *slash = strchr(path, '/'), *above = NULL; slash; above = slash, slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(root, path, 0700) == 0) {
			if (above)
				*above = '\0';
			int failed = sync_folder(root, above ? path : ".");
			if (above)
				*above = '/';
			if (failed && failed != -ENOENT)
				return failed;
		} else if (errno != EEXIST && errno != ENOENT) {
			return -errno;
		}
		*slash = '/';
	}
	return 0;
}

static int place(int root, const char *temporary, const char *key)
{
	int result = -ENOENT;
	for (int i = 0; i < PLACE_TRIES && result == -ENOENT; i++) {
		result = make_folders(root, key);
		if (result == 0 && renameat(root, temporary, root, key) < 0)
			result = -errno;
	}
	if (result < 0)
		return result;
	char path[OBJECT_KEY_MAX];
	(void)snprintf(path, sizeof(path), "%s", key);
	char *slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return sync_folder(root, slash ? path : ".");
}

static int folder_put(void *self, const char *key, const struct object_source *source, struct wl_error *err)
{
	const struct folder *folder = self;
	char uuid[WL_UUID_TEXT], temporary[64];
	if (check_key(key, err) < 0)
		return -err->code;
	(void)snprintf(temporary, sizeof(temporary), ".tmp/%s", wl_uuid7(wl_clock_wall_ms(), uuid));
	_wl_close_ int fd = openat(folder->root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot write an object");
	int result = copy(source, fd, err);
	if (result == 0) {
		result = place(folder->root, temporary, key);
		if (result < 0)
			(void)wl_fail_errno(err, -result, "cannot put an object in its place");
	}
	if (result < 0)
		(void)unlinkat(folder->root, temporary, 0);
	return result;
}

/* ---- read ------------------------------------------------------------------------------------------------ */

static int folder_read(void *self, const char *key, uint64_t offset, void *into, size_t length, struct wl_error *err)
{
	const struct folder *folder = self;
	if (check_key(key, err) < 0)
		return -err->code;
	_wl_close_ int fd = openat(folder->root, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot open an object");
	for (size_t have = 0; have < length;) {
		ssize_t got = pread(fd, (char *)into + have, length - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return wl_fail_errno(err, errno, "cannot read an object");
		if (got == 0)
			return wl_fail(err, ERANGE, "an object is shorter than it was");
		have += (size_t)got;
	}
	return 0;
}

/* ---- remove ---------------------------------------------------------------------------------------------- */

static int folder_remove(void *self, const char *key, struct wl_error *err)
{
	const struct folder *folder = self;
	char path[OBJECT_KEY_MAX];
	if (check_key(key, err) < 0)
		return -err->code;
	if (unlinkat(folder->root, key, 0) < 0 && errno != ENOENT && errno != ENOTDIR)
		return wl_fail_errno(err, errno, "cannot remove an object");
	(void)snprintf(path, sizeof(path), "%s", key);
	/* folders go with their last object; one that is not empty ends this */
	for (char *slash; (slash = strrchr(path, '/'));) {
		*slash = '\0';
		if (unlinkat(folder->root, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
			break;
	}
	return 0;
}

/* ---- list ------------------------------------------------------------------------------------------------ */

struct listing {
	int (*each)(void *context, const char *key);
	void *context;
	char key[OBJECT_KEY_MAX];
	int told;
	int result; /* of `each` or of reading; not 0 ends the walk */
};

static void list_folder(struct listing *listing, int fd, size_t length, int depth);

static void list_entry(struct listing *listing, int folder, const char *name, size_t length, int depth)
{
	struct stat status;
	size_t room = sizeof(listing->key) - length;
	int added = snprintf(listing->key + length, room, "%s%s", length ? "/" : "", name);
	if ((size_t)added >= room || !object_key_valid(listing->key) ||
	    fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* not ours, or gone meanwhile */
	if (S_ISREG(status.st_mode)) {
		listing->told++;
		listing->result = listing->each(listing->context, listing->key);
	} else if (S_ISDIR(status.st_mode) && depth < LIST_DEPTH) {
		int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0)
			list_folder(listing, inner, length + (size_t)added, depth + 1);
	}
}

/* Closes `fd`. */
static void list_folder(struct listing *listing, int fd, size_t length, int depth)
{
	DIR *list = fdopendir(fd);
	if (!list) {
		listing->result = -errno;
		(void)close(fd);
		return;
	}
	for (struct dirent *entry; listing->result == 0 && listing->told < OBJECT_LIST_MAX && (entry = readdir(list));)
		list_entry(listing, dirfd(list), entry->d_name, length, depth);
	(void)closedir(list);
}

static int folder_list(void *self, const char *prefix, int (*each)(void *context, const char *key), void *context,
		       struct wl_error *err)
{
	const struct folder *folder = self;
	struct listing listing = { .each = each, .context = context };
	size_t length = strnlen(prefix, sizeof(listing.key));
	if (length > 0) {
		(void)snprintf(listing.key, sizeof(listing.key), "%s", prefix);
		if (length == sizeof(listing.key) || prefix[length - 1] != '/')
			return wl_fail(err, EINVAL, "a prefix of objects ends in /");
		listing.key[--length] = '\0';
		if (check_key(listing.key, err) < 0)
			return -err->code;
	}
	int fd = openat(folder->root, length ? listing.key : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : wl_fail_errno(err, errno, "cannot list objects");
	list_folder(&listing, fd, length, 1);
	return listing.result < 0 ? wl_fail_errno(err, -listing.result, "cannot list objects") : listing.told;
}

/* ---- open ------------------------------------------------------------------------------------------------ */

static void folder_close(void *self)
{
	struct folder *folder = self;
	(void)close(folder->root);
	free(folder);
}

/* Uploads that a process had begun when it was killed. */
static void remove_leftovers(int root)
{
	int fd = openat(root, ".tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	if (!list)
		return;
	for (struct dirent *entry; (entry = readdir(list));) {
		struct stat status;
		if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
		    status.st_mtime < time(NULL) - LEFTOVER_S)
			(void)unlinkat(fd, entry->d_name, 0);
	}
	(void)closedir(list);
}

int object_folder_open(const char *path, struct object_store *ret_store, struct wl_error *err)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	if (!folder)
		return wl_fail(err, ENOMEM, "no memory for the object store");
	(void)mkdir(path, 0700); /* the open tells */
	folder->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder->root < 0 || (mkdirat(folder->root, ".tmp", 0700) < 0 && errno != EEXIST)) {
		int errnum = errno;
		if (folder->root >= 0)
			(void)close(folder->root);
		free(folder);
		return wl_fail_errno(err, errnum, "cannot use the folder of objects %.200s", path);
	}
	remove_leftovers(folder->root);
	*ret_store = (struct object_store){ .self = folder,
					    .put = folder_put,
					    .read = folder_read,
					    .remove = folder_remove,
					    .list = folder_list,
					    .close = folder_close };
	return 0;
}
