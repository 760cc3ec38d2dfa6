/*
 * The lease protocol of Windlass as a Promela model: two executions of one tenant whose cap is one, two
 * supervisors that may die between any two steps, a reaper whose clock may be anything, a Redis that may be lost
 * once, a person who cancels, and a supervisor that drains.
 *
 *   ledger    PostgreSQL: state and epoch of each execution, and the incarnation of the shard
 *   queue     Redis: an index that can vanish; slot = absent, waiting or leased
 *   results   the document server: one node an execution; the first commit wins
 *
 * What must hold: an execution becomes terminal once; no more than the cap run; the result that was consumed is the
 * one that is stored; no attempt commits after a later one has sealed the node; and when nothing moves any
 * more, everything is terminal or has used its attempts.
 *
 * Each -D below leaves one rule out. tests/model/test_lease_model.py demands that every such mutant is caught:
 * a rule that no mutant needs would be a rule without a reason.
 *   WITHOUT_GEN         a start does not compare the incarnation
 *   WITHOUT_START_EPOCH a start does not compare the epoch
 *   REDIS_FIRST         the reaper frees the slot before it fences the ledger
 *   FENCE_RUNNING_ONLY  the reaper does not fence an attempt that was claimed and not started
 *   WITHOUT_FINISH_EPOCH  a finish does not compare the epoch
 *   IGNORES_SEAL        a commit does not look whether a later attempt has sealed the node
 *   LAST_COMMIT_WINS    a commit overwrites what is there, whoever sealed it
 *   GEN_LAST            a rebuild reads the ledger before it begins the new incarnation
 */
#define JOBS 2
#define CAP 1
#ifndef EPOCHS
#define EPOCHS 2
#endif

/* How often each misfortune may strike; the test runs several small mixes, `make model` the full one. */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef DRAINS
#define DRAINS 1
#endif

#define QUEUED 0
#define RUNNING 1
#define TERMINAL 2
#define ABSENT 0
#define WAITING 1
#define LEASED 2

byte state[JOBS], epoch[JOBS], ends[JOBS]; /* ledger */
bool cancel[JOBS];
byte ledger_gen = 1;

bool queue_up = true; /* queue */
byte queue_gen = 1;
byte slot[JOBS], slot_epoch[JOBS], holder[JOBS];

byte stored[JOBS], sealed[JOBS]; /* results: who committed the node, and the newest attempt that sealed it */

byte deaths = 0, losses = 0, cancels = 0, drains = 0;

#define leased ((slot[0] == LEASED) + (slot[1] == LEASED))
#define running ((state[0] == RUNNING) + (state[1] == RUNNING))
#define claimable(j) (slot[j] == WAITING && slot_epoch[j] < EPOCHS)
#ifdef WITHOUT_START_EPOCH
#define start_epoch(j, e) true
#else
#define start_epoch(j, e) (epoch[j] < e)
#endif
#ifdef WITHOUT_GEN
#define start_gen(g) true
#else
#define start_gen(g) (g == ledger_gen)
#endif
#ifdef IGNORES_SEAL
#define seal_allows(j, e) true
#else
#define seal_allows(j, e) (sealed[j] <= e)
#endif
#ifdef FENCE_RUNNING_ONLY
#define fence_takes(j, e) (state[j] == RUNNING && epoch[j] == e)
#else
#define fence_takes(j, e) true
#endif
#define may_die if :: deaths < DEATHS -> deaths++; goto dead :: true fi

inline end_of(j) { state[j] = TERMINAL; ends[j]++; assert(ends[j] == 1) }

proctype Supervisor(byte me)
{
	byte j, e, gen, used;
	bool mine;
dead:	/* a supervisor that died comes back as a new one that knows nothing */
end:	do
	:: atomic { queue_up && leased < CAP && (claimable(0) || claimable(1)) ->
		if :: claimable(0) -> j = 0 :: claimable(1) -> j = 1 fi;
		slot_epoch[j]++; slot[j] = LEASED; holder[j] = me; e = slot_epoch[j]; gen = queue_gen }
	   may_die;
	   atomic { /* control.start_batch */
		mine = false;
		if
		:: state[j] == QUEUED && !cancel[j] && start_epoch(j, e) && start_gen(gen) -> state[j] = RUNNING; epoch[j] = e; mine = true
		:: else
		fi;
		assert(running <= CAP) }
	   if :: !mine -> goto free :: else fi;
	   may_die;
	   atomic { /* node_results.seal */
		if :: e > 1 && !stored[j] && sealed[j] < e -> sealed[j] = e :: else fi }
	   may_die;
	   if
	   :: drains < DRAINS -> atomic { drains++; /* control.release_batch */
		if :: state[j] == RUNNING && epoch[j] == e -> state[j] = QUEUED :: else fi }
		atomic { if :: queue_up && slot[j] == LEASED && slot_epoch[j] == e && state[j] != TERMINAL -> slot[j] = WAITING
			 :: else fi; j = 0; e = 0; gen = 0; used = 0 }
		goto dead
	   :: true
	   fi;
	   atomic { /* node_results.commit: stored, adopted or fenced */
		used = 0;
		if
#ifdef LAST_COMMIT_WINS
		:: true -> stored[j] = e; used = e
#else
		:: !stored[j] && seal_allows(j, e) -> assert(sealed[j] <= e); stored[j] = e; used = e
		:: stored[j] -> used = stored[j]
#endif
		:: else
		fi }
	   if :: used == 0 -> goto free :: else fi;
	   may_die;
	   atomic { /* control.finish_batch */
		if
#ifdef WITHOUT_FINISH_EPOCH
		:: state[j] != TERMINAL -> assert(stored[j] == used); assert(epoch[j] == e); end_of(j)
#else
		:: state[j] == RUNNING && epoch[j] == e -> assert(stored[j] == used); end_of(j)
#endif
		:: else
		fi }
free:	   atomic { /* wl1_complete: only for what is terminal; the rest is the reaper's */
		if :: queue_up && slot[j] == LEASED && slot_epoch[j] == e && holder[j] == me && state[j] == TERMINAL -> slot[j] = ABSENT
		:: else fi;
		j = 0; e = 0; gen = 0; used = 0; mine = false }
	od
}

proctype Reaper()
{
	byte j, e;
	bool again;
end:	do
	:: atomic { queue_up && leased > 0 -> /* wl1_expired: any lease may run out at any time */
		if :: slot[0] == LEASED -> j = 0 :: slot[1] == LEASED -> j = 1 fi; e = slot_epoch[j] }
#ifdef REDIS_FIRST
	   atomic { if :: queue_up && slot[j] == LEASED && slot_epoch[j] == e ->
			if :: state[j] == TERMINAL -> slot[j] = ABSENT :: else -> slot[j] = WAITING fi
		    :: else fi }
#endif
	   atomic { /* control.fence_batch */
		again = false;
		if
		:: state[j] != TERMINAL && epoch[j] <= e && fence_takes(j, e) -> state[j] = QUEUED; epoch[j] = e; again = true;
			   if :: cancel[j] -> end_of(j); again = false :: else fi
		:: else -> again = state[j] != TERMINAL
		fi }
	   atomic { /* wl1_requeue */
		if :: queue_up && slot[j] == LEASED && slot_epoch[j] == e ->
			if :: again -> slot[j] = WAITING :: else -> slot[j] = ABSENT fi
		:: else fi;
		j = 0; e = 0; again = false }
	od
}

/* One loss of Redis, then the rebuild: a new incarnation first, rows one by one, the incarnation published last. */
proctype Loss()
{
	byte row;
end:	do
	:: atomic { losses < LOSSES -> losses++; queue_up = false; slot[0] = ABSENT; slot[1] = ABSENT;
		slot_epoch[0] = 0; slot_epoch[1] = 0; holder[0] = 0; holder[1] = 0 }
#ifndef GEN_LAST
	   ledger_gen++; /* control.shard_renew */
#endif
	   row = 0;
	   do
	   :: row < JOBS -> atomic { /* wl1_load */
		slot_epoch[row] = epoch[row];
		if
		:: state[row] == QUEUED -> slot[row] = WAITING
		:: state[row] == RUNNING -> slot[row] = LEASED
		:: state[row] == TERMINAL -> slot[row] = ABSENT
		fi;
		row++ }
	   :: else -> break
	   od;
#ifdef GEN_LAST
	   ledger_gen++;
#endif
	   atomic { queue_gen = ledger_gen; queue_up = true; row = 0 }
	od
}

proctype Person()
{
end:	do
	:: atomic { cancels < CANCELS && state[0] != TERMINAL -> cancels++; /* control.cancel */
		if :: state[0] == QUEUED -> end_of(0) :: state[0] == RUNNING -> cancel[0] = true fi
		}
	od
}

/* The sweeper: a waiting row that the queue does not know is put back; a waiting entry without a row is dropped. */
proctype Sweeper()
{
end:	do
	:: atomic { queue_up && state[0] == QUEUED && slot[0] == ABSENT -> slot[0] = WAITING; slot_epoch[0] = epoch[0] }
	:: atomic { queue_up && state[1] == QUEUED && slot[1] == ABSENT -> slot[1] = WAITING; slot_epoch[1] = epoch[1] }
	od
}

init {
	atomic { slot[0] = WAITING; slot[1] = WAITING;
		run Supervisor(1); run Supervisor(2); run Reaper(); run Loss(); run Person(); run Sweeper() }
	timeout -> assert(state[0] == TERMINAL || slot_epoch[0] >= EPOCHS)
	assert(state[1] == TERMINAL || slot_epoch[1] >= EPOCHS)
}
