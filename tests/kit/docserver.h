/*
 * The document server for C tests: WINDLASS_TEST_MONGODB_URL when it is given, else build/bin/windlass-docserver over a
 * private PostgreSQL. `make docserver` builds it.
 */
#ifndef TESTS_KIT_DOCSERVER_H
#define TESTS_KIT_DOCSERVER_H

#include "tests/kit/servers.h"

struct docserver {
	struct servers servers;
	pid_t process; /* 0: it is not ours, or it was stopped */
	char url[512];
};

/* True when there is one to start, or one was given; else says on stderr what to do. */
int docserver_there(void);
/* Start it, or take the one that was given; nothing is known yet of its answering. */
void docserver_start(struct docserver *server);
/* Kill it at once, and start it again over the same data. For one of ours. */
void docserver_kill(struct docserver *server);
void docserver_restart(struct docserver *server);
/* True when it ended by itself: waiting for its answer is of no use. */
int docserver_died(struct docserver *server);
/* End it with its PostgreSQL. */
void docserver_stop(struct docserver *server);

#endif
