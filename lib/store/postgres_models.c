#include "lib/store/postgres_models.h"

#include "lib/base/cleanup.h"
#include "lib/base/ids.h"
#include "lib/store/postgres_pool.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS 4

enum { PROVIDERS, CREW, LIST };

#define STATEMENTS(providers, listed)                                                                                  \
	{                                                                                                              \
		[PROVIDERS] = { "PROVIDERS", "SELECT control." providers "($1, $2)", 2 },                              \
		[CREW] = { "CREW", "SELECT control.crew_for_run($1, $2, $3)", 3 },                                     \
		[LIST] = { "LIST", "SELECT control." listed "($1)", 1 },                                               \
	}

static const struct wl_postgres_statement of_runs[] = STATEMENTS("providers_for_run", "providers_listed"),
					  of_gateway[] = STATEMENTS("gateway_providers", "gateway_listed");

/* An id that came from a model or a document need not be one: there is nothing of that name then. */
static int find(struct wl_postgres_pool *pool, int statement, int tenant, const char *kind, const char *id,
		char **ret_json, struct wl_error *err)
{
	_wl_pg_result_ PGresult *result = NULL;
	char tenant_text[16];
	(void)snprintf(tenant_text, sizeof(tenant_text), "%d", tenant);
	const char *by_tenant[] = { tenant_text, id }, *crew[] = { tenant_text, kind, id };
	if (id && !wl_uuid_valid(id))
		return wl_fail(err, ENOENT, "there is no %s %.36s", kind, id);
	int ran = wl_postgres_pool_run(pool, statement, statement == CREW ? crew : by_tenant, &result, err);
	if (ran < 0)
		return ran;
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		return wl_fail(err, ENOENT, "there is no %s %.36s%s", kind, id ? id : "",
			       statement == PROVIDERS ? ", or it is switched off" : "");
	*ret_json = strdup(PQgetvalue(result, 0, 0));
	return *ret_json ? 0 : wl_fail(err, ENOMEM, "no memory for a %s", kind);
}

static int find_providers(void *self, int tenant, const char *provider_id, char **ret_json, struct wl_error *err)
{
	return find(self, PROVIDERS, tenant, "LLM provider", provider_id, ret_json, err);
}

static int list_providers(void *self, int tenant, char **ret_json, struct wl_error *err)
{
	return find(self, LIST, tenant, "LLM provider", NULL, ret_json, err);
}

static int find_crew(void *self, int tenant, const char *kind, const char *id, char **ret_json, struct wl_error *err)
{
	return find(self, CREW, tenant, kind, id ? id : "", ret_json, err);
}

static void close_models(void *self)
{
	wl_postgres_pool_close(self);
}

static int open_models(const char *url, const struct wl_postgres_statement *statements,
		       struct wl_model_source *ret_source, struct wl_error *err)
{
	struct wl_postgres_pool *pool = NULL;
	int r = wl_postgres_pool_open(url, statements, CONNECTIONS, &pool, err);
	if (r == 0)
		*ret_source = (struct wl_model_source){ .self = pool,
							.providers = find_providers,
							.list = list_providers,
							.crew = find_crew,
							.close = close_models };
	return r;
}

int wl_postgres_models_open(const char *url, struct wl_model_source *ret_source, struct wl_error *err)
{
	return open_models(url, of_runs, ret_source, err);
}

int wl_postgres_gateway_models_open(const char *url, struct wl_model_source *ret_source, struct wl_error *err)
{
	return open_models(url, of_gateway, ret_source, err);
}
