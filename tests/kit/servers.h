/*
 * Private servers for C tests: each test program starts its own, in a new folder under TMPDIR, on unix sockets, and
 * they die with it (PR_SET_PDEATHSIG) or by servers_stop(). Failures end the test program with a sentence.
 */
#ifndef TESTS_KIT_SERVERS_H
#define TESTS_KIT_SERVERS_H

#include <sys/types.h>

struct servers {
	char folder[128];
	int durable; /* set before the start: PostgreSQL with fsync, for measurements */
	pid_t postgres, redis;
	char postgres_url[256];	      /* as windlass_app */
	char postgres_admin_url[256]; /* as the superuser */
	char redis_url[256];
};

/* Start PostgreSQL with the migrations of specs/sql, or Redis without persistence; both wait until it answers. */
void servers_start_postgres(struct servers *servers);
void servers_start_redis(struct servers *servers);

/* Kill one at once, as a crash does, and wait for its end; starting it again finds PostgreSQL's data, Redis empty. */
void servers_kill_postgres(struct servers *servers);
void servers_kill_redis(struct servers *servers);
void servers_restart_postgres(struct servers *servers);

/* Kill all and remove the folder. */
void servers_stop(struct servers *servers);

#endif
