/* What an open loop or subflow consists of: the scopes inside of it, and what they have given. */
#ifndef WL_SUPERVISOR_INNER_H
#define WL_SUPERVISOR_INNER_H

#include "supervisor/flow_cache.h"
#include "supervisor/run_context.h"

struct inner {
	struct flow *flow; /* of a subflow; held */
	/* of a loop */
	char *list;
	struct inner_item {
		const char *text; /* in the list */
		size_t length;
	} * items;
	struct context_piece *context; /* held: what each item sees of the nodes outside */
	int live_nodes;
	int parallel;
	unsigned char *begun; /* per item */
	int next;	      /* no item before it is still to be begun */
	/* of both; a subflow counts as one item */
	int count;
	char **outputs;	     /* per item */
	size_t output_bytes; /* of all of them */
	int open;	     /* scopes that have not ended */
	bool ending;	     /* no further item is begun */
	bool stopped;	     /* from outside */
	bool failed;	     /* one of them, with error_json */
	bool cancelled;	     /* one of them by itself: so was the run */
	bool given_back;     /* one of them has ended with work left */
	char *error_json;
};

/*
 * A loop over the items of `list_json`, valid JSON that it takes over. -EINVAL: it is no array or has more than `most`
 * items (the sentence is for people); -ENOMEM.
 */
int inner_of_list(char *list_json, int most, int parallel, struct inner **ret_inner, struct wl_error *err);
/* A subflow; the flow gets another user. NULL without memory. */
struct inner *inner_of_flow(struct flow *flow);
void inner_free(struct inner *inner); /* NULL is allowed */

/* The item that is to be begun next, or -1; it counts as begun. */
int inner_begin_next(struct inner *inner);
/* The same for a certain item: false when it was begun before. */
bool inner_begin(struct inner *inner, int index);
/* Take over what an item gave (NULL: no memory for it). -EMSGSIZE when all of it is more than a node may give. */
int inner_take_output(struct inner *inner, int index, char *output, struct wl_error *err);
/* The list of what all items gave, or of a subflow what it gave; allocated, NULL without memory. */
char *inner_output(struct inner *inner);

#endif
