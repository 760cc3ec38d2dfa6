#include "supervisor/sandbox/warden.h"

#include "lib/base/log.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EVENTS 64
#define IDLE_LOOK_MS 5000 /* how late parked sandboxes of an idle tenant may be given up */
#define STRANGERS_LOOK_MS 20

int warden_watch(const struct warden *warden, int fd, void *what, struct wl_error *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = what } };
	if (epoll_ctl(warden->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return wl_fail_errno(err, errno, "cannot watch a descriptor");
	return 0;
}

void warden_unwatch(const struct warden *warden, int fd)
{
	(void)epoll_ctl(warden->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void accept_all(struct warden *warden)
{
	for (int fd; (fd = listener_accept(&warden->listener)) >= 0;)
		client_add(warden, fd);
}

/* Returns true when it was the signal to end. */
static bool handle(struct warden *warden, void *what)
{
	switch (*(enum watched *)what) {
	case WATCHED_LISTENER:
		accept_all(warden);
		break;
	case WATCHED_SIGNALS:
		return true;
	case WATCHED_MAKER:
		sandbox_take_products(warden);
		break;
	case WATCHED_CLIENT:
		/* an earlier event of the same round may have closed it */
		if (((struct client *)what)->fd >= 0)
			client_read(warden, what);
		break;
	case WATCHED_STATUS:
		sandbox_status(warden, what);
		break;
	case WATCHED_SANDBOX:
		sandbox_ended(warden, what);
		break;
	}
	return false;
}

int warden_loop(struct warden *warden, struct wl_error *err)
{
	int most_ms = IDLE_LOOK_MS;
	for (;;) {
		struct epoll_event events[EVENTS];
		int timeout = sandbox_timers(warden, most_ms);
		int count = epoll_wait(warden->epoll, events, EVENTS, timeout);
		if (count < 0 && errno != EINTR)
			return wl_fail_errno(err, errno, "cannot wait for events");
		for (int i = 0; i < count; i++)
			if (handle(warden, events[i].data.ptr))
				return 0;
		/* only now: one event of a round may end what a later one points to */
		clients_sweep(warden);
		sandboxes_sweep(warden);
		most_ms = sandboxes_reap_strangers(warden) ? STRANGERS_LOOK_MS : IDLE_LOOK_MS;
		if (count == 0)
			parking_keep(warden);
	}
}
