#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"
#include "supervisor/eval/eval.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Remove the socket that a dead server has left; a living one keeps it, and we say so. */
static int clear_place(const struct sockaddr_un *address, struct wl_error *err)
{
	struct stat found;
	if (lstat(address->sun_path, &found) < 0)
		return 0;
	if (!S_ISSOCK(found.st_mode))
		return wl_fail(err, EEXIST, "%s exists and is no socket: set WINDLASS_EVAL_SOCKET to another path",
			       address->sun_path);
	_wl_close_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return wl_fail(err, EADDRINUSE, "another expression server listens on %s", address->sun_path);
	if (unlink(address->sun_path) < 0)
		return wl_fail_errno(err, errno, "remove the old socket %s", address->sun_path);
	return 0;
}

static int listen_at(const char *path, int *ret_fd, struct wl_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path))
		return wl_fail(err, EINVAL, "setting eval_socket has more than %zu bytes",
			       sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	if (clear_place(&address, err) < 0)
		return -err->code;
	_wl_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return wl_fail_errno(err, errno, "make a socket");
	mode_t before = umask(0117); /* the owner and the group may connect */
	int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	(void)umask(before);
	if (bound < 0 || listen(fd, 512) < 0)
		return wl_fail_errno(err, errno, "listen on %s", path);
	*ret_fd = wl_steal_fd(&fd);
	return 0;
}

/* Everything that libjq and the C library do once is done here, so that children share it: also what they could not
 * do themselves once they are sealed. */
static int warm(struct program_cache *cache, struct wl_error *err)
{
	/* the long sort: glibc's qsort() asks once how much memory there is, which a sealed child may not */
	static const char program[] = "[\"warm\" | test(\"a\"), (now | todate | length > 0),"
				      " ([range(2000)] | sort | length > 0)] | tojson";
	jv value;
	tzset();
	int result = program_run(cache, program, sizeof(program) - 1, jv_null(), &value, err);
	if (result < 0)
		return wl_fail_within(err, "libjq does not work");
	jv_free(value);
	return 0;
}

static int run(const struct wl_settings *settings, struct wl_error *err)
{
	struct eval_limits limits = { .memory_mb = settings->eval_memory_mb, .time_ms = settings->eval_ms };
	_wl_close_ int listen_fd = -1;
	if (wl_settings_need(settings->eval_socket, "EVAL_SOCKET", "the socket of the expression server", err) < 0)
		return -err->code;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)clearenv(); /* before the first child: none may show it to an expression */
	struct program_cache *cache = program_cache_new();
	if (!cache)
		return wl_fail(err, ENOMEM, "out of memory");
	int result = warm(cache, err);
	if (result == 0)
		result = listen_at(settings->eval_socket, &listen_fd, err);
	if (result == 0) {
		wl_log(WL_LOG_NOTICE, "listening on %s", settings->eval_socket);
		result = eval_serve(listen_fd, &limits, cache, err);
		(void)unlink(settings->eval_socket);
	}
	program_cache_free(cache);
	return result;
}

int main(int argc, char **argv)
{
	static struct wl_settings settings;
	struct wl_error err = { 0 };
	int loaded = wl_settings_load(&settings, WL_PROGRAM_EVAL, argc, argv, &err);
	if (loaded > 0)
		return 0;
	int level = loaded == 0 ? wl_log_level_of(settings.log_level) : -1;
	wl_log_open("windlass-eval", level >= 0 ? (enum wl_log_level)level : WL_LOG_NOTICE);
	if (loaded == 0 && level < 0)
		loaded = wl_fail(&err, EINVAL, "setting log_level must be error, warning, notice, info or debug");
	if (loaded < 0 || run(&settings, &err) < 0) {
		wl_log(WL_LOG_ERROR, "%s", err.text);
		return 1;
	}
	return 0;
}
