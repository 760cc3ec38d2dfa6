/*
 * What the threads say to each other. Each struct travels by being posted; who holds it owns it.
 *
 *   intake, restorer  -- run -------->  run loop
 *   run loop          -- node job --->  node threads   -- the same, ended ------>  run loop
 *   run loop          -- commit ----->  committer      -- the same, answered --->  run loop
 *   run loop          -- ending ----->  finisher       -- the same, answered --->  run loop
 *   run loop          -- inquiry ---->  clerk          -- the same, answered --->  run loop
 *   run loop, nodes   -- event ------>  publisher
 *   keeper, control   -- notice ----->  run loop
 */
#ifndef WL_SUPERVISOR_MESSAGES_H
#define WL_SUPERVISOR_MESSAGES_H

#include "lib/ports/ledger.h"
#include "lib/ports/node_results.h"
#include "supervisor/log_tail.h"
#include "supervisor/mailbox.h"
#include "supervisor/nodes/node.h"
#include "supervisor/run_context.h"

struct flow;
struct run;
struct scope;
struct publisher;

enum message_kind { MESSAGE_RUN, MESSAGE_NODE, MESSAGE_COMMIT, MESSAGE_ENDING, MESSAGE_INQUIRY, MESSAGE_NOTICE };

/* First member of everything that the run loop is sent. */
struct message {
	struct mail mail; /* first */
	enum message_kind kind;
};

/* One attempt of a node, or a check: of a flow's outputs, or of what a subflow is given. */
struct node_job {
	struct message message; /* first */
	struct scope *scope;
	_Atomic uint64_t *valid_until_ms; /* of the run's lease */
	struct publisher *publisher;
	int node; /* -1: the check of the outputs */
	int attempt;
	struct flow *flow; /* held; of a check of what a subflow is given */
	char *path;	   /* what call.path points to; NULL outside of loops and subflows */
	struct node_call call;
	/* what its texts are made of when it runs */
	struct context_piece *pieces;  /* held; NULL: it needs none */
	struct context_piece *closing; /* held; of the inside of a loop, else NULL */
	struct context_part *parts;    /* in the pieces; NULL: the whole context is meant */
	int part_count;
	enum context_shape shape;
	char *context, *upstream; /* what call points to, once prepared */
	int cancel_fd;		  /* an eventfd, -1 for pure nodes; written to stop the attempt */
	atomic_bool stop;	  /* set with it, and for pure nodes as well */
	int64_t start_ms, end_ms; /* wall clock */
	struct node_outcome outcome;
	struct log_tail logs;
};

/* Make the texts that the call needs, on the thread that runs it. 0 or -ENOMEM. */
int node_job_prepare(struct node_job *job);
/* They are not needed any more. */
void node_job_drop_texts(struct node_job *job);
void node_job_free(struct node_job *job);

/* One result on its way to the document server. */
struct commit_item {
	struct message message; /* first */
	struct scope *scope;	/* NULL: of a run that a former process had; nobody waits for it */
	int node;
	bool mark; /* a placeholder, not the node's result: it keeps older attempts out, and tells that the node waits
		    */
	struct wl_node_result result;
	enum wl_commit_outcome outcome;
	bool spooled;
};

void commit_item_free(struct commit_item *item);

enum ending_kind {
	ENDING_FINISH,	 /* write the final state, free the slot */
	ENDING_RELEASE,	 /* give the run back */
	ENDING_PARK,	 /* it waits and needs no supervisor: free the slot until something comes */
	ENDING_COMPLETE, /* it was over before we began: free the slot */
};

/* The end of a run, or of a lease that never became one. */
struct ending {
	struct message message; /* first */
	struct run *run;	/* NULL: the lease never became a run */
	enum ending_kind kind;
	struct wl_lease lease;
	enum wl_run_state state;
	char *outputs_json, *error_json;
	char *waits_json; /* of a park: the paths of the nodes that wait, as an array */
	bool done;	  /* out: it was ours to end */
	bool left;	  /* out: could not be told to the ledger; its lease runs out */
	bool unsure;	  /* out: an answer of the ledger was lost, so `done` may have been said then */
};

void ending_free(struct ending *ending);

enum inquiry_kind { INQUIRY_WAIT, INQUIRY_SUBFLOW };

/* What the run loop asks of the ledger for a node. */
struct inquiry {
	struct message message; /* first */
	enum inquiry_kind kind;
	struct scope *scope;
	int node;
	struct wl_lease lease;
	char *path;	       /* of the node */
	struct wl_wait wait;   /* of a wait or an approval; its texts belong to it */
	struct wl_subflow sub; /* of a subflow */
	struct flow *flow;     /* out: the subflow, with a user more; NULL: there is none */
	int result;	       /* out: 0, or -errno with a sentence */
	struct wl_error err;
};

void inquiry_free(struct inquiry *inquiry);

enum notice_kind { NOTICE_CANCEL, NOTICE_LOST, NOTICE_DRAIN, NOTICE_INTERRUPT };

struct notice {
	struct message message; /* first */
	enum notice_kind kind;
	char eid[WL_UUID_TEXT]; /* of CANCEL and LOST */
	int epoch;		/* 0: whichever */
};

struct event_item {
	struct mail mail; /* first */
	char eid[WL_UUID_TEXT];
	const char *type; /* a literal */
	char *data_json;
};

#endif
