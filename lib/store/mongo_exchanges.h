/*
 * The record of exchanges over the MongoDB protocol: fills the port lib/ports/exchange_log.h with libmongoc, and reads
 * it for people. Thread-safe.
 *
 * Collection exchanges. One document an exchange: _id "<execution>/<node path>/<place>", t tenant, e execution, n node,
 * k kind, l place, h hash of the request, q the request, b and f its times, z bytes of the answer, s what people want
 * to know of it in short, and the answer in `a`. An answer above WL_EXCHANGE_KEPT lies in pieces, documents of their
 * own whose `o` names the writer and whose `i` counts them; then the exchange has the writer in `w` in place of `a`.
 * Pieces are there before their exchange is.
 */
#ifndef WL_STORE_MONGO_EXCHANGES_H
#define WL_STORE_MONGO_EXCHANGES_H

#include "lib/base/buffer.h"
#include "lib/ports/exchange_log.h"

#define WL_EXCHANGE_ANSWER_MAX (16u << 20) /* a longer answer is refused: -EMSGSIZE */

/*
 * Connect to `url` (mongodb://..., with the database as its path, default windlass) and see that it answers.
 * 0 and *ret_log, which the caller ends with ret_log->close(ret_log->self); -EINVAL for a URL of no use;
 * -ECONNREFUSED when the server is away.
 */
int wl_mongo_exchanges_open(const char *url, struct wl_exchange_log *ret_log, struct wl_error *err);

/* An exchange in short; the caller frees by wl_exchange_entry_release(). */
struct wl_exchange_entry {
	struct wl_exchange exchange; /* request_json: its first WL_EXCHANGE_TEXT_MAX bytes; answer_json: NULL */
	char *node;
	/* Of the answer: an object with those of "model", "usage", "cost", "code" and "message" that it has, and
	 * "text", the first WL_EXCHANGE_TEXT_MAX bytes of its text or output. */
	char *summary_json;
	int64_t answer_bytes;
};

void wl_exchange_entry_release(struct wl_exchange_entry *entry);

/*
 * A page of an execution's exchanges, or (`node` not NULL) of one node's, in the order of node and place, behind
 * `after`
 * ("<node>/<place>" of the last one; NULL: from the beginning), at most `limit`. *ret_entries is allocated. How many,
 * or -errno. Answers are not read.
 */
int wl_mongo_exchanges_page(const struct wl_exchange_log *log, int tenant, const char *eid, const char *node,
			    const char *after, int limit, struct wl_exchange_entry **ret_entries, struct wl_error *err);

/* One exchange with all of its answer. 0; -ENOENT: there is none; -errno. */
int wl_mongo_exchange_read(const struct wl_exchange_log *log, int tenant, const char *eid, const char *node,
			   const char *place, struct wl_exchange *ret_exchange, struct wl_error *err);

#endif
