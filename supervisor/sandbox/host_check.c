#include "supervisor/sandbox/host_check.h"

#include "lib/base/cleanup.h"
#include "supervisor/sandbox/init_protocol.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAL_MS 10000
#define TRIAL_PROGRAM "/bin/true"

static bool fact(bool good, const char *what, const char *remedy)
{
	if (good)
		(void)printf("ok: %s\n", what);
	else
		(void)printf("missing: %s; %s\n", what, remedy);
	return good;
}

static bool user_namespaces(void)
{
	long most = 0;
	_wl_fclose_ FILE *file = fopen("/proc/sys/user/max_user_namespaces", "re");
	return file && fscanf(file, "%ld", &most) == 1 && most > 0;
}

static bool control_groups(void)
{
	struct cgroup_host host;
	struct wl_error err = { 0 };
	struct sysinfo info;
	if (sysinfo(&info) < 0 || cgroup_detect(CGROUP_ROOT, info.totalswap, &host, &err) < 0) {
		(void)printf("missing: limits by control groups; %s\n", err.text);
		return false;
	}
	(void)printf("ok: limits by control groups, version %d\n", (int)host.version);
	return true;
}

bool host_check_facts(void)
{
	bool good = fact(geteuid() == 0, "rights to make sandboxes", "start windlass-warden as root");
	good &= fact(access("/usr/bin/crun", X_OK) == 0 || access("/usr/local/bin/crun", X_OK) == 0,
		     "the OCI runtime crun", "install it: apt-get install crun");
	good &= fact(user_namespaces(), "user namespaces", "allow them: sysctl -w user.max_user_namespaces=15000");
	good &= fact(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0, "system call filters (seccomp)",
		     "use a kernel with CONFIG_SECCOMP_FILTER");
	good &= control_groups();
	return good;
}

static struct maker_product *await_product(struct maker *maker, struct wl_error *err)
{
	struct pollfd ready = { .fd = maker_fd(maker), .events = POLLIN };
	if (poll(&ready, 1, TRIAL_MS) != 1) {
		(void)wl_fail(err, ETIMEDOUT, "a sandbox was not made within %d ms", TRIAL_MS);
		return NULL;
	}
	return maker_take(maker);
}

static int run_trial(const struct crun_child *child, struct wl_error *err)
{
	struct {
		struct init_frame argument;
		char program[sizeof(TRIAL_PROGRAM) - 1];
		struct init_frame start;
	} __attribute__((packed))
	frames = { .argument = { INIT_ARGUMENT, sizeof(TRIAL_PROGRAM) - 1 }, .start = { INIT_START, 0 } };
	memcpy(frames.program, TRIAL_PROGRAM, sizeof(frames.program));
	struct pollfd ended = { .fd = child->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };
	if (write(child->control, &frames, sizeof(frames)) != (ssize_t)sizeof(frames))
		return wl_fail_errno(err, errno, "cannot talk to a sandbox");
	if (poll(&ended, 1, TRIAL_MS) != 1 || waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED) < 0)
		return wl_fail(err, ETIMEDOUT, "a sandbox did not end within %d ms", TRIAL_MS);
	if (info.si_code != CLD_EXITED || info.si_status != 0)
		return wl_fail(err, EPROTO, TRIAL_PROGRAM " failed in a sandbox with status %d", info.si_status);
	return 0;
}

int host_check_trial(struct maker *maker, const struct sandbox_profile *profile, struct wl_error *err)
{
	struct maker_order order = { .tenant = 1, .profile = profile };
	if (maker_order(maker, &order) < 0)
		return wl_fail(err, ENOMEM, "no memory for a trial");
	_wl_free_ struct maker_product *product = await_product(maker, err);
	if (!product)
		return -err->code;
	if (product->err.code) {
		*err = product->err;
		return -err->code;
	}
	int result = run_trial(&product->child, err);
	crun_child_close(&product->child);
	maker_remove(maker, product->name);
	return result;
}
