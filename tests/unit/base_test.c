/* The base library: errors, buffers, identifiers, time stamps, settings. */
#include "lib/base/buffer.h"
#include "lib/base/byte_queue.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/ids.h"
#include "lib/base/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>

#include <cmocka.h>

static void error_never_reports_success(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	assert_int_equal(wl_fail(&err, 0, "no errno was set"), -EIO);
	assert_int_equal(err.code, EIO);
	assert_string_equal(err.text, "no errno was set");
	assert_int_equal(wl_fail(NULL, EACCES, "nobody listens"), -EACCES);
}

static void error_gains_context(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	(void)wl_fail_errno(&err, ENOENT, "open '%s'", "policy");
	assert_string_equal(err.text, "open 'policy': No such file or directory");
	assert_int_equal(wl_fail_within(&err, "profile %d", 7), -ENOENT);
	assert_string_equal(err.text, "profile 7: open 'policy': No such file or directory");
}

static void error_text_is_cut_not_overrun(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	char longer[2 * WL_ERROR_TEXT];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	(void)wl_fail_errno(&err, ENOENT, "%s", longer);
	assert_int_equal(strlen(err.text), WL_ERROR_TEXT - 1);
	(void)wl_fail_within(&err, "%s", longer);
	assert_int_equal(strlen(err.text), WL_ERROR_TEXT - 1);
}

static void buffer_keeps_its_limit(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 8);
	assert_int_equal(wl_buffer_append_text(&buffer, "12345678"), 0);
	assert_int_equal(wl_buffer_append_char(&buffer, '9'), -EMSGSIZE);
	assert_int_equal(buffer.failed, EMSGSIZE);
	assert_string_equal(buffer.data, "12345678");
	assert_int_equal(wl_buffer_append(&buffer, "", 0), -EMSGSIZE); /* a failure stays until clear */
	wl_buffer_clear(&buffer);
	assert_int_equal(wl_buffer_append_text(&buffer, "again"), 0);
	_wl_free_ char *stolen = wl_buffer_steal(&buffer);
	assert_string_equal(stolen, "again");
	assert_int_equal(buffer.length, 0);
}

static void buffer_refuses_sizes_that_wrap(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	assert_int_equal(wl_buffer_append_text(&buffer, "abc"), 0);
	assert_int_equal(wl_buffer_reserve(&buffer, SIZE_MAX - 1), -EMSGSIZE);
}

/* A file of that many bytes, each another than the one before; its descriptor. */
static int make_file(char path[32], size_t length)
{
	strcpy(path, "/tmp/wl-base-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	_wl_free_ char *bytes = malloc(length + 1);
	assert_non_null(bytes);
	for (size_t i = 0; i < length; i++)
		bytes[i] = (char)(i % 251);
	assert_int_equal(wl_write_all(fd, bytes, length), 0);
	return fd;
}

static void files_are_read_whole_within_a_limit(void **state)
{
	(void)state;
	const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 300000 };
	for (size_t i = 0; i < WL_COUNT_OF(sizes); i++) {
		char path[32];
		struct wl_error err = { 0 };
		_wl_close_ int fd = make_file(path, sizes[i]);
		_wl_buffer_ struct wl_buffer whole, part;
		wl_buffer_init(&whole, sizes[i] ? sizes[i] : 1);
		wl_buffer_init(&part, sizes[i] > 1 ? sizes[i] - 1 : 1);
		assert_int_equal(wl_file_read(path, &whole, &err), 0);
		assert_int_equal(whole.length, sizes[i]);
		for (size_t at = 0; at < sizes[i]; at++)
			assert_int_equal(whole.data[at], (char)(at % 251));
		assert_int_equal(wl_file_read(path, &part, &err), sizes[i] > 1 ? -EMSGSIZE : 0);
		assert_true(sizes[i] <= 1 || strstr(err.text, path));
		assert_int_equal(unlink(path), 0);
	}
}

static void files_that_cannot_be_read_are_named(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	assert_int_equal(wl_file_read("/nowhere/to/be/found", &buffer, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/to/be/found"));
	assert_int_equal(wl_file_read("/", &buffer, &err), -EISDIR);
	assert_int_equal(wl_read_all(-1, "input", &buffer, &err), -EBADF);
	assert_string_equal(err.text, "read input: Bad file descriptor");
	assert_int_equal(buffer.length, 0);
}

struct pipe_reader {
	int fd;
	size_t length;
	bool in_order;
};

static void *read_slowly(void *context)
{
	struct pipe_reader *reader = context;
	char piece[997];
	for (ssize_t got; (got = read(reader->fd, piece, sizeof(piece))) != 0;)
		for (ssize_t i = 0; i < got; i++)
			reader->in_order &= piece[i] == (char)(reader->length++ % 251);
	return NULL;
}

static void on_alarm(int number)
{
	(void)number; /* only so that write() returns early */
}

/* More than a pipe holds, while signals end one call after the other in the middle. */
static void writes_go_on_where_one_call_ended(void **state)
{
	(void)state;
	const struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { 0 };
	struct sigaction interrupt = { .sa_handler = on_alarm }, before;
	sigset_t alarms, kept;
	int ends[2];
	size_t length = 4 << 20;
	_wl_free_ char *bytes = malloc(length);
	assert_non_null(bytes);
	for (size_t i = 0; i < length; i++)
		bytes[i] = (char)(i % 251);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	struct pipe_reader reader = { .fd = ends[0], .in_order = true };
	pthread_t thread;
	(void)sigemptyset(&alarms);
	(void)sigaddset(&alarms, SIGALRM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &alarms, &kept), 0); /* they are for the one who writes */
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &kept, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &interrupt, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	int result = wl_write_all(ends[1], bytes, length);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	assert_int_equal(close(ends[1]), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, 0);
	assert_int_equal(reader.length, length);
	assert_true(reader.in_order);
	assert_int_equal(wl_write_all(ends[0], bytes, 1), -EBADF); /* the end that is for reading */
	assert_int_equal(wl_write_all(ends[0], bytes, 0), 0);
	assert_int_equal(close(ends[0]), 0);
}

static void json_strings_are_escaped(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer buffer;
	wl_buffer_init(&buffer, 0);
	const char text[] = "a\"b\\c\n\t\x01\x7f\xc3\xa4";
	assert_int_equal(wl_buffer_append_json_string(&buffer, text, sizeof(text) - 1), 0);
	assert_string_equal(buffer.data, "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\xc3\xa4\"");
}

static void uuids_are_version_7_and_ordered_by_time(void **state)
{
	(void)state;
	char earlier[WL_UUID_TEXT], later[WL_UUID_TEXT], twin[WL_UUID_TEXT];
	wl_uuid7(1700000000000, earlier);
	wl_uuid7(1700000000001, later);
	wl_uuid7(1700000000001, twin);
	assert_true(wl_uuid_valid(earlier));
	assert_int_equal(earlier[14], '7');
	assert_non_null(strchr("89ab", earlier[19]));
	assert_true(strcmp(earlier, later) < 0);
	assert_string_not_equal(later, twin);
}

static void uuid_check_refuses_other_forms(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "0190",
					   "01900000-0000-7000-8000-00000000000",
					   "01900000-0000-7000-8000-0000000000000",
					   "01900000_0000-7000-8000-000000000000",
					   "g1900000-0000-7000-8000-000000000000" };
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++)
		assert_false(wl_uuid_valid(bad[i]));
	assert_true(wl_uuid_valid("01900000-0000-7000-8000-00000000ABcd"));
}

static void time_stamps_are_rfc3339(void **state)
{
	(void)state;
	char text[WL_RFC3339_SIZE];
	assert_string_equal(wl_rfc3339(0, text), "1970-01-01T00:00:00.000Z");
	assert_string_equal(wl_rfc3339(1709208000007, text), "2024-02-29T12:00:00.007Z");
}

static void settings_take_arguments_over_environment(void **state)
{
	(void)state;
	struct wl_settings settings;
	struct wl_error err = { 0 };
	setenv("WINDLASS_CAPACITY", "12", 1);
	setenv("WINDLASS_BIND", "127.0.0.9", 1);
	char *arguments[] = { "program", "--capacity=34", "--lease-ms=2000" };
	assert_int_equal(wl_settings_load(&settings, WL_PROGRAM_SUPERVISOR, 3, arguments, &err), 0);
	assert_int_equal(settings.capacity, 34);
	assert_int_equal(settings.lease_ms, 2000);
	assert_string_equal(settings.bind, "127.0.0.9");
	assert_int_equal(settings.renew_ms, 10000);
	unsetenv("WINDLASS_CAPACITY");
	unsetenv("WINDLASS_BIND");
}

static void every_number_setting_keeps_its_range(void **state)
{
	(void)state;
	struct wl_settings settings;
	struct wl_error err = { 0 };
	char value[64];
#define X(name, standard, least, most, unit, programs, meaning)                                                        \
	assert_true((standard) >= (least) && (standard) <= (most));                                                    \
	(void)snprintf(value, sizeof(value), "%ld", (long)(most) + 1);                                                 \
	assert_int_equal(wl_settings_set(&settings, #name, value, &err), -EINVAL);                                     \
	assert_non_null(strstr(err.text, #name));                                                                      \
	(void)snprintf(value, sizeof(value), "%ld", (long)(least)-1);                                                  \
	assert_int_equal(wl_settings_set(&settings, #name, value, &err), -EINVAL);                                     \
	assert_int_equal(wl_settings_set(&settings, #name, "12x", &err), -EINVAL);                                     \
	(void)snprintf(value, sizeof(value), "%ld", (long)(most));                                                     \
	assert_int_equal(wl_settings_set(&settings, #name, value, &err), 0);
	WL_NUMBER_SETTINGS(X)
#undef X
	assert_int_equal(wl_settings_set(&settings, "no_such", "1", &err), -ENOENT);
	assert_int_equal(wl_settings_need("", "REDIS_URL", "the Redis server", &err), -EINVAL);
	assert_non_null(strstr(err.text, "WINDLASS_REDIS_URL"));
}

static void wrong_arguments_are_named(void **state)
{
	(void)state;
	struct wl_settings settings;
	struct wl_error err = { 0 };
	char *bare[] = { "program", "capacity" };
	assert_int_equal(wl_settings_load(&settings, WL_PROGRAM_SUPERVISOR, 2, bare, &err), -EINVAL);
	char *unknown[] = { "program", "--unheard-of=1" };
	assert_int_equal(wl_settings_load(&settings, WL_PROGRAM_SUPERVISOR, 2, unknown, &err), -ENOENT);
	assert_non_null(strstr(err.text, "unheard_of"));
}

static bool has_something(const struct wl_byte_queue *queue)
{
	struct pollfd look = { .fd = wl_byte_queue_fd(queue), .events = POLLIN };
	return poll(&look, 1, 0) == 1;
}

static void byte_queue_gives_in_order_and_ends(void **state)
{
	(void)state;
	struct wl_byte_queue *queue;
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer got = { 0 };
	assert_int_equal(wl_byte_queue_new(8, &queue, &err), 0);
	assert_false(has_something(queue));
	assert_int_equal(wl_byte_queue_put(queue, "one", 3, &err), 0);
	assert_int_equal(wl_byte_queue_put(queue, "two", 3, &err), 0);
	assert_true(has_something(queue));
	assert_false(wl_byte_queue_take(queue, &got));
	assert_string_equal(got.data, "onetwo");
	assert_false(has_something(queue));
	/* the bound counts what was taken, too, and half of something is never given */
	assert_int_equal(wl_byte_queue_put(queue, "six", 3, &err), -EFBIG);
	assert_int_equal(wl_byte_queue_put(queue, "!!", 2, &err), 0);
	wl_byte_queue_end(queue);
	assert_int_equal(wl_byte_queue_put(queue, "", 0, &err), -EPIPE);
	assert_true(has_something(queue));
	assert_true(wl_byte_queue_take(queue, &got));
	assert_string_equal(got.data, "onetwo!!");
	wl_byte_queue_free(queue);
	wl_byte_queue_free(NULL);
}

static void byte_queue_refuses_when_nobody_takes(void **state)
{
	(void)state;
	struct wl_byte_queue *queue;
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer got = { 0 };
	assert_int_equal(wl_byte_queue_new(8, &queue, &err), 0);
	assert_int_equal(wl_byte_queue_put(queue, "lost", 4, &err), 0);
	wl_byte_queue_refuse(queue);
	assert_int_equal(wl_byte_queue_put(queue, "more", 4, &err), -EPIPE);
	assert_false(wl_byte_queue_take(queue, &got));
	assert_int_equal(got.length, 0);
	wl_byte_queue_free(queue);
}

#define GIVERS 4
#define PUTS 2000

static void *give(void *argument)
{
	for (int i = 0; i < PUTS; i++)
		assert_int_equal(wl_byte_queue_put(argument, "abc\n", 4, NULL), 0);
	return NULL;
}

static void byte_queue_takes_from_many_threads(void **state)
{
	(void)state;
	struct wl_byte_queue *queue;
	struct wl_error err = { 0 };
	pthread_t givers[GIVERS];
	_wl_buffer_ struct wl_buffer got = { 0 };
	assert_int_equal(wl_byte_queue_new((size_t)4 * GIVERS * PUTS, &queue, &err), 0);
	for (int i = 0; i < GIVERS; i++)
		assert_int_equal(pthread_create(&givers[i], NULL, give, queue), 0);
	while (got.length < (size_t)4 * GIVERS * PUTS) {
		struct pollfd look = { .fd = wl_byte_queue_fd(queue), .events = POLLIN };
		assert_int_equal(poll(&look, 1, 20000), 1);
		assert_false(wl_byte_queue_take(queue, &got));
	}
	for (int i = 0; i < GIVERS; i++)
		assert_int_equal(pthread_join(givers[i], NULL), 0);
	for (size_t at = 0; at < got.length; at += 4)
		assert_memory_equal(got.data + at, "abc\n", 4);
	wl_byte_queue_free(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_never_reports_success),
		cmocka_unit_test(error_gains_context),
		cmocka_unit_test(error_text_is_cut_not_overrun),
		cmocka_unit_test(buffer_keeps_its_limit),
		cmocka_unit_test(buffer_refuses_sizes_that_wrap),
		cmocka_unit_test(files_are_read_whole_within_a_limit),
		cmocka_unit_test(files_that_cannot_be_read_are_named),
		cmocka_unit_test(writes_go_on_where_one_call_ended),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(uuids_are_version_7_and_ordered_by_time),
		cmocka_unit_test(uuid_check_refuses_other_forms),
		cmocka_unit_test(time_stamps_are_rfc3339),
		cmocka_unit_test(settings_take_arguments_over_environment),
		cmocka_unit_test(every_number_setting_keeps_its_range),
		cmocka_unit_test(wrong_arguments_are_named),
		cmocka_unit_test(byte_queue_gives_in_order_and_ends),
		cmocka_unit_test(byte_queue_refuses_when_nobody_takes),
		cmocka_unit_test(byte_queue_takes_from_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
