/* What may stand in a mail's envelope and headers, and what sending says of servers that are none. */
#include "lib/net/mail_smtp.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void addresses_cannot_end_their_header(void **state)
{
	(void)state;
	static const char *const good[] = { "a@b.test", "first.last+tag@sub.example.org",
					    "x!#$%&'*+/=?^_`{|}~-@b.test" };
	static const char *const bad[] = { "",
					   "@",
					   "a@",
					   "@b",
					   "nobody",
					   "a b@c.test",
					   "a@b.test\r\nBcc: x@y.test",
					   "a@b.test\n",
					   "a\t@b.test",
					   "<a@b.test>",
					   "a@b.test,c@d.test",
					   "a@b.test>\r\nDATA",
					   "\"a\"@b.test",
					   "a@b_c",
					   "a@[127.0.0.1]",
					   "\xc3\xa4@b.test",
					   "a@b.test\x7f" };
	char longest[400];
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(wl_mail_address_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(wl_mail_address_valid(bad[i]));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 310, "@b.test", 8);
	assert_true(wl_mail_address_valid(longest));
	memset(longest, 'a', 330);
	memcpy(longest + 330, "@b.test", 8);
	assert_false(wl_mail_address_valid(longest));
}

static void check_subject(const char *subject, const char *expected)
{
	struct wl_buffer out;
	wl_buffer_init(&out, 0);
	wl_mail_subject(&out, subject);
	assert_string_equal(out.data ? out.data : "", expected);
	wl_buffer_release(&out);
}

static void subjects_are_one_header_each(void **state)
{
	(void)state;
	check_subject("", "");
	check_subject("plain words", "plain words");
	check_subject("a\r\nBcc: x", "=?UTF-8?Q?=61=20=20=42=63=63=3A=20=78?=");
	check_subject("=?UTF-8?Q?sly?=", "=?UTF-8?Q?=3D=3F=55=54=46=2D=38=3F=51=3F=73=6C=79=3F=3D?=");
	/* a character is never cut: the euro sign has three bytes, and six of them fit */
	check_subject("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
		      "=?UTF-8?Q?=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC?=\r\n =?UTF-8?Q?=E2=82=AC?=");
	/* bytes that are no UTF-8 end as well */
	check_subject("\x80\x80\x80\x80\x80\xff", "=?UTF-8?Q?=80=80=80=80=80=FF?=");
}

/* Each line of a folded header within 76 characters (RFC 2047 section 2), whatever the subject. */
static void long_subjects_are_folded(void **state)
{
	(void)state;
	char subject[900];
	struct wl_buffer out;
	for (size_t i = 0; i < sizeof(subject) - 1; i++)
		subject[i] = (char)(i % 7 == 0 ? '\n' : 'x');
	subject[sizeof(subject) - 1] = '\0';
	wl_buffer_init(&out, 0);
	wl_mail_subject(&out, subject);
	for (const char *line = out.data; *line;) {
		size_t length = strcspn(line, "\r");
		assert_true(length <= 76);
		line += length;
		if (*line) {
			assert_memory_equal(line, "\r\n ", 3);
			line += 2;
		}
	}
	wl_buffer_release(&out);
}

static void servers_that_are_none(void **state)
{
	(void)state;
	struct wl_mail mail = { "a@b.test", "c@d.test", "subject", "text\n" };
	static const char *const urls[] = { "", "http://127.0.0.1:1", "file:///etc/passwd", "127.0.0.1", "smtp://" };
	struct wl_error err;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		assert_int_equal(wl_mail_send(urls[i], &mail, &err), -EINVAL);
	assert_int_equal(wl_mail_send("smtp://user:hidden@127.0.0.1:1", &mail, &err), -ECONNREFUSED);
	assert_null(strstr(err.text, "hidden"));
	mail.to = "c@d.test\r\nRCPT TO:<x@y.test>";
	assert_int_equal(wl_mail_send("smtp://127.0.0.1:1", &mail, &err), -EINVAL);
}

/* A mail server without TLS for one client: what the client said goes into `said`. */
struct plain_server {
	int fd;
	char said[2048];
};

static void *serve_plain(void *context)
{
	struct plain_server *server = context;
	size_t length = 0;
	int client = accept(server->fd, NULL, NULL);
	(void)!write(client, "220 plain\r\n", 11);
	for (ssize_t got; (got = read(client, server->said + length, sizeof(server->said) - 1 - length)) > 0;) {
		length += (size_t)got;
		const char *answer =
			strstr(server->said, "QUIT") ? "221 bye\r\n" : "250-plain\r\n250 AUTH PLAIN LOGIN\r\n";
		(void)!write(client, answer, strlen(answer));
	}
	close(client);
	return NULL;
}

static void passwords_do_not_leave_this_host_in_the_clear(void **state)
{
	(void)state;
	struct plain_server server = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	struct wl_mail mail = { "a@b.test", "c@d.test", "subject", "text\n" };
	struct wl_error err;
	pthread_t thread;
	char url[64];
	assert_int_equal(bind(server.fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(server.fd, 1), 0);
	assert_int_equal(getsockname(server.fd, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve_plain, &server), 0);
	/* reaches the loopback, but is not one of its names */
	(void)snprintf(url, sizeof(url), "smtp://user:hidden@0.0.0.0:%d", ntohs(address.sin_port));
	assert_int_equal(wl_mail_send(url, &mail, &err), -ECONNREFUSED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(server.fd);
	assert_non_null(strstr(server.said, "EHLO"));
	assert_null(strstr(server.said, "AUTH"));
	assert_null(strstr(server.said, "MAIL"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_cannot_end_their_header),
		cmocka_unit_test(subjects_are_one_header_each),
		cmocka_unit_test(long_subjects_are_folded),
		cmocka_unit_test(servers_that_are_none),
		cmocka_unit_test(passwords_do_not_leave_this_host_in_the_clear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
