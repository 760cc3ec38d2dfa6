#include "webapp/server/statements.h"

const char *const web_statement_text[SQL_STATEMENT_COUNT] = {
#define X(NAME, sql) [SQL_##NAME] = sql,
	WEB_STATEMENTS(X)
#undef X
};
