/*
 * Chores: what a scheduler does beside dispatching, each when it is due. A chore asks a function of PostgreSQL what is
 * to be done, does it, and tells; its work is claimed there row by row, so any number of schedulers may do the same
 * chores. Chores of one group share a thread, so that a slow one holds up none of another group.
 *
 * Asking for each chore by itself costs PostgreSQL more than all else while nothing happens. So one thread asks for all
 * of them at once (control.chores_due() in specs/sql/0003_functions.sql), ten times a second, and rouses those that
 * have something to do. A chore that is not named there is called whenever its period is over.
 */
#ifndef WL_SCHEDULER_CHORES_H
#define WL_SCHEDULER_CHORES_H

#include "lib/codec/json.h"
#include "lib/ports/audit_log.h"
#include "lib/ports/chat_log.h"
#include "lib/ports/exchange_log.h"
#include "lib/ports/node_results.h"
#include "lib/ports/object_store.h"
#include "lib/store/postgres_session.h"
#include "scheduler/scheduler.h"

/* X(NAME, name): clock must not be late, and for chats people wait; house may be; objects waits for the object store,
 * sending and hooks for servers of others, exports for whole files */
#define SCHEDULER_CHORE_GROUPS(X)                                                                                      \
	X(CLOCK, "clock")                                                                                              \
	X(HOUSE, "house")                                                                                              \
	X(CHATS, "chats")                                                                                              \
	X(OBJECTS, "objects")                                                                                          \
	X(SENDING, "sending")                                                                                          \
	X(HOOKS, "hooks")                                                                                              \
	X(EXPORTS, "exports")

enum chore_group {
#define X(NAME, name) CHORES_##NAME,
	SCHEDULER_CHORE_GROUPS(X)
#undef X
		CHORE_GROUP_COUNT
};

/* X(name, group, period_ms): chore_<name>() in scheduler/chore_<name>.c; the period is the least time between two turns
 */
#define SCHEDULER_CHORES(X)                                                                                            \
	X(schedules, CLOCK, 200)                                                                                       \
	X(wake, CLOCK, 500)                                                                                            \
	X(audit, HOUSE, 1000)                                                                                          \
	X(chat, CHATS, 100)                                                                                            \
	X(objects, OBJECTS, 2000)                                                                                      \
	X(purge, HOUSE, 1000)                                                                                          \
	X(recount, HOUSE, 300000)                                                                                      \
	X(retention, HOUSE, 600000)                                                                                    \
	X(mail, SENDING, 1000)                                                                                         \
	X(webhooks, HOOKS, 100)                                                                                        \
	X(flows, HOUSE, 3600000)                                                                                       \
	X(memory, HOUSE, 60000)                                                                                        \
	X(hooks_tidy, HOUSE, 60000)                                                                                    \
	X(exports, EXPORTS, 500)

/* What the chores of one group have. */
struct chore_desk {
	struct scheduler *scheduler;
	enum chore_group group;
	bool news; /* one of its chores was roused; by scheduler_rouse() */
	struct wl_postgres_session postgres;
	struct wl_job_queue queue;
	struct wl_node_results results;	  /* by chore_node_results() */
	struct wl_exchange_log exchanges; /* by chore_exchanges() */
	struct wl_audit_log audit;	  /* by chore_audit_log() */
	struct wl_chat_log chats;	  /* by chore_chat_log() */
	struct object_store objects;	  /* by chore_object_store() */
};

/*
 * One round of a chore. 0: nothing is left to do for now; above 0: something was done and more may wait, so it is
 * called again at once; -errno with a sentence: it is tried again when it is due next.
 */
#define X(name, group, period_ms) int chore_##name(struct chore_desk *desk, struct wl_error *err);
SCHEDULER_CHORES(X)
#undef X

/* What is kept in the document server; opened when it is first asked for. 0 or -errno while the server is away. */
int chore_node_results(struct chore_desk *desk, struct wl_node_results **ret_results, struct wl_error *err);
int chore_exchanges(struct chore_desk *desk, struct wl_exchange_log **ret_log, struct wl_error *err);
int chore_audit_log(struct chore_desk *desk, struct wl_audit_log **ret_log, struct wl_error *err);
int chore_chat_log(struct chore_desk *desk, struct wl_chat_log **ret_log, struct wl_error *err);
/* The object store, the same way. */
int chore_object_store(struct chore_desk *desk, struct object_store **ret_store, struct wl_error *err);

/* There is something to do for a chore of this group, by its name. From any thread. */
void chore_rouse(struct chore_desk *desk, const char *name);

/* Make the desks, start a thread for each group that has chores, and the one that looks. 0 or -errno. */
int chores_start(struct scheduler *scheduler, struct wl_error *err);
/* Wait for the threads after scheduler_stop(), and free what they had. */
void chores_end(void);
/* Of the chore webhooks: end its threads and tell what they did. */
void chore_webhooks_end(struct chore_desk *desk);

/*
 * Put executions that a function accepted into the queue: an array of {"eid","tenant","shard","gen","seq","epoch"?}.
 * Best effort: the sweeper finds what got lost.
 */
void chore_enqueue(struct chore_desk *desk, const struct wl_json *accepted);

#endif
