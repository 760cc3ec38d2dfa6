/*
 * The budget port: nothing is asked of a model before its cost is reserved, and what it used is settled afterwards,
 * whatever became of it. Budgets are counted in tokens and in money, per tenant and day, per flow and day, per agent
 * and day, and per run; a call has to fit into all of them. Exact under parallel calls. The real one is
 * lib/store/postgres_budget.c. Calls block; thread-safe.
 */
#ifndef WL_PORTS_BUDGET_H
#define WL_PORTS_BUDGET_H

#include "lib/base/error.h"
#include "lib/base/ids.h"
#include "lib/ports/model_call.h"

#include <stdbool.h>
#include <stdint.h>

/* A call that is about to be made, and who makes it. */
struct wl_budget_call {
	int tenant;
	char id[WL_UUID_TEXT]; /* of the reservation: of one that is asked for again by whoever does not know if it was
				  made;
				  "": a new one */
	const char *eid;       /* the execution; NULL: a call from outside with an API key, or of a chat */
	const char *node;      /* its path in the execution; NULL as eid */
	int attempt;	       /* of the node, 1 is the first; 0 without one */
	const char
		*place; /* model_call.h; with execution, node and attempt the key of its row in the ledger of usage */
	const char *agent_id; /* UUID; NULL: none */
	const char *caller;   /* "run", "gateway", "chat", "test" */
	const char *provider_id;
	const char *provider_type; /* for the price table */
	const char *model;
	uint64_t prompt_tokens; /* estimated upper bounds: wl_llm_estimate() */
	uint64_t completion_tokens;
	uint32_t ttl_s; /* after which a reservation that nobody settled counts as spent */
	uint64_t stamp; /* of the providers that the call was made from (model_source.h); 0: they were read just now */
};

/* X(name, word): what a budget says of a call */
#define WL_BUDGET_VERDICTS(X)                                                                                          \
	X(GRANTED, "granted")                                                                                          \
	X(REFUSED, "refused") /* stop */                                                                               \
	X(ASK, "ask")	      /* a person may let this run go on */                                                    \
	X(CHEAPER, "cheaper") /* ask `model` instead */                                                                \
	X(STALE, "stale")     /* the providers are others than at `stamp`: read them again */

enum wl_budget_verdict {
#define X(name, word) WL_BUDGET_##name,
	WL_BUDGET_VERDICTS(X)
#undef X
};

#define WL_BUDGET_WAIT 1025 /* a wait's name, with its end */

struct wl_budget_answer {
	enum wl_budget_verdict verdict;
	char id[WL_UUID_TEXT];		/* of the reservation */
	char scope[16];			/* whose budget spoke: tenant, flow, agent, run */
	char unit[16];			/* tokens or money */
	double limit, used;		/* of that budget, before this call */
	char provider_id[WL_UUID_TEXT]; /* of CHEAPER */
	char model[201];
	char budget_id[WL_UUID_TEXT]; /* the budget that spoke; "" when it was the tenant's quota of tokens */
	char wait[WL_BUDGET_WAIT];    /* of ASK: the name of the wait in which a person is asked, for wl_ledger.wait */
};

struct wl_budget {
	void *self;
	/* 0 with a verdict; -errno when the ledger is away: nothing is reserved. The same key again gives its
	 * reservation while that is open; a call that was settled and is made again is another one. */
	int (*reserve)(void *self, const struct wl_budget_call *call, struct wl_budget_answer *ret_answer,
		       struct wl_error *err);
	/*
	 * What it came to. `fault` NONE when the model answered; tokens of a failure count too. *ret_cost in the price
	 * table's currency. Settling twice changes nothing. 0: it is on the disk. -errno: the ledger is away, say it
	 * again.
	 */
	int (*settle)(void *self, int tenant, const char *id, const struct wl_model_usage *usage, const char *model,
		      enum wl_model_fault fault, uint64_t first_us, uint64_t total_us, double *ret_cost,
		      struct wl_error *err);
	/* Before it is settled: another provider of the chain answered, so its prices hold. 0, -ENOENT, or -errno. */
	int (*moved)(void *self, int tenant, const char *id, const char *provider_id, struct wl_error *err);
	/*
	 * After ASK, when a person approved the wait of that name: the run may use the budget's amount once more; then
	 * reserve again. The same wait counts once. 0; -EACCES: it was not approved; -errno when the ledger is away.
	 */
	int (*allow)(void *self, int tenant, const char *eid, const char *budget_id, const char *wait,
		     struct wl_error *err);
	void (*close)(void *self);
};

#endif
