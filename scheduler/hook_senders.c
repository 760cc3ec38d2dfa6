#include "scheduler/hook_senders.h"

#include "lib/base/clock.h"
#include "lib/secrets/hook_signature.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define STOP_GRACE_MS 2000
#define ANSWER_MAX (64u << 10) /* bytes of an answer that are read: nobody looks at them */

enum slot_state { SLOT_FREE, SLOT_SENDING, SLOT_DONE };

struct slot {
	enum slot_state state;
	struct hook_try try;
	struct wl_http_client *client;
	pthread_t thread;
	bool forgetting; /* its result was copied */
};

static struct slot slots[HOOK_SENDERS];
static int running;
static bool stopping;
static int cancel_fd = -1;
static const struct wl_master_key *master_key;
static void (*tell)(void *context);
static void *tell_context;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* by the monotonic clock */

/* ---- one try ---------------------------------------------------------------------------------------------------- */

/* Open a sealed secret of the claim; NULL text: there is none. */
static int open_secret(const struct wl_json *claim, const char *name, char **ret_secret, size_t *ret_length,
		       struct wl_error *err)
{
	char context[64];
	const char *sealed = wl_json_get_string(claim, name, NULL);
	*ret_secret = NULL;
	*ret_length = 0;
	if (!sealed)
		return 0;
	(void)snprintf(context, sizeof(context), "webhook:%s", wl_json_get_string(claim, "hook", ""));
	return wl_unseal(master_key, wl_json_get_string(claim, "tenant_key", ""), context, sealed, ret_secret,
			 ret_length, err);
}

static int sign(const struct wl_json *claim, const char *body, char signature[WL_HOOK_SIGNATURE_TEXT],
		struct wl_error *err)
{
	static const char *const names[] = { "secret", "old_secret" };
	char *secrets[2];
	size_t lengths[2];
	int count = 0, rc = 0;
	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = open_secret(claim, names[i], &secrets[count], &lengths[count], err);
		count += rc == 0 && secrets[count];
	}
	if (rc == 0 && count == 0)
		rc = wl_fail(err, EACCES, "the webhook has no secret");
	if (rc == 0)
		wl_hook_sign((const char *const *)secrets, count, wl_clock_wall_ms() / 1000, body, strlen(body),
			     signature);
	for (int i = 0; i < count; i++)
		wl_unsealed_free(secrets[i], lengths[i]);
	return rc;
}

static int post(struct slot *slot, const char *signature, struct wl_http_response *response, struct wl_error *err)
{
	const struct wl_json *claim = slot->try.claim;
	const char *body = wl_json_get_string(claim, "body", "");
	const struct wl_http_header headers[] = {
		{ "Windlass-Signature", signature },
		{ "Windlass-Delivery", wl_json_get_string(claim, "id", "") },
		{ "Windlass-Event", wl_json_get_string(claim, "event", "") },
	};
	const struct wl_http_request request = { .method = "POST",
						 .url = wl_json_get_string(claim, "url", ""),
						 .headers = headers,
						 .header_count = sizeof(headers) / sizeof(headers[0]),
						 .content_type = "application/json",
						 .body = body,
						 .body_length = strlen(body),
						 .body_max = ANSWER_MAX,
						 .timeout_ms = HOOK_TIMEOUT_MS,
						 .cancel_fd = cancel_fd };
	return wl_http_send(slot->client, &request, response, err);
}

/* Fills what the try came to. */
static void send_one(struct slot *slot)
{
	struct hook_try *try = &slot->try;
	char signature[WL_HOOK_SIGNATURE_TEXT];
	struct wl_error err = { 0 };
	struct wl_http_response response = { 0 };
	int rc = sign(try->claim, wl_json_get_string(try->claim, "body", ""), signature, &err);
	if (rc == 0)
		rc = post(slot, signature, &response, &err);
	/* an answer whose body is too large is an answer */
	try->status = rc == 0 || rc == -EMSGSIZE ? response.status : 0;
	try->slow = response.total_us > HOOK_SLOW_MS * 1000ULL;
	try->outcome = hook_outcome_of(try->status, rc == -EINVAL || rc == -EACCES,
				       (int)wl_json_get_number(try->claim, "attempt", 1));
	if (rc == -ECANCELED)
		try->outcome = HOOK_RETRY; /* we end, the receiver did nothing wrong */
	if (try->outcome == HOOK_DELIVERED)
		try->error[0] = '\0';
	else if (rc < 0)
		(void)snprintf(try->error, sizeof(try->error), "%s", err.text);
	else
		(void)snprintf(try->error, sizeof(try->error), "the receiver answered %ld", try->status);
	wl_http_response_release(&response);
}

static void *sender_main(void *context)
{
	struct slot *slot = context;
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!stopping && slot->state != SLOT_SENDING)
			pthread_cond_wait(&changed, &lock);
		if (slot->state != SLOT_SENDING)
			break;
		pthread_mutex_unlock(&lock);
		send_one(slot);
		pthread_mutex_lock(&lock);
		slot->state = SLOT_DONE;
		pthread_cond_broadcast(&changed);
		tell(tell_context);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* ---- for the one who uses them ------------------------------------------------------------------------------------
 */

static int start_one(struct slot *slot, const struct wl_egress_rules *egress, struct wl_error *err)
{
	int rc = wl_http_client_new(egress, &slot->client, err);
	if (rc < 0)
		return rc;
	slot->state = SLOT_FREE;
	slot->forgetting = false;
	rc = pthread_create(&slot->thread, NULL, sender_main, slot);
	if (rc == 0) {
		running++;
		return 0;
	}
	wl_http_client_free(slot->client);
	return wl_fail_errno(err, rc, "a thread for webhooks cannot be started");
}

int hook_senders_start(const struct wl_egress_rules *egress, const struct wl_master_key *master,
		       void (*told)(void *context), void *context, struct wl_error *err)
{
	pthread_condattr_t attributes;
	int rc = 0;
	master_key = master;
	tell = told;
	tell_context = context;
	stopping = false;
	cancel_fd = eventfd(0, EFD_CLOEXEC);
	if (cancel_fd < 0)
		return wl_fail_errno(err, errno, "webhooks cannot be sent");
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	for (int i = 0; i < HOOK_SENDERS && rc == 0; i++)
		rc = start_one(&slots[i], egress, err);
	if (rc < 0)
		hook_senders_stop();
	return rc;
}

static int count_in(enum slot_state state)
{
	int count = 0;
	for (int i = 0; i < running; i++)
		count += slots[i].state == state;
	return count;
}

int hook_senders_free(int *ret_retrying)
{
	pthread_mutex_lock(&lock);
	int count = count_in(SLOT_FREE);
	*ret_retrying = 0;
	for (int i = 0; i < running; i++)
		*ret_retrying += slots[i].state == SLOT_SENDING && wl_json_get_bool(slots[i].try.claim, "retry", false);
	pthread_mutex_unlock(&lock);
	return count;
}

void hook_senders_give(struct wl_json *claim)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < running; i++) {
		if (slots[i].state != SLOT_FREE)
			continue;
		slots[i].try = (struct hook_try){ .claim = claim };
		slots[i].state = SLOT_SENDING;
		claim = NULL;
		pthread_cond_broadcast(&changed);
		break;
	}
	pthread_mutex_unlock(&lock);
	wl_json_free(claim);
}

/* Wait, under the lock, until `is_so` or the time is over. */
static void wait_for(int ms, bool (*is_so)(void))
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!is_so() && pthread_cond_timedwait(&changed, &lock, &until) == 0)
		continue;
}

static bool any_done(void)
{
	return count_in(SLOT_DONE) > 0;
}

static bool none_sends(void)
{
	return count_in(SLOT_SENDING) == 0;
}

int hook_senders_done(int ms, struct hook_try *ret_tries)
{
	int count = 0;
	pthread_mutex_lock(&lock);
	if (ms > 0)
		wait_for(ms, any_done);
	for (int i = 0; i < running; i++) {
		slots[i].forgetting = slots[i].state == SLOT_DONE;
		if (slots[i].forgetting)
			ret_tries[count++] = slots[i].try;
	}
	pthread_mutex_unlock(&lock);
	return count;
}

void hook_senders_forget(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < running; i++) {
		if (!slots[i].forgetting)
			continue;
		slots[i].forgetting = false;
		slots[i].state = SLOT_FREE;
		wl_json_free(slots[i].try.claim);
		slots[i].try.claim = NULL;
	}
	pthread_mutex_unlock(&lock);
}

void hook_senders_stop(void)
{
	const uint64_t one = 1;
	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_broadcast(&changed);
	wait_for(STOP_GRACE_MS, none_sends);
	if (!none_sends())
		(void)!write(cancel_fd, &one, sizeof(one)); /* if that fails, they end by their timeout */
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < running; i++) {
		(void)pthread_join(slots[i].thread, NULL);
		wl_http_client_free(slots[i].client);
		slots[i].client = NULL;
	}
	if (cancel_fd >= 0)
		(void)close(cancel_fd);
	cancel_fd = -1;
}
