#include "tests/kit/servers.h"

#include "lib/base/buffer.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POSTGRES_BIN "/usr/lib/postgresql/15/bin/"
#define READY_MS 30000

static void __attribute__((format(printf, 1, 2), noreturn)) give_up(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
	_exit(99);
}

/* PostgreSQL refuses root: then its processes run as the user that the package made. */
static const struct passwd *postgres_user(void)
{
	return geteuid() == 0 ? getpwnam("postgres") : NULL;
}

static void make_folder(struct servers *servers)
{
	if (servers->folder[0])
		return;
	const char *base = getenv("TMPDIR");
	(void)snprintf(servers->folder, sizeof(servers->folder), "%s/wl-test-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(servers->folder))
		give_up("mkdtemp %s: %s", servers->folder, strerror(errno));
	const struct passwd *user = postgres_user();
	if (user && chown(servers->folder, user->pw_uid, user->pw_gid) < 0)
		give_up("chown %s: %s", servers->folder, strerror(errno));
}

/* Start a program in a process group of its own; it dies with this one. */
static pid_t start(const char *folder, const char *log, const struct passwd *user, const char *const *argv)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		give_up("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	(void)setpgid(0, 0);
	if (chdir(folder) < 0)
		_exit(126);
	if (user && (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
		_exit(126);
	/* after setuid(), which would clear it */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(126);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static void run(const char *folder, const char *log, const struct passwd *user, const char *const *argv)
{
	int status = 0;
	pid_t pid = start(folder, log, user, argv);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		give_up("%s failed; see %s/%s", argv[0], folder, log);
}

static void kill_server(pid_t *pid, int signal_number)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, signal_number);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

/* Connect again and again until it works; the server's end while it starts is an error. */
static PGconn *wait_postgres(struct servers *servers)
{
	uint64_t end = wl_clock_boot_ms() + READY_MS;
	while (wl_clock_boot_ms() < end) {
		PGconn *connection = PQconnectdb(servers->postgres_admin_url);
		if (PQstatus(connection) == CONNECTION_OK)
			return connection;
		PQfinish(connection);
		if (waitpid(servers->postgres, NULL, WNOHANG) != 0)
			break;
		(void)usleep(5000);
	}
	give_up("PostgreSQL does not start; see %s/postgres.log", servers->folder);
}

static void migrate(PGconn *connection)
{
	glob_t files;
	if (glob("specs/sql/*.sql", 0, NULL, &files) != 0)
		give_up("no migrations: run the test from the root of the checkout");
	for (size_t i = 0; i < files.gl_pathc; i++) {
		char text[16384];
		_wl_buffer_ struct wl_buffer sql;
		wl_buffer_init(&sql, 0);
		FILE *file = fopen(files.gl_pathv[i], "re");
		if (!file)
			give_up("%s: %s", files.gl_pathv[i], strerror(errno));
		(void)wl_buffer_append_text(&sql, "BEGIN;");
		for (size_t got = 0; (got = fread(text, 1, sizeof(text), file)) > 0;)
			(void)wl_buffer_append(&sql, text, got);
		(void)fclose(file);
		(void)wl_buffer_append_text(&sql, ";COMMIT");
		PGresult *result = PQexec(connection, sql.data);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			give_up("%s: %s", files.gl_pathv[i], PQerrorMessage(connection));
		PQclear(result);
	}
	globfree(&files);
}

static PGconn *launch_postgres(struct servers *servers)
{
	/* without fsync: only the process is ever killed in tests, never the machine */
	const char *fsync_setting = servers->durable ? "fsync=on" : "fsync=off";
	const char *const argv[] = { POSTGRES_BIN "postgres", "-D", "pg",	   "-k", servers->folder,	"-c",
				     "listen_addresses=",     "-c", fsync_setting, "-c", "max_connections=300", "-c",
				     "shared_buffers=32MB",   NULL };
	servers->postgres = start(servers->folder, "postgres.log", postgres_user(), argv);
	return wait_postgres(servers);
}

void servers_start_postgres(struct servers *servers)
{
	make_folder(servers);
	(void)snprintf(servers->postgres_url, sizeof(servers->postgres_url),
		       "postgresql:///windlass?host=%s&user=windlass_app", servers->folder);
	(void)snprintf(servers->postgres_admin_url, sizeof(servers->postgres_admin_url),
		       "postgresql:///postgres?host=%s&user=admin", servers->folder);
	const char *const initdb[] = {
		POSTGRES_BIN "initdb", "-D",	     "pg", "-U", "admin", "-A", "trust", "-E", "UTF8",
		"--no-sync",	       "--locale=C", NULL
	};
	run(servers->folder, "initdb.log", postgres_user(), initdb);
	PGconn *connection = launch_postgres(servers);
	PGresult *result = PQexec(connection, "CREATE DATABASE windlass");
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up("create the database: %s", PQerrorMessage(connection));
	PQclear(result);
	PQfinish(connection);
	(void)snprintf(servers->postgres_admin_url, sizeof(servers->postgres_admin_url),
		       "postgresql:///windlass?host=%s&user=admin", servers->folder);
	connection = PQconnectdb(servers->postgres_admin_url);
	migrate(connection);
	PQfinish(connection);
}

void servers_restart_postgres(struct servers *servers)
{
	PQfinish(launch_postgres(servers));
}

void servers_start_redis(struct servers *servers)
{
	char socket[160];
	make_folder(servers);
	(void)snprintf(socket, sizeof(socket), "%s/redis.sock", servers->folder);
	(void)snprintf(servers->redis_url, sizeof(servers->redis_url), "unix://%s", socket);
	const char *const argv[] = { "/usr/bin/redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
				     "--appendonly",	      "no",	NULL };
	servers->redis = start(servers->folder, "redis.log", NULL, argv);
	uint64_t end = wl_clock_boot_ms() + READY_MS;
	while (wl_clock_boot_ms() < end) {
		redisContext *context = redisConnectUnix(socket);
		redisReply *reply = context && !context->err ? redisCommand(context, "PING") : NULL;
		int ready = reply && reply->type == REDIS_REPLY_STATUS;
		if (reply)
			freeReplyObject(reply);
		if (context)
			redisFree(context);
		if (ready)
			return;
		if (waitpid(servers->redis, NULL, WNOHANG) != 0)
			break;
		(void)usleep(2000);
	}
	give_up("Redis does not start; see %s/redis.log", servers->folder);
}

void servers_kill_postgres(struct servers *servers)
{
	/* SIGQUIT is its immediate shutdown: children end at once, shared memory is released, no checkpoint */
	kill_server(&servers->postgres, SIGQUIT);
}

void servers_kill_redis(struct servers *servers)
{
	kill_server(&servers->redis, SIGKILL);
}

void servers_stop(struct servers *servers)
{
	servers_kill_postgres(servers);
	servers_kill_redis(servers);
	if (!servers->folder[0])
		return;
	const char *const remove[] = { "/bin/rm", "-rf", servers->folder, NULL };
	run("/", "dev/null", NULL, remove);
	servers->folder[0] = '\0';
}
