#include "supervisor/core/walk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void decide_edges(struct walk *walk, int node);
static void try_start(struct walk *walk, int node);

/* ---- actions --------------------------------------------------------------------------------------- */

/*
 * Room for the longest queue there can be is made when the walk is opened: per node at most one START or STOP, one
 * STORE, and the run's CHECK, its STOP and one end can be waiting at once. So an event never fails for want of memory.
 */
static void push(struct walk *walk, enum walk_action_kind kind, int node)
{
	if (walk->action_next == walk->action_count)
		walk->action_next = walk->action_count = 0;
	if (walk->action_count == walk->action_capacity) {
		int waiting = walk->action_count - walk->action_next;
		memmove(walk->actions, walk->actions + walk->action_next, (size_t)waiting * sizeof(*walk->actions));
		walk->action_next = 0;
		walk->action_count = waiting;
	}
	walk->actions[walk->action_count++] =
		(struct walk_action){ .kind = kind, .node = node, .run_state = walk->end_state };
}

bool walk_next_action(struct walk *walk, struct walk_action *ret_action)
{
	if (walk->action_next == walk->action_count)
		return false;
	*ret_action = walk->actions[walk->action_next++];
	return true;
}

bool walk_has_action(const struct walk *walk)
{
	return walk->action_next < walk->action_count;
}

static void move(struct walk *walk, int node, enum wl_node_state state)
{
	assert(wl_node_move_legal(walk->nodes[node].state, state));
	walk->nodes[node].state = state;
	walk->unfinished -= wl_node_state_final(state);
}

/* ---- the end --------------------------------------------------------------------------------------- */

static void store(struct walk *walk, int node)
{
	walk->nodes[node].storing = true;
	walk->storing++;
	push(walk, WALK_STORE, node);
}

static bool something_waits(const struct walk *walk)
{
	for (int i = 0; i < walk->graph->node_count; i++)
		if (walk->nodes[i].due_ms || walk->nodes[i].ready)
			return true;
	return false;
}

static void finish(struct walk *walk, enum wl_run_state state, int cause)
{
	assert(wl_run_move_legal(WL_RUN_RUNNING, state));
	walk->end_state = state;
	push(walk, WALK_FINISH, cause);
}

static void begin_check(struct walk *walk)
{
	walk->checking = true;
	walk->active++;
	push(walk, WALK_CHECK, -1);
}

/* Called after each event: has the run come to its end, or to a place where it can be given back? */
static void look_for_end(struct walk *walk)
{
	if (!walk->begun || walk->mode == WALK_OVER || walk->active || walk->storing)
		return;
	if (walk->mode == WALK_DROPPING) {
		push(walk, WALK_DROP, -1);
	} else if (walk->mode == WALK_ENDING) {
		finish(walk, walk->end_state, walk->cause);
	} else if (walk->unfinished == 0 && walk->check_due && walk->mode == WALK_GOING) {
		begin_check(walk);
		return;
	} else if (walk->unfinished == 0 && !walk->check_due) {
		finish(walk, WL_RUN_SUCCEEDED, -1);
	} else if (walk->mode == WALK_RELEASING || walk->draining) {
		push(walk, WALK_RELEASE, -1);
	} else if (!something_waits(walk)) {
		/* no checked graph gets here; if one ever did, the run must end rather than hang */
		finish(walk, WL_RUN_FAILED, -1);
	} else {
		return;
	}
	walk->mode = WALK_OVER;
}

static void cancel_node(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	move(walk, node, WL_NODE_CANCELLED);
	at->due_ms = 0;
	if (walk->quiet)
		return;
	if (walk->cause >= 0 && !walk->nodes[walk->cause].stored)
		at->store_after_cause = true;
	else
		store(walk, node);
}

static void stop_active(struct walk *walk)
{
	for (int i = 0; i < walk->graph->node_count; i++)
		if (walk->nodes[i].active)
			push(walk, WALK_STOP, i);
	if (walk->checking)
		push(walk, WALK_STOP, -1);
}

static void end_early(struct walk *walk, enum wl_run_state state, int cause)
{
	if (walk->mode == WALK_OVER || walk->mode == WALK_ENDING || walk->mode == WALK_DROPPING)
		return;
	walk->mode = WALK_ENDING;
	walk->end_state = state;
	walk->cause = cause;
	stop_active(walk);
	for (int i = 0; i < walk->graph->node_count; i++) {
		struct walk_node *at = &walk->nodes[i];
		at->ready = false;
		bool begun = at->state == WL_NODE_RUNNING || at->state == WL_NODE_WAITING;
		if (begun && !at->active)
			cancel_node(walk, i);
	}
}

/* ---- starting -------------------------------------------------------------------------------------- */

static bool predecessors_settled(const struct walk *walk, int node)
{
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	bool any = shape->kind == WL_KIND_JOIN && shape->join == WL_JOIN_ANY;
	for (int i = 0; i < shape->in_count; i++) {
		bool settled = walk->nodes[walk->graph->edges[shape->in_edges[i]].source].settled;
		bool live = walk->edges[shape->in_edges[i]] == WALK_EDGE_LIVE;
		if (any && live && settled)
			return true;
		if (!any && !settled)
			return false;
	}
	return !any || shape->in_count == 0;
}

static bool effect_waits(const struct walk *walk, int node)
{
	if (wl_node_kind_pure(walk->graph->nodes[node].kind))
		return false;
	return walk->held || walk->draining;
}

static void begin_attempt(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	if (at->state != WL_NODE_RUNNING)
		move(walk, node, WL_NODE_RUNNING);
	at->ready = false;
	at->due_ms = 0;
	at->attempt++;
	at->active = true;
	walk->active++;
	push(walk, WALK_START, node);
}

static void try_start(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	if (walk->mode != WALK_GOING || !at->ready || effect_waits(walk, node))
		return;
	if (!wl_node_kind_pure(walk->graph->nodes[node].kind) && !predecessors_settled(walk, node))
		return;
	begin_attempt(walk, node);
}

/* A node is settled once it and all it rests on are stored; tell those behind it. */
static void settle(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	bool skipped = at->state == WL_NODE_SKIPPED;
	if (at->settled || (!at->stored && !skipped) || !predecessors_settled(walk, node))
		return;
	at->settled = true;
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	for (int i = 0; i < shape->out_count; i++) {
		int target = walk->graph->edges[shape->out_edges[i]].target;
		settle(walk, target);
		try_start(walk, target);
	}
}

static void skip(struct walk *walk, int node)
{
	move(walk, node, WL_NODE_SKIPPED);
	store(walk, node);
	decide_edges(walk, node);
	settle(walk, node);
}

/* One more incoming edge of `node` is decided. */
static void arrive(struct walk *walk, int node, bool live)
{
	struct walk_node *at = &walk->nodes[node];
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	at->open_in--;
	at->live_in += live;
	if (at->state != WL_NODE_PENDING || at->ready || walk->mode != WALK_GOING)
		return;
	bool any = shape->kind == WL_KIND_JOIN && shape->join == WL_JOIN_ANY;
	if (at->live_in > 0 && (at->open_in == 0 || any)) {
		at->ready = true;
		try_start(walk, node);
	} else if (at->open_in == 0 && walk->only < 0) {
		skip(walk, node);
	}
}

static bool edge_is_live(const struct walk *walk, int node, int edge)
{
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	const char *handle = walk->graph->edges[edge].source_handle;
	bool error_edge = shape->on_error == WL_ON_ERROR_BRANCH && strcmp(handle, "error") == 0;
	enum wl_node_state state = walk->nodes[node].state;
	if (state == WL_NODE_SUCCEEDED) {
		return wl_node_kind_chooses(shape->kind) ? walk->handles_taken[edge] : !error_edge;
	}
	if (state == WL_NODE_FAILED && shape->on_error == WL_ON_ERROR_BRANCH)
		return error_edge;
	/* a choice that was not made takes no handle */
	return state == WL_NODE_FAILED && shape->on_error == WL_ON_ERROR_CONTINUE && !wl_node_kind_chooses(shape->kind);
}

static void decide_edges(struct walk *walk, int node)
{
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	walk->nodes[node].decided = true;
	for (int i = 0; i < shape->out_count; i++) {
		int edge = shape->out_edges[i];
		bool live = edge_is_live(walk, node, edge);
		walk->edges[edge] = live ? WALK_EDGE_LIVE : WALK_EDGE_DEAD;
		arrive(walk, walk->graph->edges[edge].target, live);
	}
}

static void take_handle(struct walk *walk, int node, const char *handle)
{
	const struct wl_flow_node *shape = &walk->graph->nodes[node];
	for (int i = 0; i < shape->out_count; i++) {
		int edge = shape->out_edges[i];
		walk->handles_taken[edge] = handle && strcmp(walk->graph->edges[edge].source_handle, handle) == 0;
	}
}

static bool fails_the_run(const struct walk *walk, int node)
{
	return walk->nodes[node].state == WL_NODE_FAILED && walk->graph->nodes[node].on_error == WL_ON_ERROR_FAIL;
}

/* ---- events ---------------------------------------------------------------------------------------- */

uint64_t walk_retry_delay_ms(const struct wl_retry *retry, int attempt, uint32_t random)
{
	if (retry->backoff == WL_BACKOFF_NONE || retry->delay_ms <= 0)
		return 0;
	uint64_t delay = (uint64_t)retry->delay_ms;
	uint64_t most = retry->max_delay_ms > 0 ? (uint64_t)retry->max_delay_ms : UINT64_MAX;
	if (retry->backoff == WL_BACKOFF_FIXED)
		return delay < most ? delay : most;
	for (int i = 1; i < attempt && delay < most && delay < (1ULL << 40); i++)
		delay *= 2;
	if (delay > most)
		delay = most;
	return random % (delay + 1);
}

static void conclude(struct walk *walk, int node, enum wl_node_state state, const char *handle)
{
	move(walk, node, state);
	take_handle(walk, node, handle);
	store(walk, node);
	if (fails_the_run(walk, node))
		end_early(walk, WL_RUN_FAILED, node);
	else if (wl_node_kind_pure(walk->graph->nodes[node].kind) && walk->mode == WALK_GOING)
		decide_edges(walk, node);
}

static bool tried_again(struct walk *walk, int node, uint64_t now_ms, uint32_t random)
{
	struct walk_node *at = &walk->nodes[node];
	const struct wl_retry *retry = &walk->graph->nodes[node].retry;
	if (at->attempt >= retry->attempts)
		return false;
	uint64_t due = now_ms + walk_retry_delay_ms(retry, at->attempt, random);
	at->due_ms = due ? due : 1;
	return true;
}

static void attempt_failed(struct walk *walk, int node, enum walk_result result, uint64_t now_ms, uint32_t random)
{
	if (walk->mode == WALK_ENDING)
		cancel_node(walk, node);
	else if ((walk->mode == WALK_RELEASING || walk->draining) && result == WALK_STOPPED)
		return; /* counts as not run: the next owner starts it anew */
	else if (result == WALK_ERROR && tried_again(walk, node, now_ms, random))
		return;
	else
		conclude(walk, node, WL_NODE_FAILED, NULL);
}

void walk_node_ended(struct walk *walk, int node, const struct walk_outcome *outcome, uint64_t now_ms, uint32_t random)
{
	struct walk_node *at = &walk->nodes[node];
	if (!at->active)
		return;
	at->active = false;
	walk->active--;
	walk->open -= at->open;
	at->open = false;
	if (walk->mode != WALK_DROPPING) {
		if (outcome->result == WALK_SUCCEEDED)
			conclude(walk, node, WL_NODE_SUCCEEDED, outcome->handle);
		else
			attempt_failed(walk, node, outcome->result, now_ms, random);
	}
	look_for_end(walk);
}

void walk_node_waits(struct walk *walk, int node, uint64_t due_ms)
{
	struct walk_node *at = &walk->nodes[node];
	if (!at->active)
		return;
	at->active = false;
	walk->active--;
	if (at->state != WL_NODE_WAITING)
		move(walk, node, WL_NODE_WAITING);
	at->due_ms = due_ms ? due_ms : 1;
	if (walk->mode == WALK_ENDING)
		cancel_node(walk, node);
	look_for_end(walk);
}

void walk_node_resumed(struct walk *walk, int node)
{
	if (walk->nodes[node].active && walk->nodes[node].state == WL_NODE_WAITING)
		move(walk, node, WL_NODE_RUNNING);
}

void walk_node_opened(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	if (!at->active || at->open)
		return;
	at->open = true;
	walk->open++;
}

void walk_checked(struct walk *walk, enum walk_result result)
{
	if (!walk->checking)
		return;
	walk->checking = false;
	walk->active--;
	walk->check_due = result == WALK_STOPPED;
	if (result == WALK_ERROR || result == WALK_ERROR_FOR_GOOD)
		end_early(walk, WL_RUN_FAILED, -1);
	look_for_end(walk);
}

static void store_what_waited(struct walk *walk)
{
	for (int i = 0; i < walk->graph->node_count; i++)
		if (walk->nodes[i].store_after_cause) {
			walk->nodes[i].store_after_cause = false;
			store(walk, i);
		}
}

void walk_node_stored(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	if (!at->storing)
		return;
	at->storing = false;
	at->stored = true;
	walk->storing--;
	if (walk->mode == WALK_ENDING && walk->cause == node)
		store_what_waited(walk);
	if (walk->mode == WALK_GOING && !at->decided && wl_node_state_final(at->state))
		decide_edges(walk, node);
	settle(walk, node);
	look_for_end(walk);
}

void walk_store_refused(struct walk *walk, int node)
{
	struct walk_node *at = &walk->nodes[node];
	if (!at->storing)
		return;
	at->storing = false;
	walk->storing--;
	if (walk->mode != WALK_DROPPING) {
		at->state = WL_NODE_FAILED; /* no move: a result that is not stored has never been */
		end_early(walk, WL_RUN_FAILED, node);
		if (walk->cause == node)
			store_what_waited(walk);
	}
	look_for_end(walk);
}

void walk_cancel(struct walk *walk)
{
	end_early(walk, WL_RUN_CANCELLED, -1);
	look_for_end(walk);
}

static void end_from_outside(struct walk *walk, enum wl_run_state state, bool record)
{
	if (walk->mode == WALK_GOING || walk->mode == WALK_RELEASING)
		walk->quiet = !record;
	end_early(walk, state, -1);
	look_for_end(walk);
}

void walk_fail(struct walk *walk)
{
	end_from_outside(walk, WL_RUN_FAILED, false);
}

void walk_stop(struct walk *walk, bool record)
{
	end_from_outside(walk, WL_RUN_CANCELLED, record);
}

static void begin_look(struct walk *walk, int node)
{
	walk->nodes[node].due_ms = 0;
	walk->nodes[node].active = true;
	walk->active++;
	push(walk, WALK_LOOK, node);
}

void walk_tick(struct walk *walk, uint64_t now_ms)
{
	if (now_ms >= walk->deadline_ms)
		end_early(walk, WL_RUN_TIMEOUT, -1);
	for (int i = 0; i < walk->graph->node_count && walk->mode == WALK_GOING; i++) {
		struct walk_node *at = &walk->nodes[i];
		if (!at->due_ms || at->due_ms > now_ms || effect_waits(walk, i))
			continue;
		if (at->state == WL_NODE_WAITING)
			begin_look(walk, i);
		else
			begin_attempt(walk, i);
	}
	look_for_end(walk);
}

uint64_t walk_due_ms(const struct walk *walk)
{
	if (walk->mode != WALK_GOING && walk->mode != WALK_RELEASING)
		return UINT64_MAX;
	uint64_t due = walk->deadline_ms;
	for (int i = 0; walk->mode == WALK_GOING && i < walk->graph->node_count; i++) {
		uint64_t at = walk->nodes[i].due_ms;
		if (at && at < due && !effect_waits(walk, i))
			due = at;
	}
	return due;
}

bool walk_rests(const struct walk *walk)
{
	if (walk->mode != WALK_GOING || !walk->begun || walk->held || walk->storing || walk->active != walk->open)
		return false;
	bool waits = walk->open > 0;
	for (int i = 0; i < walk->graph->node_count; i++) {
		const struct walk_node *at = &walk->nodes[i];
		if (at->ready || (at->due_ms && at->state != WL_NODE_WAITING))
			return false;
		waits = waits || (at->state == WL_NODE_WAITING && !at->active);
	}
	return waits;
}

bool walk_waits_for_store(const struct walk *walk)
{
	for (int i = 0; i < walk->graph->node_count; i++) {
		const struct walk_node *at = &walk->nodes[i];
		bool ordered = !wl_node_kind_pure(walk->graph->nodes[i].kind);
		if (ordered && (at->ready || (at->storing && !at->decided)))
			return true;
	}
	return false;
}

void walk_hold(struct walk *walk, bool held)
{
	walk->held = held;
	for (int i = 0; !held && i < walk->graph->node_count; i++)
		try_start(walk, i);
}

void walk_drain(struct walk *walk)
{
	walk->draining = true;
	look_for_end(walk);
}

void walk_interrupt(struct walk *walk)
{
	walk->draining = true;
	if (walk->mode == WALK_GOING) {
		walk->mode = WALK_RELEASING;
		stop_active(walk);
	}
	look_for_end(walk);
}

void walk_drop(struct walk *walk)
{
	if (walk->mode == WALK_OVER || walk->mode == WALK_DROPPING)
		return;
	walk->mode = WALK_DROPPING;
	stop_active(walk);
	look_for_end(walk);
}

/* ---- begin and end of life ------------------------------------------------------------------------- */

int walk_open(struct walk *walk, const struct wl_flow_graph *graph, uint64_t deadline_ms, struct wl_error *err)
{
	*walk = (struct walk){ .graph = graph, .deadline_ms = deadline_ms, .cause = -1, .only = -1 };
	walk->action_capacity = graph->node_count * 3 + 4;
	walk->nodes = calloc((size_t)graph->node_count + 1, sizeof(*walk->nodes));
	walk->edges = calloc((size_t)graph->edge_count + 1, 1);
	walk->handles_taken = calloc((size_t)graph->edge_count + 1, 1);
	walk->actions = calloc((size_t)walk->action_capacity, sizeof(*walk->actions));
	if (!walk->nodes || !walk->edges || !walk->handles_taken || !walk->actions) {
		walk_release(walk);
		return wl_fail(err, ENOMEM, "no memory for a run of %d nodes", graph->node_count);
	}
	for (int i = 0; i < graph->node_count; i++) {
		walk->nodes[i].open_in = graph->nodes[i].in_count;
		if (wl_node_kind_runs(graph->nodes[i].kind))
			walk->unfinished++;
		else
			walk->nodes[i].state = WL_NODE_SKIPPED;
	}
	return 0;
}

void walk_release(struct walk *walk)
{
	free(walk->nodes);
	free(walk->edges);
	free(walk->handles_taken);
	free(walk->actions);
	*walk = (struct walk){ 0 };
}

void walk_restore(struct walk *walk, int node, enum wl_node_state state, const char *handle)
{
	struct walk_node *at = &walk->nodes[node];
	if (at->state != WL_NODE_PENDING || !wl_node_state_final(state))
		return;
	at->state = state; /* no move: that was made by the attempt that stored it */
	at->stored = true;
	walk->unfinished--;
	take_handle(walk, node, handle);
}

void walk_confine(struct walk *walk, int node)
{
	walk->only = node;
	for (int i = 0; i < walk->graph->node_count; i++) {
		struct walk_node *at = &walk->nodes[i];
		if (i == node || !wl_node_kind_runs(walk->graph->nodes[i].kind))
			continue;
		if (at->state == WL_NODE_PENDING)
			move(walk, i, WL_NODE_SKIPPED);
		at->stored = at->settled = true;
	}
}

/* An earlier attempt may have stored the beginning of the run's end; its reason is found again. */
static void resume_end(struct walk *walk, uint64_t now_ms)
{
	bool cancelled = false;
	for (int i = 0; i < walk->graph->node_count; i++) {
		if (fails_the_run(walk, i)) {
			end_early(walk, WL_RUN_FAILED, i);
			return;
		}
		cancelled = cancelled || walk->nodes[i].state == WL_NODE_CANCELLED;
	}
	if (cancelled)
		end_early(walk, now_ms >= walk->deadline_ms ? WL_RUN_TIMEOUT : WL_RUN_CANCELLED, -1);
}

void walk_begin(struct walk *walk, uint64_t now_ms)
{
	walk->begun = true;
	resume_end(walk, now_ms);
	for (int i = 0; i < walk->graph->node_count && walk->mode == WALK_GOING; i++)
		if (walk->nodes[i].stored) {
			decide_edges(walk, i);
			settle(walk, i);
		}
	for (int i = 0; i < walk->graph->node_count && walk->mode == WALK_GOING; i++) {
		bool first = walk->only < 0 ? walk->graph->nodes[i].in_count == 0 : walk->only == i;
		if (first && walk->nodes[i].state == WL_NODE_PENDING && !walk->nodes[i].ready) {
			walk->nodes[i].ready = true;
			try_start(walk, i);
		}
	}
	look_for_end(walk);
}
