/* What the schedulers have counted: they leave it in Redis, /metrics shows it. */
#ifndef WL_WEBAPP_SCHEDULER_FIGURES_H
#define WL_WEBAPP_SCHEDULER_FIGURES_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

/* Begin to ask for them on the worker's loop. -ENOMEM. */
int web_scheduler_figures_open(struct wl_error *err);

/* Append the figures that are known, in Prometheus' text format 0.0.4; none when Redis has not told for a while. */
void web_scheduler_figures_write(struct wl_buffer *buffer);

#endif
