/* What the threads of a scheduler share: its end, pauses, and how they speak of servers that are away. */
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/base/log.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int scheduler_init(struct scheduler *scheduler, const struct wl_settings *settings)
{
	pthread_condattr_t monotonic;
	*scheduler = (struct scheduler){ .settings = settings };
	(void)wl_uuid7(wl_clock_wall_ms(), scheduler->id);
	if (pthread_mutex_init(&scheduler->lock, NULL) || pthread_condattr_init(&monotonic) ||
	    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) || pthread_cond_init(&scheduler->wake, &monotonic))
		return -ENOMEM;
	(void)pthread_condattr_destroy(&monotonic);
	return 0;
}

void scheduler_stop(struct scheduler *scheduler)
{
	(void)pthread_mutex_lock(&scheduler->lock);
	scheduler->stopping = true;
	(void)pthread_cond_broadcast(&scheduler->wake);
	(void)pthread_mutex_unlock(&scheduler->lock);
}

bool scheduler_stopping(struct scheduler *scheduler)
{
	(void)pthread_mutex_lock(&scheduler->lock);
	bool stopping = scheduler->stopping;
	(void)pthread_mutex_unlock(&scheduler->lock);
	return stopping;
}

void scheduler_pause(struct scheduler *scheduler, uint64_t ms)
{
	bool never = false;
	scheduler_pause_unless(scheduler, ms, &never);
}

void scheduler_rouse(struct scheduler *scheduler, bool *news)
{
	(void)pthread_mutex_lock(&scheduler->lock);
	if (!*news)
		(void)pthread_cond_broadcast(&scheduler->wake);
	*news = true;
	(void)pthread_mutex_unlock(&scheduler->lock);
}

void scheduler_pause_unless(struct scheduler *scheduler, uint64_t ms, bool *news)
{
	struct timespec end;
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)(ms / 1000);
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	int r = 0;
	(void)pthread_mutex_lock(&scheduler->lock);
	while (!scheduler->stopping && !*news && r == 0)
		r = pthread_cond_timedwait(&scheduler->wake, &scheduler->lock, &end);
	*news = false;
	(void)pthread_mutex_unlock(&scheduler->lock);
}

void outage_note(struct outage *outage, int r, const struct wl_error *err)
{
	if (r >= 0) {
		if (outage->failures)
			wl_log(WL_LOG_NOTICE, "%s goes on", outage->thread);
		outage->failures = 0;
		outage->text[0] = '\0';
		return;
	}
	/* "the next attempt follows soon" and the like follow the first sentence, which names the cause */
	if (outage->failures++ == 0)
		wl_log(WL_LOG_WARNING, "%s waits: %s", outage->thread, err->text);
	else if (-r != ECONNREFUSED && -r != EPIPE && strcmp(outage->text, err->text) != 0)
		wl_log(WL_LOG_WARNING, "%s still waits: %s", outage->thread, err->text);
	(void)snprintf(outage->text, sizeof(outage->text), "%s", err->text);
}
