/*
 * The object store: one contract for both kinds, the folder and an S3 server (build/bin/windlass-s3server, `make
 * s3server`); and what an S3 server that lies, hangs or breaks off can do.
 */
#include "lib/base/clock.h"
#include "lib/store/object_store.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "build/bin/windlass-s3server"
#define ACCESS "test.access-key"
#define SECRET "a/secret:with+everything%in=it"
#define SECRET_ESCAPED "a%2Fsecret%3Awith%2Beverything%25in%3Dit"
#define ACCESS_ESCAPED "test.access%2Dkey"

static char folder[64];
static pid_t server;
static int port;

/* ---- servers ------------------------------------------------------------------------------------------------- */

/* A listening socket on a free port of the loopback. */
static int listen_somewhere(int *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static bool answers(int at)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons((uint16_t)at) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	(void)close(fd);
	return good;
}

static void run_server(pid_t parent)
{
	char listen_at[64], path[128];
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", port);
	(void)snprintf(path, sizeof(path), "%s/s3", folder);
	if (getppid() != parent)
		_exit(126);
	(void)setenv("ROOT_ACCESS_KEY", ACCESS, 1);
	(void)setenv("ROOT_SECRET_KEY", SECRET, 1);
	execl(SERVER, SERVER, "--listen", listen_at, path, (char *)NULL);
	_exit(127);
}

static int start(void **state)
{
	(void)state;
	char path[128];
	pid_t parent = getpid();
	(void)signal(SIGPIPE, SIG_IGN);
	strcpy(folder, "/tmp/wl-objects-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/s3", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/s3/bucket", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	int held = listen_somewhere(&port);
	(void)close(held);
	server = fork();
	if (server == 0)
		run_server(parent);
	uint64_t end_ms = wl_clock_boot_ms() + 30000;
	while (!answers(port))
		if (wl_clock_boot_ms() > end_ms || waitpid(server, NULL, WNOHANG) != 0) {
			(void)fprintf(stderr, "%s does not start: is it built? (make s3server)\n", SERVER);
			return -1;
		}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	char command[128];
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void s3_url(char url[256], const char *access, const char *secret, const char *bucket, int at)
{
	(void)snprintf(url, 256, "s3://%s:%s@127.0.0.1:%d/%s?region=us-east-1&tls=0", access, secret, at, bucket);
}

/* ---- the contract -------------------------------------------------------------------------------------------- */

static int open_folder_kind(void **state)
{
	static struct object_store store;
	struct wl_error err = { 0 };
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/objects", folder);
	*state = &store;
	return object_store_open(path, "", &store, &err);
}

static int open_s3_kind(void **state)
{
	static struct object_store store;
	struct wl_error err = { 0 };
	char url[256];
	s3_url(url, ACCESS_ESCAPED, SECRET_ESCAPED, "bucket", port);
	*state = &store;
	return object_store_open("/nowhere", url, &store, &err);
}

static int close_kind(void **state)
{
	struct object_store *store = *state;
	store->close(store->self);
	return 0;
}

static void must(int result, const struct wl_error *err)
{
	if (result < 0)
		fail_msg("%d: %s", result, err->text);
}

static void put_text(const struct object_store *store, const char *key, const char *text)
{
	struct wl_error err = { 0 };
	struct object_source source = { .fd = -1, .bytes = text, .length = strlen(text) };
	must(object_source_hash(&source, &err), &err);
	must(store->put(store->self, key, &source, &err), &err);
}

static int read_text(const struct object_store *store, const char *key, uint64_t offset, size_t length, char *into)
{
	struct wl_error err = { 0 };
	memset(into, 0, length + 1);
	return store->read(store->self, key, offset, into, length, &err);
}

static void what_is_stored_is_read(void **state)
{
	const struct object_store *store = *state;
	char text[64];
	put_text(store, "1/execution/a", "0123456789");
	assert_int_equal(read_text(store, "1/execution/a", 0, 10, text), 0);
	assert_string_equal(text, "0123456789");
	assert_int_equal(read_text(store, "1/execution/a", 3, 4, text), 0);
	assert_string_equal(text, "3456");
	assert_int_equal(read_text(store, "1/execution/a", 9, 1, text), 0);
	assert_string_equal(text, "9");
	assert_int_equal(read_text(store, "1/execution/a", 0, 0, text), 0);
}

static void what_is_not_there_is_told(void **state)
{
	const struct object_store *store = *state;
	char text[64];
	put_text(store, "2/short", "0123456789");
	assert_int_equal(read_text(store, "2/none", 0, 10, text), -ENOENT);
	assert_int_equal(read_text(store, "2/short", 10, 1, text), -ERANGE);
	assert_true(read_text(store, "2/short", 5, 10, text) < 0);
	assert_int_equal(read_text(store, "2/short/below", 0, 1, text) < 0, 1);
}

static void a_new_object_takes_the_place_of_the_old(void **state)
{
	const struct object_store *store = *state;
	char text[64];
	put_text(store, "3/x", "first and long");
	put_text(store, "3/x", "second");
	assert_int_equal(read_text(store, "3/x", 0, 6, text), 0);
	assert_string_equal(text, "second");
	assert_int_equal(read_text(store, "3/x", 6, 1, text), -ERANGE);
}

static void empty_objects_are_objects(void **state)
{
	const struct object_store *store = *state;
	char text[64];
	put_text(store, "4/empty", "");
	assert_int_equal(read_text(store, "4/empty", 0, 1, text), -ERANGE);
	assert_int_equal(read_text(store, "4/other", 0, 1, text), -ENOENT);
}

/* Twenty million bytes from the middle of a file. */
static void large_objects_come_from_a_file(void **state)
{
	const struct object_store *store = *state;
	struct wl_error err = { 0 };
	const size_t length = 20u << 20, offset = 12345;
	int fd = memfd_create("source", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)(length + 2 * offset)), 0);
	unsigned char *bytes = mmap(NULL, length + 2 * offset, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *back = malloc(length);
	for (size_t i = 0; i < length + 2 * offset; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	struct object_source source = { .fd = fd, .offset = offset, .length = length };
	must(object_source_hash(&source, &err), &err);
	must(store->put(store->self, "5/large", &source, &err), &err);
	must(store->read(store->self, "5/large", 0, back, length, &err), &err);
	assert_memory_equal(back, bytes + offset, length);
	must(store->read(store->self, "5/large", length - 1000, back, 1000, &err), &err);
	assert_memory_equal(back, bytes + offset + length - 1000, 1000);
	(void)munmap(bytes, length + 2 * offset);
	free(back);
	(void)close(fd);
}

static void other_bytes_than_the_hash_says_are_refused(void **state)
{
	const struct object_store *store = *state;
	struct wl_error err = { 0 };
	char text[64];
	struct object_source source = { .fd = -1, .bytes = "good", .length = 4 };
	must(object_source_hash(&source, &err), &err);
	source.bytes = "evil";
	assert_int_equal(store->put(store->self, "6/evil", &source, &err), -EBADMSG);
	assert_int_equal(read_text(store, "6/evil", 0, 4, text), -ENOENT);
}

static void a_source_that_is_too_short_is_refused(void **state)
{
	const struct object_store *store = *state;
	struct wl_error err = { 0 };
	char text[64];
	int fd = memfd_create("source", MFD_CLOEXEC);
	assert_int_equal(write(fd, "abc", 3), 3);
	struct object_source source = { .fd = fd, .length = 10 };
	assert_int_equal(object_source_hash(&source, &err), -ENODATA);
	assert_true(store->put(store->self, "6/cut", &source, &err) < 0);
	assert_int_equal(read_text(store, "6/cut", 0, 1, text), -ENOENT);
	(void)close(fd);
}

static void removing_is_repeatable(void **state)
{
	const struct object_store *store = *state;
	struct wl_error err = { 0 };
	char text[64];
	put_text(store, "7/deep/er/x", "x");
	must(store->remove(store->self, "7/deep/er/x", &err), &err);
	must(store->remove(store->self, "7/deep/er/x", &err), &err);
	must(store->remove(store->self, "7/never/was", &err), &err);
	assert_int_equal(read_text(store, "7/deep/er/x", 0, 1, text), -ENOENT);
	put_text(store, "7/deep/er/x", "y");
	assert_int_equal(read_text(store, "7/deep/er/x", 0, 1, text), 0);
}

static int count_key(void *context, const char *key)
{
	assert_true(object_key_valid(key));
	(*(int *)context)++;
	return 0;
}

static int stop_at_once(void *context, const char *key)
{
	(void)key;
	(*(int *)context)++;
	return 1;
}

static void prefixes_are_listed_and_removed(void **state)
{
	const struct object_store *store = *state;
	struct wl_error err = { 0 };
	char key[64], text[8];
	int count = 0;
	for (int i = 0; i < 30; i++) {
		(void)snprintf(key, sizeof(key), "8/e%d/a%d", i % 3, i);
		put_text(store, key, "x");
	}
	put_text(store, "88/e0/a", "x");
	assert_int_equal(store->list(store->self, "8/", count_key, &count, &err), 30);
	assert_int_equal(count, 30);
	count = 0;
	assert_int_equal(store->list(store->self, "8/e1/", count_key, &count, &err), 10);
	assert_int_equal(store->list(store->self, "9/", count_key, &count, &err), 0);
	assert_int_equal(store->list(store->self, "8/", stop_at_once, &(int){ 0 }, &err), 1);
	assert_int_equal(object_remove_prefix(store, "8/e1/", &err), 10);
	assert_int_equal(store->list(store->self, "8/", count_key, &count, &err), 20);
	assert_int_equal(object_remove_prefix(store, "8/", &err), 20);
	assert_int_equal(object_remove_prefix(store, "8/", &err), 0);
	assert_int_equal(read_text(store, "88/e0/a", 0, 1, text), 0);
}

static void nothing_that_is_no_key_reaches_the_store(void **state)
{
	const struct object_store *store = *state;
	static const char *const bad[] = { "",	    "/",   "/a",     "a/",   "a//b", "..",   "a/../b",
					   ".",	    "./a", ".tmp/x", "a/.b", "a b",  "a\nb", "a%2e",
					   "a?b=c", "ä",   "a\\b",   "a#b",  "a&b" };
	struct wl_error err = { 0 };
	char longest[OBJECT_KEY_MAX + 8], text[8];
	struct object_source source = { .fd = -1, .bytes = "x", .length = 1 };
	must(object_source_hash(&source, &err), &err);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(store->put(store->self, bad[i], &source, &err), -EINVAL);
		assert_int_equal(read_text(store, bad[i], 0, 1, text), -EINVAL);
		assert_int_equal(store->remove(store->self, bad[i], &err), -EINVAL);
	}
	memset(longest, 'a', sizeof(longest));
	longest[OBJECT_KEY_MAX] = '\0';
	assert_int_equal(store->put(store->self, longest, &source, &err), -EINVAL);
	longest[200] = '\0';
	must(store->put(store->self, longest, &source, &err), &err);
	assert_int_equal(store->list(store->self, "a", count_key, &(int){ 0 }, &err), -EINVAL);
	assert_int_equal(store->list(store->self, "../", count_key, &(int){ 0 }, &err), -EINVAL);
}

struct worker {
	const struct object_store *store;
	int number;
};

static void *put_and_remove(void *context)
{
	const struct worker *worker = context;
	for (int i = 0; i < 25; i++) {
		char key[64], text[32], back[32];
		(void)snprintf(key, sizeof(key), "10/shared/%d", worker->number);
		(void)snprintf(text, sizeof(text), "%d-%d", worker->number, i);
		put_text(worker->store, key, text);
		assert_int_equal(read_text(worker->store, key, 0, strlen(text), back), 0);
		assert_string_equal(back, text);
		assert_int_equal(worker->store->remove(worker->store->self, key, NULL), 0);
	}
	return NULL;
}

/* All of them make and remove the same folder the whole time. */
static void threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[4];
	struct worker workers[4];
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){ *state, i };
		assert_int_equal(pthread_create(&threads[i], NULL, put_and_remove, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
}

/* ---- the folder alone ---------------------------------------------------------------------------------------- */

static int entries_below(const char *path)
{
	int count = 0;
	DIR *list = opendir(path);
	assert_non_null(list);
	for (struct dirent *entry; (entry = readdir(list));)
		count += entry->d_name[0] != '.';
	(void)closedir(list);
	return count;
}

static void nothing_half_written_stays(void **state)
{
	char path[128];
	(void)state;
	(void)snprintf(path, sizeof(path), "%s/objects/.tmp", folder);
	assert_int_equal(entries_below(path), 0);
}

static void links_in_the_folder_are_not_followed(void **state)
{
	const struct object_store *store = *state;
	char path[128], text[8];
	(void)snprintf(path, sizeof(path), "%s/objects/link", folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(read_text(store, "link", 0, 4, text) < 0);
	assert_int_equal(unlink(path), 0);
}

static void old_leftovers_go_and_new_ones_stay(void **state)
{
	struct object_store again;
	struct wl_error err = { 0 };
	char path[128], file[160];
	(void)state;
	(void)snprintf(path, sizeof(path), "%s/objects", folder);
	const struct timespec times[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
	(void)snprintf(file, sizeof(file), "%s/.tmp/old", path);
	(void)close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
	(void)snprintf(file, sizeof(file), "%s/.tmp/new", path);
	(void)close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	must(object_folder_open(path, &again, &err), &err);
	again.close(again.self);
	assert_int_equal(access(file, F_OK), 0);
	(void)unlink(file);
	(void)snprintf(file, sizeof(file), "%s/.tmp/old", path);
	assert_int_equal(access(file, F_OK), -1);
}

/* ---- S3 alone ------------------------------------------------------------------------------------------------ */

static void urls_are_checked_and_never_repeated(void **state)
{
	static const char *const bad[] = {
		"s3://",
		"http://a:sesame@h/bucket",
		"s3://h/bucket",
		"s3://a@h/bucket",
		"s3://a:@h/bucket",
		"s3://:sesame@h/bucket",
		"s3://a:sesame@h",
		"s3://a:sesame@h/",
		"s3://a:sesame@h/ab",
		"s3://a:sesame@h/Bucket",
		"s3://a:sesame@h/bucket/x",
		"s3://a:sesame@h/bucket?tls=2",
		"s3://a:sesame@h/bucket?tls=0&x=1",
		"s3://a:sesame@h/bucket?region=",
		"s3://a:sesame@h/bucket?region=a:b",
		"s3://a:sesame@h:99999/bucket",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct object_store store;
		struct wl_error err = { 0 };
		if (object_s3_open(bad[i], &store, &err) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_null(strstr(err.text, "sesame"));
	}
}

static void a_wrong_secret_and_a_missing_bucket_are_told(void **state)
{
	struct object_store store;
	struct wl_error err = { 0 };
	char url[256], text[8];
	(void)state;
	s3_url(url, ACCESS_ESCAPED, "wrong", "bucket", port);
	must(object_s3_open(url, &store, &err), &err);
	struct object_source source = { .fd = -1, .bytes = "x", .length = 1 };
	must(object_source_hash(&source, &err), &err);
	assert_int_equal(store.put(store.self, "x", &source, &err), -EACCES);
	assert_int_equal(store.read(store.self, "x", 0, text, 1, &err), -EACCES);
	assert_int_equal(store.remove(store.self, "x", &err), -EACCES);
	assert_null(strstr(err.text, "wrong"));
	store.close(store.self);
	s3_url(url, ACCESS_ESCAPED, SECRET_ESCAPED, "nobucket", port);
	must(object_s3_open(url, &store, &err), &err);
	assert_int_equal(store.put(store.self, "x", &source, &err), -ENXIO);
	assert_int_equal(store.remove(store.self, "x", &err), -ENXIO);
	store.close(store.self);
}

/* A server that gives the same answer to each request, or none, and counts them. */
struct liar {
	int fd, port;
	const char *answer; /* NULL: closes; "" and what has no "close" in it: hangs until the client goes */
	int requests;
	pthread_t thread;
};

static void *lie(void *context)
{
	struct liar *liar = context;
	for (int client; (client = accept(liar->fd, NULL, NULL)) >= 0; (void)close(client)) {
		char request[4096];
		if (read(client, request, sizeof(request)) <= 0)
			continue;
		liar->requests++;
		if (!liar->answer)
			continue;
		ssize_t sent = write(client, liar->answer, strlen(liar->answer));
		(void)sent;
		if (strstr(liar->answer, "close") || strncmp(liar->answer, "garbage", 7) == 0)
			(void)shutdown(client, SHUT_WR);
		while (read(client, request, sizeof(request)) > 0)
			;
	}
	return NULL;
}

struct lie {
	const char *answer;
	int expected, requests; /* what a read gives, and after how many requests */
	struct liar liar;
	struct object_store store;
	pthread_t reader;
	int result;
	struct wl_error err;
};

static void *read_lie(void *context)
{
	struct lie *at = context;
	char into[8];
	at->result = at->store.read(at->store.self, "x/y", 2, into, 4, &at->err);
	return NULL;
}

#define ANSWER(status, more, body) "HTTP/1.1 " status "\r\nConnection: close\r\n" more "\r\n" body
#define LIE(text, expects, asked)                                                                                      \
	{                                                                                                              \
		.answer = text, .expected = expects, .requests = asked                                                 \
	}
#define LENGTH(bytes) "Content-Length: " bytes "\r\n"

/* All at once, because each that is tried again takes more than a second, and one that hangs twenty. */
static void a_server_that_lies_is_not_believed(void **state)
{
	static struct lie lies[] = {
		LIE(ANSWER("206 Partial", LENGTH("4"), "abcd"), 0, 1),
		LIE(ANSWER("206 Partial", LENGTH("3"), "abc"), -EIO, 4),
		LIE(ANSWER("206 Partial", LENGTH("5"), "abcde"), -EIO, 4),
		LIE(ANSWER("206 Partial", LENGTH("4"), "ab"), -EIO, 4),
		LIE(ANSWER("206 Partial", LENGTH("0"), ""), -EIO, 4),
		LIE(ANSWER("200 OK", LENGTH("4"), "abcd"), -EIO, 1),
		LIE(ANSWER("204 None", "", ""), -EIO, 4),
		LIE("garbage\r\n\r\n", -EIO, 4),
		LIE(NULL, -EIO, 4),
		LIE("", -EIO, 2),
		LIE("HTTP/1.1 206 Partial\r\nContent-Length: 4\r\n\r\nab", -EIO, 2),
		LIE(ANSWER("500 Oops", LENGTH("2"), "no"), -EIO, 4),
		LIE(ANSWER("503 Slow", LENGTH("0"), ""), -EIO, 4),
		LIE(ANSWER("429 Often", LENGTH("0"), ""), -EIO, 4),
		LIE(ANSWER("404 No", LENGTH("0"), ""), -ENOENT, 1),
		LIE(ANSWER("302 Go", "Location: http://127.0.0.1:1/\r\n" LENGTH("0"), ""), -EIO, 1),
		LIE(ANSWER("403 No", LENGTH("22"), "<Code>Evil\033[31m</Code>"), -EACCES, 1),
	};
	const size_t count = sizeof(lies) / sizeof(lies[0]);
	struct wl_error err = { 0 };
	(void)state;
	for (size_t i = 0; i < count; i++) {
		char url[256];
		struct liar *liar = &lies[i].liar;
		liar->answer = lies[i].answer;
		liar->fd = listen_somewhere(&liar->port);
		s3_url(url, "a", "b", "bucket", liar->port);
		must(object_s3_open(url, &lies[i].store, &err), &err);
		assert_int_equal(pthread_create(&liar->thread, NULL, lie, liar), 0);
		assert_int_equal(pthread_create(&lies[i].reader, NULL, read_lie, &lies[i]), 0);
	}
	for (size_t i = 0; i < count; i++) {
		struct lie *at = &lies[i];
		(void)pthread_join(at->reader, NULL);
		at->store.close(at->store.self);
		(void)shutdown(at->liar.fd, SHUT_RDWR);
		(void)pthread_join(at->liar.thread, NULL);
		(void)close(at->liar.fd);
		if (at->result != at->expected || at->liar.requests != at->requests)
			fail_msg("answer %zu gave %d (%s) after %d requests", i, at->result, at->err.text,
				 at->liar.requests);
		assert_null(strchr(at->err.text, '\033'));
	}
}

static void a_server_that_is_not_there_is_tried_again(void **state)
{
	struct object_store store;
	struct wl_error err = { 0 };
	char url[256], into[4];
	int at = 0;
	(void)state;
	(void)close(listen_somewhere(&at));
	s3_url(url, "a", "b", "bucket", at);
	must(object_s3_open(url, &store, &err), &err);
	uint64_t began_ms = wl_clock_boot_ms();
	assert_int_equal(store.read(store.self, "x", 0, into, 4, &err), -EIO);
	assert_true(wl_clock_boot_ms() - began_ms >= 1300);
	store.close(store.self);
}

static int reject(void *context, const char *key)
{
	(void)context;
	(void)key;
	return -ECANCELED;
}

static void lists_are_read_with_care(void **state)
{
	struct wl_error err = { 0 };
	int count = 0;
	(void)state;
#define READ(text) object_s3_list_read(text, strlen(text), count_key, &count, &err)
	assert_int_equal(READ("<ListBucketResult></ListBucketResult>"), 0);
	assert_int_equal(READ("<ListBucketResult><Contents><Key>a/b</Key></Contents><Key>c</Key></ListBucketResult>"),
			 2);
	assert_int_equal(READ("<ListBucketResult><Key>../x</Key><Key></Key><Key>a&amp;b</Key><Key>.tmp/x</Key>"), 0);
	assert_int_equal(READ("<ListBucketResult><Key>a"), -EPROTO);
	assert_int_equal(READ("<Error/>"), -EPROTO);
	assert_int_equal(READ(""), -EPROTO);
	assert_int_equal(count, 2);
	const char *one = "<ListBucketResult><Key>a</Key>";
	assert_int_equal(object_s3_list_read(one, strlen(one), reject, NULL, &err), -ECANCELED);
}

#define CONTRACT(open)                                                                                                 \
	cmocka_unit_test_setup_teardown(what_is_stored_is_read, open, close_kind),                                     \
		cmocka_unit_test_setup_teardown(what_is_not_there_is_told, open, close_kind),                          \
		cmocka_unit_test_setup_teardown(a_new_object_takes_the_place_of_the_old, open, close_kind),            \
		cmocka_unit_test_setup_teardown(empty_objects_are_objects, open, close_kind),                          \
		cmocka_unit_test_setup_teardown(large_objects_come_from_a_file, open, close_kind),                     \
		cmocka_unit_test_setup_teardown(other_bytes_than_the_hash_says_are_refused, open, close_kind),         \
		cmocka_unit_test_setup_teardown(a_source_that_is_too_short_is_refused, open, close_kind),              \
		cmocka_unit_test_setup_teardown(removing_is_repeatable, open, close_kind),                             \
		cmocka_unit_test_setup_teardown(prefixes_are_listed_and_removed, open, close_kind),                    \
		cmocka_unit_test_setup_teardown(nothing_that_is_no_key_reaches_the_store, open, close_kind),           \
		cmocka_unit_test_setup_teardown(threads_do_not_disturb_each_other, open, close_kind)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTRACT(open_folder_kind),
		cmocka_unit_test_setup_teardown(nothing_half_written_stays, open_folder_kind, close_kind),
		cmocka_unit_test_setup_teardown(links_in_the_folder_are_not_followed, open_folder_kind, close_kind),
		cmocka_unit_test_setup_teardown(old_leftovers_go_and_new_ones_stay, open_folder_kind, close_kind),
		CONTRACT(open_s3_kind),
		cmocka_unit_test(urls_are_checked_and_never_repeated),
		cmocka_unit_test(a_wrong_secret_and_a_missing_bucket_are_told),
		cmocka_unit_test(a_server_that_lies_is_not_believed),
		cmocka_unit_test(a_server_that_is_not_there_is_tried_again),
		cmocka_unit_test(lists_are_read_with_care),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
