/*
 * Threads that send webhooks: each sends one at a time, so that a slow receiver holds up nobody but the few others of
 * its own tenant. One set for the whole program, used by one thread.
 */
#ifndef WL_SCHEDULER_HOOK_SENDERS_H
#define WL_SCHEDULER_HOOK_SENDERS_H

#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "lib/net/http_client.h"
#include "lib/secrets/seal.h"
#include "scheduler/core/hook_pause.h"

#include <stdbool.h>
#include <stdint.h>

#define HOOK_SENDERS 16
#define HOOK_TIMEOUT_MS 10000
#define HOOK_SLOW_MS 2000

/* One try. */
struct hook_try {
	struct wl_json *claim; /* of control.out_claim(): the slot's, until hook_senders_forget() */
	/* how it went */
	enum hook_outcome outcome;
	long status; /* 0: no answer */
	bool slow;   /* it was taken, but late: it is treated like those whose last try failed */
	char error[WL_ERROR_TEXT];
};

/* Start the threads; both live until hook_senders_stop(). `told` is called on their threads when a try ends. 0 or
 * -errno. */
int hook_senders_start(const struct wl_egress_rules *egress, const struct wl_master_key *master,
		       void (*told)(void *context), void *context, struct wl_error *err);

/* How many threads have nothing to do, and how many send to hooks whose last try failed. */
int hook_senders_free(int *ret_retrying);

/* Begin a try, taking over its claim. Without a free thread the claim is dropped; it is due again after its lease. */
void hook_senders_give(struct wl_json *claim);

/* Wait up to `ms` for tries to end, and copy at most HOOK_SENDERS of them. They stay until hook_senders_forget(). */
int hook_senders_done(int ms, struct hook_try *ret_tries);
void hook_senders_forget(void);

/* Let what is under way end for a moment, then cut it and end the threads. What was done can still be asked for. */
void hook_senders_stop(void);

#endif
