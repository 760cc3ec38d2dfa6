#include "tests/kit/ledger_stage.h"

struct servers servers;
PGconn *admin;
PGconn *app;
struct wl_ledger ledger;
int tenant;

int ledger_stage_set_up(void **state)
{
	(void)state;
	struct wl_error err = { 0 };
	servers_start_postgres(&servers);
	admin = PQconnectdb(servers.postgres_admin_url);
	app = PQconnectdb(servers.postgres_url);
	tenant = kit_tenant(admin, "acme");
	return wl_postgres_ledger_open(servers.postgres_url, &ledger, &err);
}

int ledger_stage_tear_down(void **state)
{
	(void)state;
	ledger.close(ledger.self);
	PQfinish(admin);
	PQfinish(app);
	servers_stop(&servers);
	return 0;
}
