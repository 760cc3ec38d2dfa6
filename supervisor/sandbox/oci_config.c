/*
 * Nothing in here comes from a tenant: profile and place are the operator's and the warden's. That holds for the
 * annotations above all, since some of them make crun run programs.
 */
#include "supervisor/sandbox/oci_config.h"

#include <stdio.h>
#include <string.h>

#define SANDBOX_UID 1000
#define INIT_ENVIRONMENT "\"PATH=/usr/bin:/bin\",\"HOME=/work\""

static void text_field(struct wl_buffer *out, const char *name, const char *value)
{
	(void)wl_buffer_appendf(out, "\"%s\":", name);
	(void)wl_buffer_append_json_string(out, value, strlen(value));
}

static void process(struct wl_buffer *out, const struct sandbox_profile *profile, const struct oci_place *place)
{
	(void)wl_buffer_appendf(out,
				"\"process\":{\"terminal\":false,\"user\":{\"uid\":%d,\"gid\":%d,\"umask\":63},"
				"\"cwd\":\"/work\",\"args\":[",
				SANDBOX_UID, SANDBOX_UID);
	(void)wl_buffer_append_json_string(out, place->args0, strlen(place->args0));
	(void)wl_buffer_appendf(out, "],\"env\":[" INIT_ENVIRONMENT "%s],", profile->environment.variables);
	(void)wl_buffer_append_text(
		out, "\"noNewPrivileges\":true,\"oomScoreAdj\":500,\"capabilities\":"
		     "{\"bounding\":[],\"effective\":[],\"inheritable\":[],\"permitted\":[],\"ambient\":[]},");
	(void)wl_buffer_appendf(out,
				"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"hard\":0,\"soft\":0},"
				"{\"type\":\"RLIMIT_NOFILE\",\"hard\":%u,\"soft\":%u},"
				"{\"type\":\"RLIMIT_FSIZE\",\"hard\":%llu,\"soft\":%llu}]},",
				profile->open_files, profile->open_files, (unsigned long long)profile->file_mb << 20,
				(unsigned long long)profile->file_mb << 20);
}

/* Show `below` of the folder `base` ("" is the host's root) at `destination`. */
static void bind_mount(struct wl_buffer *out, const char *base, const char *below, const char *destination)
{
	char source[1024];
	(void)snprintf(source, sizeof(source), "%s%s", base, below);
	(void)wl_buffer_append_text(out, ",{");
	text_field(out, "destination", destination);
	(void)wl_buffer_append_text(out, ",\"type\":\"bind\",");
	text_field(out, "source", source);
	(void)wl_buffer_append_text(out, ",\"options\":[\"rbind\",\"ro\",\"nosuid\",\"nodev\"]}");
}

static void tmpfs_mount(struct wl_buffer *out, const struct profile_tmpfs *tmpfs)
{
	(void)wl_buffer_append_text(out, ",{");
	text_field(out, "destination", tmpfs->path);
	(void)wl_buffer_appendf(out,
				",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"nodev\"%s%s,"
				"\"mode=%s\",\"size=%uk\"]}",
				tmpfs->exec ? "" : ",\"noexec\"", tmpfs->writable ? "" : ",\"ro\"",
				tmpfs->writable ? "1777" : "755", tmpfs->size_kb);
}

/* Order matters: a mount hides what was mounted at its place, so host folders come before the tmpfs that cover parts.
 */
static void mounts(struct wl_buffer *out, const struct sandbox_profile *profile, const struct oci_place *place)
{
	(void)wl_buffer_appendf(out,
				"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
				"\"options\":[\"nosuid\",\"noexec\",\"nodev\"%s]},"
				"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
				"[\"nosuid\",\"noexec\",\"strictatime\",\"mode=755\",\"size=64k\"]}",
				profile->proc_pids_only ? ",\"subset=pid\"" : "");
	for (size_t i = 0; i < profile->binds.count; i++)
		bind_mount(out, profile->rootfs, profile->binds.paths[i], profile->binds.paths[i]);
	if (place->runtime_dir)
		bind_mount(out, place->runtime_dir, "", "/opt/runtime");
	for (size_t i = 0; i < profile->tmpfs_count; i++)
		tmpfs_mount(out, &profile->tmpfs[i]);
	if (place->environment_dir)
		bind_mount(out, place->environment_dir, "", profile->environment.path);
	(void)wl_buffer_append_text(out, "],");
}

static void path_list(struct wl_buffer *out, const char *name, const struct profile_paths *list)
{
	(void)wl_buffer_appendf(out, ",\"%s\":[", name);
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			(void)wl_buffer_append_char(out, ',');
		(void)wl_buffer_append_json_string(out, list->paths[i], strlen(list->paths[i]));
	}
	(void)wl_buffer_append_char(out, ']');
}

static void resources(struct wl_buffer *out, const struct sandbox_profile *profile)
{
	unsigned long long memory = (unsigned long long)profile->standard.memory_mb << 20;
	(void)wl_buffer_appendf(out,
				",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],"
				"\"memory\":{\"limit\":%llu,\"swap\":%llu},\"pids\":{\"limit\":%u},"
				"\"cpu\":{\"quota\":%u,\"period\":100000,\"shares\":%u}}",
				memory, memory, profile->standard.pids, profile->standard.cpu_milli * 100,
				profile->cpu_shares);
}

int oci_config_write(const struct sandbox_profile *profile, const struct oci_place *place, struct wl_buffer *out)
{
	uint32_t host_id = WARDEN_UID_BASE + WARDEN_UID_RANGE * place->tenant;
	(void)wl_buffer_append_text(out, "{\"ociVersion\":\"1.0.2\",\"hostname\":\"sandbox\",\"root\":{");
	text_field(out, "path", place->rootfs);
	(void)wl_buffer_append_text(out, ",\"readonly\":true},");
	process(out, profile, place);
	mounts(out, profile, place);
	(void)wl_buffer_append_text(out, "\"annotations\":{");
	text_field(out, "run.oci.seccomp_bpf_data", profile->seccomp);
	(void)wl_buffer_append_text(out, "},\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},"
					 "{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"},"
					 "{\"type\":\"network\"},{\"type\":\"user\"}]");
	static const char *const maps[] = { "uidMappings", "gidMappings" };
	for (int i = 0; i < 2; i++)
		(void)wl_buffer_appendf(out, ",\"%s\":[{\"containerID\":0,\"hostID\":%u,\"size\":%u}]", maps[i],
					host_id, WARDEN_UID_RANGE);
	(void)wl_buffer_append_char(out, ',');
	text_field(out, "cgroupsPath", place->cgroups_path);
	(void)wl_buffer_append_text(out, ",\"rootfsPropagation\":\"private\"");
	resources(out, profile);
	path_list(out, "maskedPaths", &profile->masked);
	path_list(out, "readonlyPaths", &profile->readonly);
	return wl_buffer_append_text(out, "}}");
}
