#include "supervisor/sandbox/environment.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define VALUE_MAX 512
#define MARK_MAX 65536

static int read_text(const struct wl_json *object, const char *key, const char *plain, char *into, size_t size,
		     struct wl_error *err)
{
	const char *text = wl_json_get_string(object, key, "");
	size_t length = strlen(text);
	if (length == 0 || length >= size || strspn(text, plain) != length)
		return wl_fail(err, EINVAL, "environment.%s must be 1 to %zu of the characters %s", key, size - 1,
			       plain);
	memcpy(into, text, length + 1);
	return 0;
}

static int read_folder(const struct wl_json *object, struct profile_environment *environment, struct wl_error *err)
{
	static const char *const known[] = { "name", "path", "made_by", NULL };
	if (!wl_json_is(object, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "environment is not an object");
	for (const struct wl_json *member = wl_json_first(object); member; member = wl_json_next(member)) {
		size_t i = 0;
		while (known[i] && strcmp(known[i], wl_json_key(member)) != 0)
			i++;
		if (!known[i])
			return wl_fail(err, EINVAL, "environment has an unknown field '%.64s'", wl_json_key(member));
	}
	if (read_text(object, "name", LOWER DIGITS "-", environment->name, sizeof(environment->name), err) < 0 ||
	    read_text(object, "path", LOWER UPPER DIGITS "_/-", environment->path, sizeof(environment->path), err) <
		    0 ||
	    read_text(object, "made_by", LOWER UPPER DIGITS " _./-", environment->made_by, sizeof(environment->made_by),
		      err) < 0)
		return -err->code;
	if (environment->path[0] != '/')
		return wl_fail(err, EINVAL, "environment.path is not an absolute path");
	return 0;
}

static int read_variable(const struct wl_json *member, struct profile_environment *environment, struct wl_error *err)
{
	const char *name = wl_json_key(member);
	const char *value = wl_json_string(member, NULL);
	size_t used = strlen(environment->variables);
	if (!*name || strspn(name, UPPER DIGITS "_") != strlen(name) || (*name >= '0' && *name <= '9'))
		return wl_fail(err, EINVAL, "variables: '%.64s' is not a name of A-Z, 0-9 and _", name);
	if (!value || strlen(value) > VALUE_MAX)
		return wl_fail(err, EINVAL, "variables.%.64s is not a text of at most %d bytes", name, VALUE_MAX);
	_wl_buffer_ struct wl_buffer text;
	_wl_buffer_ struct wl_buffer pair;
	wl_buffer_init(&text, 0);
	wl_buffer_init(&pair, 0);
	(void)wl_buffer_appendf(&pair, "%s=%s", name, value);
	(void)wl_buffer_append_char(&text, ',');
	if (pair.failed || wl_buffer_append_json_string(&text, pair.data, pair.length) < 0)
		return wl_fail(err, ENOMEM, "no memory for a profile's variables");
	if (used + text.length >= sizeof(environment->variables))
		return wl_fail(err, EINVAL, "variables are longer than %zu bytes together",
			       sizeof(environment->variables));
	memcpy(environment->variables + used, text.data, text.length);
	environment->variables[used + text.length] = '\0';
	return 0;
}

int environment_read(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err)
{
	const struct wl_json *folder = wl_json_get(object, "environment");
	const struct wl_json *variables = wl_json_get(object, "variables");
	if (folder && read_folder(folder, &profile->environment, err) < 0)
		return -err->code;
	if (variables && !wl_json_is(variables, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "variables is not an object");
	for (const struct wl_json *member = wl_json_first(variables); member; member = wl_json_next(member))
		if (read_variable(member, &profile->environment, err) < 0)
			return -err->code;
	return 0;
}

/* ---- on this host ------------------------------------------------------------------------------ */

/* The first bytes of a file; -ENOENT when it is not there. */
static int read_mark(const char *path, char *text, size_t size, size_t *ret_length, struct wl_error *err)
{
	_wl_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot open %s (setting environments_dir)", path);
	ssize_t got = read(fd, text, size);
	if (got <= 0)
		return wl_fail_errno(err, got < 0 ? errno : EINVAL, "cannot read %s", path);
	*ret_length = (size_t)got;
	return 0;
}

int environment_find(const char *environments_dir, struct sandbox_profile *profile, struct wl_error *err)
{
	struct profile_environment *environment = &profile->environment;
	if (!*environment->name || !*environments_dir)
		return 0;
	char path[PATH_MAX];
	char real[PATH_MAX];
	_wl_free_ char *mark = malloc(MARK_MAX);
	size_t length = 0;
	if (!mark)
		return wl_fail(err, ENOMEM, "no memory for an environment's mark");
	(void)snprintf(path, sizeof(path), "%s/%s/" ENVIRONMENT_MARK, environments_dir, environment->name);
	int result = read_mark(path, mark, MARK_MAX, &length, err);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return result;
	path[strlen(path) - strlen("/" ENVIRONMENT_MARK)] = '\0';
	if (!realpath(path, real) || strlen(real) >= sizeof(environment->folder))
		return wl_fail(err, ENAMETOOLONG, "the environment %s lies too deep", path);
	strcpy(environment->folder, real);
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, profile->hash, sizeof(profile->hash));
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)mark, length);
	(void)crypto_hash_sha256_final(&state, profile->hash);
	return 0;
}

int environment_check(const struct sandbox_profile *profile, struct wl_error *err)
{
	const struct profile_environment *environment = &profile->environment;
	if (!*environment->name || *environment->folder)
		return 0;
	return wl_fail(err, ENOENT, "the sandbox profile '%s' is not installed on this host; '%s' makes it",
		       profile->name, environment->made_by);
}
