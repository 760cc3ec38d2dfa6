/*
 * Frames between lib/codec/expression_client.c and windlass-eval, over a unix stream socket. Both ends run on one host,
 * so numbers are in its byte order. One request, one answer, in turn; a connection whose peer breaks the format is
 * closed.
 *
 *   request:  struct wl_eval_request, `first_length` bytes, `second_length` bytes
 *   answer:   struct wl_eval_answer, `length` bytes
 *
 *   kind       first        second                          answer with code 0
 *   EVALUATE   template     context                         the value as JSON
 *   CHECK      template     -                               nothing
 *   SCHEMA     schema       instance; none when length 0    nothing
 *
 * With a code the answer's bytes are a sentence; a SCHEMA answer with code EINVAL has the faults as JSON instead.
 */
#ifndef WL_CODEC_EXPRESSION_PROTOCOL_H
#define WL_CODEC_EXPRESSION_PROTOCOL_H

#include <stdint.h>

#define WL_EVAL_MAGIC 0x31454c57u	/* "WLE1" */
#define WL_EVAL_REQUEST_MAX (32u << 20) /* bytes of both texts */
#define WL_EVAL_ANSWER_MAX (4u << 20)	/* bytes */
#define WL_EVAL_COMPILE_MS 1500		/* that compiling may add to a request's time */

enum wl_eval_kind { WL_EVAL_EVALUATE = 1, WL_EVAL_CHECK = 2, WL_EVAL_SCHEMA = 3 };

struct wl_eval_request {
	uint32_t magic;
	uint32_t kind;
	uint32_t timeout_ms;
	uint32_t first_length;
	uint32_t second_length;
};

struct wl_eval_answer {
	uint32_t magic;
	uint32_t code; /* 0 or a positive errno */
	uint32_t last; /* not 0: the process behind the connection ends after this answer */
	uint32_t length;
};

#endif
