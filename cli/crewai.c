/* windlass import crewai and export crewai: folders of files that others wrote, or will read. */
#include "lib/codec/crewai.h"
#include "cli/actions.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/file.h"
#include "lib/base/ids.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8
#define ENTRIES_MAX 10000 /* of all folders together */

/* ---- reading a folder ------------------------------------------------------------------------------------------- */

struct folder {
	struct wl_json *files; /* {path: text} */
	size_t bytes;
	int entries;
};

static void close_folder(DIR **folder)
{
	if (*folder)
		(void)closedir(*folder);
}

static bool has_ending(const char *name, const char *ending)
{
	size_t length = strlen(name), tail = strlen(ending);
	return length > tail && strcmp(name + length - tail, ending) == 0;
}

static bool is_wanted(const char *name)
{
	static const char *const endings[] = { ".yaml", ".yml", ".json", ".jsonc", ".py" };
	for (size_t i = 0; i < WL_COUNT_OF(endings); i++)
		if (has_ending(name, endings[i]))
			return true;
	return false;
}

/* Where tools keep what they have made. */
static bool is_passed_over(const char *name)
{
	return name[0] == '.' || strcmp(name, "node_modules") == 0 || strcmp(name, "__pycache__") == 0 ||
	       strcmp(name, "venv") == 0;
}

/* Programs are named but not sent: nobody reads them. */
static int add_file(struct folder *folder, int at, const char *name, const char *path, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, WL_CREWAI_BYTES_MAX);
	if (!has_ending(name, ".py")) {
		/* a link that came since the look at the folder is refused, a pipe does not block */
		_wl_close_ int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			return wl_fail_errno(err, errno, "open %.200s", path);
		if (wl_read_all(fd, path, &text, err) < 0)
			return -err->code;
	}
	folder->bytes += text.length;
	if (folder->bytes > WL_CREWAI_BYTES_MAX)
		return wl_fail(err, EINVAL, "the project's files have more than %u MiB", WL_CREWAI_BYTES_MAX >> 20);
	if (wl_json_count(folder->files) == WL_CREWAI_FILES_MAX)
		return wl_fail(err, EINVAL, "the project has more than %d files: name the folder of one crew",
			       WL_CREWAI_FILES_MAX);
	if (text.length && !wl_json_is_text(text.data, text.length))
		return wl_fail(err, EINVAL, "%.200s is no text in UTF-8", path);
	if (wl_json_set_string(folder->files, path, text.data ? text.data : "") < 0)
		return wl_fail(err, ENOMEM, "no memory for the project");
	return 0;
}

static int read_folder(struct folder *folder, int parent, const char *name, const char *prefix, int depth,
		       struct wl_error *err);

static int read_entry(struct folder *folder, int at, const char *name, const char *prefix, int depth,
		      struct wl_error *err)
{
	char path[WL_CREWAI_PATH_MAX + 1];
	struct stat status;
	if (++folder->entries > ENTRIES_MAX)
		return wl_fail(err, EINVAL, "the folder has more than %d entries: name the one of the project",
			       ENTRIES_MAX);
	if (is_passed_over(name))
		return 0;
	if (fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return wl_fail_errno(err, errno, "look at %.200s%s", prefix, name);
	bool file = S_ISREG(status.st_mode) && is_wanted(name), inner = S_ISDIR(status.st_mode);
	if (!file && !inner) /* links among them: they could lead anywhere */
		return 0;
	if (snprintf(path, sizeof(path), "%s%s%s", prefix, name, inner ? "/" : "") >= (int)sizeof(path))
		return wl_fail(err, ENAMETOOLONG, "the path %.64s... is too long", prefix);
	return file ? add_file(folder, at, name, path, err) : read_folder(folder, at, name, path, depth + 1, err);
}

static int read_folder(struct folder *folder, int parent, const char *name, const char *prefix, int depth,
		       struct wl_error *err)
{
	if (depth > DEPTH_MAX)
		return wl_fail(err, EINVAL, "%.200s lies deeper than %d folders", prefix, DEPTH_MAX);
	/* the first folder is what was asked for, also by a link; those inside are not */
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0));
	if (fd < 0)
		return wl_fail_errno(err, errno, "open the folder %.200s", depth ? prefix : name);
	DIR *open __attribute__((cleanup(close_folder))) = fdopendir(fd);
	if (!open) {
		int code = errno;
		(void)close(fd);
		return wl_fail_errno(err, code, "read the folder %.200s", name);
	}
	for (const struct dirent *entry = readdir(open); entry; entry = readdir(open))
		if (read_entry(folder, dirfd(open), entry->d_name, prefix, depth, err) < 0)
			return -err->code;
	return 0;
}

/* ---- import ----------------------------------------------------------------------------------------------------- */

static int put_order(struct wl_json *body, const char *order, struct wl_error *err)
{
	struct wl_json *list = wl_json_array();
	int failed = wl_json_set(body, "order", list);
	while (!failed && *order) {
		size_t length = strcspn(order, ",");
		_wl_free_ char *name = strndup(order, length);
		failed = name ? wl_json_append(list, wl_json_new_string(name)) : -ENOMEM;
		order += length + (order[length] == ',');
	}
	return failed ? wl_fail(err, ENOMEM, "no memory for a request") : 0;
}

static struct wl_json *make_body(const struct cli_arguments *arguments, struct wl_json *files, struct wl_error *err)
{
	static const char *const options[][2] = { { "name", "name" },
						  { "process", "process" },
						  { "manager-agent", "manager_agent" },
						  { "manager-llm", "manager_llm" } };
	_wl_json_ struct wl_json *body = wl_json_object();
	const char *order = cli_value(arguments, "order", NULL);
	int failed = wl_json_set(body, "files", files);
	failed |= wl_json_set_bool(body, "preview", !cli_flag(arguments, "yes"));
	for (size_t i = 0; i < WL_COUNT_OF(options) && !failed; i++)
		if (cli_value(arguments, options[i][0], NULL))
			failed = wl_json_set_string(body, options[i][1], cli_value(arguments, options[i][0], NULL));
	if (failed) {
		(void)wl_fail(err, ENOMEM, "no memory for a request");
		return NULL;
	}
	if (order && put_order(body, order, err) < 0)
		return NULL;
	return wl_steal(body);
}

static void show_things(const char *kind, const struct wl_json *things)
{
	for (const struct wl_json *one = wl_json_first(things); one; one = wl_json_next(one)) {
		(void)printf("%-6s ", kind);
		cli_print_text(stdout, wl_json_get_string(one, "name", ""), true);
		if (strcmp(wl_json_get_string(one, "state", ""), "draft") == 0)
			(void)printf(" (draft)");
		(void)fputc('\n', stdout);
	}
}

static void show_findings(const struct wl_json *findings)
{
	for (const struct wl_json *one = wl_json_first(findings); one; one = wl_json_next(one)) {
		const char *const members[] = { "severity", "file", "path", "message" };
		for (size_t i = 0; i < WL_COUNT_OF(members); i++) {
			const char *text = wl_json_get_string(one, members[i], "");
			(void)fputs(i == 0 || !*text ? "" : i == 3 ? ": " : " ", stdout);
			cli_print_text(stdout, text, true);
		}
		(void)fputc('\n', stdout);
	}
}

static int show_import(const struct cli *cli, const struct wl_json *answer, bool made, struct wl_error *err)
{
	const struct wl_json *flow = wl_json_get(answer, "flow");
	if (cli->json)
		return cli_print_json(answer, false, err);
	show_findings(wl_json_get(answer, "findings"));
	show_things("agent", wl_json_get(answer, "agents"));
	show_things("crew", wl_json_get(answer, "crews"));
	if (wl_json_is(flow, WL_JSON_OBJECT)) {
		(void)printf("%-6s ", "flow");
		cli_print_text(stdout, wl_json_get_string(flow, "name", ""), true);
		(void)fputc('\n', stdout);
	}
	(void)puts(made ? "made" : "nothing was made; --yes makes it");
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_import(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct folder folder = { .files = wl_json_object() };
	_wl_json_ struct wl_json *files = folder.files;
	if (!files)
		return wl_fail(err, ENOMEM, "no memory for the project");
	if (read_folder(&folder, AT_FDCWD, arguments->words[1], "", 0, err) < 0)
		return -err->code;
	if (wl_json_count(files) == 0)
		return wl_fail(err, EINVAL, "%.200s has no files of a project", arguments->words[1]);
	_wl_json_ struct wl_json *body = make_body(arguments, wl_steal(files), err);
	if (!body || cli_connect(cli, arguments, err) < 0 || cli_need_token(cli, err) < 0)
		return -err->code;
	struct cli_call call = { .method = "POST", .path = "/crews/import", .body = body };
	_cli_answer_ struct cli_answer answer = { 0 };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	return show_import(cli, answer.json, answer.status == 201, err);
}

/* ---- export ----------------------------------------------------------------------------------------------------- */

/* Files of the server's may lie in one folder below the new one, and nowhere else. */
static bool is_plain(const char *path)
{
	size_t first = strcspn(path, "/");
	const char *rest = path[first] ? path + first + 1 : "x";
	return first > 0 && path[0] != '.' && *rest && *rest != '.' && !strchr(rest, '/') &&
	       strlen(path) <= WL_CREWAI_PATH_MAX;
}

static int write_one(int folder, const char *path, const char *text, struct wl_error *err)
{
	char inner[WL_CREWAI_PATH_MAX + 1];
	if (!is_plain(path))
		return wl_fail(err, EPROTO, "the server named a file '%.80s'", path);
	(void)snprintf(inner, sizeof(inner), "%.*s", (int)strcspn(path, "/"), path);
	if (strchr(path, '/') && mkdirat(folder, inner, 0777) < 0 && errno != EEXIST)
		return wl_fail_errno(err, errno, "make the folder %s", inner);
	_wl_close_ int fd = openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd < 0)
		return wl_fail_errno(err, errno, "make %s", path);
	int rc = wl_write_all(fd, text, strlen(text));
	return rc < 0 ? wl_fail_errno(err, -rc, "write %s", path) : 0;
}

static int write_files(const char *name, const struct wl_json *files, struct wl_error *err)
{
	if (mkdir(name, 0777) < 0)
		return wl_fail_errno(err, errno, "make the folder %.200s", name);
	_wl_close_ int folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return wl_fail_errno(err, errno, "open the folder %.200s", name);
	for (const struct wl_json *one = wl_json_first(files); one; one = wl_json_next(one))
		if (write_one(folder, wl_json_key(one), wl_json_string(one, ""), err) < 0)
			return -err->code;
	return 0;
}

int cli_export_crewai(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	static const struct cli_group crews = { "crews", "/crews", "crews", "name", NULL };
	const char *format = cli_value(arguments, "format", "yaml");
	char id[WL_UUID_TEXT], path[120];
	_wl_json_ struct wl_json *answer = NULL;
	if (strcmp(format, "yaml") != 0 && strcmp(format, "jsonc") != 0)
		return wl_fail(err, EINVAL, "a crew is written as yaml or jsonc");
	if (cli_connect(cli, arguments, err) < 0 || cli_need_token(cli, err) < 0 ||
	    cli_thing_find(cli, &crews, arguments->words[1], id, err) < 0)
		return -err->code;
	(void)snprintf(path, sizeof(path), "/crews/%s/export?format=%s", id, format);
	if (cli_get(cli, path, &answer, err) < 0)
		return -err->code;
	if (write_files(arguments->words[2], wl_json_get(answer, "files"), err) < 0)
		return -err->code;
	if (cli->json)
		return cli_print_json(answer, false, err);
	show_findings(wl_json_get(answer, "findings"));
	for (const struct wl_json *one = wl_json_first(wl_json_get(answer, "files")); one; one = wl_json_next(one)) {
		cli_print_text(stdout, wl_json_key(one), true);
		(void)fputc('\n', stdout);
	}
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}
