#include "supervisor/sandbox/warden.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "supervisor/sandbox/netns_listen.h"
#include "supervisor/sandbox/verdict.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRANGERS_MS 30000 /* how long after a failed start its orphans are looked for */

/* ---- stock ------------------------------------------------------------------------------------- */

static uint32_t profile_index(const struct warden *warden, const struct sandbox_profile *profile)
{
	return (uint32_t)(profile - warden->profiles.profiles);
}

static struct park_key *find_key(struct warden *warden, uint32_t tenant, uint32_t profile)
{
	for (size_t i = 0; i < warden->key_count; i++)
		if (warden->keys[i].tenant == tenant && warden->keys[i].profile == profile)
			return &warden->keys[i];
	return NULL;
}

/* A place for a new kind: a free one, or that of a kind with no stock that was not used for longest. */
static struct park_key *free_key(struct warden *warden)
{
	if (warden->key_count < PARK_KEYS_MAX)
		return &warden->keys[warden->key_count++];
	struct park_key *oldest = NULL;
	for (size_t i = 0; i < warden->key_count; i++) {
		struct park_key *key = &warden->keys[i];
		if (key->parked + key->making == 0 && (!oldest || key->used_ms < oldest->used_ms))
			oldest = key;
	}
	return oldest; /* NULL only when sandboxes of that many kinds are being made at once */
}

static struct park_key *get_key(struct warden *warden, uint32_t tenant, const struct sandbox_profile *profile)
{
	uint32_t index = profile_index(warden, profile);
	struct park_key *key = find_key(warden, tenant, index);
	if (key)
		return key;
	key = free_key(warden);
	if (key)
		*key = (struct park_key){ .tenant = tenant, .profile = index };
	return key;
}

void parking_use(struct warden *warden, uint32_t tenant, const struct sandbox_profile *profile)
{
	struct park_key *key = get_key(warden, tenant, profile);
	if (!key)
		return;
	key->used_ms = wl_clock_boot_ms();
	key->served = ++warden->servings;
}

uint64_t parking_served(const struct warden *warden, uint32_t tenant)
{
	uint64_t served = 0;
	for (size_t i = 0; i < warden->key_count; i++)
		if (warden->keys[i].tenant == tenant && warden->keys[i].served > served)
			served = warden->keys[i].served;
	return served;
}

static struct sandbox *find_parked(const struct warden *warden, uint32_t tenant, const struct sandbox_profile *profile)
{
	for (struct sandbox *sandbox = warden->sandboxes; sandbox; sandbox = sandbox->next)
		if (!sandbox->running && !sandbox->killed && !sandbox->gone && sandbox->tenant == tenant &&
		    sandbox->profile == profile)
			return sandbox;
	return NULL;
}

static void order(struct warden *warden, struct park_key *key, bool urgent)
{
	struct maker_order wish = { .tenant = key->tenant,
				    .profile = &warden->profiles.profiles[key->profile],
				    .urgent = urgent };
	if (maker_order(warden->maker, &wish) == 0)
		key->making++;
}

static void give_up(struct warden *warden, struct park_key *key)
{
	struct sandbox *sandbox = find_parked(warden, key->tenant, &warden->profiles.profiles[key->profile]);
	key->parked--;
	if (sandbox)
		sandbox_stop(sandbox, WARDEN_CANCELLED, 0);
}

static bool someone_waits(const struct warden *warden)
{
	for (size_t i = 0; i < warden->client_count; i++)
		if (warden->clients[i]->state == CLIENT_MAKING)
			return true;
	return false;
}

void parking_keep(struct warden *warden)
{
	/* when even the stock is waited for there is no leisure to make it with */
	bool urgent = someone_waits(warden);
	for (;;) {
		struct park_step step = park_plan(warden->keys, warden->key_count, &warden->rules, wl_clock_boot_ms());
		if (step.kind == PARK_NOTHING)
			return;
		struct park_key *key = &warden->keys[step.key];
		uint32_t before = key->making;
		if (step.kind == PARK_GIVE_UP)
			give_up(warden, key);
		else
			order(warden, key, urgent);
		if (step.kind == PARK_MAKE && key->making == before)
			return; /* no memory: the next event tries again */
	}
}

void sandbox_order(struct warden *warden, struct client *client)
{
	struct park_key *key = get_key(warden, client->request.tenant, client->profile);
	uint32_t wanted = 0;
	for (size_t i = 0; i < warden->client_count; i++)
		wanted += warden->clients[i]->state == CLIENT_MAKING &&
			  warden->clients[i]->request.tenant == client->request.tenant &&
			  warden->clients[i]->profile == client->profile;
	/* what is being made for the stock serves them as well, so only the difference is ordered */
	if (key && key->making < wanted)
		order(warden, key, true);
	if (key && key->making >= wanted)
		return;
	struct wl_error err = { 0 };
	(void)wl_fail(&err, EBUSY, "the warden cannot keep track of more sandboxes now");
	client_refuse(warden, client, &err);
}

/* ---- products ---------------------------------------------------------------------------------- */

static void refuse_oldest(struct warden *warden, const struct maker_product *product)
{
	struct client *oldest = NULL;
	for (size_t i = 0; i < warden->client_count; i++) {
		struct client *client = warden->clients[i];
		if (client->state == CLIENT_MAKING && client->request.tenant == product->order.tenant &&
		    client->profile == product->order.profile && (!oldest || client->arrival < oldest->arrival))
			oldest = client;
	}
	if (oldest)
		client_refuse(warden, oldest, &product->err);
}

static int accept_product(struct warden *warden, struct maker_product *product, struct wl_error *err)
{
	struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
	if (!sandbox)
		return wl_fail(err, ENOMEM, "no memory for a sandbox");
	sandbox->watched = WATCHED_SANDBOX;
	(void)snprintf(sandbox->name, sizeof(sandbox->name), "%s", product->name);
	sandbox->tenant = product->order.tenant;
	sandbox->profile = product->order.profile;
	sandbox->limits = product->order.profile->standard;
	sandbox->child = product->child;
	sandbox->status_watched = WATCHED_STATUS;
	if (warden_watch(warden, sandbox->child.pidfd, sandbox, err) < 0 ||
	    warden_watch(warden, sandbox->child.status, &sandbox->status_watched, err) < 0) {
		warden_unwatch(warden, sandbox->child.pidfd);
		free(sandbox);
		return -err->code;
	}
	/* what making it took is not on the tenant's bill; read now, off the path of the one who waits for it later */
	struct cgroup_usage usage;
	cgroup_reset_peak(&warden->cgroups, sandbox->name);
	cgroup_read_usage(&warden->cgroups, sandbox->name, &usage);
	sandbox->cpu_before_us = usage.cpu_us;
	sandbox->next = warden->sandboxes;
	warden->sandboxes = sandbox;
	return 0;
}

static void drop_product(struct warden *warden, struct maker_product *product)
{
	(void)kill(product->child.pid, SIGKILL);
	(void)waitpid(product->child.pid, NULL, 0);
	crun_child_close(&product->child);
	maker_remove(warden->maker, product->name);
}

void sandbox_take_products(struct warden *warden)
{
	for (struct maker_product *product; (product = maker_take(warden->maker)); free(product)) {
		struct park_key *key = get_key(warden, product->order.tenant, product->order.profile);
		if (key && key->making > 0)
			key->making--;
		if (product->err.code == 0 && accept_product(warden, product, &product->err) < 0)
			drop_product(warden, product);
		if (product->err.code == 0) {
			if (key)
				key->parked++;
			warden->helpers++;
			warden->helpers_until_ms = wl_clock_boot_ms() + STRANGERS_MS;
			continue;
		}
		wl_log(WL_LOG_ERROR, "a sandbox for tenant %u was not made: %s", product->order.tenant,
		       product->err.text);
		warden->strangers_until_ms = wl_clock_boot_ms() + STRANGERS_MS;
		if (key)
			key->used_ms = 0; /* not tried again until somebody asks */
		refuse_oldest(warden, product);
	}
	clients_serve(warden);
}

/* ---- running ----------------------------------------------------------------------------------- */

static void begin(struct sandbox *sandbox, struct client *client)
{
	sandbox->running = true;
	sandbox->client = client;
	sandbox->limits = client->limits;
	sandbox->started_us = wl_clock_monotonic_us();
	sandbox->deadline_us = sandbox->started_us + (uint64_t)client->limits.wall_ms * 1000;
	memcpy(sandbox->id, client->request.id, sizeof(sandbox->id));
	client->sandbox = sandbox;
	client->state = CLIENT_RUNNING;
}

/* The client's ends of the pipes are the client's alone from now on. */
static void close_handed_out(struct crun_child *child)
{
	int *fds[] = { &child->control, &child->in, &child->out, &child->err, &child->files };
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		(void)close(*fds[i]);
		*fds[i] = -1;
	}
}

static void hand_over(struct warden *warden, struct client *client, struct sandbox *sandbox, const int *listeners)
{
	begin(sandbox, client);
	size_t count = client->listen_count;
	if (client_started(warden, client, sandbox, listeners) < 0)
		client_remove(warden, client);
	close_handed_out(&sandbox->child);
	for (size_t i = 0; i < count; i++)
		(void)close(listeners[i]);
}

bool sandbox_hand_out(struct warden *warden, struct client *client)
{
	int listeners[WARDEN_LISTEN_MAX];
	struct wl_error err = { 0 };
	struct sandbox *sandbox = find_parked(warden, client->request.tenant, client->profile);
	if (!sandbox)
		return false;
	struct park_key *key = find_key(warden, sandbox->tenant, profile_index(warden, sandbox->profile));
	if (key && key->parked > 0)
		key->parked--;
	/* a client that had to wait for its making gets a cold one, whoever it was ordered for */
	sandbox->warm = !client->waited;
	if (cgroup_apply(&warden->cgroups, sandbox->name, &sandbox->limits, &client->limits, &err) < 0 ||
	    (client->listen_count > 0 &&
	     netns_listen(sandbox->child.pidfd, client->request.listen, client->listen_count, listeners, &err) < 0)) {
		sandbox_stop(sandbox, WARDEN_CANCELLED, 0);
		client_refuse(warden, client, &err);
		return true;
	}
	hand_over(warden, client, sandbox, listeners);
	return true;
}

static void kill_now(struct sandbox *sandbox)
{
	/* its init is process 1 of a pid namespace: with it the kernel kills all others in there */
	(void)syscall(SYS_pidfd_send_signal, sandbox->child.pidfd, SIGKILL, NULL, 0);
	sandbox->killed = true;
}

void sandbox_stop(struct sandbox *sandbox, uint32_t reason, uint32_t grace_ms)
{
	if (!sandbox->stopped) {
		sandbox->stopped = true;
		sandbox->stop_reason = reason;
	}
	uint64_t deadline = wl_clock_monotonic_us() + (uint64_t)grace_ms * 1000;
	if (grace_ms == 0)
		kill_now(sandbox);
	else if (deadline < sandbox->deadline_us)
		sandbox->deadline_us = deadline;
}

int sandbox_timers(struct warden *warden, int most_ms)
{
	uint64_t now = wl_clock_monotonic_us();
	uint64_t wait_us = (uint64_t)most_ms * 1000;
	for (struct sandbox *sandbox = warden->sandboxes; sandbox; sandbox = sandbox->next) {
		if (!sandbox->running || sandbox->killed || sandbox->gone)
			continue;
		if (sandbox->deadline_us <= now)
			sandbox_stop(sandbox, WARDEN_TIMEOUT, 0);
		else if (sandbox->deadline_us - now < wait_us)
			wait_us = sandbox->deadline_us - now;
	}
	return (int)((wait_us + 999) / 1000);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void fill_receipt(const struct warden *warden, const struct sandbox *sandbox, struct ending *ending,
			 struct warden_receipt *receipt)
{
	struct cgroup_usage usage;
	cgroup_read_usage(&warden->cgroups, sandbox->name, &usage);
	ending->stopped = sandbox->stopped;
	ending->stop_reason = sandbox->stop_reason;
	ending->oom_kills = usage.oom_kills;
	*receipt = (struct warden_receipt){ .warm = sandbox->warm,
					    .pids_peak = usage.pids_peak,
					    .wall_us = wl_clock_monotonic_us() - sandbox->started_us,
					    .memory_peak = usage.memory_peak,
					    .limits = sandbox->limits };
	receipt->cpu_us = usage.cpu_us > sandbox->cpu_before_us ? usage.cpu_us - sandbox->cpu_before_us : 0;
	memcpy(receipt->profile_hash, sandbox->profile->hash, sizeof(receipt->profile_hash));
	verdict_fill(ending, receipt);
}

/* Send the receipt, once; the slot is free from then on. */
static void report(const struct warden *warden, struct sandbox *sandbox, struct ending *ending)
{
	struct warden_receipt receipt;
	struct client *client = sandbox->client;
	if (!client)
		return;
	fill_receipt(warden, sandbox, ending, &receipt);
	wl_log(WL_LOG_INFO, "tenant %u, %s: %s sandbox, reason %u, exit code %u, %llu us, %llu us of CPU",
	       sandbox->tenant, sandbox->id, sandbox->warm ? "warm" : "cold", receipt.reason, receipt.exit_code,
	       (unsigned long long)receipt.wall_us, (unsigned long long)receipt.cpu_us);
	sandbox->client = NULL;
	client_ended(warden, client, &receipt);
}

/*
 * The kernel takes a millisecond or more to undo the namespaces of a sandbox. The client does not wait for that: the
 * program has ended, its use is counted, and whatever it left holds the output pipes at most until init is gone.
 */
void sandbox_status(struct warden *warden, enum watched *status_watched)
{
	struct sandbox *sandbox = (struct sandbox *)((char *)status_watched - offsetof(struct sandbox, status_watched));
	struct ending ending = { .has_status = true };
	int32_t status;
	if (sandbox->gone)
		return;
	ssize_t got = read(sandbox->child.status, &status, sizeof(status));
	warden_unwatch(warden, sandbox->child.status);
	if (got != sizeof(status))
		return; /* init died without a word; its pidfd tells the rest */
	ending.wait_status = status;
	report(warden, sandbox, &ending);
	clients_serve(warden);
}

/* A parked one that nobody gave up has died: of the host's memory shortage, or of an operator. */
static void note_lost(struct warden *warden, const struct sandbox *sandbox)
{
	struct park_key *key = find_key(warden, sandbox->tenant, profile_index(warden, sandbox->profile));
	if (key && key->parked > 0)
		key->parked--;
	wl_log(WL_LOG_WARNING, "parked sandbox %s of tenant %u died by itself", sandbox->name, sandbox->tenant);
}

static void remove_sandbox(struct warden *warden, struct sandbox *sandbox)
{
	warden_unwatch(warden, sandbox->child.pidfd);
	warden_unwatch(warden, sandbox->child.status);
	crun_child_close(&sandbox->child);
	maker_remove(warden->maker, sandbox->name);
	sandbox->gone = true;
}

void sandbox_ended(struct warden *warden, struct sandbox *sandbox)
{
	siginfo_t info = { 0 };
	if (sandbox->gone || waitid(P_PIDFD, (id_t)sandbox->child.pidfd, &info, WEXITED | WNOHANG) < 0 ||
	    info.si_pid == 0)
		return;
	int32_t status = 0;
	struct ending ending = { .init_exited = info.si_code == CLD_EXITED, .init_exit_code = info.si_status };
	/* the events of one round come in any order: the report may still lie in the pipe */
	ending.has_status = sandbox->client && read(sandbox->child.status, &status, sizeof(status)) == sizeof(status);
	ending.wait_status = status;
	report(warden, sandbox, &ending);
	if (!sandbox->running && !sandbox->killed)
		note_lost(warden, sandbox);
	remove_sandbox(warden, sandbox);
	clients_serve(warden);
}

void sandboxes_sweep(struct warden *warden)
{
	struct sandbox **at = &warden->sandboxes;
	while (*at) {
		struct sandbox *sandbox = *at;
		if (!sandbox->gone) {
			at = &sandbox->next;
			continue;
		}
		*at = sandbox->next;
		free(sandbox);
	}
}

static bool is_sandbox(const struct warden *warden, pid_t pid)
{
	for (const struct sandbox *sandbox = warden->sandboxes; sandbox; sandbox = sandbox->next)
		if (sandbox->child.pid == pid)
			return true;
	return false;
}

/* Whether it is process 1 of a pid namespace below ours; the ids in each stand behind NSpid (proc(5)). */
static bool is_some_init(pid_t pid)
{
	char path[64], line[256];
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_wl_fclose_ FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "NSpid:\t", 7) == 0)
			return strchr(line + 7, '\t') != NULL;
	return true; /* not known: the careful answer */
}

/*
 * Children that come to us because we are the subreaper of crun: the helper that each `crun run --detach` leaves, and
 * what a crun that fails half-way had started and killed. Orphans are given to the first thread, which is this one,
 * while each crun is a child of the maker that forked it: so with __WNOTHREAD (wait(2)) only orphans are seen. An init
 * that is not in our list may be one that a maker is about to hand over, so those wait until nothing is being made.
 */
bool sandboxes_reap_strangers(struct warden *warden)
{
	uint64_t now = wl_clock_boot_ms();
	if (now >= warden->helpers_until_ms)
		warden->helpers = 0;
	while (warden->helpers > 0 || now < warden->strangers_until_ms) {
		siginfo_t info = { 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD) < 0) {
			warden->strangers_until_ms = 0; /* nobody is left who could be one */
			return warden->helpers > 0;
		}
		/* one that was killed a moment ago may still live, and a sandbox's own event comes first: look again */
		if (info.si_pid == 0 || is_sandbox(warden, info.si_pid))
			return true;
		bool is_helper = !is_some_init(info.si_pid);
		if (!is_helper && !maker_is_idle(warden->maker))
			return true;
		(void)waitpid(info.si_pid, NULL, WNOHANG | __WNOTHREAD);
		warden->helpers -= is_helper && warden->helpers > 0;
	}
	return false;
}

void sandboxes_close(struct warden *warden)
{
	for (struct sandbox *sandbox = warden->sandboxes; sandbox; sandbox = sandbox->next)
		kill_now(sandbox);
	for (struct sandbox *sandbox = warden->sandboxes; sandbox; sandbox = sandbox->next) {
		siginfo_t info;
		while (waitid(P_PIDFD, (id_t)sandbox->child.pidfd, &info, WEXITED) < 0 && errno == EINTR)
			;
		remove_sandbox(warden, sandbox);
	}
	sandboxes_sweep(warden);
}
