/* The warden's unix socket and who may connect to it. */
#ifndef WL_SANDBOX_LISTENER_H
#define WL_SANDBOX_LISTENER_H

#include "lib/base/error.h"

#include <sys/types.h>

struct listener {
	int fd;
	int folder_fd; /* to remove the socket's name at the end, whatever is mounted by then */
	char name[108];
	uid_t client_uid;
};

/*
 * Listen on `path`. Only root and one other user may use the socket: `client_uid`, or when that is -1 the owner of the
 * folder that the socket lies in. The file mode says so and each connection is checked again (SO_PEERCRED, unix(7)).
 * A leftover socket that nobody answers on is replaced; -EADDRINUSE when another warden answers.
 */
int listener_open(const char *path, long client_uid, struct listener *ret_listener, struct wl_error *err);

/* Accept one connection, not blocking; -1 when there is none, or when its peer may not connect (then it is closed). */
int listener_accept(const struct listener *listener);

void listener_close(struct listener *listener);

#endif
