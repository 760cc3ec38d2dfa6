#include "tests/kit/docserver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVER "build/bin/windlass-docserver"

static const char *given(void)
{
	const char *url = getenv("WINDLASS_TEST_MONGODB_URL");
	return url && *url ? url : NULL;
}

int docserver_there(void)
{
	if (given() || access(SERVER, X_OK) == 0)
		return 1;
	(void)fprintf(stderr, "%s is not built: run 'make docserver'\n", SERVER);
	return 0;
}

void docserver_restart(struct docserver *server)
{
	char socket[160];
	(void)snprintf(socket, sizeof(socket), "%s/documents.sock", server->servers.folder);
	pid_t parent = getpid();
	server->process = fork();
	if (server->process == 0) {
		char postgres[256], log[160];
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(126);
		(void)snprintf(postgres, sizeof(postgres), "postgresql://admin@/windlass?host=%s",
			       server->servers.folder);
		(void)snprintf(log, sizeof(log), "%s/documents.log", server->servers.folder);
		if (!freopen(log, "a", stderr)) /* it logs each duplicate key */
			_exit(126);
		execl(SERVER, SERVER, "serve", "--unix", socket, "--postgres", postgres, (char *)NULL);
		_exit(127);
	}
}

void docserver_start(struct docserver *server)
{
	char escaped[384] = "";
	*server = (struct docserver){ 0 };
	if (given()) {
		(void)snprintf(server->url, sizeof(server->url), "%s", given());
		return;
	}
	servers_start_postgres(&server->servers);
	docserver_restart(server);
	for (const char *at = server->servers.folder; *at; at++)
		(void)snprintf(escaped + strlen(escaped), sizeof(escaped) - strlen(escaped), *at == '/' ? "%%2F" : "%c",
			       *at);
	(void)snprintf(server->url, sizeof(server->url),
		       "mongodb://%s%%2Fdocuments.sock/results?serverSelectionTimeoutMS=500", escaped);
}

void docserver_kill(struct docserver *server)
{
	(void)kill(server->process, SIGKILL);
	(void)waitpid(server->process, NULL, 0);
	server->process = 0;
}

int docserver_died(struct docserver *server)
{
	return server->process && waitpid(server->process, NULL, WNOHANG) != 0;
}

void docserver_stop(struct docserver *server)
{
	if (server->process)
		docserver_kill(server);
	if (!given())
		servers_stop(&server->servers);
}
