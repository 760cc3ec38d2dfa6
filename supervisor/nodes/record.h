/*
 * What one node has asked and been told, over all attempts of its run (lib/ports/exchange_log.h). An attempt that goes
 * on where another one stopped finds the answers here and pays for none of them twice. Answers to models' and tools'
 * calls are looked up by place and by a hash of what was asked. Thread-safe once opened.
 *
 * Failures after which a crew goes on in another way (a server that takes no tools, vectors that nobody gives) are
 * answers.
 *
 * Rounds: an attempt that failed for what models said (and not because a server was away) would fail in the same way
 * over the same record. So it closes its round, and the next attempt asks everything anew under places of its own. The
 * same when something else is asked than is on record.
 */
#ifndef WL_SUPERVISOR_NODES_RECORD_H
#define WL_SUPERVISOR_NODES_RECORD_H

#include "lib/codec/json.h"
#include "lib/ports/exchange_log.h"
#include "lib/ports/storage_room.h"
#include "supervisor/nodes/memory.h"
#include "supervisor/nodes/node.h"

#include <pthread.h>

#define RECORD_PLACE_MAX 240	 /* bytes of a place with its round */
#define RECORD_AHEAD (256 << 10) /* bytes: of the tenant's storage so many are taken at once */
/* Of all answers of one node: another attempt has them all in memory, and the document server on its disk. */
#define RECORD_BYTES_MAX (256u << 20)

struct node_record {
	const struct node_call *call;
	const struct wl_exchange_log *log; /* NULL: nothing is kept */
	struct wl_exchange *known;	   /* of this run */
	int known_count;
	struct wl_exchange *source; /* of the run that is replayed or forked */
	int source_count;
	enum node_replay replay;
	int round; /* 1 is the first */
	pthread_mutex_t lock;
	size_t bytes;		    /* of all answers of this run */
	struct node_memory *memory; /* NULL: not bounded */
	uint64_t held;		    /* bytes of it */
	const struct wl_storage_room *storage;
	int64_t room;			 /* bytes that were taken of the tenant's storage and are not used yet */
	char full[WL_ERROR_TEXT];	 /* why the storage has no room, "" when it has */
	char diverged[RECORD_PLACE_MAX]; /* where a replay asked for something else; "" nowhere */
};

/* Read what there is; waits for the document server for a while. 0; -ECANCELED; -EDQUOT: the tenant's storage is full,
 * so that nothing is asked that could not be kept; -errno. To be closed in any case. */
int node_record_open(struct node_world *world, const struct node_call *call, struct node_record *record,
		     struct wl_error *err);
void node_record_close(struct node_record *record);

/* The hash of what is asked: SHA-256 (FIPS 180-4) of its JSON with sorted members, in hex. 0 or -ENOMEM. */
int node_record_hash(const struct wl_json *asked, char ret_hash[65]);

/*
 * The answer to a question that was asked before, parsed, for the caller to free. 0; -ENOENT: it has to be asked;
 * -ESTALE: a replay cannot go on: its record holds no answer to this (err names the place); -ENOMEM; and what
 * node_record_put() fails with, since a replay takes over what it is told.
 */
int node_record_find(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
		     struct wl_json **ret_answer, struct wl_error *err);

/* As node_record_find(), in the record of this run alone: what a fork does not take from the other run. */
int node_record_find_own(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
			 struct wl_json **ret_answer, struct wl_error *err);

/*
 * Keep an answer before it is used. Waits for the document server for a while. 0; -ESTALE: a later attempt has been
 * here, this one is to end; -EFBIG: more than RECORD_BYTES_MAX; -EDQUOT: more than the tenant's
 * storage has room for; -ECANCELED, -EIO.
 */
int node_record_put(struct node_record *record, enum wl_exchange_kind kind, const char *place, const char *hash,
		    const char *asked_json, const char *answer_json, int64_t start_ms, struct wl_error *err);

/*
 * Memory that the node needs beside its record, or gives back when `bytes` are below 0; the rest comes back with the
 * record. 0; -ENOSPC: all nodes together have as much as they may.
 */
int node_record_hold(struct node_record *record, int64_t bytes, struct wl_error *err);

/* The next attempt asks anew. Best effort. */
void node_record_close_round(struct node_record *record, const char *code);

#endif
