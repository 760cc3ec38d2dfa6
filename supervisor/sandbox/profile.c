#include "supervisor/sandbox/profile.h"

#include "lib/base/cleanup.h"
#include "lib/codec/json.h"
#include "lib/ports/sandbox.h"
#include "supervisor/sandbox/environment.h"
#include "supervisor/sandbox/seccomp_filter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLICY_BYTES_MAX (1u << 20)
#define SUFFIX ".json"
#define SCHEMA_SUFFIX ".schema.json"

/* X(field, least): the rows of "limits"; what is less than `least` would not even let init start */
#define LIMITS(X)                                                                                                      \
	X(memory_mb, 8)                                                                                                \
	X(cpu_milli, 10)                                                                                               \
	X(pids, 2)                                                                                                     \
	X(wall_ms, 1)                                                                                                  \
	X(output_kb, 1)

static int read_policy(const char *folder, const char *kind, const char *name, struct wl_buffer *text,
		       struct wl_error *err)
{
	char path[PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/%s/%s" SUFFIX, folder, kind, name);
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot open %s (setting policies_dir)", path);
	for (;;) {
		if (wl_buffer_reserve(text, 8192) < 0)
			return wl_fail(err, EFBIG, "%s is larger than a policy may be", path);
		ssize_t got = read(fd, text->data + text->length, 8192);
		if (got < 0)
			return wl_fail_errno(err, errno, "cannot read %s", path);
		if (got == 0)
			return 0;
		text->length += (size_t)got;
	}
}

/* ---- fields ------------------------------------------------------------------------------------ */

static int check_fields(const struct wl_json *object, const char *const *known, const char *where, struct wl_error *err)
{
	if (!wl_json_is(object, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "%s is not an object", where);
	for (const struct wl_json *member = wl_json_first(object); member; member = wl_json_next(member)) {
		size_t i = 0;
		while (known[i] && strcmp(known[i], wl_json_key(member)) != 0)
			i++;
		if (!known[i])
			return wl_fail(err, EINVAL, "%s has an unknown field '%.64s'", where, wl_json_key(member));
	}
	return 0;
}

static int read_whole(const struct wl_json *object, const char *key, uint32_t otherwise, uint32_t least, uint32_t most,
		      uint32_t *ret_value, struct wl_error *err)
{
	double value = wl_json_get_number(object, key, otherwise);
	bool wrong = wl_json_get(object, key) && !wl_json_is(wl_json_get(object, key), WL_JSON_NUMBER);
	if (wrong || value < least || value > most || value != (double)(uint32_t)value)
		return wl_fail(err, EINVAL, "%s must be a whole number from %u to %u", key, least, most);
	*ret_value = (uint32_t)value;
	return 0;
}

static int read_path(const struct wl_json *value, char path[PROFILE_PATH_MAX], struct wl_error *err)
{
	const char *text = wl_json_string(value, "");
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-";
	if (text[0] != '/' || strlen(text) >= PROFILE_PATH_MAX || strspn(text, plain) != strlen(text) ||
	    strstr(text, ".."))
		return wl_fail(err, EINVAL, "'%.64s' is not an absolute, plain path", text);
	strcpy(path, text);
	return 0;
}

static int read_paths(const struct wl_json *object, const char *key, struct profile_paths *list, struct wl_error *err)
{
	const struct wl_json *array = wl_json_get(object, key);
	if (array && !wl_json_is(array, WL_JSON_ARRAY))
		return wl_fail(err, EINVAL, "%s is not a list", key);
	for (const struct wl_json *row = wl_json_first(array); row; row = wl_json_next(row)) {
		if (list->count == PROFILE_LIST_MAX)
			return wl_fail(err, EINVAL, "%s has more than %d rows", key, PROFILE_LIST_MAX);
		if (read_path(row, list->paths[list->count++], err) < 0)
			return wl_fail_within(err, "%s", key);
	}
	return 0;
}

static int read_tmpfs(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err)
{
	static const char *const known[] = { "path", "size_kb", "exec", "writable", NULL };
	const struct wl_json *array = wl_json_get(object, "tmpfs");
	if (!wl_json_is(array, WL_JSON_ARRAY))
		return wl_fail(err, EINVAL, "tmpfs is not a list");
	for (const struct wl_json *row = wl_json_first(array); row; row = wl_json_next(row)) {
		if (profile->tmpfs_count == PROFILE_LIST_MAX)
			return wl_fail(err, EINVAL, "tmpfs has more than %d rows", PROFILE_LIST_MAX);
		struct profile_tmpfs *tmpfs = &profile->tmpfs[profile->tmpfs_count++];
		if (check_fields(row, known, "a row of tmpfs", err) < 0 ||
		    read_path(wl_json_get(row, "path"), tmpfs->path, err) < 0 ||
		    read_whole(row, "size_kb", 0, 4, 16u << 20, &tmpfs->size_kb, err) < 0)
			return wl_fail_within(err, "tmpfs");
		tmpfs->exec = wl_json_get_bool(row, "exec", false);
		tmpfs->writable = wl_json_get_bool(row, "writable", true);
	}
	return 0;
}

static int read_limit(const struct wl_json *limits, const char *key, uint32_t least, uint32_t *standard, uint32_t *most,
		      struct wl_error *err)
{
	static const char *const known[] = { "default", "most", NULL };
	const struct wl_json *row = wl_json_get(limits, key);
	if (check_fields(row, known, key, err) < 0 || read_whole(row, "most", 0, least, INT32_MAX, most, err) < 0 ||
	    read_whole(row, "default", 0, least, *most, standard, err) < 0)
		return wl_fail_within(err, "limits.%s", key);
	return 0;
}

static int read_limits(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err)
{
	static const char *const known[] = {
#define X(field, least) #field,
		LIMITS(X)
#undef X
			NULL
	};
	const struct wl_json *limits = wl_json_get(object, "limits");
	if (check_fields(limits, known, "limits", err) < 0)
		return -err->code;
#define X(field, least)                                                                                                \
	if (read_limit(limits, #field, least, &profile->standard.field, &profile->most.field, err) < 0)                \
		return -err->code;
	LIMITS(X)
#undef X
	return 0;
}

/* Without the field: the port of the models' gateway. */
static int read_listen(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err)
{
	const struct wl_json *ports = wl_json_get(object, "listen");
	if (!ports)
		profile->listen[profile->listen_count++] = SANDBOX_MODELS_PORT;
	else if (!wl_json_is(ports, WL_JSON_ARRAY) || wl_json_count(ports) > PROFILE_LISTEN_MAX)
		return wl_fail(err, EINVAL, "listen is not a list of at most %d ports", PROFILE_LISTEN_MAX);
	for (const struct wl_json *port = wl_json_first(ports); port; port = wl_json_next(port)) {
		double number = wl_json_number(port, 0);
		if (number < 1024 || number > 65535 || number != (double)(uint16_t)number)
			return wl_fail(err, EINVAL, "listen has a port that is not a whole number from 1024 to 65535");
		profile->listen[profile->listen_count++] = (uint16_t)number;
	}
	return 0;
}

static int read_fields(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err)
{
	static const char *const known[] = { "about",	    "rootfs",	 "binds",      "tmpfs",
					     "proc",	    "masked",	 "readonly",   "limits",
					     "open_files",  "file_mb",	 "cpu_shares", "seccomp",
					     "environment", "variables", "listen",     NULL };
	if (check_fields(object, known, "the profile", err) < 0)
		return -err->code;
	const char *rootfs = wl_json_get_string(object, "rootfs", "");
	const char *proc = wl_json_get_string(object, "proc", "all");
	if (strlen(rootfs) >= sizeof(profile->rootfs) || (*rootfs && *rootfs != '/'))
		return wl_fail(err, EINVAL, "rootfs is not an absolute path");
	strcpy(profile->rootfs, rootfs);
	if (strcmp(proc, "all") != 0 && strcmp(proc, "processes") != 0)
		return wl_fail(err, EINVAL, "proc must be all or processes");
	profile->proc_pids_only = strcmp(proc, "processes") == 0;
	if (read_paths(object, "binds", &profile->binds, err) < 0 ||
	    read_paths(object, "masked", &profile->masked, err) < 0 ||
	    read_paths(object, "readonly", &profile->readonly, err) < 0 || read_tmpfs(object, profile, err) < 0 ||
	    environment_read(object, profile, err) < 0 || read_limits(object, profile, err) < 0 ||
	    read_listen(object, profile, err) < 0 ||
	    read_whole(object, "open_files", 256, 16, 65536, &profile->open_files, err) < 0 ||
	    read_whole(object, "file_mb", 64, 1, 65536, &profile->file_mb, err) < 0 ||
	    read_whole(object, "cpu_shares", 256, 2, 262144, &profile->cpu_shares, err) < 0)
		return -err->code;
	return 0;
}

/* ---- seccomp and hash -------------------------------------------------------------------------- */

static bool is_plain_name(const char *name)
{
	size_t length = strlen(name);
	return length > 0 && length < WARDEN_PROFILE_SIZE &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static int compile_seccomp(const struct wl_buffer *text, struct sandbox_profile *profile, struct wl_error *err)
{
	static const char *const known[] = { "about", "default_errno", "allow", "conditions", "errno", NULL };
	_wl_json_ struct wl_json *list = NULL;
	_wl_buffer_ struct wl_buffer program;
	wl_buffer_init(&program, 65536);
	int unknown = 0;
	if (wl_json_parse(text->data, text->length, &list, err) < 0 || check_fields(list, known, "the list", err) < 0 ||
	    seccomp_filter_compile(list, &program, &unknown, err) < 0)
		return -err->code;
	size_t size = sodium_base64_encoded_len(program.length, sodium_base64_VARIANT_ORIGINAL);
	profile->seccomp = malloc(size);
	if (!profile->seccomp)
		return wl_fail(err, ENOMEM, "no memory for the filter");
	(void)sodium_bin2base64(profile->seccomp, size, (const unsigned char *)program.data, program.length,
				sodium_base64_VARIANT_ORIGINAL);
	return 0;
}

static void hash_policies(const struct wl_buffer *profile, const struct wl_buffer *list, uint8_t hash[32])
{
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)profile->data, profile->length);
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)list->data, list->length);
	(void)crypto_hash_sha256_final(&state, hash);
}

static int load_profile(const char *policies_dir, const char *name, struct sandbox_profile *profile,
			struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	_wl_buffer_ struct wl_buffer list_text;
	_wl_json_ struct wl_json *object = NULL;
	wl_buffer_init(&text, POLICY_BYTES_MAX);
	wl_buffer_init(&list_text, POLICY_BYTES_MAX);
	if (!is_plain_name(name))
		return wl_fail(err, EINVAL, "the name is not made of a-z, 0-9 and -");
	strcpy(profile->name, name);
	if (read_policy(policies_dir, "sandbox", name, &text, err) < 0 ||
	    wl_json_parse(text.data, text.length, &object, err) < 0 || read_fields(object, profile, err) < 0)
		return -err->code;
	const char *list = wl_json_get_string(object, "seccomp", "");
	if (!is_plain_name(list))
		return wl_fail(err, EINVAL, "seccomp is not the name of a list");
	if (read_policy(policies_dir, "seccomp", list, &list_text, err) < 0 ||
	    compile_seccomp(&list_text, profile, err) < 0)
		return wl_fail_within(err, "seccomp list '%s'", list);
	hash_policies(&text, &list_text, profile->hash);
	return 0;
}

/* ---- the set ----------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	return length > strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static int load_folder(const char *policies_dir, DIR *folder, struct profile_set *set, struct wl_error *err)
{
	for (struct dirent *entry; (entry = readdir(folder));) {
		char name[NAME_MAX + 1];
		if (!ends_with(entry->d_name, SUFFIX) || ends_with(entry->d_name, SCHEMA_SUFFIX))
			continue;
		if (set->count == PROFILE_COUNT_MAX)
			return wl_fail(err, E2BIG, "there are more than %d profiles", PROFILE_COUNT_MAX);
		(void)snprintf(name, sizeof(name), "%.*s", (int)(strlen(entry->d_name) - strlen(SUFFIX)),
			       entry->d_name);
		if (load_profile(policies_dir, name, &set->profiles[set->count++], err) < 0)
			return wl_fail_within(err, "sandbox profile '%s'", name);
	}
	return 0;
}

int profile_set_load(const char *policies_dir, struct profile_set *ret_set, struct wl_error *err)
{
	char path[PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/sandbox", policies_dir);
	DIR *folder = opendir(path);
	if (!folder)
		return wl_fail_errno(err, errno, "cannot open %s (setting policies_dir)", path);
	struct profile_set set = { .profiles = calloc(PROFILE_COUNT_MAX, sizeof(struct sandbox_profile)) };
	int result = set.profiles ? load_folder(policies_dir, folder, &set, err) : wl_fail(err, ENOMEM, "no memory");
	(void)closedir(folder);
	if (result == 0 && set.count == 0)
		result = wl_fail(err, ENOENT, "there is no sandbox profile in %s", path);
	if (result < 0)
		profile_set_release(&set);
	else
		*ret_set = set;
	return result;
}

void profile_set_release(struct profile_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->profiles[i].seccomp);
	free(set->profiles);
	*set = (struct profile_set){ 0 };
}

const struct sandbox_profile *profile_find(const struct profile_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->profiles[i].name, name) == 0)
			return &set->profiles[i];
	return NULL;
}

static bool has_port(const uint16_t *ports, size_t count, uint16_t port)
{
	for (size_t i = 0; i < count; i++)
		if (ports[i] == port)
			return true;
	return false;
}

int profile_listen(const struct sandbox_profile *profile, const uint16_t ports[WARDEN_LISTEN_MAX], struct wl_error *err)
{
	int count = 0;
	for (; count < WARDEN_LISTEN_MAX && ports[count]; count++) {
		if (!has_port(profile->listen, profile->listen_count, ports[count]))
			return wl_fail(err, EINVAL, "sandbox profile '%s' lets nobody listen on port %u", profile->name,
				       ports[count]);
		if (has_port(ports, (size_t)count, ports[count]))
			return wl_fail(err, EINVAL, "port %u is asked for twice", ports[count]);
	}
	return count;
}

static int one_limit(const char *name, uint32_t least, uint32_t asked, uint32_t standard, uint32_t most,
		     uint32_t *ret_limit, struct wl_error *err)
{
	uint32_t limit = asked ? asked : standard;
	if (limit < least || limit > most)
		return wl_fail(err, EINVAL, "limit %s must be from %u to %u, not %u", name, least, most, limit);
	*ret_limit = limit;
	return 0;
}

int profile_limits(const struct sandbox_profile *profile, const struct warden_limits *asked,
		   struct warden_limits *ret_limits, struct wl_error *err)
{
	struct warden_limits limits;
#define X(field, least)                                                                                                \
	if (one_limit(#field, least, asked->field, profile->standard.field, profile->most.field, &limits.field, err) < \
	    0)                                                                                                         \
		return -err->code;
	LIMITS(X)
#undef X
	*ret_limits = limits;
	return 0;
}
