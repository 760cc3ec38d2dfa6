/*
 * The other side of the wire: requests that clients of OpenAI's and Anthropic's APIs make of us, and the answers they
 * expect. Nobody is asked here: JSON in, a wl_model_request out; a wl_model_answer in, JSON or events out.
 * Sources: OpenAI's and Anthropic's published API references (chat completions, embeddings, messages).
 */
#ifndef WL_LLM_FRONT_H
#define WL_LLM_FRONT_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "lib/ports/model_call.h"

#include <stdbool.h>
#include <stdint.h>

struct wl_front_block;

/* A request as it came. Everything that `request` points to lies in it. */
struct wl_front {
	struct wl_model_request request; /* without provider, model, times and stream, which are the caller's */
	const char *model;		 /* as the client named it */
	bool stream;
	bool include_usage; /* a stream of OpenAI's format ends with its usage */
	bool base64;	    /* vectors as base64 of their floats */
	const char **texts; /* of embeddings */
	size_t text_count;
	struct wl_json *body;
	struct wl_front_block *blocks;
};

/* What goes with an answer and its events beside what the model said. Texts are the caller's and outlive it. */
struct wl_front_reply {
	const char *id;	   /* of the call: letters, digits and - */
	const char *model; /* as the client named it */
	int64_t created_s; /* Unix time */
	bool include_usage;
	struct wl_buffer *out; /* JSON, or events */
	/* how far a stream is */
	bool begun;
	bool open;	  /* Anthropic: a block is */
	bool in_tool;	  /* and it is a tool use's */
	size_t blocks;	  /* Anthropic: that were begun; the newest one may be open */
	size_t tool_base; /* Anthropic: what to add to a tool use's index for its block */
};

/* A client's format. */
struct wl_front_format {
	/* Read front->body. 0; -EINVAL with a sentence that names the place; -ENOMEM. */
	int (*read)(struct wl_front *front, struct wl_error *err);
	void (*answer)(struct wl_front_reply *reply, const struct wl_model_answer *answer);
	/* Events, each whole. Whatever comes first begins the stream. */
	void (*text)(struct wl_front_reply *reply, const char *text, size_t length);
	void (*tool_begin)(struct wl_front_reply *reply, size_t index, const char *id, const char *name);
	void (*tool_arguments)(struct wl_front_reply *reply, size_t index, const char *text, size_t length);
	void (*end)(struct wl_front_reply *reply, const struct wl_model_answer *answer);
	void (*fail)(struct wl_front_reply *reply, int status, const char *code, const char *sentence);
	/* Members of an error's JSON object, without braces: all that the client reads of it. `code` may be NULL. */
	void (*error)(struct wl_buffer *out, int status, const char *code, const char *sentence);
};

extern const struct wl_front_format wl_front_openai, wl_front_anthropic;

/* Takes the body over. Failures as wl_front_format.read; *front is to be released in any case. */
int wl_front_read(const struct wl_front_format *format, struct wl_json *body, struct wl_front *front,
		  struct wl_error *err);
/* A request for vectors, in OpenAI's format; as above. */
int wl_front_read_embeddings(struct wl_json *body, struct wl_front *front, struct wl_error *err);
void wl_front_release(struct wl_front *front);

/* The answer to a request for vectors: `count` of `dimensions` floats each. */
void wl_front_put_embeddings(struct wl_buffer *out, const struct wl_front *front, const float *vectors, size_t count,
			     size_t dimensions, const struct wl_model_usage *usage);

/* The HTTP status that says why a model call failed. */
int wl_front_status(enum wl_model_fault fault);
/* And the word that OpenAI's clients know it by, or ours; NULL: none. */
const char *wl_front_code(enum wl_model_fault fault);

/* ---- for the formats ---------------------------------------------------------------------------------------------
 */

/* Zeroed memory that lives as long as the front; NULL without memory. */
void *wl_front_alloc(struct wl_front *front, size_t size);
/* JSON as text, as above. */
const char *wl_front_print(struct wl_front *front, const struct wl_json *json);
/* `image` from a URL: http, https, or data with base64. False: it is none of them. */
bool wl_front_image_of_url(struct wl_front *front, const char *url, struct wl_model_image *image);
/* Common members: temperature, top_p, stream, model. */
void wl_front_read_common(struct wl_front *front);
/* Stop words, a text or a list of texts. */
int wl_front_read_stops(struct wl_front *front, const struct wl_json *stops, struct wl_error *err);

#endif
