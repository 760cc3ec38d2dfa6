#include "supervisor/nodes/memory.h"

#include <errno.h>
#include <unistd.h>

#define LOOK_MS 20
#define SHARE 4 /* of the machine's memory; and that of calls */
#define LEAST (64u << 20)

static void open_memory(struct node_memory *memory, uint64_t most)
{
	*memory = (struct node_memory){ .most = most };
	(void)pthread_mutex_init(&memory->lock, NULL);
}

void node_share_open(struct node_share *share, uint64_t bytes, int lanes)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	if (bytes == 0 && pages > 0 && page > 0)
		bytes = (uint64_t)pages * (uint64_t)page / SHARE;
	if (bytes < LEAST)
		bytes = LEAST;
	open_memory(&share->kept, bytes - bytes / SHARE);
	open_memory(&share->calls, bytes / SHARE);
	atomic_init(&share->lanes, lanes);
}

void node_share_close(struct node_share *share)
{
	(void)pthread_mutex_destroy(&share->kept.lock);
	(void)pthread_mutex_destroy(&share->calls.lock);
}

static void leave(struct node_memory *memory, struct node_memory_waiter *waiter)
{
	struct node_memory_waiter **link = &memory->first;
	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
}

static bool take_in_turn(struct node_memory *memory, struct node_memory_waiter *waiter, uint64_t bytes)
{
	(void)pthread_mutex_lock(&memory->lock);
	bool taken = memory->first == waiter && bytes <= memory->most - memory->used;
	if (taken) {
		memory->used += bytes;
		leave(memory, waiter);
	}
	(void)pthread_mutex_unlock(&memory->lock);
	return taken;
}

int node_memory_wait(struct node_memory *memory, const struct node_call *call, uint64_t bytes, uint64_t *ret_taken,
		     struct wl_error *err)
{
	struct node_memory_waiter waiter = { 0 };
	*ret_taken = 0;
	if (!memory)
		return 0;
	if (bytes > memory->most)
		bytes = memory->most;
	(void)pthread_mutex_lock(&memory->lock);
	struct node_memory_waiter **end = &memory->first;
	while (*end)
		end = &(*end)->next;
	*end = &waiter;
	(void)pthread_mutex_unlock(&memory->lock);
	while (!take_in_turn(memory, &waiter, bytes)) {
		if (!node_pause(call, LOOK_MS))
			continue;
		(void)pthread_mutex_lock(&memory->lock);
		leave(memory, &waiter);
		(void)pthread_mutex_unlock(&memory->lock);
		return wl_fail(err, ECANCELED, "stopped while memory was waited for");
	}
	*ret_taken = bytes;
	return 0;
}

bool node_memory_take(struct node_memory *memory, uint64_t bytes)
{
	if (!memory)
		return true;
	(void)pthread_mutex_lock(&memory->lock);
	bool fits = bytes <= memory->most - memory->used;
	memory->used += fits ? bytes : 0;
	(void)pthread_mutex_unlock(&memory->lock);
	return fits;
}

void node_memory_give(struct node_memory *memory, uint64_t bytes)
{
	if (!memory)
		return;
	(void)pthread_mutex_lock(&memory->lock);
	memory->used -= bytes;
	(void)pthread_mutex_unlock(&memory->lock);
}
