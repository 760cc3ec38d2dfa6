/*
 * Whether the servers answer. Each is asked the least its protocol knows, by hand: the CLI carries no client libraries
 * of servers it never uses otherwise. What is asked needs no password and changes nothing.
 */
#include "cli/core/outcome.h"
#include "cli/doctor.h"
#include "lib/base/cleanup.h"
#include "lib/base/settings.h"

#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ANSWER_MS 3000

/* Where a server listens: a host and port, or the path of a unix socket. */
struct address {
	char host[256];
	char port[8];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct server {
	const char *name;     /* as in a finding */
	const char *variable; /* setting with its URL */
	const char *port;     /* when the URL names none */
	const char *local;    /* its socket below WINDLASS_HOME */
	const char *question;
	size_t question_length;
	bool (*understood)(const char *answer, size_t length);
};

/* PostgreSQL's SSLRequest (protocol 3.0, "SSL Session Encryption") is answered with S or N. */
static const char postgres_question[] = "\x00\x00\x00\x08\x04\xd2\x16\x2f";
/* OP_MSG (opcode 2013) with the document {hello: 1, $db: "admin"}. */
static const char mongodb_question[] =
	"\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00"
	"\x1f\x00\x00\x00\x10"
	"hello\x00\x01\x00\x00\x00\x02"
	"$db\x00\x06\x00\x00\x00"
	"admin\x00\x00";

static bool postgres_understood(const char *answer, size_t length)
{
	return length >= 1 && (*answer == 'S' || *answer == 'N');
}

static bool redis_understood(const char *answer, size_t length)
{
	return length >= 5 && (memcmp(answer, "+PONG", 5) == 0 || memcmp(answer, "-NOAU", 5) == 0);
}

static bool mongodb_understood(const char *answer, size_t length)
{
	return length >= 16 && memcmp(answer + 8, "\x01\x00\x00\x00\xdd\x07\x00\x00", 8) == 0;
}

static const struct server servers[] = {
	{ "PostgreSQL", "WINDLASS_POSTGRES_URL", "5432", "run/postgres/.s.PGSQL.5432", postgres_question,
	  sizeof(postgres_question) - 1, postgres_understood },
	{ "Redis", "WINDLASS_REDIS_URL", "6379", "run/ours/redis.sock", "PING\r\n", 6, redis_understood },
	{ "document server", "WINDLASS_MONGODB_URL", "27017", "run/ours/mongodb.sock", mongodb_question,
	  sizeof(mongodb_question) - 1, mongodb_understood },
};

static bool take_path(struct address *address, const char *path)
{
	return snprintf(address->path, sizeof(address->path), "%s", path) < (int)sizeof(address->path);
}

/* The value of one query member of a URL, %-decoded: 1; 0 when it has none; -1 when it does not fit. */
static int query_member(const char *query, const char *name, char *value, size_t size)
{
	size_t length = strlen(name);
	for (const char *at = query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
		if (strncmp(at, name, length) != 0 || at[length] != '=')
			continue;
		int decoded_length = 0;
		char *decoded =
			curl_easy_unescape(NULL, at + length + 1, (int)strcspn(at + length + 1, "&"), &decoded_length);
		bool fits = decoded && (size_t)decoded_length < size && strlen(decoded) == (size_t)decoded_length;
		if (fits)
			strcpy(value, decoded);
		curl_free(decoded);
		return fits ? 1 : -1;
	}
	return 0;
}

/* Host and port out of the parsed URL; libpq's `host` in the query may name the folder of a socket. */
static bool take_parts(CURLU *url, const char *standard_port, struct address *address)
{
	char *host = NULL, *port = NULL, *query = NULL;
	char folder[sizeof(address->path)], given_port[8] = "";
	(void)curl_url_get(url, CURLUPART_HOST, &host, CURLU_URLDECODE);
	(void)curl_url_get(url, CURLUPART_PORT, &port, 0);
	(void)curl_url_get(url, CURLUPART_QUERY, &query, 0);
	(void)snprintf(address->port, sizeof(address->port), "%s", port ? port : standard_port);
	int has_port = query_member(query, "port", given_port, sizeof(given_port));
	int has_folder = query_member(query, "host", folder, sizeof(folder));
	bool good = has_port >= 0 && has_folder >= 0;
	if (has_port > 0)
		strcpy(address->port, given_port);
	if (has_folder > 0 && folder[0] == '/')
		good &= snprintf(address->path, sizeof(address->path), "%s/.s.PGSQL.%s", folder, address->port) <
			(int)sizeof(address->path);
	else
		(void)snprintf(address->host, sizeof(address->host), "%s", host && *host ? host : "127.0.0.1");
	curl_free(host);
	curl_free(port);
	curl_free(query);
	return good;
}

/* A %-encoded path up to one of the characters in `end`. */
static bool take_encoded_path(struct address *address, const char *text, const char *end)
{
	char *path = curl_easy_unescape(NULL, text, (int)strcspn(text, end), NULL);
	bool good = path && take_path(address, path);
	curl_free(path);
	return good;
}

/*
 * A server's URL as an address; false when it is not understood. The user is left out first (libpq takes one without
 * a host, which is no URL to others), and of several hosts the first one counts.
 */
static bool parse_address(const char *text, const char *standard_port, struct address *address)
{
	*address = (struct address){ 0 };
	if (strncmp(text, "unix://", 7) == 0)
		return take_encoded_path(address, text + 7, "?");
	const char *authority = strstr(text, "://");
	if (!authority)
		return false;
	authority += 3;
	size_t length = strcspn(authority, "/?");
	const char *at = memrchr(authority, '@', length);
	const char *host = at ? at + 1 : authority, *rest = authority + length;
	if (strncasecmp(host, "%2f", 3) == 0) /* a socket as MongoDB writes it */
		return take_encoded_path(address, host, "/?,");
	char plain[2048];
	int host_length = (int)strcspn(host, ",/?");
	int used = snprintf(plain, sizeof(plain), "server://%.*s%s%s", host_length ? host_length : 9,
			    host_length ? host : "127.0.0.1", *rest == '/' ? "" : "/", rest);
	CURLU *url = curl_url();
	bool good = url && used < (int)sizeof(plain) &&
		    curl_url_set(url, CURLUPART_URL, plain, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
		    take_parts(url, standard_port, address);
	curl_url_cleanup(url);
	return good;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	strcpy(name.sun_path, path);
	_wl_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return -errno;
	return wl_steal_fd(&fd);
}

static int wait_connected(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	int code = 0;
	socklen_t size = sizeof(code);
	if (poll(&ready, 1, ANSWER_MS) <= 0)
		return -ETIMEDOUT;
	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
	return -code;
}

static int connect_tcp(const struct address *address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	if (getaddrinfo(address->host, address->port, &hints, &found) != 0)
		return -EHOSTUNREACH;
	int result = -EHOSTUNREACH;
	for (const struct addrinfo *one = found; one && result < 0; one = one->ai_next) {
		_wl_close_ int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		result = fd < 0 ? -errno : 0;
		if (result == 0 && connect(fd, one->ai_addr, one->ai_addrlen) < 0)
			result = errno == EINPROGRESS ? wait_connected(fd) : -errno;
		if (result == 0)
			result = wl_steal_fd(&fd);
	}
	freeaddrinfo(found);
	return result;
}

/* 0 when the right kind of server answers at the address, else -errno; -EPROTO: another kind of server. */
static int ask(const struct server *server, const struct address *address)
{
	_wl_close_ int fd = *address->path ? connect_unix(address->path) : connect_tcp(address);
	char answer[256];
	size_t used = 0;
	if (fd < 0)
		return fd;
	if (send(fd, server->question, server->question_length, MSG_NOSIGNAL) != (ssize_t)server->question_length)
		return -EPROTO;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	while (!server->understood(answer, used)) {
		if (poll(&ready, 1, ANSWER_MS) <= 0)
			return -ETIMEDOUT;
		ssize_t got = used < sizeof(answer) ? recv(fd, answer + used, sizeof(answer) - used, 0) : 0;
		if (got <= 0)
			return -EPROTO;
		used += (size_t)got;
	}
	return 0;
}

static const char *words_of(int code)
{
	return code == EPROTO ? "something answers, but in another protocol" : strerror(code);
}

/* A server whose URL was given must answer; there is no fallback for it. */
static void check_given(struct cli_checkup *checkup, const struct server *server, const char *url)
{
	struct address address;
	char advice[128];
	(void)snprintf(advice, sizeof(advice), "start it, or correct %s, or unset it to use a private one",
		       server->variable);
	if (strncmp(url, "mongodb+srv:", 12) == 0) {
		cli_finding(checkup, CLI_HEALTH_NOTE, server->name, NULL, "its hosts come from DNS: not looked at");
		return;
	}
	if (!parse_address(url, server->port, &address)) {
		cli_finding(checkup, CLI_HEALTH_MISSING, server->name, advice, "%s is no URL", server->variable);
		return;
	}
	const char *where = *address.path ? address.path : address.host;
	int result = ask(server, &address);
	if (result == 0)
		cli_finding(checkup, CLI_HEALTH_OK, server->name, NULL, "answers at %s", where);
	else
		cli_finding(checkup, CLI_HEALTH_MISSING, server->name, advice, "%s of %s: %s", where, server->variable,
			    words_of(-result));
}

/* The private server of `make run`; that it does not run is no fault. */
static void check_private(struct cli_checkup *checkup, const struct server *server, const char *home)
{
	struct address address = { 0 };
	char path[WL_SETTING_TEXT_MAX + 64];
	(void)snprintf(path, sizeof(path), "%s/%s", home, server->local);
	if (access(path, F_OK) < 0) {
		cli_finding(checkup, CLI_HEALTH_NOTE, server->name, NULL,
			    "%s is not set: make run starts a private one", server->variable);
		return;
	}
	if (!take_path(&address, path)) {
		cli_finding(checkup, CLI_HEALTH_NOTE, server->name, NULL, "the path %s is too long for a socket", path);
		return;
	}
	int result = ask(server, &address);
	if (result == 0)
		cli_finding(checkup, CLI_HEALTH_OK, server->name, NULL, "the private one answers at %s", path);
	else if (result == -EACCES)
		cli_finding(checkup, CLI_HEALTH_NOTE, server->name, NULL, "only Windlass's own programs may ask %s",
			    path);
	else
		cli_finding(checkup, CLI_HEALTH_NOTE, server->name, NULL,
			    "the private one does not run (make run starts it)");
}

static void check_web(struct cli_checkup *checkup, const struct cli_arguments *arguments)
{
	struct wl_error err = { 0 };
	if (cli_connect(checkup->cli, arguments, &err) < 0) {
		cli_finding(checkup, CLI_HEALTH_MISSING, "web server", "correct --url or WINDLASS_URL", "%s", err.text);
		return;
	}
	const char *named = getenv("WINDLASS_URL"), *url = checkup->cli->login.url;
	bool is_asked_for = cli_value(arguments, "url", NULL) || (named && *named);
	struct cli_request request = { .method = "GET", .path = "/readyz" };
	_cli_response_ struct cli_response response = { 0 };
	int result = cli_http_send(checkup->cli->http, &request, &response, &err);
	if (result < 0)
		cli_finding(checkup, is_asked_for ? CLI_HEALTH_MISSING : CLI_HEALTH_NOTE, "web server",
			    is_asked_for ? "start it, or correct --url or WINDLASS_URL" : "make run starts it", "%s",
			    err.text);
	else if (response.status == 200)
		cli_finding(checkup, CLI_HEALTH_OK, "web server", NULL, "ready at %s", url);
	else
		cli_finding(checkup, CLI_HEALTH_MISSING, "web server",
			    "see its log: a server behind it is away, or it is stopping",
			    "%s is not ready (status %ld)", url, response.status);
}

void cli_doctor_servers(struct cli_checkup *checkup, const struct cli_arguments *arguments)
{
	struct wl_settings settings;
	struct wl_error err = { 0 };
	char *argv[] = { (char[]){ "windlass" }, NULL };
	if (wl_settings_load(&settings, WL_PROGRAM_CLI, 1, argv, &err) < 0)
		cli_finding(checkup, CLI_HEALTH_MISSING, "settings", "correct the variable", "%s", err.text);
	const char *home = err.code ? ".windlass" : settings.home;
	for (size_t i = 0; i < WL_COUNT_OF(servers); i++) {
		const char *url = getenv(servers[i].variable);
		if (url && *url)
			check_given(checkup, &servers[i], url);
		else
			check_private(checkup, &servers[i], home);
	}
	check_web(checkup, arguments);
}
