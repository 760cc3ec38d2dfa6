#include "cli/credentials.h"

#include "cli/files.h"
#include "lib/base/cleanup.h"
#include "lib/codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FILE_MAX (1u << 20)

/* The fields of a login in the file, by their names. */
#define LOGIN_FIELDS(X)                                                                                                \
	X(url)                                                                                                         \
	X(email)                                                                                                       \
	X(tenant)                                                                                                      \
	X(role)                                                                                                        \
	X(access_token)                                                                                                \
	X(refresh_token)

void cli_login_wipe(struct cli_login *login)
{
	explicit_bzero(login, sizeof(*login));
}

static int make_folder(const char *path, struct wl_error *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return wl_fail_errno(err, errno, "make the folder %s", path);
	return 0;
}

/* The path of a file in our configuration folder, which is made when `make` is set. */
static int config_path(const char *name, bool make, char path[PATH_MAX], struct wl_error *err)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char folder[PATH_MAX - 64];
	int used;
	/* the XDG specification: a relative path is not valid and is ignored */
	if (base && base[0] == '/')
		used = snprintf(folder, sizeof(folder), "%s", base);
	else if (home && home[0] == '/')
		used = snprintf(folder, sizeof(folder), "%s/.config", home);
	else
		return wl_fail(err, ENOENT, "neither XDG_CONFIG_HOME nor HOME names a folder for the login");
	if (used < 0 || (size_t)used >= sizeof(folder) - 16)
		return wl_fail(err, ENAMETOOLONG, "the path of the configuration folder is too long");
	if (make && make_folder(folder, err) < 0)
		return -err->code;
	strcat(folder, "/windlass");
	if (make && make_folder(folder, err) < 0)
		return -err->code;
	(void)snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return 0;
}

int cli_credentials_lock(struct wl_error *err)
{
	char path[PATH_MAX];
	if (config_path("credentials.lock", true, path, err) < 0)
		return -err->code;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return wl_fail_errno(err, errno, "open %s", path);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		int code = errno;
		(void)close(fd);
		return wl_fail_errno(err, code, "lock %s", path);
	}
	return fd;
}

/* The whole file; an empty object when there is none. */
static int read_all(struct wl_json **ret_file, struct wl_error *err)
{
	char path[PATH_MAX];
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, FILE_MAX);
	if (config_path("credentials.json", false, path, err) < 0)
		return -err->code;
	int result = cli_file_read(path, &text, err);
	if (result == -ENOENT) {
		*ret_file = wl_json_object();
		return *ret_file ? 0 : wl_fail(err, ENOMEM, "no memory for the login");
	}
	if (result < 0)
		return result;
	if (wl_json_parse(text.data ? text.data : "", text.length, ret_file, err) < 0)
		return wl_fail_within(err, "%s is damaged; remove it and log in again", path);
	explicit_bzero(text.data, text.length);
	return 0;
}

static int write_all(const struct wl_json *file, struct wl_error *err)
{
	char path[PATH_MAX];
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, FILE_MAX);
	if (config_path("credentials.json", true, path, err) < 0)
		return -err->code;
	(void)wl_json_write(&text, file);
	(void)wl_buffer_append_char(&text, '\n');
	if (text.failed)
		return wl_fail(err, text.failed, "too many logins for one file");
	int result = cli_file_write_secret(path, text.data, text.length, err);
	explicit_bzero(text.data, text.length);
	return result;
}

static int read_login(const struct wl_json *row, struct cli_login *login, struct wl_error *err)
{
	memset(login, 0, sizeof(*login));
#define X(field)                                                                                                       \
	if (snprintf(login->field, sizeof(login->field), "%s", wl_json_get_string(row, #field, "")) >=                 \
	    (int)sizeof(login->field))                                                                                 \
		return wl_fail(err, EINVAL, "the stored login is damaged: its " #field " is too long");
	LOGIN_FIELDS(X)
#undef X
	return 0;
}

int cli_credentials_load(const char *url, struct cli_login *login, struct wl_error *err)
{
	_wl_json_ struct wl_json *file = NULL;
	if (read_all(&file, err) < 0)
		return -err->code;
	const char *wanted = url ? url : wl_json_get_string(file, "last", NULL);
	const struct wl_json *row = wl_json_first(wl_json_get(file, "logins"));
	for (; wanted && row; row = wl_json_next(row))
		if (strcmp(wl_json_get_string(row, "url", ""), wanted) == 0)
			return read_login(row, login, err);
	return wl_fail(err, ENOENT, "there is no login%s%s", url ? " for " : "", url ? url : "");
}

static struct wl_json *login_row(const struct cli_login *login)
{
	struct wl_json *row = wl_json_object();
	int failed = row ? 0 : -ENOMEM;
#define X(field) failed |= failed ? 0 : wl_json_set_string(row, #field, login->field);
	LOGIN_FIELDS(X)
#undef X
	if (!failed)
		return row;
	wl_json_free(row);
	return NULL;
}

/* The file without the login of `url`, and with `login` when it is not NULL. */
static struct wl_json *rebuild(const struct wl_json *file, const char *url, const struct cli_login *login)
{
	_wl_json_ struct wl_json *rows = wl_json_array();
	_wl_json_ struct wl_json *made = wl_json_object();
	if (!rows || !made)
		return NULL;
	int failed = 0;
	for (const struct wl_json *row = wl_json_first(wl_json_get(file, "logins")); row; row = wl_json_next(row))
		if (strcmp(wl_json_get_string(row, "url", ""), url) != 0)
			failed |= wl_json_append(rows, wl_json_copy(row));
	const char *last = wl_json_get_string(file, "last", "");
	if (login) {
		failed |= wl_json_append(rows, login_row(login));
		last = login->url;
	} else if (strcmp(last, url) == 0) {
		last = wl_json_get_string(wl_json_first(rows), "url", "");
	}
	failed |= wl_json_set_string(made, "last", last);
	failed |= wl_json_set(made, "logins", wl_steal(rows));
	return failed ? NULL : wl_steal(made);
}

static int change(const char *url, const struct cli_login *login, struct wl_error *err)
{
	_wl_json_ struct wl_json *file = NULL;
	if (read_all(&file, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *made = rebuild(file, url, login);
	if (!made)
		return wl_fail(err, ENOMEM, "no memory for the login");
	return write_all(made, err);
}

int cli_credentials_save(const struct cli_login *login, struct wl_error *err)
{
	return change(login->url, login, err);
}

int cli_credentials_forget(const char *url, struct wl_error *err)
{
	return change(url, NULL, err);
}
