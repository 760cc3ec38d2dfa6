/*
 * Settings: each is one row of one table. The parser, `--help`, the page docs/reference/settings.md and
 * the range test all walk this table. A value comes from the environment (WINDLASS_<NAME in upper case>)
 * or from `--name=value` on the command line, which wins.
 */
#ifndef WL_BASE_SETTINGS_H
#define WL_BASE_SETTINGS_H

#include "lib/base/error.h"

#include <stdint.h>
#include <stdio.h>

enum wl_program {
	WL_PROGRAM_WEB = 1,
	WL_PROGRAM_SCHEDULER = 2,
	WL_PROGRAM_SUPERVISOR = 4,
	WL_PROGRAM_WARDEN = 8,
	WL_PROGRAM_EVAL = 16,
	WL_PROGRAM_CLI = 32
};

/* X(name, default, least, most, unit, programs, meaning): whole numbers */
#define WL_NUMBER_SETTINGS(X)                                                                                          \
	X(port, 8080, 0, 65535, "port", WL_PROGRAM_WEB, "TCP port of the web server; 0 picks a free one")              \
	X(web_workers, 2, 1, 64, "processes", WL_PROGRAM_WEB, "worker processes of the web server")                    \
	X(web_pg_connections, 8, 1, 64, "connections", WL_PROGRAM_WEB, "PostgreSQL connections of one worker")         \
	X(web_threads, 2, 1, 32, "threads", WL_PROGRAM_WEB, "threads for slow work in one worker")                     \
	X(gateway_calls, 512, 1, 4096, "calls", WL_PROGRAM_WEB,                                                        \
	  "model calls of the gateway under way at once in one worker, a thread for each, started when needed")        \
	X(tenant_gateway_calls, 256, 1, 4096, "calls", WL_PROGRAM_WEB,                                                 \
	  "model calls of the gateway that one tenant may have under way in each worker")                              \
	X(gateway_stall_ms, 60000, 100, 3600000, "ms", WL_PROGRAM_WEB,                                                 \
	  "a client of the gateway that reads nothing of its stream for so long is cut off")                           \
	X(mcp_wait_s, 50, 1, 3600, "s", WL_PROGRAM_WEB,                                                                \
	  "how long a tool that an MCP client calls is waited for before it is told that the run goes on")             \
	X(mcp_messages_per_minute, 1200, 0, 600000, "messages", WL_PROGRAM_WEB,                                        \
	  "messages a minute of one API key or person to the MCP server, in each worker; 0: no limit")                 \
	X(access_token_s, 900, 60, 86400, "s", WL_PROGRAM_WEB, "life of an access token")                              \
	X(refresh_token_s, 2592000, 600, 31536000, "s", WL_PROGRAM_WEB, "life of a refresh token")                     \
	X(logins_per_minute, 30, 0, 60000, "logins", WL_PROGRAM_WEB,                                                   \
	  "logins a minute from one network address with one e-mail address, in each worker; 0: no limit")             \
	X(address_logins_per_minute, 240, 0, 60000, "logins", WL_PROGRAM_WEB,                                          \
	  "logins and registrations a minute from one network address, in each worker; 0: no limit")                   \
	X(operator_token_s, 900, 60, 86400, "s", WL_PROGRAM_WEB,                                                       \
	  "life of an operator's token; it cannot be refreshed")                                                       \
	X(invite_s, 604800, 60, 31536000, "s", WL_PROGRAM_WEB, "how long an invitation can be accepted")               \
	X(purge_grace_s, 2592000, 0, 315360000, "s", WL_PROGRAM_WEB,                                                   \
	  "how long a deleted tenant can be brought back before it is purged")                                         \
	X(tenant_streams, 256, 1, 65536, "streams", WL_PROGRAM_WEB,                                                    \
	  "event streams that one tenant may have open in each worker")                                                \
	X(hook_calls_per_minute, 600, 0, 600000, "calls", WL_PROGRAM_WEB,                                              \
	  "calls a minute that one webhook takes, in each worker; 0: no limit")                                        \
	X(hook_refusals_per_minute, 600, 0, 600000, "calls", WL_PROGRAM_WEB,                                           \
	  "calls a minute without a good signature that one address may make to one webhook, in each worker")          \
	X(hook_retry_ms, 10000, 10, 3600000, "ms", WL_PROGRAM_SCHEDULER,                                               \
	  "pause before the second try of an outgoing webhook; each further pause is five times as long")              \
	X(body_max, 16777216, 1024, 104857600, "bytes", WL_PROGRAM_WEB, "largest request body")                        \
	X(max_schedules, 1000, 0, 100000, "schedules", WL_PROGRAM_WEB, "schedules that one tenant may have")           \
	X(schedule_grace_s, 60, 0, 86400, "s", WL_PROGRAM_SCHEDULER,                                                   \
	  "how late a schedule's fire may be before it counts as missed")                                              \
	X(drain_ms, 10000, 0, 600000, "ms", WL_PROGRAM_WEB | WL_PROGRAM_SUPERVISOR,                                    \
	  "time that work in progress is given on SIGTERM")                                                            \
	X(lease_ms, 30000, 1000, 600000, "ms", WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                           \
	  "how long a supervisor holds an execution without renewing")                                                 \
	X(offer_ms, 5000, 500, 600000, "ms", WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                             \
	  "how long a claimed execution may wait for its start")                                                       \
	X(renew_ms, 10000, 100, 300000, "ms", WL_PROGRAM_SUPERVISOR, "time between two renewals of leases")            \
	X(capacity, 256, 1, 100000, "executions", WL_PROGRAM_SUPERVISOR, "executions one supervisor runs at once")     \
	X(node_threads, 16, 1, 1024, "threads", WL_PROGRAM_SUPERVISOR, "threads on which nodes run")                   \
	X(model_threads, 64, 1, 4096, "threads", WL_PROGRAM_SUPERVISOR, "threads on which nodes run that ask models")  \
	X(model_memory_mb, 0, 0, 16777216, "MiB", WL_PROGRAM_SUPERVISOR,                                               \
	  "memory for all records, conversations and answers of models together; 0: a quarter of the machine's")       \
	X(sandbox_slots, 8, 1, 4096, "sandboxes", WL_PROGRAM_SUPERVISOR | WL_PROGRAM_WARDEN,                           \
	  "sandboxes that run at once on this host")                                                                   \
	X(sandbox_parked, 4, 0, 256, "sandboxes", WL_PROGRAM_WARDEN, "sandboxes kept ready for each tenant in use")    \
	X(warden_client_uid, -1, -1, 2147483647, "uid", WL_PROGRAM_WARDEN,                                             \
	  "user, beside root, that may use the warden's socket; -1: the owner of its folder")                          \
	X(artifact_files, 64, 1, 1024, "files", WL_PROGRAM_SUPERVISOR, "files that a node may leave under /work/out")  \
	X(artifact_file_mb, 16, 1, 4096, "MiB", WL_PROGRAM_SUPERVISOR, "size of one of them")                          \
	X(artifact_total_mb, 64, 1, 16384, "MiB", WL_PROGRAM_SUPERVISOR, "size of all of them together")               \
	X(export_mb, 1024, 1, 65536, "MiB", WL_PROGRAM_SCHEDULER, "size of one export")                                \
	X(export_keep_days, 7, 1, 3650, "days", WL_PROGRAM_SCHEDULER,                                                  \
	  "how long an export is kept, unless the tenant's plan keeps things for a shorter time")                      \
	X(kill_grace_ms, 500, 0, 60000, "ms", WL_PROGRAM_SUPERVISOR, "time between SIGTERM and SIGKILL for a node")    \
	X(sweep_ms, 2000, 50, 600000, "ms", WL_PROGRAM_SCHEDULER, "time between two sweeps of the ledger")             \
	X(reap_ms, 500, 50, 60000, "ms", WL_PROGRAM_SCHEDULER, "time between two looks for expired leases")            \
	X(max_deliveries, 3, 1, 100, "times", WL_PROGRAM_SCHEDULER, "attempts after which an execution is poison")     \
	X(eval_ms, 1000, 10, 60000, "ms", WL_PROGRAM_EVAL | WL_PROGRAM_SUPERVISOR | WL_PROGRAM_WEB,                    \
	  "time that the expressions of one node may take")                                                            \
	X(eval_memory_mb, 128, 16, 4096, "MiB", WL_PROGRAM_EVAL, "memory of one expression process")                   \
	X(event_keep_s, 300, 1, 604800, "s", WL_PROGRAM_SUPERVISOR, "how long events stay after the end of a run")     \
	X(event_max, 1000, 16, 100000, "events", WL_PROGRAM_SUPERVISOR, "events kept of one run")

/* X(name, default, programs, meaning): texts; an empty default means not set */
#define WL_TEXT_SETTINGS(X)                                                                                            \
	X(home, ".windlass", WL_PROGRAM_CLI, "folder of the state that `make run` keeps")                              \
	X(bind, "127.0.0.1", WL_PROGRAM_WEB, "address on which the web server listens")                                \
	X(postgres_url, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                             \
	  "PostgreSQL, as postgresql://user:password@host:port/database")                                              \
	X(redis_url, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                                \
	  "Redis, as redis://host:port or unix:///path")                                                               \
	X(mongodb_url, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                              \
	  "document server, as mongodb://host:port/name")                                                              \
	X(warden_socket, "", WL_PROGRAM_SUPERVISOR | WL_PROGRAM_WARDEN, "unix socket of the sandbox warden")           \
	X(eval_socket, "", WL_PROGRAM_EVAL | WL_PROGRAM_SUPERVISOR | WL_PROGRAM_WEB,                                   \
	  "unix socket of the expression server")                                                                      \
	X(public_url, "", WL_PROGRAM_WEB,                                                                              \
	  "address of this server as people reach it, for links in mails; empty: its bind address and port")           \
	X(smtp_url, "", WL_PROGRAM_SCHEDULER,                                                                          \
	  "mail server, as smtp://user:password@host:port or smtps://...; empty: links are logged and no mail is "     \
	  "sent")                                                                                                      \
	X(mail_from, "windlass@localhost", WL_PROGRAM_SCHEDULER, "address that mails come from")                       \
	X(tls_certificate, "", WL_PROGRAM_WEB, "PEM file of the certificate chain; with tls_key: serve https")         \
	X(tls_key, "", WL_PROGRAM_WEB, "PEM file of the certificate's private key")                                    \
	X(token_key, "", WL_PROGRAM_WEB, "key that signs access tokens, 64 or more hex digits")                        \
	X(master_key, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                               \
	  "key that seals the tenants' keys, and so all stored credentials: 64 hex digits; losing it loses them")      \
	X(supervisor_id, "", WL_PROGRAM_SUPERVISOR, "name of this supervisor; made up when empty")                     \
	X(spool_dir, "", WL_PROGRAM_SUPERVISOR, "folder for node results while the document server is away")           \
	X(egress_allow, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                             \
	  "networks that are not public and may be reached all the same, as CIDRs with commas, each for all ports or " \
	  "for the one behind it, as in 127.0.0.1/32:8000; empty: none")                                               \
	X(local_model_url, "", WL_PROGRAM_WEB,                                                                         \
	  "model server that new tenants get as a provider: OpenAI-compatible, without a key, and opened by "          \
	  "egress_allow; empty: none")                                                                                 \
	X(objects_dir, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                              \
	  "folder of the files that nodes leave; all programs must see the same one")                                  \
	X(s3_url, "", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR,                                   \
	  "bucket of those files in place of the folder, as s3://ACCESS:SECRET@host:port/bucket?region=NAME&tls=1")    \
	X(exports_dir, "", WL_PROGRAM_SCHEDULER,                                                                       \
	  "folder for exports while they are made; empty: that of temporary files")                                    \
	X(templates_dir, "docs/flows", WL_PROGRAM_WEB,                                                                 \
	  "folder of the flows that are offered as templates: one folder each, with a flow.yaml; empty: none")         \
	X(policies_dir, "policies", WL_PROGRAM_WARDEN, "folder of the sandbox profiles")                               \
	X(zoneinfo_dir, "/usr/share/zoneinfo", WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER,                                  \
	  "folder of the time zones' files (TZif), as the package tzdata installs them")                               \
	X(runtime_dir, "", WL_PROGRAM_WARDEN, "folder shown read-only as /opt/runtime in each sandbox")                \
	X(environments_dir, "", WL_PROGRAM_WARDEN,                                                                     \
	  "folder of the environments that sandbox profiles name, such as crewai; empty: none is installed")           \
	X(log_level, "notice",                                                                                         \
	  WL_PROGRAM_WEB | WL_PROGRAM_SCHEDULER | WL_PROGRAM_SUPERVISOR | WL_PROGRAM_WARDEN | WL_PROGRAM_EVAL,         \
	  "what is logged: error, warning, notice, info or debug")

#define WL_SETTING_TEXT_MAX 1024

struct wl_settings {
#define X(name, standard, least, most, unit, programs, meaning) long name;
	WL_NUMBER_SETTINGS(X)
#undef X
#define X(name, standard, programs, meaning) char name[WL_SETTING_TEXT_MAX];
	WL_TEXT_SETTINGS(X)
#undef X
};

/*
 * Read the settings of one program: defaults, then the environment, then `--name=value` arguments.
 * Returns 0; 1 when `--help` was asked for and printed to standard output; -EINVAL for an unknown argument
 * or a value out of range, with a sentence that names the setting and its range.
 */
int wl_settings_load(struct wl_settings *settings, enum wl_program program, int argc, char **argv,
		     struct wl_error *err);

/* Set one setting by its name from text; -ENOENT for an unknown name, -EINVAL out of range. */
int wl_settings_set(struct wl_settings *settings, const char *name, const char *value, struct wl_error *err);

/* Write the rows that `program` reads (0: all) as text for people, or as a Markdown table. */
void wl_settings_help(FILE *out, unsigned programs);
void wl_settings_markdown(FILE *out);

/* -EINVAL with a sentence that names what to set when a text setting that is needed is empty, else 0. */
int wl_settings_need(const char *value, const char *name, const char *what, struct wl_error *err);

#endif
