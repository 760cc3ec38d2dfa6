/*
 * Figures of all workers, in memory that they share: each writes its own part, any of them may answer /metrics.
 */
#ifndef WL_WEBAPP_METRICS_H
#define WL_WEBAPP_METRICS_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdint.h>

struct web_request;

#define WEB_ACCEPT_OUTCOMES(X)                                                                                         \
	X(ACCEPTED, "accepted")                                                                                        \
	X(REPLAYED, "replayed")                                                                                        \
	X(REFUSED, "refused")                                                                                          \
	X(QUOTA, "quota")                                                                                              \
	X(UNAVAILABLE, "unavailable")

enum web_accept_outcome {
#define X(NAME, name) WEB_ACCEPT_##NAME,
	WEB_ACCEPT_OUTCOMES(X)
#undef X
		WEB_ACCEPT_OUTCOME_COUNT
};

/* Make the shared memory; in the parent, before workers. `workers` parts. */
int web_metrics_open(int workers, struct wl_error *err);
/* Choose this worker's part. */
void web_metrics_worker(int index);

void web_metrics_answered(const struct web_request *request);
void web_metrics_accept(enum web_accept_outcome outcome, int count);
void web_metrics_accept_batch(int size);
void web_metrics_enqueue_failed(void);
/* Present values of this worker. */
void web_metrics_gauges(int postgres_ready, int postgres_load, int tasks_waiting, int redis_up);
void web_metrics_streams(int change);
void web_metrics_stream_dropped(void);

/* Write all parts together in Prometheus' text format 0.0.4. */
void web_metrics_write(struct wl_buffer *buffer);

#endif
