#include "lib/model/states.h"

#include <string.h>

struct state_row {
	const char *name;
	const char *meaning;
	unsigned next;
};

static const struct state_row run_rows[] = {
#define X(NAME, name, meaning, next) [WL_RUN_##NAME] = { name, meaning, next },
	WL_RUN_STATES(X)
#undef X
};

static const struct state_row node_rows[] = {
#define X(NAME, name, meaning, next) [WL_NODE_##NAME] = { name, meaning, next },
	WL_NODE_STATES(X)
#undef X
};

static int find_name(const struct state_row *rows, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(rows[i].name, name) == 0)
			return i;
	return -1;
}

const char *wl_run_state_name(enum wl_run_state state)
{
	return run_rows[state].name;
}

const char *wl_run_state_meaning(enum wl_run_state state)
{
	return run_rows[state].meaning;
}

int wl_run_state_of(const char *name)
{
	return find_name(run_rows, WL_RUN_STATE_COUNT, name);
}

bool wl_run_state_final(enum wl_run_state state)
{
	return run_rows[state].next == 0;
}

bool wl_run_move_legal(enum wl_run_state from, enum wl_run_state to)
{
	return run_rows[from].next & (1U << to);
}

const char *wl_node_state_name(enum wl_node_state state)
{
	return node_rows[state].name;
}

const char *wl_node_state_meaning(enum wl_node_state state)
{
	return node_rows[state].meaning;
}

int wl_node_state_of(const char *name)
{
	return find_name(node_rows, WL_NODE_STATE_COUNT, name);
}

bool wl_node_state_final(enum wl_node_state state)
{
	return node_rows[state].next == 0;
}

bool wl_node_move_legal(enum wl_node_state from, enum wl_node_state to)
{
	return node_rows[from].next & (1U << to);
}
