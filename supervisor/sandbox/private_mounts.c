#include "supervisor/sandbox/private_mounts.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNIFIED "/sys/fs/cgroup/unified"

static bool lies_within(const char *path, const char *folder)
{
	char real[PATH_MAX];
	size_t length = strlen(folder);
	if (!realpath(path, real))
		return false;
	return strncmp(real, folder, length) == 0 && (real[length] == '/' || real[length] == '\0');
}

/* A folder to mount over: one that every Debian system has and that nobody in `keep` needs. */
static const char *spare_folder(const char *const *keep)
{
	static const char *const candidates[] = { "/mnt", "/media", "/srv", "/opt" };
	for (size_t i = 0; i < WL_COUNT_OF(candidates); i++) {
		struct stat status;
		bool needed = false;
		for (const char *const *path = keep; *path; path++)
			needed = needed || (**path && lies_within(*path, candidates[i]));
		if (!needed && lstat(candidates[i], &status) == 0 && S_ISDIR(status.st_mode))
			return candidates[i];
	}
	return NULL;
}

int private_mounts_enter(const char *const *keep, struct scratch *ret_scratch, struct wl_error *err)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return wl_fail_errno(err, errno, "cannot leave the host's mount and network namespaces");
	/* slave, not private: what the host unmounts later is not kept alive by us */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return wl_fail_errno(err, errno, "cannot separate the mounts from the host's");
	if (access(UNIFIED, F_OK) == 0 && umount2(UNIFIED, MNT_DETACH) < 0 && errno != EINVAL)
		return wl_fail_errno(err, errno, "cannot take %s out of sight", UNIFIED);
	const char *folder = spare_folder(keep);
	if (!folder)
		return wl_fail(err, ENOTSUP, "none of /mnt, /media, /srv, /opt is free for the scratch file system");
	if (mount("windlass", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m") < 0)
		return wl_fail_errno(err, errno, "cannot mount the scratch file system on %s", folder);
	struct scratch scratch = { 0 };
	(void)snprintf(scratch.root, sizeof(scratch.root), "%s", folder);
	static const char *const folders[] = { "crun", "bundle", "rootfs", "runtime", "environments" };
	for (size_t i = 0; i < WL_COUNT_OF(folders); i++) {
		char path[PATH_MAX];
		(void)snprintf(path, sizeof(path), "%s/%s", folder, folders[i]);
		if (mkdir(path, 0755) < 0)
			return wl_fail_errno(err, errno, "cannot make %s", path);
	}
	*ret_scratch = scratch;
	return 0;
}

int private_mounts_runtime(struct scratch *scratch, const char *runtime_dir, struct wl_error *err)
{
	char target[PATH_MAX];
	char node[PATH_MAX + 16];
	struct stat status;
	(void)snprintf(target, sizeof(target), "%s/runtime", scratch->root);
	if (mount(runtime_dir, target, NULL, MS_BIND, NULL) < 0)
		return wl_fail_errno(err, errno, "cannot show the runtime folder %s (setting runtime_dir)",
				     runtime_dir);
	if (mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return wl_fail_errno(err, errno, "cannot make the runtime folder %s read-only", runtime_dir);
	(void)snprintf(node, sizeof(node), "%s/bin/node", target);
	/* read by others, too: a shared library beside it needs it, and the mapped user is always "others" */
	scratch->has_runtime = stat(node, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 05) == 05 &&
			       stat(target, &status) == 0 && (status.st_mode & 01);
	return 0;
}

int private_mounts_environment(const struct scratch *scratch, const struct sandbox_profile *profile,
			       struct wl_error *err)
{
	char target[SCRATCH_PATH_MAX + WARDEN_PROFILE_SIZE + 16];
	const char *folder = profile->environment.folder;
	if (!*folder)
		return 0;
	(void)snprintf(target, sizeof(target), "%s/environments/%s", scratch->root, profile->name);
	if (mkdir(target, 0755) < 0 || mount(folder, target, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return wl_fail_errno(err, errno, "cannot show the environment %s of profile %s", folder, profile->name);
	return 0;
}

/* ---- the root file system ---------------------------------------------------------------------- */

/* Make a folder, or for a host file an empty file, below `root`, with all parents. */
static int make_point(const char *root, const char *path, bool folder, struct wl_error *err)
{
	char full[PATH_MAX];
	size_t base = strlen(root);
	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = strchr(full + base + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(full, 0755) < 0 && errno != EEXIST)
			return wl_fail_errno(err, errno, "cannot make %s", full);
		*slash = '/';
	}
	if (folder)
		return mkdir(full, 0755) < 0 && errno != EEXIST ? wl_fail_errno(err, errno, "cannot make %s", full) : 0;
	_wl_close_ int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? wl_fail_errno(err, errno, "cannot make %s", full) : 0;
}

static int make_text(const char *root, const char *path, const char *text, struct wl_error *err)
{
	char full[PATH_MAX];
	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	_wl_close_ int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return wl_fail_errno(err, errno, "cannot write %s", full);
	return 0;
}

static int copy_init(const char *root, int init_fd, struct wl_error *err)
{
	char full[PATH_MAX];
	struct stat status;
	(void)snprintf(full, sizeof(full), "%s" INIT_INSIDE, root);
	_wl_close_ int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || fstat(init_fd, &status) < 0)
		return wl_fail_errno(err, errno, "cannot write %s", full);
	off_t at = 0;
	while (at < status.st_size)
		if (sendfile(fd, init_fd, &at, (size_t)(status.st_size - at)) <= 0)
			return wl_fail_errno(err, errno, "cannot copy init to %s", full);
	return fchmod(fd, 0755) < 0 ? wl_fail_errno(err, errno, "cannot make %s executable", full) : 0;
}

static int make_links(const char *root, struct wl_error *err)
{
	static const char *const links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
	for (size_t i = 0; i < WL_COUNT_OF(links); i++) {
		char full[PATH_MAX];
		char target[32];
		(void)snprintf(target, sizeof(target), "usr/%s", links[i]);
		(void)snprintf(full, sizeof(full), "%s/%s", root, links[i]);
		if (symlink(target, full) < 0)
			return wl_fail_errno(err, errno, "cannot make %s", full);
	}
	return 0;
}

static int make_points(const char *root, const struct sandbox_profile *profile, struct wl_error *err)
{
	static const char *const always[] = { "/proc", "/dev", "/etc", "/opt/runtime" };
	for (size_t i = 0; i < WL_COUNT_OF(always); i++)
		if (make_point(root, always[i], true, err) < 0)
			return -err->code;
	for (size_t i = 0; i < profile->binds.count; i++) {
		struct stat status;
		char source[PATH_MAX];
		(void)snprintf(source, sizeof(source), "%s%s", profile->rootfs, profile->binds.paths[i]);
		if (stat(source, &status) < 0)
			return wl_fail_errno(err, errno, "profile %s shows %s, which this host lacks", profile->name,
					     source);
		if (make_point(root, profile->binds.paths[i], S_ISDIR(status.st_mode), err) < 0)
			return -err->code;
	}
	const char *shown = profile->environment.path;
	if (*shown && strncmp(shown, "/usr/", 5) != 0 && make_point(root, shown, true, err) < 0)
		return -err->code;
	/* a tmpfs over a part of a host folder, such as /usr/local, lands on what that folder has itself */
	for (size_t i = 0; i < profile->tmpfs_count; i++)
		if (strncmp(profile->tmpfs[i].path, "/usr/", 5) != 0 &&
		    strncmp(profile->tmpfs[i].path, "/dev/", 5) != 0 &&
		    make_point(root, profile->tmpfs[i].path, true, err) < 0)
			return -err->code;
	return 0;
}

int private_mounts_rootfs(const struct scratch *scratch, const struct sandbox_profile *profile, int init_fd,
			  struct wl_error *err)
{
	char root[SCRATCH_PATH_MAX + WARDEN_PROFILE_SIZE + 16];
	(void)snprintf(root, sizeof(root), "%s/rootfs/%s", scratch->root, profile->name);
	if (mkdir(root, 0755) < 0)
		return wl_fail_errno(err, errno, "cannot make %s", root);
	if (make_links(root, err) < 0 || make_points(root, profile, err) < 0)
		return -err->code;
	if (make_text(root, "/etc/passwd",
		      "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:1000:1000:sandbox:/work:/bin/bash\n", err) < 0 ||
	    make_text(root, "/etc/group", "root:x:0:\nsandbox:x:1000:\n", err) < 0 ||
	    make_text(root, "/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n", err) < 0 ||
	    make_text(root, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", err) < 0)
		return -err->code;
	return copy_init(root, init_fd, err);
}
