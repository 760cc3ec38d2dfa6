/*
 * What the calls of a process share. A slot per provider holds its breaker, its rate and what was learned of its
 * models; connections lie in a stack of idle HTTP clients, the last used on top, since it has the warmest ones.
 */
#include "lib/llm/calls.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"
#include "lib/llm/breaker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define SLOTS 1024 /* providers; beyond them the one not used for longest is forgotten */
#define LEARNED 16 /* models of a provider; beyond them the oldest is forgotten */
#define IDLE_CLIENTS 64
#define TIMEOUT_MS 60000
#define IDLE_MS 60000 /* a stream that says nothing for so long has broken off */
#define AGAIN_MOST 8  /* other ways of asking that are tried in one turn */
#define STREAM_MAX (64u << 20)
#define URL_ROOM 4096
#define NEAR_MS 1000 /* a provider is waited for so long though another one could be asked */

struct learned {
	uint64_t model; /* hash of its name */
	unsigned dialect;
};

struct slot {
	char id[64];
	int version;
	uint64_t used_ms;
	struct wl_llm_breaker breaker;
	struct wl_llm_rate rate;
	struct learned learned[LEARNED];
	unsigned learned_next;
};

struct wl_llm {
	const struct wl_egress_rules *egress;
	pthread_mutex_t lock;
	struct slot *slots;
	size_t slot_count;
	struct wl_http_client *idle[IDLE_CLIENTS];
	size_t idle_count;
};

int wl_llm_new(const struct wl_egress_rules *egress, struct wl_llm **ret_llm, struct wl_error *err)
{
	struct wl_llm *llm = calloc(1, sizeof(*llm));
	if (!llm)
		return wl_fail(err, ENOMEM, "no memory for calls of models");
	llm->egress = egress;
	(void)pthread_mutex_init(&llm->lock, NULL);
	*ret_llm = llm;
	return 0;
}

void wl_llm_free(struct wl_llm *llm)
{
	if (!llm)
		return;
	while (llm->idle_count)
		wl_http_client_free(llm->idle[--llm->idle_count]);
	(void)pthread_mutex_destroy(&llm->lock);
	free(llm->slots);
	free(llm);
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

static int take_client(struct wl_llm *llm, struct wl_http_client **ret_client, struct wl_error *err)
{
	struct wl_http_client *client = NULL;
	(void)pthread_mutex_lock(&llm->lock);
	if (llm->idle_count)
		client = llm->idle[--llm->idle_count];
	(void)pthread_mutex_unlock(&llm->lock);
	*ret_client = client;
	return client ? 0 : wl_http_client_new(llm->egress, ret_client, err);
}

static void give_client(struct wl_llm *llm, struct wl_http_client *client)
{
	(void)pthread_mutex_lock(&llm->lock);
	if (llm->idle_count < IDLE_CLIENTS)
		llm->idle[llm->idle_count++] = wl_steal(client);
	(void)pthread_mutex_unlock(&llm->lock);
	wl_http_client_free(client);
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

static struct slot *free_slot(struct wl_llm *llm)
{
	if (llm->slot_count < SLOTS && (llm->slot_count & (llm->slot_count - 1)) == 0) {
		size_t room = llm->slot_count ? llm->slot_count * 2 : 1;
		struct slot *more = realloc(llm->slots, room * sizeof(*more));
		if (more)
			llm->slots = more;
		else if (llm->slot_count == 0)
			return NULL;
		else
			return &llm->slots[0];
	}
	if (llm->slot_count < SLOTS)
		return &llm->slots[llm->slot_count++];
	struct slot *oldest = &llm->slots[0];
	for (size_t i = 1; i < llm->slot_count; i++)
		if (llm->slots[i].used_ms < oldest->used_ms)
			oldest = &llm->slots[i];
	return oldest;
}

/* A provider's slot, with the lock held; NULL without memory, and then nothing is remembered. */
static struct slot *slot_of(struct wl_llm *llm, const struct wl_llm_provider *provider, uint64_t now_ms)
{
	const char *id = provider->id ? provider->id : provider->base_url ? provider->base_url : "";
	struct slot *slot = NULL;
	for (size_t i = 0; i < llm->slot_count && !slot; i++)
		if (strncmp(llm->slots[i].id, id, sizeof(slot->id) - 1) == 0)
			slot = &llm->slots[i];
	if (!slot) {
		slot = free_slot(llm);
		if (!slot)
			return NULL;
		*slot = (struct slot){ .version = provider->version };
		(void)snprintf(slot->id, sizeof(slot->id), "%s", id);
	}
	if (slot->version != provider->version) {
		slot->version = provider->version;
		slot->breaker = (struct wl_llm_breaker){ 0 };
		memset(slot->learned, 0, sizeof(slot->learned));
	}
	slot->used_ms = now_ms;
	return slot;
}

/* FNV-1a, never 0. */
static uint64_t hash(const char *text)
{
	uint64_t value = 0xcbf29ce484222325u;
	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * 0x100000001b3u;
	return value ? value : 1;
}

static struct learned *find_learned(struct slot *slot, uint64_t model)
{
	for (size_t i = 0; slot && i < LEARNED; i++)
		if (slot->learned[i].model == model)
			return &slot->learned[i];
	return NULL;
}

unsigned wl_llm_dialect(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model)
{
	(void)pthread_mutex_lock(&llm->lock);
	const struct learned *learned = find_learned(slot_of(llm, provider, wl_clock_boot_ms()), hash(model));
	unsigned dialect = learned ? learned->dialect : 0;
	(void)pthread_mutex_unlock(&llm->lock);
	return dialect | wl_llm_known_dialect(provider->type, model);
}

void wl_llm_learn(struct wl_llm *llm, const struct wl_llm_provider *provider, const char *model, unsigned dialect)
{
	(void)pthread_mutex_lock(&llm->lock);
	struct slot *slot = slot_of(llm, provider, wl_clock_boot_ms());
	struct learned *learned = find_learned(slot, hash(model));
	if (slot && !learned) {
		learned = &slot->learned[slot->learned_next++ % LEARNED];
		*learned = (struct learned){ .model = hash(model) };
	}
	if (learned)
		learned->dialect |= dialect;
	(void)pthread_mutex_unlock(&llm->lock);
}

/* ---- a provider's turn ------------------------------------------------------------------------------------------ */

static void fail(struct wl_llm_outcome *outcome, enum wl_model_fault fault, const char *text)
{
	outcome->fault = fault;
	(void)wl_fail(&outcome->err, wl_llm_errno(fault), "%s", text);
}

/* Wait; true when it is to stop. */
static bool pause_for(uint64_t ms, int cancel_fd)
{
	struct pollfd cancelled = { .fd = cancel_fd, .events = POLLIN };
	uint64_t now_ms = wl_clock_boot_ms(), end_ms = now_ms + ms;
	do {
		int wait = end_ms - now_ms < 60000 ? (int)(end_ms - now_ms) : 60000;
		int seen = poll(&cancelled, cancel_fd >= 0 ? 1 : 0, wait);
		if (seen > 0)
			return true;
		now_ms = wl_clock_boot_ms();
	} while (now_ms < end_ms);
	return false;
}

/* Ask breaker and rate; false with a fault when the provider is not to be asked. *ret_wait_ms: only after so long. */
static bool admit(struct wl_llm *llm, const struct wl_llm_provider *provider, uint64_t *ret_wait_ms,
		  struct wl_llm_outcome *outcome)
{
	uint64_t now_ms = wl_clock_boot_ms();
	*ret_wait_ms = 0;
	(void)pthread_mutex_lock(&llm->lock);
	struct slot *slot = slot_of(llm, provider, now_ms);
	if (slot)
		*ret_wait_ms = wl_llm_rate_take(&slot->rate, provider->max_rpm, now_ms);
	if (slot && !*ret_wait_ms && !wl_llm_breaker_ask(&slot->breaker, now_ms, &outcome->retry_after_ms))
		fail(outcome, WL_MODEL_FAULT_AWAY, "the provider failed too often and is left alone for a while");
	(void)pthread_mutex_unlock(&llm->lock);
	return outcome->fault == WL_MODEL_FAULT_NONE;
}

/* What an outcome says of the provider's health: a refusal shows that it is there. */
static enum wl_llm_breaker_news news_of(enum wl_model_fault fault)
{
	if (fault == WL_MODEL_FAULT_STOPPED || fault == WL_MODEL_FAULT_EGRESS)
		return WL_LLM_BREAKER_UNKNOWN;
	if (fault == WL_MODEL_FAULT_AWAY || fault == WL_MODEL_FAULT_LATE || fault == WL_MODEL_FAULT_ANSWER)
		return WL_LLM_BREAKER_FAILED;
	return WL_LLM_BREAKER_WORKED;
}

static void tell(struct wl_llm *llm, const struct wl_llm_provider *provider, enum wl_model_fault fault)
{
	uint64_t now_ms = wl_clock_boot_ms();
	(void)pthread_mutex_lock(&llm->lock);
	struct slot *slot = slot_of(llm, provider, now_ms);
	if (slot)
		wl_llm_breaker_tell(&slot->breaker, news_of(fault), now_ms);
	(void)pthread_mutex_unlock(&llm->lock);
}

/* Wait until the rate lets a request through and the breaker, too; false with a fault. */
static bool await_turn(struct wl_llm *llm, const struct wl_llm_provider *provider, uint64_t end_ms, int cancel_fd,
		       bool last, struct wl_llm_outcome *outcome)
{
	uint64_t wait_ms = 0;
	while (admit(llm, provider, &wait_ms, outcome) && wait_ms) {
		uint64_t now_ms = wl_clock_boot_ms();
		if (now_ms + wait_ms > end_ms || (!last && wait_ms > NEAR_MS)) {
			fail(outcome, WL_MODEL_FAULT_RATE, "the provider's max_rpm is reached");
			outcome->retry_after_ms = wait_ms;
			return false;
		}
		if (pause_for(wait_ms, cancel_fd))
			fail(outcome, WL_MODEL_FAULT_STOPPED, "the execution was stopped");
		if (outcome->fault)
			return false;
	}
	return outcome->fault == WL_MODEL_FAULT_NONE;
}

bool wl_llm_stopped(int cancel_fd, struct wl_llm_outcome *outcome)
{
	if (pause_for(0, cancel_fd))
		fail(outcome, WL_MODEL_FAULT_STOPPED, "the execution was stopped");
	return outcome->fault != WL_MODEL_FAULT_NONE;
}

static void try_now(struct wl_llm *llm, uint32_t left_ms, wl_llm_try *try, void *context,
		    struct wl_llm_outcome *outcome)
{
	struct wl_http_client *client = NULL;
	if (take_client(llm, &client, &outcome->err) < 0) {
		outcome->fault = WL_MODEL_FAULT_AWAY;
		outcome->ours = true;
		return;
	}
	outcome->tries++;
	try(context, client, left_ms, outcome);
	give_client(llm, client);
}

void wl_llm_try_once(struct wl_llm *llm, uint32_t timeout_ms, wl_llm_try *try, void *context,
		     struct wl_llm_outcome *outcome)
{
	try_now(llm, timeout_ms, try, context, outcome);
}

void wl_llm_turn(struct wl_llm *llm, const struct wl_llm_provider *provider, uint64_t end_ms, int cancel_fd, bool last,
		 wl_llm_try *try, void *context, struct wl_llm_outcome *outcome)
{
	int failures = 0;
	for (int others = 0;;) {
		int tries = outcome->tries;
		*outcome = (struct wl_llm_outcome){ .tries = tries };
		if (wl_llm_stopped(cancel_fd, outcome) || !await_turn(llm, provider, end_ms, cancel_fd, last, outcome))
			return;
		uint64_t now_ms = wl_clock_boot_ms();
		if (now_ms >= end_ms) {
			tell(llm, provider, WL_MODEL_FAULT_STOPPED);
			fail(outcome, WL_MODEL_FAULT_LATE, "the time for the call is up");
			return;
		}
		try_now(llm, (uint32_t)(end_ms - now_ms), try, context, outcome);
		tell(llm, provider, outcome->ours ? WL_MODEL_FAULT_STOPPED : outcome->fault);
		if (outcome->again && others++ < AGAIN_MOST)
			continue;
		if (!wl_llm_may_retry(outcome->fault) || failures++ >= provider->max_retries)
			return;
		uint32_t random = 0;
		wl_random_bytes(&random, sizeof(random));
		uint64_t wait_ms = wl_llm_pause_ms(failures, outcome->retry_after_ms, random);
		/* it would come too late, or the server wants to be left alone and another one can be asked */
		if (wl_clock_boot_ms() + wait_ms >= end_ms || (!last && outcome->retry_after_ms > NEAR_MS))
			return;
		if (pause_for(wait_ms, cancel_fd)) {
			fail(outcome, WL_MODEL_FAULT_STOPPED, "the execution was stopped");
			return;
		}
	}
}

uint32_t wl_llm_timeout_ms(const struct wl_llm_provider *provider, uint32_t asked_ms)
{
	uint32_t own = provider->timeout_ms ? provider->timeout_ms : TIMEOUT_MS;
	return asked_ms && asked_ms < own ? asked_ms : own;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

enum wl_model_fault wl_llm_fault_of_errno(int code)
{
	switch (code) {
	case EACCES:
		return WL_MODEL_FAULT_EGRESS;
	case EINVAL:
		return WL_MODEL_FAULT_REQUEST;
	case ETIMEDOUT:
		return WL_MODEL_FAULT_LATE;
	case EMSGSIZE:
	case EMLINK:
		return WL_MODEL_FAULT_ANSWER;
	case ECANCELED:
		return WL_MODEL_FAULT_STOPPED;
	default:
		return WL_MODEL_FAULT_AWAY;
	}
}

/* Anthropic's base URL is given with and without its version. */
static void write_url(const struct wl_llm_provider *provider, const char *path, char url[URL_ROOM])
{
	static const char *const standard[] = {
#define X(name, word, base) base,
		WL_LLM_TYPES(X)
#undef X
	};
	const char *base = provider->base_url && *provider->base_url ? provider->base_url : standard[provider->type];
	size_t length = strlen(base);
	while (length && base[length - 1] == '/')
		length--;
	bool versioned = length >= 3 && strncmp(base + length - 3, "/v1", 3) == 0;
	bool adds = provider->type == WL_LLM_ANTHROPIC && !versioned;
	(void)snprintf(url, URL_ROOM, "%.*s%s%s", (int)length, base, adds ? "/v1" : "", path);
}

static uint64_t read_retry_after(const struct wl_http_response *response)
{
	const char *ms = wl_http_response_header(response, "retry-after-ms");
	const char *after = wl_http_response_header(response, "retry-after");
	uint64_t said = ms ? wl_llm_retry_after_ms(ms, 0) / 1000 : 0;
	return said || !after ? said : wl_llm_retry_after_ms(after, wl_clock_wall_ms());
}

int wl_llm_send(struct wl_http_client *client, const struct wl_llm_provider *provider, const char *path,
		const struct wl_buffer *body, uint32_t timeout_ms, int cancel_fd, wl_http_take_piece *piece,
		void *piece_context, struct wl_http_response *response, struct wl_llm_outcome *outcome)
{
	char url[URL_ROOM];
	_wl_buffer_ struct wl_buffer bearer;
	bool key = provider->api_key && *provider->api_key, anthropic = provider->type == WL_LLM_ANTHROPIC;
	size_t count = 1;
	struct wl_http_header headers[3] = { { "accept",
					       "application/json, text/event-stream, application/x-ndjson" } };
	wl_buffer_init(&bearer, 0);
	write_url(provider, path, url);
	if (anthropic)
		headers[count++] = (struct wl_http_header){ "anthropic-version", "2023-06-01" };
	if (key && wl_buffer_appendf(&bearer, "%s%s", anthropic ? "" : "Bearer ", provider->api_key) == 0)
		headers[count++] = (struct wl_http_header){ anthropic ? "x-api-key" : "authorization", bearer.data };
	const struct wl_http_request request = {
		.method = body ? "POST" : "GET",
		.url = url,
		.headers = headers,
		.header_count = count,
		.content_type = body ? "application/json" : NULL,
		.body = body ? body->data : NULL,
		.body_length = body ? body->length : 0,
		.body_max = piece ? STREAM_MAX : 0,
		.timeout_ms = timeout_ms,
		.connect_ms = timeout_ms < WL_HTTP_CONNECT_MS ? timeout_ms : WL_HTTP_CONNECT_MS,
		.cancel_fd = cancel_fd,
		.allow_private = provider->allow_private,
		.piece = piece,
		.piece_context = piece_context,
		.idle_ms = IDLE_MS,
	};
	int result = wl_http_send(client, &request, response, &outcome->err);
	if (bearer.data)
		explicit_bzero(bearer.data, bearer.length);
	if (result < 0) {
		outcome->fault = wl_llm_fault_of_errno(outcome->err.code);
		outcome->err.code = wl_llm_errno(outcome->fault);
		return result;
	}
	if (response->status >= 200 && response->status < 300)
		return 0;
	outcome->fault = wl_llm_fault_of(response->status, response->body.data, response->body.length,
					 provider->api_key, &outcome->err);
	if (outcome->fault == WL_MODEL_FAULT_KEY && !key)
		(void)wl_fail(&outcome->err, EACCES, "the server wants a key (status %ld)", response->status);
	outcome->retry_after_ms = read_retry_after(response);
	return -outcome->err.code;
}
