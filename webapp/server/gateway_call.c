/*
 * Theory of operation
 *
 * A call belongs to the loop and to one thread. The thread asks the model and appends events to call->pieces; the first
 * piece puts the call into a list and wakes the loop by an eventfd. The loop takes the pieces of all calls of the list:
 * the first of a call open the answer's stream, so whatever goes wrong before that has an HTTP status of its own.
 *
 * A client that reads slowly: while WAITING_MOST bytes wait in its connection, its pieces stay with the call, and when
 * as many wait there the thread waits as well, which holds up the model's server. One that does not read for
 * gateway_stall_ms is cut. When a client goes, the call's eventfd becomes readable, which ends the call; what it used
 * is settled.
 *
 * The client gets its answer when the model has given it (web_gateway_said()). The thread then settles what it used,
 * and waits for the disk to have that; so long the call stays, and the server does not leave.
 */
#include "webapp/server/gateway_call.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/llm/source_memory.h"
#include "lib/store/postgres_budget.h"
#include "lib/store/postgres_models.h"
#include "webapp/server/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK (512u << 10) /* bytes; of them only what is touched becomes memory */
#define WAITING_MOST (256u << 10)
#define DRAIN_LOOK_MS 20
#define RETRY_S 5

struct gateway_call {
	struct web_task task;
	struct gateway_call *next, **link; /* among all; the loop's */
	struct web_request *request;	   /* held until its head is sent or it is answered; the loop's */
	struct web_stream *stream;	   /* the loop's */
	int references;			   /* of the thread and of the stream; the loop's */
	bool answered;			   /* all of it; the loop's */
	uint64_t moved_ms;		   /* when something was sent last; the loop's */
	size_t queued_before;
	web_gateway_work *work;
	struct wl_json *body;
	char id[WL_UUID_TEXT];
	int tenant;
	int cancel_fd;
	/* guarded by `lock` */
	struct wl_buffer pieces;
	pthread_cond_t taken;
	struct gateway_call *next_posted;
	bool posted, gone, said;
	bool has_sent; /* the thread alone changes it */
	/* the thread's until it has said all */
	struct wl_buffer answer;
	int rc, status;
	const char *code;
	uint64_t retry_after_ms;
	struct wl_error err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gateway_call *posted;
static struct gateway_call *calls;
static bool looking;

/* Made when the first call comes. */
static struct {
	bool open;
	struct web_thread_pool *threads;
	int wake_fd;
	struct wl_egress_rules egress;
	struct wl_llm *llm;
	struct wl_model_source database, source; /* what is remembered of it */
	struct wl_budget budget;
	struct wl_metered metered;
} world;

/* ---- the thread's side
 * -----------------------------------------------------------------------------------------------
 */

struct wl_json *web_gateway_take_body(struct gateway_call *call)
{
	return wl_steal(call->body);
}

struct wl_buffer *web_gateway_answer(struct gateway_call *call)
{
	return &call->answer;
}

const struct wl_metered *web_gateway_world(void)
{
	return &world.metered;
}

int web_gateway_tenant(const struct gateway_call *call)
{
	return call->tenant;
}

int web_gateway_cancel_fd(const struct gateway_call *call)
{
	return call->cancel_fd;
}

const char *web_gateway_id(const struct gateway_call *call)
{
	return call->id;
}

bool web_gateway_has_sent(const struct gateway_call *call)
{
	return call->has_sent;
}

void web_gateway_fail(struct gateway_call *call, int status, const char *code, uint64_t retry_after_ms)
{
	call->status = status;
	call->code = code;
	call->retry_after_ms = retry_after_ms;
}

static void wake(int fd)
{
	const uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));
	(void)written; /* it can only be full, and then it is readable */
}

/* Put the call into the list of those that have something for the loop; true when the loop has to be woken. Locked. */
static bool post(struct gateway_call *call)
{
	bool wakes = posted == NULL;
	if (call->posted)
		return false;
	call->posted = true;
	call->next_posted = posted;
	posted = call;
	return wakes;
}

void web_gateway_send(struct gateway_call *call, struct wl_buffer *pieces)
{
	bool wakes = false;
	if (pieces->length == 0)
		return;
	(void)pthread_mutex_lock(&lock);
	call->has_sent = true;
	while (call->pieces.length > WAITING_MOST && !call->gone)
		(void)pthread_cond_wait(&call->taken, &lock);
	if (!call->gone) {
		wl_buffer_append(&call->pieces, pieces->data, pieces->length);
		wakes = post(call);
	}
	(void)pthread_mutex_unlock(&lock);
	if (wakes)
		wake(world.wake_fd);
	wl_buffer_clear(pieces);
}

void web_gateway_said(struct gateway_call *call, int result, const struct wl_error *err)
{
	bool wakes = false;
	call->rc = result;
	if (result < 0)
		call->err = *err;
	(void)pthread_mutex_lock(&lock);
	call->said = true;
	wakes = post(call);
	(void)pthread_mutex_unlock(&lock);
	if (wakes)
		wake(world.wake_fd);
}

static void run_call(struct web_task *task)
{
	struct gateway_call *call = task->context;
	struct wl_error err = { 0 };
	int result = call->work(call, &err);
	if (!call->said)
		web_gateway_said(call, result, &err);
}

/* ---- the loop's side
 * -------------------------------------------------------------------------------------------------
 */

static void release(struct gateway_call *call)
{
	if (--call->references > 0)
		return;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	web_request_release(call->request);
	wl_json_free(call->body);
	wl_buffer_release(&call->pieces);
	wl_buffer_release(&call->answer);
	(void)pthread_cond_destroy(&call->taken);
	(void)close(call->cancel_fd);
	free(call);
}

/* Nobody waits for it any more. */
static void cancel(struct gateway_call *call)
{
	(void)pthread_mutex_lock(&lock);
	call->gone = true;
	(void)pthread_cond_signal(&call->taken);
	(void)pthread_mutex_unlock(&lock);
	wake(call->cancel_fd);
}

static void client_gone(struct web_request *request)
{
	cancel(request->state);
}

static void stream_gone(void *context)
{
	struct gateway_call *call = context;
	call->stream = NULL;
	cancel(call);
	release(call);
}

static void serve(struct gateway_call *call);
static void look(void *context);

static void look_soon(void)
{
	if (!looking)
		web_timer_once(DRAIN_LOOK_MS, look, NULL);
	looking = true;
}

static void stream_opened(struct web_request *request, struct web_stream *stream)
{
	struct gateway_call *call = request->stream_context;
	call->stream = stream;
	call->moved_ms = wl_clock_boot_ms();
	request->state = NULL;
	serve(call);
}

static void open_stream(struct gateway_call *call)
{
	struct web_request *request = call->request;
	call->request = NULL;
	if (request->exchange) {
		request->client_gone = NULL; /* from now on stream_gone() tells */
		call->references++;
		web_answer_stream(request, stream_opened, stream_gone, call);
	}
	web_request_release(request);
}

/* A client that has enough to swallow: false; one that has stopped reading is cut. */
static bool takes_more(struct gateway_call *call)
{
	size_t queued = web_stream_queued(call->stream);
	uint64_t now = wl_clock_boot_ms();
	if (queued < call->queued_before || queued == 0)
		call->moved_ms = now;
	call->queued_before = queued;
	if (queued < WAITING_MOST)
		return true;
	if (now - call->moved_ms > (uint64_t)web.settings.gateway_stall_ms)
		web_stream_cut(call->stream);
	else
		look_soon();
	return false;
}

/* Send what has come, and finish behind the last of it. */
static void flush(struct gateway_call *call)
{
	if (call->request)
		open_stream(call);
	if (!call->stream || !takes_more(call))
		return;
	(void)pthread_mutex_lock(&lock);
	struct wl_buffer pieces = call->pieces;
	bool last = call->said;
	call->pieces = (struct wl_buffer){ 0 };
	(void)pthread_cond_signal(&call->taken);
	(void)pthread_mutex_unlock(&lock);
	call->references++;
	bool good = !pieces.failed;
	if (!good)
		web_stream_cut(call->stream);
	else if (pieces.length)
		good = web_stream_send(call->stream, pieces.data, pieces.length);
	if (good && last && call->stream)
		web_stream_finish(call->stream);
	wl_buffer_release(&pieces);
	release(call);
}

static void answer_failure(struct web_request *request, const struct gateway_call *call)
{
	request->fault = call->code;
	if (call->status == 429 || call->status == 503)
		web_answer_header(request, "retry-after", "%llu",
				  (unsigned long long)(call->retry_after_ms ? (call->retry_after_ms + 999) / 1000 : 1));
	if (call->code && strcmp(call->code, "insufficient_quota") == 0)
		web_answer_header(request, "x-should-retry", "false");
	web_answer_problem(request, call->status, "%s", call->err.text);
}

/* Give the whole answer of a call that does not stream, or that failed before its stream began. */
static void answer_whole(struct gateway_call *call)
{
	struct web_request *request = call->request;
	if (!request || request->answered)
		return;
	request->client_gone = NULL;
	request->state = NULL;
	if (call->rc < 0) {
		answer_failure(request, call);
	} else if (request->exchange) {
		wl_buffer_append(&request->answer, call->answer.data, call->answer.length);
		request->answer.failed |= call->answer.failed;
		web_answer_json(request, 200);
	}
}

/* Give the client what there is for it. */
static void serve(struct gateway_call *call)
{
	(void)pthread_mutex_lock(&lock);
	bool said = call->said, streams = call->pieces.length > 0 || call->has_sent;
	(void)pthread_mutex_unlock(&lock);
	call->answered = said;
	if (streams)
		flush(call);
	else if (said)
		answer_whole(call);
}

static void look(void *context)
{
	(void)context;
	looking = false;
	for (struct gateway_call *call = calls, *next; call; call = next) {
		next = call->next;
		if (call->stream)
			flush(call);
	}
}

static struct gateway_call *take_posted(void)
{
	(void)pthread_mutex_lock(&lock);
	struct gateway_call *call = posted;
	if (call) {
		posted = call->next_posted;
		call->posted = false;
	}
	(void)pthread_mutex_unlock(&lock);
	return call;
}

static void pieces_came(void *context, bool readable, bool writable, bool broken)
{
	struct gateway_call *call;
	uint64_t count;
	(void)context;
	(void)readable;
	(void)writable;
	(void)broken;
	ssize_t got = read(world.wake_fd, &count, sizeof(count));
	(void)got;
	while ((call = take_posted()))
		serve(call);
}

/* Take it out of the list; true when it was there. */
static bool forget_posted(struct gateway_call *call)
{
	(void)pthread_mutex_lock(&lock);
	bool there = call->posted;
	for (struct gateway_call **at = &posted; call->posted && *at; at = &(*at)->next_posted) {
		if (*at != call)
			continue;
		*at = call->next_posted;
		call->posted = false;
		break;
	}
	(void)pthread_mutex_unlock(&lock);
	return there;
}

/* It is settled. */
static void call_ended(struct web_task *task)
{
	struct gateway_call *call = task->context;
	if (forget_posted(call))
		serve(call);
	release(call);
}

/* ---- start and end
 * ---------------------------------------------------------------------------------------------------
 */

static int open_world(struct wl_error *err)
{
	if (world.open)
		return 0;
	const struct wl_settings *settings = &web.settings;
	int rc = wl_egress_rules_read(settings->egress_allow, &world.egress, err);
	rc = rc ? rc : world.llm ? 0 : wl_llm_new(&world.egress, &world.llm, err);
	if (rc == 0 && !world.database.self)
		rc = wl_postgres_gateway_models_open(settings->postgres_url, &world.database, err);
	if (rc == 0 && !world.source.self)
		rc = wl_source_memory_open(&world.database, &world.source, err);
	if (rc == 0 && !world.budget.self)
		rc = wl_postgres_gateway_budget_open(settings->postgres_url, &world.budget, err);
	if (rc == 0 && !world.threads)
		rc = web_thread_pool_open_growing((int)settings->gateway_calls, STACK, &world.threads, err);
	if (rc < 0)
		return rc;
	world.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (world.wake_fd < 0 || !web_watch_new(world.wake_fd, pieces_came, NULL))
		return wl_fail_errno(err, errno, "make an eventfd");
	world.metered = (struct wl_metered){ world.llm, &world.source, &world.budget, web.master_key };
	world.open = true;
	return 0;
}

/* Those that have their answer and are settled now are no longer under way. */
static int calls_of(int tenant)
{
	int count = 0;
	for (const struct gateway_call *call = calls; call; call = call->next)
		count += call->tenant == tenant && !call->answered;
	return count;
}

static struct gateway_call *new_call(struct web_request *request, web_gateway_work *work)
{
	int cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct gateway_call *call = cancel_fd < 0 ? NULL : calloc(1, sizeof(*call));
	if (!call) {
		if (cancel_fd >= 0)
			(void)close(cancel_fd);
		return NULL;
	}
	(void)pthread_cond_init(&call->taken, NULL);
	call->references = 1;
	call->request = web_request_hold(request);
	call->work = work;
	call->body = wl_steal(request->json);
	call->tenant = request->identity.tenant;
	call->cancel_fd = cancel_fd;
	memcpy(call->id, request->id, sizeof(call->id));
	call->task = (struct web_task){ .run = run_call, .ended = call_ended, .context = call };
	call->next = calls;
	call->link = &calls;
	if (calls)
		calls->link = &call->next;
	calls = call;
	return call;
}

void web_gateway_start(struct web_request *request, web_gateway_work *work)
{
	struct wl_error err = { 0 };
	if (open_world(&err) < 0) {
		web_answer_unavailable(request, 1, "%s", err.text);
		return;
	}
	if (calls_of(request->identity.tenant) >= web.settings.tenant_gateway_calls) {
		web_answer_too_many(request, RETRY_S, "the tenant has %ld model calls under way: no more at once",
				    web.settings.tenant_gateway_calls);
		return;
	}
	struct gateway_call *call = new_call(request, work);
	if (!call) {
		web_answer_unavailable(request, 1, "no memory");
		return;
	}
	request->state = call;
	request->client_gone = client_gone;
	if (web_thread_pool_run(world.threads, &call->task) == 0)
		return;
	request->state = NULL;
	request->client_gone = NULL;
	web_answer_unavailable(request, RETRY_S, "too many model calls are under way");
	release(call);
}

static void stop_all(void *context)
{
	(void)context;
	for (struct gateway_call *call = calls; call; call = call->next)
		wake(call->cancel_fd);
}

void web_gateway_drain(void)
{
	uint64_t after_ms = (uint64_t)web.settings.drain_ms * 3 / 4;
	web_timer_once(after_ms, stop_all, NULL);
}

bool web_gateway_busy(void)
{
	return calls != NULL;
}
