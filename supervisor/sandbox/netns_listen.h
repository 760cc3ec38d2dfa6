/*
 * Listening sockets inside the network namespace of a sandbox, which has nothing but its own loopback. Whoever accepts
 * on one hears that sandbox and nobody else, so the descriptor itself says who calls: no token lies in the sandbox.
 */
#ifndef WL_SANDBOX_NETNS_LISTEN_H
#define WL_SANDBOX_NETNS_LISTEN_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define NETNS_LISTEN_MAX 4

/*
 * Listen on 127.0.0.1 at each of `count` (at most NETNS_LISTEN_MAX) ports in the network namespace of the process that
 * `pidfd` means (setns(2), Linux 5.8). The sockets do not block and are closed on exec; the caller closes them.
 * One caller at a time. 0; -errno, and then there are none. Needs CAP_SYS_ADMIN and CAP_SYS_PTRACE over the process.
 */
int netns_listen(int pidfd, const uint16_t *ports, size_t count, int *ret_fds, struct wl_error *err);

#endif
