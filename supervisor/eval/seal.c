#include "supervisor/eval/seal.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEPT_FD 3

int seal_descriptors(int keep_fd, struct wl_error *err)
{
	_wl_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return wl_fail_errno(err, errno, "open /dev/null");
	if (keep_fd != KEPT_FD && dup2(keep_fd, KEPT_FD) < 0)
		return wl_fail_errno(err, errno, "keep the control socket");
	for (int fd = 0; fd < KEPT_FD; fd++)
		if (dup2(null_fd, fd) < 0)
			return wl_fail_errno(err, errno, "put /dev/null on fd %d", fd);
	(void)wl_steal_fd(&null_fd); /* closed with all the others */
	if (syscall(SYS_close_range, KEPT_FD + 1, ~0u, 0) < 0)
		return wl_fail_errno(err, errno, "close what the parent has open");
	return KEPT_FD;
}

/* Bytes of address space in use, 0 when the kernel does not tell. */
static unsigned long mapped_bytes(void)
{
	_wl_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;
	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		return 0;
	return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

static int bound(__rlimit_resource_t resource, const char *name, unsigned long most, struct wl_error *err)
{
	struct rlimit limit = { .rlim_cur = most, .rlim_max = most };
	if (setrlimit(resource, &limit) < 0)
		return wl_fail_errno(err, errno, "set the limit %s", name);
	return 0;
}

int seal_limits(long memory_mb, struct wl_error *err)
{
	unsigned long mapped = mapped_bytes();
	if (mapped == 0)
		return wl_fail(err, EIO, "the kernel does not tell how much memory is mapped (/proc is needed)");
	if (bound(RLIMIT_AS, "of address space", mapped + ((unsigned long)memory_mb << 20), err) < 0 ||
	    bound(RLIMIT_NOFILE, "of open files", 8, err) < 0 || bound(RLIMIT_FSIZE, "of file size", 0, err) < 0 ||
	    bound(RLIMIT_NPROC, "of processes", 0, err) < 0 || bound(RLIMIT_CORE, "of core dumps", 0, err) < 0)
		return -err->code;
	return 0;
}

/* Calls without arguments worth checking. No socket, no open file, no process can be made with them. */
static const int allowed[] = {
	SCMP_SYS(read),	      SCMP_SYS(write),	   SCMP_SYS(recvfrom),	      SCMP_SYS(sendto),
	SCMP_SYS(recvmsg),    SCMP_SYS(sendmsg),   SCMP_SYS(close),	      SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(futex),	   SCMP_SYS(munmap),	      SCMP_SYS(mremap),
	SCMP_SYS(brk),	      SCMP_SYS(madvise),   SCMP_SYS(rt_sigreturn),    SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(setitimer),  SCMP_SYS(getitimer), SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday),
	SCMP_SYS(time),	      SCMP_SYS(getrandom), SCMP_SYS(restart_syscall),
};

/* Calls that name files. */
static const int refused[] = {
	SCMP_SYS(open),	 SCMP_SYS(openat), SCMP_SYS(stat),	 SCMP_SYS(lstat),
	SCMP_SYS(fstat), SCMP_SYS(access), SCMP_SYS(newfstatat), SCMP_SYS(readlink),
};

static int add_rules(scmp_filter_ctx filter)
{
	int result = 0;
	for (size_t i = 0; i < WL_COUNT_OF(allowed) && result == 0; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < WL_COUNT_OF(refused) && result == 0; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOENT), refused[i], 0);
	/* memory of its own that is never executable */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
					  SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return result;
}

int seal_system_calls(struct wl_error *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return wl_fail_errno(err, errno, "give up new privileges");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return wl_fail_errno(err, errno, "refuse to be traced");
#ifdef WL_SANITIZED
	return 0; /* the sanitizers' own calls are many and change with the compiler */
#endif
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return wl_fail(err, ENOMEM, "out of memory for the system call filter");
	int result = add_rules(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result < 0 ? wl_fail_errno(err, -result, "load the system call filter") : 0;
}
