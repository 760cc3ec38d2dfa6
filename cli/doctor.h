/* What `windlass doctor` finds: one line a finding, with what to do about it. */
#ifndef WL_CLI_DOCTOR_H
#define WL_CLI_DOCTOR_H

#include "cli/session.h"

enum cli_health {
	CLI_HEALTH_OK,
	CLI_HEALTH_NOTE,   /* good to know; nothing fails by it */
	CLI_HEALTH_MISSING /* Windlass does not work here without it */
};

struct cli_checkup {
	struct cli *cli;
	struct wl_json *findings; /* an array */
	int missing;
	bool failed; /* no memory */
};

/* Add a finding. advice: what to do, NULL for none; fmt: what is so. */
void cli_finding(struct cli_checkup *checkup, enum cli_health health, const char *name, const char *advice,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Kernel, control groups, crun, languages. */
void cli_doctor_host(struct cli_checkup *checkup);
/* PostgreSQL, Redis, document server, web server. */
void cli_doctor_servers(struct cli_checkup *checkup, const struct cli_arguments *arguments);

#endif
