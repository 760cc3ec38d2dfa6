/*
 * What lies between the calls and the servers: how a request is written and how an answer is read, one wire format
 * each. Nobody is asked here: bytes in, bytes out, and a look at the clock when the first text comes.
 *
 *   wl_llm_wire    the table of a format: path, write, and how a frame is read
 *   wl_llm_reader  builds one answer from what a format reads; knows text, tool uses, usage and the end
 *   wl_llm_sink    what the caller of a stream was told so far, over all tries: nothing is told twice
 */
#ifndef WL_LLM_WIRE_H
#define WL_LLM_WIRE_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "lib/llm/frames.h"
#include "lib/llm/llm.h"
#include "lib/llm/utf8.h"

/*
 * What a server or model does not take, or wants otherwise. X(name, bit). Known beforehand from model_table.c, or
 * learned from what the server refuses (faults.c).
 */
#define WL_LLM_DIALECTS(X)                                                                                             \
	X(RESPONSES, 0)		/* is asked by the responses API */                                                    \
	X(COMPLETION_TOKENS, 1) /* max_completion_tokens in place of max_tokens */                                     \
	X(NO_SAMPLING, 2)	/* neither temperature nor top_p */                                                    \
	X(NO_TOP_P, 3)                                                                                                 \
	X(NO_STOP, 4)	      /* stop words are looked for here */                                                     \
	X(SCHEMA_TOOL, 5)     /* a schema goes as the parameters of a tool that has to be used */                      \
	X(SCHEMA_PROMPT, 6)   /* a schema goes into the prompt */                                                      \
	X(NO_STREAM_USAGE, 7) /* no stream_options */                                                                  \
	X(NO_PARALLEL, 8)     /* no parallel_tool_calls */                                                             \
	X(NO_STRICT, 9)	      /* no strict */

enum wl_llm_dialect {
#define X(name, bit) WL_LLM_DIALECT_##name = 1 << (bit),
	WL_LLM_DIALECTS(X)
#undef X
};

/* One request as a format writes it. */
struct wl_llm_ask {
	const struct wl_model_request *request;
	const char *model;
	unsigned dialect;
	bool stream;
};

struct wl_llm_reader;

struct wl_llm_wire {
	const char *path; /* behind the base URL */
	bool lines;	  /* a stream is lines of JSON, else server-sent events */
	/* Write the request's body. 0, -EINVAL for what the format cannot say, -ENOMEM. */
	int (*write)(const struct wl_llm_ask *ask, struct wl_buffer *body, struct wl_error *err);
	/* Read one frame of a stream, or a whole answer, into the reader by the functions below. */
	void (*frame)(struct wl_llm_reader *reader, const struct wl_json *json);
	void (*whole)(struct wl_llm_reader *reader, const struct wl_json *json);
};

extern const struct wl_llm_wire wl_llm_openai_chat, wl_llm_openai_responses, wl_llm_anthropic, wl_llm_ollama;

/* ---- the sink --------------------------------------------------------------------------------------------------- */

struct wl_llm_told_tool {
	char *id, *name;
	struct wl_buffer arguments;
};

struct wl_llm_sink {
	const struct wl_model_stream *stream; /* NULL: nobody watches, and nothing is kept */
	struct wl_buffer text;
	struct wl_llm_told_tool *tools;
	size_t tool_count;
};

void wl_llm_sink_release(struct wl_llm_sink *sink);
bool wl_llm_sink_told(const struct wl_llm_sink *sink); /* anything yet? */

/* ---- the reader ------------------------------------------------------------------------------------------------- */

struct wl_llm_read_tool {
	long key; /* by which the server's pieces name it; -1: they do not */
	char *id, *name;
	struct wl_llm_utf8 utf8;
	struct wl_buffer arguments;
	bool is_text; /* the tool that carries an answer by its schema */
	bool begun;   /* told to the sink */
	size_t told;  /* bytes of the arguments that were told */
};

enum wl_llm_form { WL_LLM_FORM_UNKNOWN, WL_LLM_FORM_WHOLE, WL_LLM_FORM_FRAMES };

struct wl_llm_reader {
	const struct wl_llm_wire *wire;
	const struct wl_llm_ask *ask;
	struct wl_llm_sink *sink;
	enum wl_llm_form form;
	struct wl_llm_frames frames;
	struct wl_buffer whole;
	struct wl_buffer text;
	struct wl_llm_utf8 utf8;
	struct wl_buffer aside; /* text beside the tool that carries the answer */
	size_t told;		/* bytes of the text that were told */
	size_t searched;	/* bytes of the text in which no stop word begins */
	bool stopped;		/* by a stop word that was found here */
	struct wl_llm_read_tool *tools;
	size_t tool_count;
	size_t bytes; /* of text and arguments together */
	char *model;
	enum wl_model_end end;
	bool ended; /* the model said why it stopped */
	bool done;  /* the protocol's last frame came */
	bool over;  /* no more bytes come */
	struct wl_model_usage usage;
	bool has_prompt, has_completion;
	uint64_t first_us; /* wl_clock_monotonic_us() of the first text or tool use; 0: none yet */
	enum wl_model_fault fault;
	struct wl_error err;
};

/* Everything given stays the caller's and outlives the reader. */
void wl_llm_reader_init(struct wl_llm_reader *reader, const struct wl_llm_wire *wire, const struct wl_llm_ask *ask,
			struct wl_llm_sink *sink);
void wl_llm_reader_release(struct wl_llm_reader *reader);
/* Bytes of the body, split anywhere. 0, or negative with reader->fault and reader->err. */
int wl_llm_reader_feed(struct wl_llm_reader *reader, const char *bytes, size_t length);
/* The body is over: 0 when it was a whole answer, which goes into *answer (text, tool uses, end, usage, model). */
int wl_llm_reader_finish(struct wl_llm_reader *reader, struct wl_model_answer *answer);
/* Add what a try that failed has used, as far as it is known, else counted here. */
void wl_llm_reader_add_usage(const struct wl_llm_reader *reader, struct wl_model_usage *usage);

/* What a format has read. */
void wl_llm_got_text(struct wl_llm_reader *reader, const char *text);
/* A tool use or a further piece of one; id, name and arguments may be NULL or "". */
void wl_llm_got_tool(struct wl_llm_reader *reader, long key, const char *id, const char *name, const char *arguments);
/* The same with arguments that came as JSON. */
void wl_llm_got_tool_json(struct wl_llm_reader *reader, long key, const char *id, const char *name,
			  const struct wl_json *arguments);
void wl_llm_got_end(struct wl_llm_reader *reader, enum wl_model_end end);
void wl_llm_got_model(struct wl_llm_reader *reader, const char *model);
/* A member of a usage object, if it is a number. */
bool wl_llm_got_count(const struct wl_json *usage, const char *name, uint64_t *count);
/* An object that says what went wrong; NULL: the answer is not what the format says. */
void wl_llm_got_error(struct wl_llm_reader *reader, const struct wl_json *error);
void wl_llm_got_fault(struct wl_llm_reader *reader, enum wl_model_fault fault, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* ,"name":"text" */
void wl_llm_put_text(struct wl_buffer *body, const char *name, const char *text);
/* A JSON string; NULL counts as "". */
void wl_llm_put_string(struct wl_buffer *body, const char *text);
/* "data:<media type>;base64,<bytes>" or the URL, as a JSON string. */
void wl_llm_put_image_url(struct wl_buffer *body, const struct wl_model_image *image);
/* ,"temperature":…,"top_p":… as far as they are set and taken */
void wl_llm_put_sampling(struct wl_buffer *body, const struct wl_llm_ask *ask);
/* ,"name":[stop words], when there are any that the server is to mind */
void wl_llm_put_stops(struct wl_buffer *body, const struct wl_llm_ask *ask, const char *name);
/* Arguments of a tool use as a JSON object, whatever the model had written. */
void wl_llm_put_object(struct wl_buffer *body, const char *json);
/* Tools, tool_choice and parallel_tool_calls of both OpenAI formats; nested: each within "function". */
void wl_llm_put_openai_tools(struct wl_buffer *body, const struct wl_llm_ask *ask, bool nested);
/* Does a schema go by itself, by a tool, or by the prompt? */
bool wl_llm_schema_by_tool(const struct wl_llm_ask *ask);
bool wl_llm_schema_by_prompt(const struct wl_llm_ask *ask);
const char *wl_llm_schema_name(const struct wl_model_request *request);
/* The sentence that goes before the messages when the schema goes by the prompt. */
void wl_llm_put_schema_prompt(struct wl_buffer *text, const char *schema);
/* Is every object of the schema closed and every property required, as strict mode wants it? */
bool wl_llm_schema_is_strict(const char *schema);
/* 0, or -EINVAL when something of the request is of no use: schemas that are no JSON, bad tool names, too many. */
int wl_llm_check_request(const struct wl_model_request *request, struct wl_error *err);

/* ---- faults ----------------------------------------------------------------------------------------------------- */

/*
 * What an answer that is none means: its status and body. The sentence in err is for people and has no credentials in
 * it: `secret` (may be NULL) and what looks like a key are masked. Returns -err->code by wl_llm_errno().
 */
enum wl_model_fault wl_llm_fault_of(long status, const char *body, size_t length, const char *secret,
				    struct wl_error *err);
/* What another way of asking may get around: dialect bits to add, 0 when there are none. */
unsigned wl_llm_dialect_of(long status, const char *body, size_t length, const struct wl_llm_ask *ask);
/* The positive errno that goes with a fault. */
int wl_llm_errno(enum wl_model_fault fault);
/* May the same provider be asked again? */
bool wl_llm_may_retry(enum wl_model_fault fault);
/* Replace the secret and what looks like a key, and control characters. */
void wl_llm_mask(char *text, const char *secret);

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* What is known of a model of that type beforehand: dialect bits. */
unsigned wl_llm_known_dialect(enum wl_llm_type type, const char *model);
/* Tokens of a text, rather too many than too few. */
uint64_t wl_llm_count_tokens(const char *text, size_t length);
/* The same of everything that a request sends. */
uint64_t wl_llm_count_prompt(const struct wl_model_request *request);

#endif
