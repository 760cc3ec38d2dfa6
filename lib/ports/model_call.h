/*
 * The model port: one call of a language model, in words that no provider owns. A crew knows models only by it; the
 * real one is supervisor/model_calls.c (record, budget, provider), and lib/llm speaks to the servers. Calls block their
 * thread and may be made from many threads at once.
 */
#ifndef WL_PORTS_MODEL_CALL_H
#define WL_PORTS_MODEL_CALL_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_MODEL_TOOLS_MAX 128	       /* of one request */
#define WL_MODEL_TOOL_NAME_MAX 64      /* bytes: letters, digits, _ and - */
#define WL_MODEL_STOPS_MAX 4	       /* stop words of one request */
#define WL_MODEL_ANSWER_MAX (4u << 20) /* bytes of an answer's text and tool arguments together */

enum wl_model_role { WL_MODEL_SYSTEM, WL_MODEL_USER, WL_MODEL_ASSISTANT, WL_MODEL_TOOL };

/* A picture within a user's message: either its bytes in base64 (RFC 4648 §4) with their media type, or its URL. */
struct wl_model_image {
	const char *media_type;
	const char *base64;
	const char *url;
};

/* A tool that the model wants to be called. `arguments` is what it wrote, JSON or not. */
struct wl_model_tool_use {
	char *id;
	char *name;
	char *arguments;
};

struct wl_model_message {
	enum wl_model_role role;
	const char *text; /* NULL: none */
	const struct wl_model_image *images;
	size_t image_count;
	const struct wl_model_tool_use *tool_uses; /* of an assistant's message */
	size_t tool_use_count;
	const char *tool_use_id; /* of a tool's message: what it answers */
	bool tool_failed;	 /* of a tool's message: the text says why */
};

struct wl_model_tool {
	const char *name;
	const char *description;
	const char *parameters; /* JSON Schema of its arguments, an object's */
	bool strict;		/* arguments fit the schema exactly, where the provider can see to that */
};

enum wl_model_tool_choice { WL_MODEL_TOOL_AUTO, WL_MODEL_TOOL_NONE, WL_MODEL_TOOL_REQUIRED, WL_MODEL_TOOL_NAMED };

/* What arrives while a model answers, on the calling thread. Any function may be NULL. */
struct wl_model_stream {
	void *context;
	/* Text of the answer, whole UTF-8 characters only. */
	void (*text)(void *context, const char *text, size_t length);
	/* The model begins to name its `index`th tool use; `arguments` follow in pieces of any size. */
	void (*tool_begin)(void *context, size_t index, const char *id, const char *name);
	void (*tool_arguments)(void *context, size_t index, const char *text, size_t length);
};

/* All texts belong to the caller and live until the call returns. */
struct wl_model_request {
	const char *provider_id; /* UUID of an LLM provider of the tenant; NULL: the tenant's only or demo provider */
	const char *model;	 /* NULL: the provider's default one */
	const struct wl_model_message *messages;
	size_t message_count;
	const struct wl_model_tool *tools;
	size_t tool_count;
	enum wl_model_tool_choice tool_choice;
	const char *tool_choice_name; /* of WL_MODEL_TOOL_NAMED */
	bool single_tool_use;	      /* at most one tool at a time */
	const char *const *stops;
	size_t stop_count;
	const char *schema;		      /* JSON Schema that the answer's text has to fit; NULL: any text */
	const char *schema_name;	      /* NULL: "answer" */
	double temperature;		      /* NAN: the provider's */
	double top_p;			      /* NAN: the provider's */
	int max_tokens;			      /* of the answer; 0: the provider's */
	uint32_t timeout_ms;		      /* for everything with its retries; 0: the provider's */
	int cancel_fd;			      /* the call ends when it becomes readable; -1: none. It is not read */
	const struct wl_model_stream *stream; /* NULL: nobody watches */
	/*
	 * The place of the call in its run, the same in each run of the same definition over the same answers, such as
	 * "task/2/turn/3": what records, replays and the ledger of usage know it by. At most 200 bytes; NULL: not
	 * recorded.
	 */
	const char *place;
	const char *agent; /* who asks, for the trace; may be NULL */
};

/* X(name, word, may the next provider of the chain be asked) */
#define WL_MODEL_FAULTS(X)                                                                                             \
	X(NONE, "", false)                                                                                             \
	X(PROVIDER, "provider_missing", false)	   /* no such provider, or it is switched off */                       \
	X(MODEL, "model_unknown", true)		   /* the server knows no such model */                                \
	X(KEY, "model_key_refused", true)	   /* 401, 403 */                                                      \
	X(REQUEST, "model_request_refused", false) /* 400, 413, 422 that is none of the others */                      \
	X(CONTEXT, "context_too_long", true)                                                                           \
	X(FILTER, "content_filter", false)                                                                             \
	X(TOOLS, "tools_unsupported", false) /* the server refuses tools: ask without them */                          \
	X(RATE, "model_rate_limited", true)                                                                            \
	X(AWAY, "model_unavailable", true) /* refused, reset, 5xx, an answer that breaks off */                        \
	X(LATE, "model_timeout", true)                                                                                 \
	X(ANSWER, "model_answer_invalid", true) /* not what the protocol says, or larger than allowed */               \
	X(EGRESS, "egress_refused", false)                                                                             \
	X(BUDGET, "budget_exceeded", false)                                                                            \
	X(DIVERGED, "replay_diverged", false) /* a replay asks for something else than the record holds */             \
	X(STOPPED, "cancelled", false)

enum wl_model_fault {
#define X(name, word, next) WL_MODEL_FAULT_##name,
	WL_MODEL_FAULTS(X)
#undef X
};

static inline const char *wl_model_fault_word(enum wl_model_fault fault)
{
	static const char *const words[] = {
#define X(name, word, next) word,
		WL_MODEL_FAULTS(X)
#undef X
	};
	return words[fault];
}

enum wl_model_end {
	WL_MODEL_END_STOP,   /* the model was done, or came to a stop word */
	WL_MODEL_END_LENGTH, /* max_tokens */
	WL_MODEL_END_TOOLS   /* it waits for tools */
};

/* Tokens. `prompt` counts cached ones too, `completion` those of reasoning too. */
struct wl_model_usage {
	uint64_t prompt;
	uint64_t completion;
	uint64_t cached;      /* of the prompt, read from the provider's cache */
	uint64_t cache_write; /* of the prompt, written to it */
	uint64_t reasoning;   /* of the completion */
	bool estimated;	      /* the provider did not tell: counted by us */
};

/* Owned texts; wl_model_answer_release() frees them. */
struct wl_model_answer {
	char *text; /* NULL: none */
	struct wl_model_tool_use *tool_uses;
	size_t tool_use_count;
	enum wl_model_end end;
	struct wl_model_usage usage;
	char *provider_id; /* that answered, which failover may have chosen */
	char *model;	   /* as the server names it */
	uint64_t first_us; /* until the first text or tool use */
	uint64_t total_us;
	double cost;  /* in the price table's currency; 0 when the model has no price */
	int attempts; /* requests that were made, 0 for a replayed answer */
	bool replayed;
	/* of a call that failed */
	enum wl_model_fault fault;
	uint64_t retry_after_ms; /* as the server said, of RATE and AWAY; 0: it did not say */
};

struct wl_model_port {
	void *self;
	/*
	 * Ask and wait. *answer is filled in any case (usage too: what was spent before a failure counts) and the
	 * caller releases it. 0: the model answered. Else answer->fault says why not and err holds a sentence for
	 * people: -ENOENT, -EACCES, -EINVAL, -EMSGSIZE, -EAGAIN, -ECONNREFUSED, -ETIMEDOUT, -EPROTO, -EDQUOT,
	 * -ECANCELED, -EIO.
	 */
	int (*call)(void *self, const struct wl_model_request *request, struct wl_model_answer *answer,
		    struct wl_error *err);
	/*
	 * Vectors for `count` texts by the provider's embedding model (NULL model: its default). *ret_vectors is one
	 * allocated array of count * *ret_dimensions floats, each vector of length 1. As above for failures: of them
	 * -EINVAL, -ENOENT, -EACCES, -EMSGSIZE and -EPROTO say that there are no vectors to be had. -ESTALE: a replay
	 * asks for something else than the record holds.
	 */
	int (*embed)(void *self, const char *provider_id, const char *model, const char *const *texts, size_t count,
		     const char *place, float **ret_vectors, size_t *ret_dimensions, struct wl_error *err);
};

void wl_model_answer_release(struct wl_model_answer *answer);

static inline void wl_cleanup_model_answer(struct wl_model_answer *answer)
{
	wl_model_answer_release(answer);
}

#define _wl_model_answer_ __attribute__((cleanup(wl_cleanup_model_answer)))

#endif
