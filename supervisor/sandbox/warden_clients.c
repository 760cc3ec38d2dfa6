#include "supervisor/sandbox/warden.h"

#include "lib/base/log.h"
#include "supervisor/sandbox/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- replies ----------------------------------------------------------------------------------- */

/* Send one reply, with `fd_count` descriptors. Small and never more than one outstanding, so it does not block. */
static int send_reply(const struct client *client, struct warden_reply *reply, const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * WARDEN_FDS_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	reply->magic = WARDEN_MAGIC;
	reply->version = WARDEN_VERSION;
	struct iovec data = { .iov_base = reply, .iov_len = sizeof(*reply) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
	if (fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
	}
	return sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void client_refuse(const struct warden *warden, struct client *client, const struct wl_error *err)
{
	struct warden_reply reply = { .kind = WARDEN_REFUSED, .errnum = (uint32_t)err->code };
	(void)snprintf(reply.text, sizeof(reply.text), "%.255s", err->text);
	client->state = CLIENT_IDLE;
	wl_log(WL_LOG_INFO, "refused tenant %u, %s: %s", client->request.tenant, client->request.id, err->text);
	if (send_reply(client, &reply, NULL, 0) < 0)
		client_remove(warden, client);
}

int client_started(const struct warden *warden, struct client *client, const struct sandbox *sandbox,
		   const int *listeners)
{
	const struct crun_child *child = &sandbox->child;
	struct warden_reply reply = { .kind = WARDEN_STARTED,
				      .features = warden->scratch.has_runtime ? WARDEN_HAS_RUNTIME : 0 };
	int fds[WARDEN_FDS_MAX];
	fds[WARDEN_FD_CONTROL] = child->control;
	fds[WARDEN_FD_STDIN] = child->in;
	fds[WARDEN_FD_STDOUT] = child->out;
	fds[WARDEN_FD_STDERR] = child->err;
	fds[WARDEN_FD_FILES] = child->files;
	for (size_t i = 0; i < client->listen_count; i++)
		fds[WARDEN_FD_COUNT + i] = listeners[i];
	reply.receipt.limits = sandbox->limits;
	reply.receipt.warm = sandbox->warm;
	memcpy(reply.receipt.profile_hash, sandbox->profile->hash, sizeof(reply.receipt.profile_hash));
	return send_reply(client, &reply, fds, WARDEN_FD_COUNT + client->listen_count);
}

void client_ended(const struct warden *warden, struct client *client, const struct warden_receipt *receipt)
{
	struct warden_reply reply = { .kind = WARDEN_ENDED, .receipt = *receipt };
	client->state = CLIENT_IDLE;
	client->sandbox = NULL;
	if (send_reply(client, &reply, NULL, 0) < 0)
		client_remove(warden, client);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static bool is_printable(const char *text, size_t size)
{
	size_t length = strnlen(text, size);
	if (length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

static int check_request(const struct warden_request *request, struct wl_error *err)
{
	if (request->magic != WARDEN_MAGIC || request->version != WARDEN_VERSION)
		return wl_fail(err, EPROTO, "the request is not of version %d of the warden's protocol",
			       WARDEN_VERSION);
	if (!is_printable(request->profile, sizeof(request->profile)) ||
	    !is_printable(request->id, sizeof(request->id)))
		return wl_fail(err, EINVAL, "profile and id must be printable and end in a NUL");
	if (request->kind != WARDEN_RUN && request->kind != WARDEN_KILL)
		return wl_fail(err, EPROTO, "request kind %u is not known", request->kind);
	return 0;
}

static int count_waiting(const struct warden *warden, uint32_t tenant, struct wl_error *err)
{
	size_t all = 0;
	size_t own = 0;
	for (size_t i = 0; i < warden->client_count; i++) {
		if (warden->clients[i]->state != CLIENT_WAITING)
			continue;
		all++;
		own += warden->clients[i]->request.tenant == tenant;
	}
	if (own >= WAITING_EACH_MAX)
		return wl_fail(err, EBUSY, "%d runs of this tenant wait for a sandbox already", WAITING_EACH_MAX);
	if (all >= WAITING_MAX)
		return wl_fail(err, EBUSY, "%d runs wait for a sandbox already", WAITING_MAX);
	return 0;
}

static int begin_run(struct warden *warden, struct client *client, const struct warden_request *request,
		     struct wl_error *err)
{
	if (client->state != CLIENT_IDLE)
		return wl_fail(err, EPROTO, "a connection carries one run at a time");
	client->request = *request;
	client->profile = profile_find(&warden->profiles, request->profile);
	if (!client->profile)
		return wl_fail(err, ENOENT, "there is no sandbox profile '%s'", request->profile);
	if (environment_check(client->profile, err) < 0)
		return -err->code;
	if (request->tenant < 1 || request->tenant > WARDEN_TENANT_MAX)
		return wl_fail(err, ERANGE, "tenant %u has no range of user ids on this host (1 to %u)",
			       request->tenant, WARDEN_TENANT_MAX);
	int listeners = profile_listen(client->profile, request->listen, err);
	if (listeners < 0 || profile_limits(client->profile, &request->limits, &client->limits, err) < 0 ||
	    count_waiting(warden, request->tenant, err) < 0)
		return -err->code;
	client->listen_count = (size_t)listeners;
	client->state = CLIENT_WAITING;
	client->waited = false;
	client->arrival = ++warden->arrivals;
	return 0;
}

static int begin_kill(const struct client *client, const struct warden_request *request, struct wl_error *err)
{
	if (request->kill_reason != WARDEN_CANCELLED && request->kill_reason != WARDEN_OUTPUT_CAP)
		return wl_fail(err, EPROTO, "kill reason %u is not known", request->kill_reason);
	if (request->grace_ms > KILL_GRACE_MAX_MS)
		return wl_fail(err, EPROTO, "a grace of %u ms is too long", request->grace_ms);
	/* it may have ended in this very moment; its receipt is on the way */
	if (client->sandbox)
		sandbox_stop(client->sandbox, request->kill_reason, request->grace_ms);
	return 0;
}

void client_read(struct warden *warden, struct client *client)
{
	struct warden_request request;
	struct wl_error err = { 0 };
	ssize_t got = recv(client->fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_remove(warden, client);
		return;
	}
	int result = got == (ssize_t)sizeof(request) ? check_request(&request, &err)
						     : wl_fail(&err, EPROTO, "a request of %zd bytes", got);
	if (result == 0)
		result = request.kind == WARDEN_KILL ? begin_kill(client, &request, &err)
						     : begin_run(warden, client, &request, &err);
	if (result == 0) {
		clients_serve(warden);
	} else if (err.code == EPROTO) { /* whoever breaks the protocol is not listened to any further */
		wl_log(WL_LOG_WARNING, "closed a connection: %s", err.text);
		client_remove(warden, client);
	} else {
		client_refuse(warden, client, &err);
	}
}

/* ---- connections ------------------------------------------------------------------------------- */

void client_add(struct warden *warden, int fd)
{
	struct wl_error err = { 0 };
	struct client *client = warden->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (!client) {
		wl_log(WL_LOG_WARNING, "refused a connection: %zu are open", warden->client_count);
		(void)close(fd);
		return;
	}
	client->watched = WATCHED_CLIENT;
	client->fd = fd;
	if (warden_watch(warden, fd, client, &err) < 0) {
		wl_log(WL_LOG_WARNING, "refused a connection: %s", err.text);
		(void)close(fd);
		free(client);
		return;
	}
	warden->clients[warden->client_count++] = client;
}

/* The struct is freed only after the events at hand are done, because one of them may still point to it. */
void client_remove(const struct warden *warden, struct client *client)
{
	if (client->fd < 0)
		return;
	if (client->sandbox) {
		client->sandbox->client = NULL;
		sandbox_stop(client->sandbox, WARDEN_CANCELLED, 0);
	}
	warden_unwatch(warden, client->fd);
	(void)close(client->fd);
	client->fd = -1;
	client->state = CLIENT_IDLE;
	client->sandbox = NULL;
}

/* ---- slots ------------------------------------------------------------------------------------- */

static bool holds_slot(const struct client *client)
{
	return client->state == CLIENT_MAKING || client->state == CLIENT_RUNNING;
}

static uint32_t slots_held(const struct warden *warden, uint32_t tenant, bool any_tenant)
{
	uint32_t count = 0;
	for (size_t i = 0; i < warden->client_count; i++)
		if (holds_slot(warden->clients[i]) && (any_tenant || warden->clients[i]->request.tenant == tenant))
			count++;
	return count;
}

/* The client to get the next slot, or NULL when nobody waits. */
static struct client *next_waiting(const struct warden *warden)
{
	static struct waiting_run waiting[CLIENTS_MAX]; /* the loop is one thread */
	static struct client *owners[CLIENTS_MAX];
	size_t count = 0;
	for (size_t i = 0; i < warden->client_count; i++) {
		struct client *client = warden->clients[i];
		if (client->state != CLIENT_WAITING)
			continue;
		owners[count] = client;
		waiting[count++] = (struct waiting_run){ .tenant = client->request.tenant, .arrival = client->arrival };
	}
	if (count == 0)
		return NULL;
	for (size_t i = 0; count > 1 && i < count; i++) {
		waiting[i].running = slots_held(warden, waiting[i].tenant, false);
		waiting[i].served = parking_served(warden, waiting[i].tenant);
	}
	return owners[fair_pick(waiting, count)];
}

/* The oldest client that waits for a sandbox to be made and came after `arrival`. */
static struct client *next_making(const struct warden *warden, uint64_t arrival)
{
	struct client *oldest = NULL;
	for (size_t i = 0; i < warden->client_count; i++) {
		struct client *client = warden->clients[i];
		if (client->state == CLIENT_MAKING && client->arrival > arrival &&
		    (!oldest || client->arrival < oldest->arrival))
			oldest = client;
	}
	return oldest;
}

void clients_serve(struct warden *warden)
{
	/* oldest first: a sandbox that was ordered for one may be used by another of the same kind */
	for (struct client *client = next_making(warden, 0); client; client = next_making(warden, client->arrival))
		(void)sandbox_hand_out(warden, client);
	while (slots_held(warden, 0, true) < warden->slots) {
		struct client *client = next_waiting(warden);
		if (!client)
			break;
		client->state = CLIENT_MAKING;
		parking_use(warden, client->request.tenant, client->profile);
		if (sandbox_hand_out(warden, client))
			continue;
		client->waited = true;
		sandbox_order(warden, client);
	}
	parking_keep(warden);
}

void clients_sweep(struct warden *warden)
{
	size_t kept = 0;
	for (size_t i = 0; i < warden->client_count; i++) {
		struct client *client = warden->clients[i];
		if (client->fd < 0)
			free(client);
		else
			warden->clients[kept++] = client;
	}
	warden->client_count = kept;
}
