/* The commands that are groups of actions: what each action calls, and what it takes. */
#include "cli/actions.h"

#define END                                                                                                            \
	{                                                                                                              \
		.name = NULL                                                                                           \
	}
#define FIELDS(...)                                                                                                    \
	(const struct cli_field[])                                                                                     \
	{                                                                                                              \
		__VA_ARGS__,                                                                                           \
		{                                                                                                      \
			.from = NULL                                                                                   \
		}                                                                                                      \
	}
#define COLUMNS(...)                                                                                                   \
	(const char *const[])                                                                                          \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}
#define TEXT(from, member)                                                                                             \
	{                                                                                                              \
		from, member, CLI_FIELD_TEXT, false                                                                    \
	}
#define QUERY(from, member)                                                                                            \
	{                                                                                                              \
		from, member, CLI_FIELD_TEXT, true                                                                     \
	}
#define LIST(word, path_, member_, by_cursor_, fields_, ...)                                                           \
	{                                                                                                              \
		.name = word, .method = "LIST", .path = path_, .shape = CLI_SHAPE_TABLE, .member = member_,            \
		.by_cursor = by_cursor_, .fields = fields_, .columns = COLUMNS(__VA_ARGS__)                            \
	}
#define CALL(word, words, verb, path_) .name = word, .least = words, .most = words, .method = verb, .path = path_

/* What agents, crews, providers and tools have in common. */
#define RESOURCE_ACTIONS(base, members)                                                                                \
	LIST("list", base, members, false, FIELDS(QUERY("state", "state"), QUERY("search", "search")), "NAME", "name", \
	     "STATE", "state", "VERSION", "version", "USES", "uses", "CHANGED", "updated_at", "ID", "id"),             \
		{ CALL("get", 1, "GET", base "/{name}"), .shape = CLI_SHAPE_ONE },                                     \
		{ CALL("create", 1, "POST", base), .body_file = true, .shape = CLI_SHAPE_ONE },                        \
		{ CALL("update", 2, "PUT", base "/{name}"), .body_file = true, .shape = CLI_SHAPE_ONE },               \
		{ CALL("delete", 1, "DELETE", base "/{name}") },                                                       \
		{ CALL("activate", 1, "PUT", base "/{name}"),                                                          \
		  .fields = FIELDS({ "active", "state", CLI_FIELD_LITERAL, false }), .shape = CLI_SHAPE_ONE },         \
		{ CALL("archive", 1, "PUT", base "/{name}"),                                                           \
		  .fields = FIELDS({ "archived", "state", CLI_FIELD_LITERAL, false }), .shape = CLI_SHAPE_ONE },       \
		{ CALL("versions", 1, "LIST", base "/{name}/versions"), .shape = CLI_SHAPE_TABLE,                      \
		  .member = "versions",                                                                                \
		  .columns = COLUMNS("VERSION", "version", "NAME", "name", "MADE", "created_at", "NOTE", "note") },    \
	{                                                                                                              \
		CALL("uses", 1, "GET", base "/{name}/uses"),                                                           \
			.shape = CLI_SHAPE_TABLE, .member = "uses",                                                    \
			.columns = COLUMNS("TYPE", "type", "NAME", "name", "PUBLISHED", "published", "ID", "id")       \
	}

#define MEMORY_ACTIONS(path_)                                                                                          \
	{ CALL("memory", 1, "LIST", path_), .shape = CLI_SHAPE_TABLE, .member = "memories",                            \
	  .columns = COLUMNS("WHEN", "created_at", "TEXT", "text", "ID", "id") },                                      \
	{                                                                                                              \
		.name = "forget", .least = 1, .most = 2, .method = "DELETE", .path = path_,                            \
		.fields = FIELDS(QUERY("2", "memory_id")), .shape = CLI_SHAPE_ONE                                      \
	}

static const struct cli_action agents[] = {
	RESOURCE_ACTIONS("/agents", "agents"),
	{ .name = "test", .least = 2, .most = 2, .run = cli_agent_test },
	MEMORY_ACTIONS("/agents/{name}/memory"),
	END,
};

static const struct cli_action crews[] = {
	RESOURCE_ACTIONS("/crews", "crews"),
	{ .name = "test", .least = 1, .most = 1, .run = cli_crew_test },
	MEMORY_ACTIONS("/crews/{name}/memory"),
	{ CALL("inputs", 1, "GET", "/crews/{name}/inputs"), .shape = CLI_SHAPE_LINES, .member = "inputs" },
	{ CALL("kickoff", 1, "POST", "/crews/{name}/kickoff"),
	  .fields = FIELDS({ "input", "inputs", CLI_FIELD_INPUTS, false }), .shape = CLI_SHAPE_TEXT,
	  .member = "kickoff_id" },
	{ CALL("status", 2, "GET", "/crews/{name}/status/{2}"), .shape = CLI_SHAPE_ONE },
	{ CALL("resume", 3, "POST", "/crews/{name}/resume"),
	  .fields =
		  FIELDS(TEXT("2", "execution_id"), { "3", "is_approve", CLI_FIELD_VERDICT, false },
			 TEXT("task", "task_id"), TEXT("question", "question_id"), TEXT("feedback", "human_feedback")),
	  .shape = CLI_SHAPE_TEXT, .member = "status" },
	END,
};
static const struct cli_action providers[] = {
	RESOURCE_ACTIONS("/llm-providers", "llm_providers"),
	{ CALL("validate", 1, "POST", "/llm-providers/{name}/validate"), .shape = CLI_SHAPE_ONE },
	END,
};

#define IMPORT_FIELDS                                                                                                  \
	FIELDS({ "1", "document", CLI_FIELD_FILE, false }, TEXT("server", "server"), TEXT("prefix", "name_prefix"),    \
	       TEXT("state", "state"), { "only", "operations", CLI_FIELD_LIST, false },                                \
	       { "token-file", "credentials.token", CLI_FIELD_SECRET, false })

#define MCP_FIELDS                                                                                                     \
	FIELDS({ "mcp", "execution_config.kind", CLI_FIELD_LITERAL, false },                                           \
	       { "http", "execution_config.transport", CLI_FIELD_LITERAL, false }, TEXT("1", "execution_config.url"),  \
	       TEXT("auth", "execution_config.auth.type"), TEXT("prefix", "name_prefix"), TEXT("state", "state"),      \
	       { "only", "only", CLI_FIELD_LIST, false },                                                              \
	       { "token-file", "credentials.token", CLI_FIELD_SECRET, false })

static const struct cli_action tools[] = {
	RESOURCE_ACTIONS("/tools", "tools"),
	{ CALL("add", 1, "POST", "/tools/import"), .fields = IMPORT_FIELDS, .shape = CLI_SHAPE_TABLE, .member = "tools",
	  .columns = COLUMNS("NAME", "name", "STATE", "state", "ID", "id") },
	{ CALL("preview", 1, "POST", "/tools/import/preview"), .fields = IMPORT_FIELDS, .shape = CLI_SHAPE_TABLE,
	  .member = "tools", .columns = COLUMNS("NAME", "name", "METHOD", "method", "PATH", "path") },
	{ CALL("add-mcp", 1, "POST", "/tools/import/mcp"), .fields = MCP_FIELDS, .shape = CLI_SHAPE_TABLE,
	  .member = "tools", .columns = COLUMNS("NAME", "name", "STATE", "state", "ID", "id") },
	{ CALL("preview-mcp", 1, "POST", "/tools/import/mcp/preview"), .fields = MCP_FIELDS, .shape = CLI_SHAPE_TABLE,
	  .member = "tools", .columns = COLUMNS("NAME", "name", "DESCRIPTION", "description") },
	{ CALL("import-mcp", 1, "POST", "/tools/import/mcp"), .body_file = true, .shape = CLI_SHAPE_TABLE,
	  .member = "tools", .columns = COLUMNS("NAME", "name", "STATE", "state", "ID", "id") },
	{ CALL("validate", 1, "POST", "/tools/{name}/validate"), .shape = CLI_SHAPE_ONE },
	{ CALL("test", 1, "POST", "/tools/{name}/test"),
	  .fields = FIELDS({ "input", "input", CLI_FIELD_INPUTS, false }), .shape = CLI_SHAPE_ONE },
	END,
};

static const struct cli_action flow[] = {
	{ .name = "export", .least = 1, .most = 2, .run = cli_flow_export },
	{ CALL("import", 1, "POST", "/flows/import"),
	  .fields = FIELDS({ "1", "document", CLI_FIELD_FILE, false }, TEXT("name", "name")), .shape = CLI_SHAPE_ONE },
	{ CALL("versions", 1, "LIST", "/flows/{name}/versions"), .shape = CLI_SHAPE_TABLE, .member = "versions",
	  .columns = COLUMNS("VERSION", "version", "NAME", "name", "MADE", "created_at", "NOTE", "note") },
	{ .name = "diff",
	  .least = 1,
	  .most = 3,
	  .method = "GET",
	  .path = "/flows/{name}/diff",
	  .fields = FIELDS(QUERY("2", "from"), QUERY("3", "to")),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("restore", 2, "POST", "/flows/{name}/versions/{2}/restore"), .shape = CLI_SHAPE_ONE },
	{ .name = "duplicate",
	  .least = 1,
	  .most = 2,
	  .method = "POST",
	  .path = "/flows/{name}/duplicate",
	  .fields = FIELDS(TEXT("2", "name")),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("delete", 1, "DELETE", "/flows/{name}") },
	{ CALL("undelete", 1, "POST", "/flows/{1}/restore"), .shape = CLI_SHAPE_ONE },
	{ CALL("sharing", 1, "GET", "/flows/{name}/sharing"), .shape = CLI_SHAPE_ONE },
	{ CALL("share", 2, "PUT", "/flows/{name}/sharing"), .body_file = true, .shape = CLI_SHAPE_ONE },
	{ CALL("templates", 0, "GET", "/templates"), .shape = CLI_SHAPE_TABLE, .member = "templates",
	  .columns = COLUMNS("NAME", "name", "TITLE", "title", "NODES", "node_count") },
	{ .name = "from-template",
	  .least = 1,
	  .most = 2,
	  .method = "POST",
	  .path = "/templates/{1}/use",
	  .fields = FIELDS(TEXT("2", "name")),
	  .shape = CLI_SHAPE_ONE },
	END,
};

#define START_FIELDS                                                                                                   \
	TEXT("name", "name"), { "input", "inputs", CLI_FIELD_INPUTS, false },                                          \
		{ "version", "version", CLI_FIELD_NUMBER, false },                                                     \
	{                                                                                                              \
		"timeout", "timeout_s", CLI_FIELD_NUMBER, false                                                        \
	}

static const struct cli_action schedules[] = {
	LIST("list", "/schedules", "schedules", false, NULL, "NAME", "name", "CRON", "cron", "ZONE", "timezone",
	     "ENABLED", "enabled", "NEXT", "next_fires", "ID", "id"),
	{ CALL("get", 1, "GET", "/schedules/{name}"), .shape = CLI_SHAPE_ONE },
	{ CALL("create", 2, "POST", "/schedules"),
	  .fields = FIELDS({ "1", "flow_id", CLI_FIELD_ID, false }, TEXT("2", "cron"), START_FIELDS,
			   TEXT("timezone", "timezone"), TEXT("misfire", "misfire"), TEXT("overlap", "overlap")),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("update", 2, "PUT", "/schedules/{name}"), .body_file = true, .shape = CLI_SHAPE_ONE },
	{ CALL("pause", 1, "PUT", "/schedules/{name}"),
	  .fields = FIELDS({ "enabled", "enabled", CLI_FIELD_FALSE, false }), .shape = CLI_SHAPE_ONE },
	{ CALL("resume", 1, "PUT", "/schedules/{name}"),
	  .fields = FIELDS({ "enabled", "enabled", CLI_FIELD_ALWAYS, false }), .shape = CLI_SHAPE_ONE },
	{ CALL("run", 1, "POST", "/schedules/{name}/run"), .shape = CLI_SHAPE_TEXT, .member = "execution_id" },
	{ CALL("delete", 1, "DELETE", "/schedules/{name}") },
	{ CALL("fires", 1, "LIST", "/schedules/{name}/fires"), .shape = CLI_SHAPE_TABLE, .member = "fires",
	  .by_cursor = true,
	  .columns =
		  COLUMNS("FIRED", "fire_at", "OUTCOME", "outcome", "EXECUTION", "execution_id", "DETAIL", "detail") },
	{ CALL("next", 1, "POST", "/schedules/preview"),
	  .fields = FIELDS(TEXT("1", "cron"), TEXT("timezone", "timezone"),
			   { "limit", "count", CLI_FIELD_NUMBER, false }),
	  .shape = CLI_SHAPE_ONE },
	END,
};

static const struct cli_action webhooks[] = {
	LIST("list", "/webhooks", "webhooks", false, NULL, "NAME", "name", "ENABLED", "enabled", "PATH", "path", "ID",
	     "id"),
	{ CALL("get", 1, "GET", "/webhooks/{name}"), .shape = CLI_SHAPE_ONE },
	{ CALL("create", 1, "POST", "/webhooks"),
	  .fields = FIELDS({ "1", "flow_id", CLI_FIELD_ID, false }, TEXT("name", "name"),
			   { "mapping", "inputs", CLI_FIELD_JSON, false },
			   { "version", "version", CLI_FIELD_NUMBER, false },
			   { "timeout", "timeout_s", CLI_FIELD_NUMBER, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("update", 2, "PUT", "/webhooks/{name}"), .body_file = true, .shape = CLI_SHAPE_ONE },
	{ CALL("rotate", 1, "POST", "/webhooks/{name}/rotate"),
	  .fields = FIELDS({ "overlap", "overlap_s", CLI_FIELD_NUMBER, false }), .shape = CLI_SHAPE_TEXT,
	  .member = "secret" },
	{ CALL("delete", 1, "DELETE", "/webhooks/{name}") },
	{ CALL("deliveries", 1, "LIST", "/webhooks/{name}/deliveries"), .shape = CLI_SHAPE_TABLE,
	  .member = "deliveries", .by_cursor = true,
	  .columns = COLUMNS("RECEIVED", "received_at", "OUTCOME", "outcome", "STATUS", "status", "EXECUTION",
			     "execution_id", "DETAIL", "detail") },
	END,
};

static const struct cli_action outgoing[] = {
	LIST("list", "/outgoing-webhooks", "outgoing_webhooks", false, NULL, "NAME", "name", "URL", "url", "ENABLED",
	     "enabled", "ID", "id"),
	{ CALL("get", 1, "GET", "/outgoing-webhooks/{name}"), .shape = CLI_SHAPE_ONE },
	{ CALL("create", 1, "POST", "/outgoing-webhooks"),
	  .fields = FIELDS(TEXT("1", "url"), TEXT("name", "name"), { "events", "events", CLI_FIELD_LIST, false },
			   { "flow", "flow_id", CLI_FIELD_ID, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("update", 2, "PUT", "/outgoing-webhooks/{name}"), .body_file = true, .shape = CLI_SHAPE_ONE },
	{ CALL("rotate", 1, "POST", "/outgoing-webhooks/{name}/rotate"),
	  .fields = FIELDS({ "overlap", "overlap_s", CLI_FIELD_NUMBER, false }), .shape = CLI_SHAPE_TEXT,
	  .member = "secret" },
	{ CALL("test", 1, "POST", "/outgoing-webhooks/{name}/test"), .shape = CLI_SHAPE_ONE },
	{ CALL("delete", 1, "DELETE", "/outgoing-webhooks/{name}") },
	{ CALL("deliveries", 1, "LIST", "/outgoing-webhooks/{name}/deliveries"), .shape = CLI_SHAPE_TABLE,
	  .member = "deliveries", .by_cursor = true,
	  .columns = COLUMNS("MADE", "created_at", "EVENT", "event", "STATE", "state", "TRIES", "attempts", "STATUS",
			     "last_status", "ERROR", "last_error", "ID", "id") },
	{ CALL("redeliver", 2, "POST", "/outgoing-webhooks/{name}/deliveries/{2}/redeliver"), .shape = CLI_SHAPE_ONE },
	END,
};

static const struct cli_action quota[] = {
	{ CALL("show", 0, "GET", "/quotas"), .shape = CLI_SHAPE_TABLE, .member = "quotas",
	  .columns = COLUMNS("QUOTA", "name", "LIMIT", "limit", "PLAN", "plan_limit", "USED", "used", "RESETS",
			     "resets_at") },
	{ CALL("set", 2, "PUT", "/quotas"), .fields = FIELDS({ "2", "1", CLI_FIELD_NAMED, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("usage", 0, "GET", "/usage"), .shape = CLI_SHAPE_TABLE, .member = "days",
	  .columns = COLUMNS("DAY", "day", "EXECUTIONS", "executions", "LLM TOKENS", "llm_tokens") },
	{ CALL("plans", 0, "GET", "/plans"), .shape = CLI_SHAPE_TABLE, .member = "plans",
	  .columns = COLUMNS("PLAN", "name", "TITLE", "title", "WEIGHT", "weight", "KEPT DAYS", "retention_days") },
	END,
};

static const struct cli_action budgets[] = {
	LIST("list", "/budgets", "budgets", false, FIELDS(QUERY("scope", "scope")), "NAME", "name", "SCOPE", "scope",
	     "OF", "target_id", "LIMIT", "limit", "UNIT", "unit", "USED", "used", "ACTION", "action", "ID", "id"),
	{ CALL("get", 1, "GET", "/budgets/{name}"), .shape = CLI_SHAPE_ONE },
	{ CALL("add", 3, "POST", "/budgets"),
	  .fields = FIELDS(TEXT("1", "scope"), TEXT("2", "unit"), { "3", "limit", CLI_FIELD_NUMBER, false },
			   TEXT("name", "name"), TEXT("of", "target_id"), TEXT("action", "action"),
			   TEXT("provider", "cheaper.llm_provider_id"), TEXT("model", "cheaper.model"),
			   { "warn", "warn_percent", CLI_FIELD_NUMBER, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("update", 2, "PUT", "/budgets/{name}"), .body_file = true, .shape = CLI_SHAPE_ONE },
	{ CALL("delete", 1, "DELETE", "/budgets/{name}") },
	LIST("usage", "/usage/llm", "usage", false,
	     FIELDS(QUERY("by", "group_by"), QUERY("from", "from"), QUERY("to", "to")), "WHAT", "name", "CALLS",
	     "calls", "PROMPT", "prompt_tokens", "COMPLETION", "completion_tokens", "COST", "cost", "ID", "key"),
	END,
};

static const struct cli_action users[] = {
	LIST("list", "/users", "users", false, FIELDS(QUERY("role", "role")), "E-MAIL", "email", "ROLE", "role",
	     "STATE", "state", "LAST LOGIN", "last_login", "ID", "id"),
	{ CALL("invite", 2, "POST", "/invitations"), .fields = FIELDS(TEXT("1", "email"), TEXT("2", "role")),
	  .shape = CLI_SHAPE_TEXT, .member = "link" },
	LIST("invitations", "/invitations", "invitations", false, NULL, "E-MAIL", "email", "ROLE", "role", "STATE",
	     "state", "EXPIRES", "expires_at", "ID", "id"),
	{ CALL("withdraw", 1, "DELETE", "/invitations/{1}") },
	{ CALL("role", 2, "PUT", "/users/{name}"), .fields = FIELDS(TEXT("2", "role")), .shape = CLI_SHAPE_ONE },
	{ CALL("disable", 1, "PUT", "/users/{name}"),
	  .fields = FIELDS({ "disabled", "state", CLI_FIELD_LITERAL, false }), .shape = CLI_SHAPE_ONE },
	{ CALL("enable", 1, "PUT", "/users/{name}"), .fields = FIELDS({ "active", "state", CLI_FIELD_LITERAL, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("delete", 1, "DELETE", "/users/{name}") },
	{ CALL("logout", 1, "DELETE", "/users/{name}/sessions") },
	END,
};

static const struct cli_action keys[] = {
	LIST("list", "/api-keys", "api_keys", false, NULL, "NAME", "name", "ROLE", "role", "BEGINS", "prefix",
	     "EXPIRES", "expires_at", "LAST USED", "last_used_at", "ID", "id"),
	{ CALL("create", 2, "POST", "/api-keys"),
	  .fields = FIELDS(TEXT("1", "name"), TEXT("2", "role"), TEXT("expires", "expires_at")),
	  .shape = CLI_SHAPE_TEXT, .member = "key" },
	{ CALL("delete", 1, "DELETE", "/api-keys/{name}") },
	END,
};

static const struct cli_action audit[] = {
	LIST("list", "/audit-log", "entries", true,
	     FIELDS(QUERY("action", "action"), QUERY("user", "user_id"), QUERY("from", "from"), QUERY("to", "to")),
	     "TIME", "time", "ACTION", "action", "TYPE", "resource_type", "WHICH", "resource_id", "USER", "user_id",
	     "FROM", "ip"),
	{ .name = "export", .least = 0, .most = 1, .run = cli_audit_export },
	{ .name = "verify", .least = 0, .most = 1, .run = cli_audit_verify },
	END,
};

static const struct cli_action artifacts[] = {
	LIST("list", "/artifacts", "artifacts", true, FIELDS(QUERY("execution", "execution_id")), "NAME", "name",
	     "SIZE", "size", "TYPE", "content_type", "NODE", "node_id", "MADE", "created_at", "ID", "id"),
	{ .name = "get", .least = 1, .most = 2, .run = cli_artifact_get },
	{ CALL("delete", 1, "DELETE", "/artifacts/{1}") },
	END,
};

#define EXPORT_FIELDS(kind_, ...)                                                                                      \
	FIELDS({ kind_, "kind", CLI_FIELD_LITERAL, false }, TEXT("format", "format"), __VA_ARGS__)

static const struct cli_action exports[] = {
	LIST("list", "/exports", "exports", false, FIELDS(QUERY("kind", "kind"), QUERY("state", "state")), "NAME",
	     "name", "STATE", "state", "SIZE", "size", "ENTRIES", "entries", "EXPIRES", "expires_at", "ID", "id"),
	{ CALL("show", 1, "GET", "/exports/{1}"), .shape = CLI_SHAPE_ONE },
	{ CALL("flow", 1, "POST", "/exports"),
	  .fields = EXPORT_FIELDS("flow", { "1", "flow_id", CLI_FIELD_ID, false },
				  { "version", "version", CLI_FIELD_NUMBER, false }),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("flows", 0, "POST", "/exports"),
	  .fields = EXPORT_FIELDS("flows", { "only", "flow_ids", CLI_FIELD_LIST, false }), .shape = CLI_SHAPE_ONE },
	{ CALL("audit", 0, "POST", "/exports"),
	  .fields = EXPORT_FIELDS("audit_log", TEXT("from", "filters.from"), TEXT("to", "filters.to"),
				  TEXT("action", "filters.action"), TEXT("user", "filters.user_id")),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("executions", 0, "POST", "/exports"),
	  .fields = EXPORT_FIELDS("executions", TEXT("from", "filters.created_after"),
				  TEXT("to", "filters.created_before"), TEXT("status", "filters.status"),
				  { "flow", "filters.flow_id", CLI_FIELD_ID, false }, TEXT("label", "filters.label")),
	  .shape = CLI_SHAPE_ONE },
	{ .name = "get", .least = 1, .most = 2, .run = cli_export_get },
	{ .name = "crewai", .least = 2, .most = 2, .run = cli_export_crewai },
	{ CALL("delete", 1, "DELETE", "/exports/{1}") },
	END,
};

static const struct cli_action approvals[] = {
	LIST("list", "/approvals", "approvals", true, FIELDS(QUERY("status", "status")), "STATUS", "status", "NODE",
	     "node_id", "MESSAGE", "message", "EXPIRES", "expires_at", "EXECUTION", "execution_id", "ID", "id"),
	{ CALL("approve", 1, "POST", "/approvals/{1}/decide"),
	  .fields = FIELDS({ "approve", "decision", CLI_FIELD_LITERAL, false }, TEXT("comment", "comment")),
	  .shape = CLI_SHAPE_ONE },
	{ CALL("reject", 1, "POST", "/approvals/{1}/decide"),
	  .fields = FIELDS({ "reject", "decision", CLI_FIELD_LITERAL, false }, TEXT("comment", "comment")),
	  .shape = CLI_SHAPE_ONE },
	END,
};

static const struct cli_action retry[] = {
	{ CALL("start", 1, "POST", "/executions/{1}/retry"),
	  .fields = FIELDS({ "start", "from", CLI_FIELD_LITERAL, false }), .shape = CLI_SHAPE_TEXT,
	  .member = "execution_id" },
	{ CALL("failed", 1, "POST", "/executions/{1}/retry"),
	  .fields = FIELDS({ "failed", "from", CLI_FIELD_LITERAL, false }), .shape = CLI_SHAPE_TEXT,
	  .member = "execution_id" },
	{ CALL("node", 2, "POST", "/executions/{1}/retry"),
	  .fields = FIELDS({ "node", "from", CLI_FIELD_LITERAL, false }, TEXT("2", "node_id")), .shape = CLI_SHAPE_TEXT,
	  .member = "execution_id" },
	END,
};

const struct cli_group cli_groups[] = {
	{ "flow", "/flows", "flows", "name", flow },
	{ "tools", "/tools", "tools", "name", tools },
	{ "agents", "/agents", "agents", "name", agents },
	{ "crews", "/crews", "crews", "name", crews },
	{ "providers", "/llm-providers", "llm_providers", "name", providers },
	{ "schedules", "/schedules", "schedules", "name", schedules },
	{ "webhooks", "/webhooks", "webhooks", "name", webhooks },
	{ "outgoing", "/outgoing-webhooks", "outgoing_webhooks", "name", outgoing },
	{ "retry", "/executions", "executions", "id", retry },
	{ "approvals", "/approvals", "approvals", "id", approvals },
	{ "artifacts", "/artifacts", "artifacts", "name", artifacts },
	{ "export", "/exports", "exports", "name", exports },
	{ "quota", "/quotas", "quotas", "name", quota },
	{ "budgets", "/budgets", "budgets", "name", budgets },
	{ "users", "/users", "users", "email", users },
	{ "keys", "/api-keys", "api_keys", "name", keys },
	{ "audit", "/audit-log", "entries", "id", audit },
	{ .name = NULL },
};
