#include "cli/files.h"

#include "lib/base/cleanup.h"
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>

int cli_file_read(const char *path, struct wl_buffer *into, struct wl_error *err)
{
	return strcmp(path, "-") == 0 ? wl_read_all(STDIN_FILENO, path, into, err) : wl_file_read(path, into, err);
}

int cli_file_write_secret(const char *path, const char *bytes, size_t length, struct wl_error *err)
{
	char beside[PATH_MAX];
	if (snprintf(beside, sizeof(beside), "%s.XXXXXX", path) >= (int)sizeof(beside))
		return wl_fail(err, ENAMETOOLONG, "the path %.64s... is too long", path);
	_wl_close_ int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return wl_fail_errno(err, errno, "make %s", beside);
	int result = wl_write_all(fd, bytes, length);
	if (result == 0 && (fsync(fd) < 0 || rename(beside, path) < 0))
		result = -errno;
	if (result < 0) {
		(void)unlink(beside);
		return wl_fail_errno(err, -result, "write %s", path);
	}
	return 0;
}

static int check_length(const char *password, size_t length, struct wl_error *err)
{
	if (length == 0)
		return wl_fail(err, EINVAL, "the password is empty");
	if (length >= CLI_PASSWORD_MAX || memchr(password, '\0', length))
		return wl_fail(err, EINVAL, "a password has at most %d bytes and no NUL", CLI_PASSWORD_MAX - 1);
	return 0;
}

static int password_from_file(const char *file, char password[CLI_PASSWORD_MAX], struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 4096);
	if (cli_file_read(file, &text, err) < 0)
		return -err->code;
	size_t length = text.data ? strcspn(text.data, "\r\n") : 0;
	int result = check_length(text.data, length, err);
	if (result == 0) {
		memcpy(password, text.data, length);
		password[length] = '\0';
	}
	if (text.data)
		explicit_bzero(text.data, text.length);
	return result;
}

static void on_interrupt(int number)
{
	(void)number; /* only so that read() returns */
}

/* Put the question and read a line, or the errno; EINTR on Ctrl-C, which is let through only while it is waited for. */
static int read_line(int terminal, const char *question, char *line, size_t size, size_t *ret_length)
{
	struct sigaction catch = { .sa_handler = on_interrupt }, kept;
	sigset_t interrupt, before;
	struct pollfd ready = { .fd = terminal, .events = POLLIN };
	(void)sigemptyset(&interrupt);
	(void)sigaddset(&interrupt, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &interrupt, &before);
	(void)sigaction(SIGINT, &catch, &kept);
	(void)dprintf(terminal, "%s: ", question);
	int code = ppoll(&ready, 1, NULL, &before) < 0 ? errno : 0;
	ssize_t got = code ? 0 : read(terminal, line, size);
	if (got < 0)
		code = errno;
	*ret_length = got > 0 ? (size_t)got : 0;
	(void)sigaction(SIGINT, &kept, NULL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return code;
}

/* One line from the terminal without echo; the terminal is as before afterwards, also on Ctrl-C. */
static int ask(int terminal, const char *question, char password[CLI_PASSWORD_MAX], struct wl_error *err)
{
	struct termios before, silent;
	if (tcgetattr(terminal, &before) < 0)
		return wl_fail_errno(err, errno, "read the terminal's settings");
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(terminal, TCSAFLUSH, &silent);
	char line[CLI_PASSWORD_MAX + 2];
	size_t length = 0;
	int code = read_line(terminal, question, line, sizeof(line), &length);
	(void)tcsetattr(terminal, TCSAFLUSH, &before);
	(void)dprintf(terminal, "\n");
	if (code)
		return wl_fail(err, code, code == EINTR ? "interrupted" : "the terminal cannot be read");
	if (length && line[length - 1] == '\n')
		length--;
	int result = check_length(line, length, err);
	if (result == 0) {
		memcpy(password, line, length);
		password[length] = '\0';
	}
	explicit_bzero(line, sizeof(line));
	return result;
}

static int password_from_terminal(bool twice, char password[CLI_PASSWORD_MAX], struct wl_error *err)
{
	_wl_close_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (terminal < 0)
		return wl_fail(
			err, EINVAL,
			"there is no terminal to ask for the password: give --password-file or WINDLASS_PASSWORD");
	if (ask(terminal, "password", password, err) < 0)
		return -err->code;
	if (!twice)
		return 0;
	char again[CLI_PASSWORD_MAX];
	int result = ask(terminal, "the same again", again, err);
	if (result == 0 && strcmp(password, again) != 0)
		result = wl_fail(err, EINVAL, "the two passwords differ");
	explicit_bzero(again, sizeof(again));
	return result;
}

int cli_password(const char *file, bool twice, char password[CLI_PASSWORD_MAX], struct wl_error *err)
{
	if (file)
		return password_from_file(file, password, err);
	const char *given = getenv("WINDLASS_PASSWORD");
	if (!given || !*given)
		return password_from_terminal(twice, password, err);
	if (check_length(given, strlen(given), err) < 0)
		return -err->code;
	strcpy(password, given);
	return 0;
}
