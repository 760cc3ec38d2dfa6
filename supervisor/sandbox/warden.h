/*
 * The warden's state, owned by its one loop thread. Files that work on it:
 *   warden_main.c       start, checks, stop
 *   warden_loop.c       waits for events and timers
 *   warden_clients.c    connections: requests in, replies out, who waits
 *   warden_sandboxes.c  parked and running sandboxes, from product to receipt
 */
#ifndef WL_SANDBOX_WARDEN_H
#define WL_SANDBOX_WARDEN_H

#include "supervisor/sandbox/cgroup.h"
#include "supervisor/sandbox/crun.h"
#include "supervisor/sandbox/fair_pick.h"
#include "supervisor/sandbox/listener.h"
#include "supervisor/sandbox/maker.h"
#include "supervisor/sandbox/park_plan.h"
#include "supervisor/sandbox/private_mounts.h"
#include "supervisor/sandbox/profile.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define CLIENTS_MAX 2048
#define PARK_KEYS_MAX 256
#define PARK_KEEP_MS 60000
#define KILL_GRACE_MAX_MS 60000

/* First member of everything that epoll points to. */
enum watched { WATCHED_LISTENER = 1, WATCHED_SIGNALS, WATCHED_MAKER, WATCHED_CLIENT, WATCHED_SANDBOX, WATCHED_STATUS };

enum client_state {
	CLIENT_IDLE,	/* connected, asked for nothing */
	CLIENT_WAITING, /* for a slot */
	CLIENT_MAKING,	/* has a slot, waits for a sandbox to be made */
	CLIENT_RUNNING,
};

struct sandbox;

struct client {
	enum watched watched;
	enum client_state state;
	int fd;
	uint64_t arrival;
	bool waited; /* no parked sandbox was there for it */
	struct warden_request request;
	struct warden_limits limits;
	size_t listen_count;
	const struct sandbox_profile *profile;
	struct sandbox *sandbox;
};

struct sandbox {
	enum watched watched;	     /* for its pidfd */
	enum watched status_watched; /* for its status pipe */
	struct sandbox *next;
	char name[SANDBOX_NAME_SIZE];
	uint32_t tenant;
	const struct sandbox_profile *profile;
	struct crun_child child;
	struct client *client; /* NULL while parked, or after the client has gone */
	bool running;
	bool gone; /* its init was waited for; freed by sandboxes_sweep() */
	bool warm;
	bool stopped; /* to be killed at the deadline, or killed, for stop_reason */
	bool killed;
	uint32_t stop_reason;
	uint64_t deadline_us; /* monotonic */
	uint64_t started_us;
	uint64_t cpu_before_us;
	struct warden_limits limits;
	char id[WARDEN_ID_SIZE];
};

struct warden {
	enum watched listener_watched;
	enum watched signals_watched;
	enum watched maker_watched;
	int epoll;
	int signals;
	struct listener listener;
	struct maker *maker;
	struct crun crun;
	struct cgroup_host cgroups;
	struct scratch scratch;
	struct profile_set profiles;
	struct client *clients[CLIENTS_MAX];
	size_t client_count;
	struct sandbox *sandboxes; /* parked and running */
	struct park_key keys[PARK_KEYS_MAX];
	size_t key_count;
	struct park_rules rules;
	uint32_t slots;
	uint64_t arrivals;
	uint64_t servings;
	uint32_t helpers;	     /* of crun that are not waited for yet: one a sandbox that was made */
	uint64_t helpers_until_ms;   /* whoever did not come by then never will */
	uint64_t strangers_until_ms; /* a crun that failed may have left us children that nobody knows; boot clock */
};

/* Watch `fd` for input; `what` begins with an enum watched. */
int warden_watch(const struct warden *warden, int fd, void *what, struct wl_error *err);
/*
 * Watch it no longer; must come before its close. A close alone does not do it while a child that was just forked for
 * crun still holds a copy, and then epoll would go on to report what has been freed (epoll(7), questions and answers).
 */
void warden_unwatch(const struct warden *warden, int fd);

/* warden_clients.c */
void client_add(struct warden *warden, int fd);
void client_read(struct warden *warden, struct client *client);
/* Close it and kill its sandbox; clients_sweep() frees it. */
void client_remove(const struct warden *warden, struct client *client);
/* Free the clients that were closed; no event may point to them any more. */
void clients_sweep(struct warden *warden);
void client_refuse(const struct warden *warden, struct client *client, const struct wl_error *err);
/* `listeners`: as many as the client's request asks for. */
int client_started(const struct warden *warden, struct client *client, const struct sandbox *sandbox,
		   const int *listeners);
void client_ended(const struct warden *warden, struct client *client, const struct warden_receipt *receipt);
/* Give free slots to those who wait, and sandboxes to those who have a slot. */
void clients_serve(struct warden *warden);

/* warden_sandboxes.c */
void sandbox_take_products(struct warden *warden);
/* Hand a parked sandbox to the client; false when there is none. A refusal (a limit that cannot be set) is true, too.
 */
bool sandbox_hand_out(struct warden *warden, struct client *client);
/* Order one for the client unless enough are being made for all who wait for that kind; or refuse it. */
void sandbox_order(struct warden *warden, struct client *client);
/* Kill for `reason`, now or after `grace_ms`; the first reason stands. */
void sandbox_stop(struct sandbox *sandbox, uint32_t reason, uint32_t grace_ms);
/* Its program has ended: report. Its init is about to end and to take with it what the program left. */
void sandbox_status(struct warden *warden, enum watched *status_watched);
/* Its init has ended: report unless that was done, collect, remove. */
void sandbox_ended(struct warden *warden, struct sandbox *sandbox);
/* Kill what is past its deadline; returns the milliseconds until the next one, at most `most_ms`. */
int sandbox_timers(struct warden *warden, int most_ms);
/* Note that a kind was asked for, and keep the stock of parked sandboxes. */
void parking_use(struct warden *warden, uint32_t tenant, const struct sandbox_profile *profile);
/* Number of the last slot that this tenant was given; 0 when that is forgotten. */
uint64_t parking_served(const struct warden *warden, uint32_t tenant);
void parking_keep(struct warden *warden);
/*
 * Wait for such children, at a moment when there can be no others. Returns whether some may still be about: no event
 * tells of their end, so the caller looks again soon.
 */
bool sandboxes_reap_strangers(struct warden *warden);
/* Free the sandboxes that are gone; no event may point to them any more. */
void sandboxes_sweep(struct warden *warden);
/* Kill and collect all of them. */
void sandboxes_close(struct warden *warden);

/* warden_loop.c: until SIGTERM or SIGINT; 0, or -errno with a sentence. */
int warden_loop(struct warden *warden, struct wl_error *err);

#endif
