/*
 * Language models for a program in a sandbox: an HTTP/1.1 server (RFC 9112) on a listening socket in the sandbox's own
 * network, that speaks as OpenAI's and Anthropic's servers do. It asks for no key: who comes by this socket is the run
 * that it was made for. What the program sends is hostile: everything is bounded, and past a bound only this program's
 * own requests or connections suffer.
 *
 *   POST /v1/chat/completions, /v1/embeddings   OpenAI's
 *   POST /v1/messages                           Anthropic's
 *   GET  /v1/models                             both
 */
#ifndef WL_SUPERVISOR_GATEWAY_GATEWAY_H
#define WL_SUPERVISOR_GATEWAY_GATEWAY_H

#include "lib/llm/front.h"

#define GATEWAY_CONNECTIONS 64		     /* at once; more wait to be accepted */
#define GATEWAY_CONNECTIONS_IN_ALL 20000     /* of one run; later ones are closed */
#define GATEWAY_HEADER_MAX (32u << 10)	     /* bytes of a request's line and headers */
#define GATEWAY_BODY_MAX (16u << 20)	     /* bytes; as the gateway for clients from outside (setting body_max) */
#define GATEWAY_BODIES_MAX (32u << 20)	     /* of all requests that are under way */
#define GATEWAY_BYTES_IN_ALL (1024ull << 20) /* of all requests of one run */
#define GATEWAY_CALLS 16		     /* under way at once */
#define GATEWAY_IDLE_S 60		     /* a connection that says nothing is closed */

struct gateway;

/* Who answers. Called from many threads at once. */
struct gateway_host {
	void *self;
	/* Ask `front->request` of the model that the program names `front->model`. As wl_model_port.call. */
	int (*chat)(void *self, const struct wl_front *front, struct wl_model_answer *answer, struct wl_error *err);
	/* Vectors for front->texts; *ret_fault says why there are none. As wl_model_port.embed. */
	int (*embed)(void *self, const struct wl_front *front, float **ret_vectors, size_t *ret_dimensions,
		     struct wl_model_usage *ret_usage, enum wl_model_fault *ret_fault, struct wl_error *err);
	/* The names of all models, as JSON that both kinds of clients read. 0 or -errno. */
	int (*list)(void *self, int cancel_fd, struct wl_buffer *out, struct wl_error *err);
};

/*
 * Serve on `listen_fd`, which is the gateway's from now on, whatever is returned. The host's functions are called until
 * gateway_close(). `cancel_fd`: when it becomes readable, calls under way end; -1: none. 0; -ENOMEM; -EIO.
 */
int gateway_open(int listen_fd, int cancel_fd, const struct gateway_host *host, struct gateway **ret_gateway,
		 struct wl_error *err);

/* End all calls under way, wait for them, and close everything. NULL is fine. */
void gateway_close(struct gateway *gateway);

#endif
