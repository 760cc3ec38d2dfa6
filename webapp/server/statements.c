#include "webapp/server/statements.h"

#include "webapp/server/core/route.h"

static const char *const texts[SQL_STATEMENT_COUNT] = {
#define X(NAME, sql) [SQL_##NAME] = sql,
	WEB_STATEMENTS(X)
#undef X
};

const char *web_statement_sql(enum web_statement statement)
{
	int route = (int)statement - SQL_STATEMENT_COUNT;
	return route < 0 ? texts[statement] : web_routes[route].call;
}
