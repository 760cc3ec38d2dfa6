/* What the two files that read a crewai.flow/v1 document share. */
#ifndef WL_CODEC_CREWAI_FLOW_H
#define WL_CODEC_CREWAI_FLOW_H

#include "lib/codec/crewai_cel.h"
#include "lib/codec/crewai_internal.h"

#define CREWAI_ID_TEXT 128

/* An end of edges: a node and the handle they leave it by ("" for the only one). */
struct crewai_end {
	char node[CREWAI_ID_TEXT];
	char handle[80];
};

struct crewai_method {
	const char *key;
	const struct wl_json *value, *action, *listen, *start_on, *emit, *feedback;
	struct crewai_place at;
	const char *call; /* of its action */
	bool start, router, reached;
	bool model;			/* its output is a crew's or an agent's */
	struct crewai_end done;		/* where those go on who listen to it */
	char switch_id[CREWAI_ID_TEXT]; /* the node that tells its events apart; "" when there is none */
};

/* One step inside an each, for the names of its outputs. */
struct crewai_step {
	const char *name;
	char id[CREWAI_ID_TEXT];
	bool model;
};

struct crewai_flow {
	struct crewai_reader *reader;
	struct crewai_place at; /* the document */
	struct crewai_method *methods;
	int count;
	unsigned char *leads;  /* count x count: the second listens to the first */
	unsigned char *before; /* the same through others */
	struct wl_json *nodes, *edges;
	int edge_count;
	char start_id[CREWAI_ID_TEXT], state_id[CREWAI_ID_TEXT], state[CREWAI_ID_TEXT + 16];
	/* while a method's action is read */
	int current;
	struct crewai_step *steps;
	int step_count;
	bool in_each;
};

struct crewai_method *crewai_flow_method(const struct crewai_flow *flow, const char *key);
/* An id that no node and no method has, made of two words. */
void crewai_flow_id(const struct crewai_flow *flow, const char *word, const char *suffix, char id[CREWAI_ID_TEXT]);
/* A new node; its data is for the caller to fill. NULL without memory. */
struct wl_json *crewai_flow_node(struct crewai_flow *flow, const char *id, const char *type, const char *parent);
void crewai_flow_edge(struct crewai_flow *flow, const struct crewai_end *from, const char *to);
/* The node of a method's action; what is inside of it, too. `label` may be NULL. */
void crewai_flow_action(struct crewai_flow *flow, struct crewai_method *method, const char *label);
/* Text as it is: braces are no expression. NULL without memory. */
char *crewai_plain_text(const char *text);

#endif
