/* The command table: what is not in it does not exist, and help, completion and docs/guides/cli.md come from it. */
#include "cli/commands.h"

#define STATUSES "queued running succeeded failed cancelled timeout"
#define END                                                                                                            \
	{                                                                                                              \
		NULL, 0, NULL, NULL, NULL                                                                              \
	}

static const struct cli_option run_options[] = {
	{ "input", 'i', "NAME=VALUE", NULL, "an input: name=value, name=@file (- is standard input), name:=json" },
	{ "input-json", 0, "FILE", NULL, "inputs from a JSON object in a file" },
	{ "follow", 'f', NULL, NULL, "show what happens until the end; the exit code tells how it ended" },
	{ "get", 'g', "NAME", NULL, "with --follow: print this member of the outputs only, a text as it is" },
	{ "draft", 0, NULL, NULL, "run the draft, not the newest published version" },
	{ "version", 0, "N", NULL, "run this published version" },
	{ "timeout", 0, "SECONDS", NULL, "end the execution as timeout after this time (default one hour)" },
	{ "cancel-on-interrupt", 0, NULL, NULL, "Ctrl-C cancels the execution; without it, it goes on" },
	END,
};

static const struct cli_option apply_options[] = {
	{ "publish", 0, NULL, NULL, "make the draft an immutable version" },
	{ "note", 0, "TEXT", NULL, "with --publish: what is new in this version" },
	END,
};

static const struct cli_option flows_options[] = {
	{ "status", 0, "STATUS", "draft published archived", "only these" },
	{ "limit", 0, "N", NULL, "at most this many" },
	END,
};

static const struct cli_option executions_options[] = {
	{ "status", 0, "STATUS", STATUSES, "only these" },
	{ "flow", 0, "FLOW", NULL, "only those of this flow, by name or id" },
	{ "limit", 0, "N", NULL, "at most this many (default 20)" },
	END,
};

static const struct cli_option logs_options[] = {
	{ "follow", 'f', NULL, NULL, "go on until the execution has ended; the exit code tells how" },
	{ "node", 0, "NODE", NULL, "only the lines of this node" },
	END,
};

#define FOLLOW_OPTIONS                                                                                                 \
	{ "follow", 'f', NULL, NULL, "show what happens until the end; the exit code tells how it ended" },            \
		{ "get", 'g', "NAME", NULL, "with --follow: print this member of the outputs only, a text as it is" }, \
	{                                                                                                              \
		"cancel-on-interrupt", 0, NULL, NULL, "Ctrl-C cancels the execution; without it, it goes on"           \
	}

static const struct cli_option replay_options[] = { FOLLOW_OPTIONS, END };

static const struct cli_option fork_options[] = {
	{ "from", 0, "NODE", NULL, "take over what stands before this node" },
	{ "version", 0, "N", NULL, "of this published version, not of the draft" },
	{ "input", 'i', "NAME=VALUE", NULL, "in place of that input; forms as in windlass run" },
	{ "input-json", 0, "FILE", NULL, "inputs from a JSON object in a file" },
	FOLLOW_OPTIONS,
	END,
};

static const struct cli_option exchanges_options[] = {
	{ "node", 0, "NODE", NULL, "only those of this node" },
	{ "place", 0, "PLACE", NULL, "with --node: the one at this place, with all of its answer" },
	{ "limit", 0, "N", NULL, "at most this many (default 100)" },
	END,
};

static const struct cli_option trace_options[] = {
	{ "texts", 't', NULL, NULL, "with the beginning of what went in and came out of each step" },
	END,
};

static const struct cli_option register_options[] = {
	{ "tenant", 0, "SLUG", NULL, "short name of the new tenant: a-z, 0-9 and -" },
	{ "tenant-name", 0, "TEXT", NULL, "its name for people (default: the short name)" },
	{ "email", 0, "ADDRESS", NULL, "your address; you become the tenant's admin" },
	{ "password-file", 0, "FILE", NULL, "read the password from the first line of a file (- is standard input)" },
	END,
};

static const struct cli_option login_options[] = {
	{ "email", 0, "ADDRESS", NULL, "your address" },
	{ "tenant", 0, "SLUG", NULL, "needed when the address is known in several tenants" },
	{ "password-file", 0, "FILE", NULL, "read the password from the first line of a file (- is standard input)" },
	END,
};

static const struct cli_option markdown_options[] = {
	{ "markdown", 0, NULL, NULL, "as the reference page" },
	END,
};

static const struct cli_option no_options[] = { END };

static const struct cli_option flow_group_options[] = {
	{ "format", 0, "FORMAT", "json yaml crewai", "of an export (default yaml)" },
	{ "version", 0, "N", NULL, "export this published version, not the draft" },
	{ "name", 0, "TEXT", NULL, "import: the flow's name, in place of the one in the file" },
	END,
};

static const struct cli_option tools_group_options[] = {
	{ "server", 0, "URL", NULL, "add, preview: in place of the document's server" },
	{ "prefix", 0, "TEXT", NULL, "add, preview, and for MCP: put before each name" },
	{ "only", 0, "A,B", NULL, "the same: these operations or tools alone" },
	{ "auth", 0, "TYPE", "bearer", "add-mcp, preview-mcp: how the token is sent" },
	{ "state", 0, "STATE", "draft active archived", "list: only these; add: of the new tools" },
	{ "search", 0, "TEXT", NULL, "list: only with this text" },
	{ "token-file", 0, "FILE", NULL, "add, and for MCP: the credential, from the first line of a file" },
	{ "input", 'i', "NAME=VALUE", NULL, "test: a member of the input; forms as in windlass run" },
	{ "input-json", 0, "FILE", NULL, "test: the input from a JSON object in a file" },
	END,
};

#define TRIAL_OPTIONS                                                                                                  \
	{ "input-json", 0, "FILE", NULL, "inputs from a JSON object in a file" },                                      \
		{ "timeout", 0, "SECONDS", NULL, "test: how long it may take (default 300)" },                         \
		{ "follow", 'f', NULL, NULL,                                                                           \
		  "test: show what happens until the end; the exit code tells how it ended" },                         \
	{                                                                                                              \
		"get", 'g', "NAME", NULL, "test with --follow: print this member of the outputs only"                  \
	}

static const struct cli_option agents_group_options[] = {
	{ "state", 0, "STATE", "draft active archived", "list: only these" },
	{ "search", 0, "TEXT", NULL, "list: only with this text" },
	{ "input", 'i', "NAME=VALUE", NULL, "test: a value for a name in braces; forms as in windlass run" },
	{ "expected", 0, "TEXT", NULL, "test: what a good answer looks like" },
	TRIAL_OPTIONS,
	END,
};

static const struct cli_option crews_group_options[] = {
	{ "state", 0, "STATE", "draft active archived", "list: only these" },
	{ "search", 0, "TEXT", NULL, "list: only with this text" },
	{ "input", 'i', "NAME=VALUE", NULL, "test, kickoff: a value for a name in braces; forms as in windlass run" },
	TRIAL_OPTIONS,
	{ "task", 0, "N", NULL, "resume: the task that waits, by its number from 0" },
	{ "question", 0, "ID", NULL, "resume: the question, as status shows it" },
	{ "feedback", 0, "TEXT", NULL, "resume: a word to the task" },
	END,
};

static const struct cli_option providers_group_options[] = {
	{ "state", 0, "STATE", "draft active archived", "list: only these" },
	{ "search", 0, "TEXT", NULL, "list: only with this text" },
	END,
};

static const struct cli_option schedules_group_options[] = {
	{ "name", 0, "TEXT", NULL, "its name" },
	{ "timezone", 0, "ZONE", NULL, "an IANA name, such as Europe/Zurich (default UTC)" },
	{ "misfire", 0, "POLICY", "skip latest all", "what becomes of missed fires" },
	{ "overlap", 0, "POLICY", "allow forbid replace", "what becomes of a fire while the last run goes on" },
	{ "input", 'i', "NAME=VALUE", NULL, "an input of the run" },
	{ "input-json", 0, "FILE", NULL, "inputs from a JSON object in a file" },
	{ "version", 0, "N", NULL, "run this published version" },
	{ "timeout", 0, "SECONDS", NULL, "deadline of each run" },
	{ "limit", 0, "N", NULL, "fires, next: how many" },
	END,
};

static const struct cli_option webhooks_group_options[] = {
	{ "name", 0, "TEXT", NULL, "its name" },
	{ "mapping", 0, "JSON", NULL, "inputs of the run, with expressions over .body, .headers and .query" },
	{ "version", 0, "N", NULL, "run this published version" },
	{ "timeout", 0, "SECONDS", NULL, "deadline of each run" },
	{ "overlap", 0, "SECONDS", NULL, "rotate: how long the old secret stays good" },
	{ "limit", 0, "N", NULL, "deliveries: at most this many" },
	END,
};

static const struct cli_option outgoing_group_options[] = {
	{ "name", 0, "TEXT", NULL, "its name" },
	{ "events", 0, "A,B", NULL, "of: succeeded,failed,cancelled,timeout" },
	{ "flow", 0, "FLOW", NULL, "only of this flow" },
	{ "overlap", 0, "SECONDS", NULL, "rotate: how long the old secret stays good" },
	{ "limit", 0, "N", NULL, "deliveries: at most this many" },
	END,
};

static const struct cli_option approvals_group_options[] = {
	{ "status", 0, "STATUS", "pending approved rejected expired cancelled", "list: only these" },
	{ "comment", 0, "TEXT", NULL, "a word to the decision" },
	{ "limit", 0, "N", NULL, "list: at most this many" },
	END,
};

static const struct cli_option artifacts_group_options[] = {
	{ "execution", 0, "EXECUTION", NULL, "list: only of this execution" },
	{ "limit", 0, "N", NULL, "list: at most this many" },
	END,
};

static const struct cli_option import_options[] = {
	{ "yes", 'y', NULL, NULL, "make it all; without this it is only shown" },
	{ "name", 0, "TEXT", NULL, "of the crew, or of the flow" },
	{ "process", 0, "PROCESS", "sequential hierarchical", "what crew.py says of it, which is not read" },
	{ "order", 0, "A,B", NULL, "the tasks in their order, which crew.py has" },
	{ "manager-agent", 0, "AGENT", NULL, "the agent that leads a hierarchical crew" },
	{ "manager-llm", 0, "MODEL", NULL, "the model that leads it, such as openai/gpt-4o" },
	END,
};

static const struct cli_option export_group_options[] = {
	{ "format", 0, "FORMAT", "json yaml ndjson csv jsonc",
	  "flow: yaml or json; flows: ndjson as well; audit, executions: ndjson or csv; crewai: yaml or jsonc" },
	{ "version", 0, "N", NULL, "flow: this published version instead of the draft" },
	{ "only", 0, "A,B", NULL, "flows: those with these ids" },
	{ "from", 0, "TIME", NULL, "audit, executions: at or after" },
	{ "to", 0, "TIME", NULL, "audit, executions: before" },
	{ "action", 0, "ACTION", NULL, "audit: only these" },
	{ "user", 0, "ID", NULL, "audit: only by this user" },
	{ "status", 0, "STATUS", "queued running succeeded failed cancelled timeout", "executions: only these" },
	{ "flow", 0, "FLOW", NULL, "executions: only of this flow" },
	{ "label", 0, "NAME=VALUE", NULL, "executions: only with this label" },
	{ "kind", 0, "KIND", "flow flows audit_log executions", "list: only these" },
	{ "state", 0, "STATE", "queued running ready failed", "list: only these" },
	END,
};

static const struct cli_option budgets_group_options[] = {
	{ "scope", 0, "SCOPE", "tenant flow agent run", "list: only these" },
	{ "name", 0, "TEXT", NULL, "add: its name" },
	{ "of", 0, "ID", NULL, "add: of this flow or agent; without it of each one" },
	{ "action", 0, "ACTION", "stop ask cheaper", "add: what happens when it is used up" },
	{ "provider", 0, "ID", NULL, "add: with cheaper, the provider to ask instead" },
	{ "model", 0, "MODEL", NULL, "add: and its model" },
	{ "warn", 0, "PERCENT", NULL, "add: tell when so much is used" },
	{ "by", 0, "WHAT", "day flow agent provider model caller", "usage: what is added up" },
	{ "from", 0, "DAY", NULL, "usage: the first day" },
	{ "to", 0, "DAY", NULL, "usage: the last day" },
	END,
};

static const struct cli_option users_group_options[] = {
	{ "role", 0, "ROLE", "viewer executor editor admin", "list: only these" },
	END,
};

static const struct cli_option keys_group_options[] = {
	{ "expires", 0, "TIME", NULL, "create: good until then, such as 2030-01-31T00:00:00Z" },
	END,
};

static const struct cli_option audit_group_options[] = {
	{ "action", 0, "ACTION", NULL, "list: only these" },  { "user", 0, "ID", NULL, "list: only by this user" },
	{ "from", 0, "TIME", NULL, "list: at or after" },     { "to", 0, "TIME", NULL, "list: before" },
	{ "limit", 0, "N", NULL, "list: at most this many" }, END,
};

static const char password_detail[] =
	"The password is asked for without echo. In scripts it comes from --password-file or WINDLASS_PASSWORD;\n"
	"it is never an argument. The login is kept in $XDG_CONFIG_HOME/windlass/credentials.json (mode 0600).";

const struct cli_command cli_commands[] = {
	{ "run", "FILE|FLOW", NULL, 1, 1, "Execute a flow: a file, or a flow of the server by name or id",
	  "A file (JSON or YAML) is first made or changed on the server under the name in it, then its draft runs.\n"
	  "Without --follow the id of the execution is printed. With it progress goes to standard error and the\n"
	  "outputs to standard output; --json prints each event as one line of JSON instead.\n"
	  "A value becomes the type that the flow's input_schema names: count=3 is a number where it says integer.",
	  run_options, cli_run },
	{ "apply", "FILE...", NULL, 1, CLI_MAX_WORDS, "Make or change flows from files, by the name in each",
	  "Running it again changes nothing. `source_file` in a code node is the path of its source, relative to\n"
	  "the flow file and not outside of its folder.",
	  apply_options, cli_apply },
	{ "flows", "", NULL, 0, 0, "List the tenant's flows", "", flows_options, cli_flows },
	{ "executions", "", NULL, 0, 0, "List executions, newest first", "", executions_options, cli_executions },
	{ "logs", "EXECUTION", NULL, 1, 1, "Print the log lines of an execution", "", logs_options, cli_logs },
	{ "cancel", "EXECUTION", NULL, 1, 1, "Ask for the end of an execution", "", no_options, cli_cancel },
	{ "flow", "ACTION FLOW",
	  "export import versions diff restore duplicate delete undelete sharing share templates from-template", 1, 4,
	  "Files, versions and sharing of a flow",
	  "export FLOW [FILE]            the flow as a file that is stable under version control\n"
	  "import FILE                   make a flow from such a file\n"
	  "versions FLOW                 its published versions\n"
	  "diff FLOW [FROM [TO]]         what differs; a version's number or draft each\n"
	  "restore FLOW VERSION          make the draft what that version was\n"
	  "duplicate FLOW [NAME]         a copy of the draft\n"
	  "delete FLOW, undelete ID      delete it; take it back\n"
	  "sharing FLOW                  who may do what with it\n"
	  "share FLOW FILE               set that from a JSON or YAML file\n"
	  "templates                     the examples that come with Windlass\n"
	  "from-template NAME [NAME]     make a flow of one",
	  flow_group_options, cli_group_run },
	{ "import", "crewai DIR", "crewai", 2, 2, "Make agents, crews or a flow from a project of CrewAI",
	  "Reads agents.yaml with tasks.yaml, crew.jsonc with its agents, or a document of crewai.flow/v1. Programs "
	  "are\n"
	  "neither run nor sent, symbolic links are not followed. What would be made is shown, with a line for "
	  "everything\n"
	  "that is not carried over as it is; --yes makes it.",
	  import_options, cli_import },
	{ "tools", "ACTION [TOOL]",
	  "list get create update delete activate archive versions uses add preview add-mcp preview-mcp import-mcp "
	  "validate test",
	  1, 4, "Tools: make them, import them from OpenAPI and MCP servers, try them",
	  "list, get TOOL                all of them; one\n"
	  "create FILE, update TOOL FILE from a JSON or YAML file with the tool's members\n"
	  "add FILE                      one tool for each operation of an OpenAPI document\n"
	  "preview FILE                  what add would make\n"
	  "add-mcp URL, preview-mcp URL  the tools of an MCP server over HTTP; what they would be\n"
	  "import-mcp FILE               tools of an MCP server that a JSON or YAML file describes\n"
	  "validate TOOL                 check its schemas, credentials and server\n"
	  "test TOOL                     call it with --input and show what it gives\n"
	  "activate, archive TOOL        change its state\n"
	  "versions TOOL, uses TOOL      its history; what uses it\n"
	  "delete TOOL",
	  tools_group_options, cli_group_run },
	{ "agents", "ACTION [AGENT]", "list get create update delete activate archive versions uses test memory forget",
	  1, 4, "Agents",
	  "list, get AGENT               all of them; one\n"
	  "create FILE                   from a JSON or YAML file with its members\n"
	  "update AGENT FILE             change those members\n"
	  "activate, archive AGENT       change its state\n"
	  "versions AGENT, uses AGENT    its history; what uses it\n"
	  "memory AGENT                  what it remembers of earlier runs\n"
	  "forget AGENT [MEMORY]         let it forget that one, or everything\n"
	  "test AGENT TASK               give it one task and show what it says\n"
	  "delete AGENT",
	  agents_group_options, cli_group_run },
	{ "crews", "ACTION [CREW]",
	  "list get create update delete activate archive versions uses test inputs kickoff status resume memory "
	  "forget",
	  1, 4, "Crews",
	  "list, get CREW                all of them; one\n"
	  "create FILE                   from a JSON or YAML file with its members\n"
	  "update CREW FILE              change those members\n"
	  "activate, archive CREW        change its state\n"
	  "versions CREW, uses CREW      its history; what uses it\n"
	  "test CREW                     run it with --input and show what it gives\n"
	  "inputs CREW                   the names that it wants to be given\n"
	  "kickoff CREW                  start an active one; prints the id of the run\n"
	  "status CREW RUN               how far that run is\n"
	  "memory CREW                   what it remembers of earlier runs\n"
	  "forget CREW [MEMORY]          let it forget that one, or everything\n"
	  "resume CREW RUN approve|reject  answer a task of it that waits for a person\n"
	  "delete CREW",
	  crews_group_options, cli_group_run },
	{ "providers", "ACTION [PROVIDER]", "list get create update delete activate archive versions uses validate", 1,
	  4, "LLM providers",
	  "list, get PROVIDER            all of them; one\n"
	  "create FILE                   from a JSON or YAML file with its members\n"
	  "update PROVIDER FILE          change those members\n"
	  "activate, archive PROVIDER    change its state\n"
	  "versions PROVIDER, uses PROVIDER its history; what uses it\n"
	  "validate PROVIDER             try the connection\n"
	  "delete PROVIDER",
	  providers_group_options, cli_group_run },
	{ "schedules", "ACTION [SCHEDULE]", "list get create update pause resume run delete fires next", 1, 4,
	  "Runs started by a clock",
	  "list, get SCHEDULE            all of them; one\n"
	  "create FLOW CRON              such as: windlass schedules create report '0 9 * * 1-5' --name \"each "
	  "morning\"\n"
	  "update SCHEDULE FILE          from a JSON or YAML file\n"
	  "pause, resume, run SCHEDULE   stop it; go on; fire it now\n"
	  "fires SCHEDULE                what it has started\n"
	  "next CRON                     when an expression fires\n"
	  "delete SCHEDULE",
	  schedules_group_options, cli_group_run },
	{ "webhooks", "ACTION [WEBHOOK]", "list get create update rotate delete deliveries", 1, 4,
	  "Runs started by an event from outside",
	  "list, get WEBHOOK             all of them; one\n"
	  "create FLOW                   shows the secret, this once\n"
	  "update WEBHOOK FILE           from a JSON or YAML file\n"
	  "rotate WEBHOOK                a new secret; the old one stays good for --overlap seconds\n"
	  "deliveries WEBHOOK            what came in\n"
	  "delete WEBHOOK",
	  webhooks_group_options, cli_group_run },
	{ "outgoing", "ACTION [WEBHOOK]", "list get create update rotate test delete deliveries redeliver", 1, 4,
	  "Webhooks that are sent at the end of runs",
	  "list, get WEBHOOK             all of them; one\n"
	  "create URL                    shows the secret, this once\n"
	  "update WEBHOOK FILE           from a JSON or YAML file\n"
	  "rotate, test WEBHOOK          a new secret; send a test event\n"
	  "deliveries WEBHOOK            what was sent\n"
	  "redeliver WEBHOOK DELIVERY    send it once more\n"
	  "delete WEBHOOK",
	  outgoing_group_options, cli_group_run },
	{ "retry", "FROM EXECUTION", "start failed node", 1, 4, "Run an ended execution again as a new one",
	  "start EXECUTION               everything\n"
	  "failed EXECUTION              the failed nodes and what follows them\n"
	  "node EXECUTION NODE           from that node on\n"
	  "The id of the new execution is printed.",
	  no_options, cli_group_run },
	{ "replay", "EXECUTION", NULL, 1, 1, "Run an ended execution again over its record, at no tokens",
	  "Models and tools answer what they answered then; nobody is asked. Where something else is asked the run "
	  "fails\n"
	  "with replay_diverged, which names the place. The id of the new execution is printed.",
	  replay_options, cli_replay },
	{ "fork", "EXECUTION", NULL, 1, 1, "Run a flow as an execution of it went, with edits",
	  "The flow's draft, or --version, runs with the execution's inputs. As long as the same is asked, models and "
	  "tools\n"
	  "of agents answer as they did then; from the first edit on they are asked. With --from the nodes before that "
	  "one\n"
	  "are taken over as they are. --input changes single inputs. The id of the new execution is printed.",
	  fork_options, cli_fork },
	{ "exchanges", "EXECUTION", NULL, 1, 1, "List what an execution asked of models and tools, and what they said",
	  "With --node and --place one of them is printed with all of its answer.", exchanges_options, cli_exchanges },
	{ "trace", "EXECUTION", NULL, 1, 1, "Draw an execution as a tree: who did what, how long, for how many tokens",
	  "Below each node stand the steps of its agents: tasks, model and tool calls, delegations, verdicts, memory.\n"
	  "--json prints the execution and its nodes, each with its trace.",
	  trace_options, cli_trace },
	{ "approvals", "ACTION [APPROVAL]", "list approve reject", 1, 4, "What waits for a person",
	  "list                          all of them\n"
	  "approve, reject APPROVAL      decide it",
	  approvals_group_options, cli_group_run },
	{ "artifacts", "ACTION [ARTIFACT]", "list get delete", 1, 4, "Files that runs leave behind",
	  "list                          the newest first\n"
	  "get ARTIFACT [FILE]           its bytes, to standard output or a new file\n"
	  "delete ARTIFACT",
	  artifacts_group_options, cli_group_run },
	{ "export", "ACTION [EXPORT]", "list show flow flows audit executions get delete crewai", 1, 4,
	  "Files that the server makes and keeps for a while",
	  "flow FLOW                     ask for one flow\n"
	  "flows                         for all flows that you may see, or those of --only\n"
	  "audit                         for the audit log\n"
	  "executions                    for the list of executions\n"
	  "list, show EXPORT             all of them; how far one is\n"
	  "get EXPORT [FILE]             wait for it; its bytes, to standard output or a new file\n"
	  "delete EXPORT\n"
	  "crewai CREW DIR               a crew as a CrewAI project in a new folder",
	  export_group_options, cli_group_run },
	{ "quota", "ACTION", "show set usage plans", 1, 4, "Limits and their use",
	  "show                          each limit and what is used of it\n"
	  "set QUOTA NUMBER              lower one for your tenant; default takes that back\n"
	  "usage                         day by day\n"
	  "plans                         all plans",
	  no_options, cli_group_run },
	{ "budgets", "ACTION [BUDGET]", "list get add update delete usage", 1, 5,
	  "What calls of models may use and cost",
	  "list, get BUDGET              all of them; one\n"
	  "add SCOPE UNIT LIMIT          such as: windlass budgets add flow money 2.50 --warn 80\n"
	  "update BUDGET FILE            from a JSON or YAML file with its members\n"
	  "usage                         what was used and what it cost, by day or --by\n"
	  "delete BUDGET",
	  budgets_group_options, cli_group_run },
	{ "users", "ACTION [USER]", "list invite invitations withdraw role disable enable delete logout", 1, 4,
	  "People of the tenant",
	  "list                          all of them\n"
	  "invite ADDRESS ROLE           prints the link, this once\n"
	  "invitations, withdraw ID      open ones; take one back\n"
	  "role USER ROLE                viewer, executor, editor or admin\n"
	  "disable, enable, delete USER\n"
	  "logout USER                   end all logins of the account\n"
	  "A user is named by address or id.",
	  users_group_options, cli_group_run },
	{ "keys", "ACTION [KEY]", "list create delete", 1, 4, "API keys",
	  "list                          yours; an admin sees all\n"
	  "create NAME ROLE              prints the key, this once; use it as WINDLASS_TOKEN\n"
	  "delete KEY",
	  keys_group_options, cli_group_run },
	{ "audit", "ACTION", "list export verify", 1, 4, "Who did what",
	  "list                          the newest first\n"
	  "export [FILE]                 all entries as lines of JSON\n"
	  "verify [FILE]                 compute the chain anew, of the server or of an export",
	  audit_group_options, cli_group_run },
	{ "register", "", NULL, 0, 0, "Make a tenant and its admin, and log in", password_detail, register_options,
	  cli_register },
	{ "login", "", NULL, 0, 0, "Log in to a server",
	  "The access token is renewed by itself. WINDLASS_TOKEN is used instead of a login where it is set.\n"
	  "The password is asked for without echo; in scripts it comes from --password-file or WINDLASS_PASSWORD.",
	  login_options, cli_login_command },
	{ "logout", "", NULL, 0, 0, "End the login, here and on the server", "", no_options, cli_logout },
	{ "whoami", "", NULL, 0, 0, "Tell who is logged in where, and whether the server agrees", "", no_options,
	  cli_whoami },
	{ "doctor", "", NULL, 0, 0, "Tell what this host lacks for Windlass, and what to do",
	  "Looks at the kernel, control groups, crun, the languages of code nodes, and the servers named by\n"
	  "WINDLASS_POSTGRES_URL, WINDLASS_REDIS_URL, WINDLASS_MONGODB_URL or found under WINDLASS_HOME.",
	  no_options, cli_doctor },
	{ "settings", "", NULL, 0, 0, "Print the settings of all programs", "", markdown_options, cli_settings },
	{ "version", "", NULL, 0, 0, "Print the version", "", no_options, cli_version },
	{ "completion", "SHELL", "bash zsh fish", 1, 1, "Print a completion script for a shell",
	  "For bash: source <(windlass completion bash)", no_options, cli_completion_command },
	{ "help", "[COMMAND]", NULL, 0, 1, "Show help", "", markdown_options, cli_help },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};
