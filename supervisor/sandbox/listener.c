#include "supervisor/sandbox/listener.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static bool someone_answers(const struct sockaddr_un *address)
{
	_wl_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
}

/* Open the folder of `path` and split off the socket's own name. */
static int open_folder(const char *path, struct listener *listener, struct wl_error *err)
{
	char folder[108];
	(void)snprintf(folder, sizeof(folder), "%s", path);
	char *slash = strrchr(folder, '/');
	(void)snprintf(listener->name, sizeof(listener->name), "%s", slash ? slash + 1 : folder);
	const char *open_path = !slash ? "." : slash == folder ? "/" : folder;
	if (slash && slash != folder)
		*slash = '\0';
	listener->folder_fd = open(open_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (listener->folder_fd < 0)
		return wl_fail_errno(err, errno, "cannot open the folder of the socket %s", path);
	return 0;
}

static int bind_socket(const char *path, const struct listener *listener, struct wl_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strcpy(address.sun_path, path);
	_wl_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot make a socket");
	if (someone_answers(&address))
		return wl_fail(err, EADDRINUSE, "another warden listens on %s", path);
	(void)unlink(path);
	mode_t before = umask(0177); /* not open to others for a moment either */
	int result = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	(void)umask(before);
	/* the folder is the client's: it may have put a link in the socket's place by now */
	if (result < 0 ||
	    fchownat(listener->folder_fd, listener->name, listener->client_uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return wl_fail_errno(err, errno, "cannot listen on %s", path);
	return wl_steal_fd(&fd);
}

int listener_open(const char *path, long client_uid, struct listener *ret_listener, struct wl_error *err)
{
	struct listener listener = { .fd = -1, .folder_fd = -1 };
	struct stat status;
	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return wl_fail(err, EINVAL, "warden_socket must be a path of 1 to 107 bytes");
	if (open_folder(path, &listener, err) < 0)
		return -err->code;
	if (fstat(listener.folder_fd, &status) < 0) {
		int errnum = errno;
		listener_close(&listener);
		return wl_fail_errno(err, errnum, "cannot read the folder of the socket %s", path);
	}
	listener.client_uid = client_uid >= 0 ? (uid_t)client_uid : status.st_uid;
	listener.fd = bind_socket(path, &listener, err);
	if (listener.fd < 0) {
		(void)close(listener.folder_fd); /* the socket there, if any, is not ours */
		return -err->code;
	}
	*ret_listener = listener;
	return 0;
}

int listener_accept(const struct listener *listener)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	_wl_close_ int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -1;
	if (peer.uid != 0 && peer.uid != listener->client_uid)
		return -1;
	return wl_steal_fd(&fd);
}

void listener_close(struct listener *listener)
{
	if (listener->fd >= 0) {
		(void)close(listener->fd);
		(void)unlinkat(listener->folder_fd, listener->name, 0);
	}
	if (listener->folder_fd >= 0)
		(void)close(listener->folder_fd);
	listener->fd = listener->folder_fd = -1;
}
