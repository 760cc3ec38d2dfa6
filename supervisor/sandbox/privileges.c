#include "supervisor/sandbox/privileges.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>

/* X(capability, what it is for) */
#define KEPT(X)                                                                                                        \
	X(CAP_CHOWN, "crun gives the pipes to the sandbox's user")                                                     \
	X(CAP_DAC_OVERRIDE, "crun writes the id maps and works as other users")                                        \
	X(CAP_FOWNER, "crun sets modes of files of other users")                                                       \
	X(CAP_KILL, "sandboxes run as other users")                                                                    \
	X(CAP_SETUID, "id maps of user namespaces")                                                                    \
	X(CAP_SETGID, "id maps of user namespaces")                                                                    \
	X(CAP_SETPCAP, "empties the bounding set of a sandbox")                                                        \
	X(CAP_SETFCAP, "maps user 0 of a sandbox (user_namespaces(7))")                                                \
	X(CAP_NET_ADMIN, "the loopback of a sandbox; device filters on cgroup v2")                                     \
	X(CAP_SYS_CHROOT, "crun enters the sandbox's root")                                                            \
	X(CAP_SYS_PTRACE, "crun opens the namespaces of its child")                                                    \
	X(CAP_SYS_ADMIN, "namespaces, mounts, device filters")                                                         \
	X(CAP_SYS_NICE, "sandboxes are made with less weight than they run with")                                      \
	X(CAP_SYS_RESOURCE, "limits and the out-of-memory score of a sandbox")

static bool is_kept(cap_value_t capability)
{
	static const cap_value_t kept[] = {
#define X(capability, text) capability,
		KEPT(X)
#undef X
	};
	for (size_t i = 0; i < WL_COUNT_OF(kept); i++)
		if (kept[i] == capability)
			return true;
	return false;
}

static int clear_others(cap_t rights, struct wl_error *err)
{
	for (cap_value_t capability = 0; capability < cap_max_bits(); capability++) {
		if (is_kept(capability))
			continue;
		if (cap_get_bound(capability) > 0 && cap_drop_bound(capability) < 0)
			return wl_fail_errno(err, errno, "cannot give up capability %d", capability);
		if (cap_set_flag(rights, CAP_PERMITTED, 1, &capability, CAP_CLEAR) < 0 ||
		    cap_set_flag(rights, CAP_EFFECTIVE, 1, &capability, CAP_CLEAR) < 0 ||
		    cap_set_flag(rights, CAP_INHERITABLE, 1, &capability, CAP_CLEAR) < 0)
			return wl_fail_errno(err, errno, "cannot give up capability %d", capability);
	}
	return cap_set_proc(rights) < 0 ? wl_fail_errno(err, errno, "cannot give up capabilities") : 0;
}

int privileges_drop(struct wl_error *err)
{
	cap_t rights = cap_get_proc();
	if (!rights)
		return wl_fail_errno(err, errno, "cannot read the own capabilities");
	int result = clear_others(rights, err);
	(void)cap_free(rights);
	if (result < 0)
		return result;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return wl_fail_errno(err, errno, "cannot forbid gaining rights");
	return 0;
}
