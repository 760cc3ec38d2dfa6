#include "lib/base/file.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>

int wl_read_all(int fd, const char *name, struct wl_buffer *into, struct wl_error *err)
{
	for (;;) {
		char piece[64 << 10];
		ssize_t got = read(fd, piece, sizeof(piece));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return wl_fail_errno(err, errno, "read %s", name);
		if (got == 0)
			return 0;
		int failed = wl_buffer_append(into, piece, (size_t)got);
		if (failed == -EMSGSIZE)
			return wl_fail(err, EMSGSIZE, "%s is larger than %zu bytes", name, into->limit);
		if (failed)
			return wl_fail_errno(err, -failed, "read %s", name);
	}
}

int wl_file_read(const char *path, struct wl_buffer *into, struct wl_error *err)
{
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "open %s", path);
	return wl_read_all(fd, path, into, err);
}

int wl_write_all(int fd, const void *bytes, size_t length)
{
	for (const char *at = bytes; length > 0;) {
		ssize_t put = write(fd, at, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		length -= (size_t)put;
	}
	return 0;
}
