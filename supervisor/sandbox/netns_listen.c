/*
 * The sockets are made by a helper process, because no thread of the warden may ever be left in a tenant's namespace.
 * The helper shares memory and descriptors with us (clone(2) with CLONE_VM and CLONE_FILES, and we stand still until it
 * has ended), so it costs no copy of our pages, and its sockets are ours as soon as they are made.
 */
#include "supervisor/sandbox/netns_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER_STACK 65536
#define BACKLOG 64 /* connections that wait to be accepted */

struct order {
	int pidfd;
	const uint16_t *ports;
	size_t count;
	int *fds;
	size_t made;
	int errnum;
};

static int listen_at(uint16_t port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int errnum = errno;
	(void)close(fd);
	return -errnum;
}

/* In the helper: system calls alone, since it runs in the memory of a process with threads. */
static int helper(void *argument)
{
	struct order *order = argument;
	if (setns(order->pidfd, CLONE_NEWNET) < 0) {
		order->errnum = errno;
		return 1;
	}
	for (; order->made < order->count; order->made++) {
		int fd = listen_at(order->ports[order->made]);
		if (fd < 0) {
			order->errnum = -fd;
			return 1;
		}
		order->fds[order->made] = fd;
	}
	return 0;
}

int netns_listen(int pidfd, const uint16_t *ports, size_t count, int *ret_fds, struct wl_error *err)
{
	static char stack[HELPER_STACK] __attribute__((aligned(16)));
	int fds[NETNS_LISTEN_MAX], status = 0;
	struct order order = { .pidfd = pidfd, .ports = ports, .count = count, .fds = fds };
	if (count > NETNS_LISTEN_MAX)
		return wl_fail(err, EINVAL, "a sandbox has at most %d listeners", NETNS_LISTEN_MAX);
	pid_t pid = clone(helper, stack + sizeof(stack), CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &order);
	if (pid < 0)
		return wl_fail_errno(err, errno, "cannot start a helper for a sandbox's listeners");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (order.made == count) {
		for (size_t i = 0; i < count; i++)
			ret_fds[i] = fds[i];
		return 0;
	}
	for (size_t i = 0; i < order.made; i++)
		(void)close(fds[i]);
	return wl_fail_errno(err, order.errnum, "cannot listen within a sandbox");
}
