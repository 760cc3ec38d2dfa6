/*
 * windlass-warden: makes, watches and kills sandboxes through crun, and nothing else.
 *
 * Theory of operation
 *   The warden runs as root because user namespaces with a range of ids per tenant, control groups and mounts need it.
 *   So it is kept small and deaf: it reads its own policies at start, has no network and no database, and what reaches
 *   it later is one fixed struct (warden_protocol.h). Programs, arguments and data of tenants go from the supervisor,
 *   which has no rights, straight to process 1 of the sandbox through a pipe (init_protocol.h).
 *
 *   A sandbox is made ahead of its use and parks on that pipe: it holds nothing of anyone yet, but is already in its
 *   tenant's uid range, namespaces, filter and control group. To hand it out is to write its limits and to pass four
 *   descriptors. Each is used once.
 *
 *   loop     owns all state: connections, slots, the stock, timers, process ends (warden_loop.c and its neighbours)
 *   makers   threads that wait for crun (maker.c)
 *   cleaner  a thread that removes control groups (maker.c)
 *
 *   Whatever ends leaves nothing: the supervisor's death closes its connection and the sandbox is killed; the warden's
 *   death closes the pipes of the parked ones, which then end, and the next warden kills and removes what its
 *   predecessor's control groups still hold.
 */
#include "supervisor/sandbox/warden.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"
#include "supervisor/sandbox/environment.h"
#include "supervisor/sandbox/host_check.h"
#include "supervisor/sandbox/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define MAKERS_MAX 4

static int open_init(struct wl_error *err)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof("windlass-init"));
	if (length <= 0)
		return wl_fail_errno(err, errno, "cannot find the own program");
	path[length] = '\0';
	strcpy(strrchr(path, '/') + 1, "windlass-init");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? wl_fail_errno(err, errno, "cannot open %s, which belongs beside this program", path) : fd;
}

static int load_profiles(struct warden *warden, const struct wl_settings *settings, struct wl_error *err)
{
	struct profile_set *set = &warden->profiles;
	if (profile_set_load(settings->policies_dir, set, err) < 0)
		return -err->code;
	for (size_t i = 0; i < set->count; i++)
		if (environment_find(settings->environments_dir, &set->profiles[i], err) < 0)
			return wl_fail_within(err, "sandbox profile '%s'", set->profiles[i].name);
	return 0;
}

static int open_signals(struct warden *warden, struct wl_error *err)
{
	sigset_t ending;
	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGHUP);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &ending, NULL) < 0)
		return wl_fail_errno(err, errno, "cannot block signals");
	warden->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	return warden->signals < 0 ? wl_fail_errno(err, errno, "cannot read signals") : 0;
}

/* Descriptors 0 to 2 must exist, or a socket would get their number and be taken for them by crun's descriptors. */
static int guard_stdio(struct wl_error *err)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return wl_fail(err, EBADF, "descriptor %d is closed and cannot be opened", fd);
	return 0;
}

static int enter_scratch(struct warden *warden, const struct wl_settings *settings, int init_fd, struct wl_error *err)
{
	const char *keep[2 * PROFILE_COUNT_MAX + 2] = { settings->runtime_dir };
	size_t count = 1;
	for (size_t i = 0; i < warden->profiles.count; i++) {
		keep[count++] = warden->profiles.profiles[i].rootfs;
		keep[count++] = warden->profiles.profiles[i].environment.folder;
	}
	if (private_mounts_enter(keep, &warden->scratch, err) < 0)
		return -err->code;
	if (*settings->runtime_dir && private_mounts_runtime(&warden->scratch, settings->runtime_dir, err) < 0)
		return -err->code;
	for (size_t i = 0; i < warden->profiles.count; i++)
		if (private_mounts_environment(&warden->scratch, &warden->profiles.profiles[i], err) < 0 ||
		    private_mounts_rootfs(&warden->scratch, &warden->profiles.profiles[i], init_fd, err) < 0)
			return -err->code;
	return 0;
}

static int open_cgroups(struct warden *warden, struct wl_error *err)
{
	char instance[CGROUP_INSTANCE_SIZE];
	struct sysinfo info = { 0 };
	(void)sysinfo(&info);
	if (cgroup_detect(CGROUP_ROOT, info.totalswap, &warden->cgroups, err) < 0 ||
	    cgroup_instance_name(instance, err) < 0)
		return -err->code;
	int removed = cgroup_remove_leftovers(&warden->cgroups);
	if (removed > 0)
		wl_log(WL_LOG_NOTICE, "removed what %d warden(s) that were killed had left", removed);
	return cgroup_open(&warden->cgroups, instance, err);
}

static int maker_threads(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	return processors < 1 ? 1 : processors > MAKERS_MAX ? MAKERS_MAX : (int)processors;
}

/* Everything but the socket, in the order in which it needs rights, which are dropped before the first thread. */
static int open_warden(struct warden *warden, const struct wl_settings *settings, struct wl_error *err)
{
	_wl_close_ int init_fd = open_init(err);
	if (init_fd < 0 || load_profiles(warden, settings, err) < 0 || open_signals(warden, err) < 0)
		return -err->code;
	warden->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (warden->epoll < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return wl_fail_errno(err, errno, "cannot set up the event loop");
	if (open_cgroups(warden, err) < 0 || enter_scratch(warden, settings, init_fd, err) < 0 ||
	    crun_open(warden->scratch.root, &warden->crun, err) < 0 || privileges_drop(err) < 0)
		return -err->code;
	warden->slots = (uint32_t)settings->sandbox_slots;
	warden->rules.each = (uint32_t)settings->sandbox_parked;
	/* never more than half of the kinds that can be told apart, see free_key() */
	warden->rules.total = (uint32_t)(settings->sandbox_parked + 2 * settings->sandbox_slots);
	if (warden->rules.total > PARK_KEYS_MAX / 2)
		warden->rules.total = PARK_KEYS_MAX / 2;
	warden->rules.making_max = (uint32_t)maker_threads();
	warden->rules.keep_ms = PARK_KEEP_MS;
	return maker_open(&warden->crun, &warden->cgroups, &warden->scratch, maker_threads(), &warden->maker, err);
}

static void close_warden(struct warden *warden)
{
	listener_close(&warden->listener);
	for (size_t i = 0; i < warden->client_count; i++)
		client_remove(warden, warden->clients[i]);
	sandboxes_close(warden);
	clients_sweep(warden);
	if (warden->maker)
		maker_close(warden->maker);
	if (*warden->cgroups.instance)
		cgroup_close(&warden->cgroups);
	crun_close(&warden->crun);
	profile_set_release(&warden->profiles);
	if (warden->epoll >= 0)
		(void)close(warden->epoll);
	if (warden->signals >= 0)
		(void)close(warden->signals);
}

static int serve(struct warden *warden, struct wl_error *err)
{
	warden->listener_watched = WATCHED_LISTENER;
	warden->signals_watched = WATCHED_SIGNALS;
	warden->maker_watched = WATCHED_MAKER;
	if (warden_watch(warden, warden->listener.fd, &warden->listener_watched, err) < 0 ||
	    warden_watch(warden, warden->signals, &warden->signals_watched, err) < 0 ||
	    warden_watch(warden, maker_fd(warden->maker), &warden->maker_watched, err) < 0)
		return -err->code;
	wl_log(WL_LOG_NOTICE, "ready: %u slots, %u parked for each tenant in use, %zu profile(s), cgroup version %d%s",
	       warden->slots, warden->rules.each, warden->profiles.count, (int)warden->cgroups.version,
	       warden->scratch.has_runtime ? "" : ", no runtime folder");
	return warden_loop(warden, err);
}

/* One that a trial can be made with, or NULL with a sentence. */
static const struct sandbox_profile *installed_profile(const struct profile_set *set, struct wl_error *err)
{
	for (size_t i = 0; i < set->count; i++)
		if (environment_check(&set->profiles[i], err) == 0)
			return &set->profiles[i];
	return NULL;
}

static int check(struct warden *warden, const struct wl_settings *settings)
{
	struct wl_error err = { 0 };
	if (!host_check_facts())
		return 1;
	int result = open_warden(warden, settings, &err);
	const struct sandbox_profile *profile = result == 0 ? installed_profile(&warden->profiles, &err) : NULL;
	if (!profile)
		result = -err.code;
	if (result == 0)
		result = host_check_trial(warden->maker, profile, &err);
	if (result == 0)
		(void)printf("ok: a program ran in a sandbox of profile %s\n", profile->name);
	else
		(void)printf("missing: a sandbox that works; %s\n", err.text);
	if (result == 0 && !warden->scratch.has_runtime)
		(void)printf("note: there is no bin/node below runtime_dir, so JavaScript nodes will be refused\n");
	close_warden(warden);
	return result == 0 ? 0 : 1;
}

static int run(struct warden *warden, const struct wl_settings *settings, struct wl_error *err)
{
	if (geteuid() != 0)
		return wl_fail(err, EPERM, "windlass-warden must be started as root; --check tells what else it needs");
	int result = listener_open(settings->warden_socket, settings->warden_client_uid, &warden->listener, err);
	if (result == 0)
		result = open_warden(warden, settings, err);
	if (result == 0)
		result = serve(warden, err);
	close_warden(warden);
	return result;
}

/* Take `--check` out of the arguments. */
static bool wants_check(int *argc, char **argv)
{
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--check") != 0)
			continue;
		memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(*argv));
		(*argc)--;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	static struct warden warden = {
		.epoll = -1, .signals = -1, .listener = { .fd = -1, .folder_fd = -1 }, .crun = { .program = -1 }
	};
	static struct wl_settings settings;
	struct wl_error err = { 0 };
	/* a tenant's mapped user must walk into the folders made here, whatever the caller's mask is */
	(void)umask(022);
	bool only_check = wants_check(&argc, argv);
	(void)umask(022); /* sandboxes run as other users and must get through the folders made for them */
	int result = wl_settings_load(&settings, WL_PROGRAM_WARDEN, argc, argv, &err);
	if (result > 0) {
		(void)printf("  --check              say what this host lacks for sandboxes, try one, and end\n");
		return 0;
	}
	wl_log_open("warden", WL_LOG_NOTICE);
	int level = result == 0 ? wl_log_level_of(settings.log_level) : 0;
	if (result == 0 && level < 0)
		result = wl_fail(&err, EINVAL, "log_level '%.32s' is not one of error, warning, notice, info, debug",
				 settings.log_level);
	if (result == 0 && sodium_init() < 0)
		result = wl_fail(&err, EIO, "libsodium cannot be used");
	if (result == 0)
		result = guard_stdio(&err);
	if (result == 0) {
		wl_log_open("warden", (enum wl_log_level)level);
		if (only_check)
			return check(&warden, &settings);
		result = run(&warden, &settings, &err);
	}
	if (result < 0)
		wl_log(WL_LOG_ERROR, "%s", err.text);
	return result < 0 ? 1 : 0;
}
