#include "supervisor/sandbox/maker.h"

#include "lib/base/cleanup.h"
#include "supervisor/sandbox/oci_config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFIG_MAX (1u << 20)
#define THREADS_MAX 16

struct queue {
	struct maker_product *head;
	struct maker_product *tail;
	pthread_cond_t filled;
};

struct maker {
	const struct crun *crun;
	const struct cgroup_host *cgroups;
	const struct scratch *scratch;
	int event_fd;
	pthread_mutex_t lock; /* guards all below */
	struct queue urgent;
	struct queue orders; /* its `filled` serves both queues of orders */
	struct queue removals;
	struct maker_product *products;
	struct maker_product *last_product;
	unsigned long made;
	int in_hand;
	bool ending;
	pthread_t threads[THREADS_MAX + 1];
	int thread_count;
};

static void put(struct queue *queue, struct maker_product *job)
{
	job->next = NULL;
	if (queue->tail)
		queue->tail->next = job;
	else
		queue->head = job;
	queue->tail = job;
}

static struct maker_product *get(struct queue *queue)
{
	struct maker_product *job = queue->head;
	if (!job)
		return NULL;
	queue->head = job->next;
	if (!queue->head)
		queue->tail = NULL;
	return job;
}

/* ---- makers ------------------------------------------------------------------------------------ */

static int make(struct maker *maker, struct maker_product *product)
{
	char rootfs[PROFILE_PATH_MAX];
	char runtime[PROFILE_PATH_MAX];
	char environment[PROFILE_PATH_MAX];
	char cgroups_path[CGROUP_PATH_MAX];
	_wl_buffer_ struct wl_buffer config;
	wl_buffer_init(&config, CONFIG_MAX);
	const struct sandbox_profile *profile = product->order.profile;
	(void)snprintf(rootfs, sizeof(rootfs), "%s/rootfs/%s", maker->scratch->root, profile->name);
	(void)snprintf(runtime, sizeof(runtime), "%s/runtime", maker->scratch->root);
	(void)snprintf(environment, sizeof(environment), "%s/environments/%s", maker->scratch->root, profile->name);
	(void)snprintf(cgroups_path, sizeof(cgroups_path), "/windlass/%s/%s", maker->cgroups->instance, product->name);
	struct oci_place place = { .rootfs = rootfs,
				   .runtime_dir = maker->scratch->has_runtime ? runtime : NULL,
				   .environment_dir = *profile->environment.folder ? environment : NULL,
				   .cgroups_path = cgroups_path,
				   .args0 = INIT_INSIDE,
				   .tenant = product->order.tenant };
	if (oci_config_write(profile, &place, &config) < 0)
		return wl_fail(&product->err, ENOMEM, "no memory for a sandbox's configuration");
	int result =
		crun_park(maker->crun, product->name, &config, product->order.urgent, &product->child, &product->err);
	if (result < 0)
		cgroup_remove(maker->cgroups, product->name);
	return result;
}

static void deliver(struct maker *maker, struct maker_product *product)
{
	uint64_t one = 1;
	product->next = NULL;
	if (maker->last_product)
		maker->last_product->next = product;
	else
		maker->products = product;
	maker->last_product = product;
	ssize_t ignored = write(maker->event_fd, &one, sizeof(one));
	(void)ignored; /* fails only when the counter is full, and then the loop is told anyway */
}

static void *maker_thread(void *argument)
{
	struct maker *maker = argument;
	(void)pthread_mutex_lock(&maker->lock);
	while (!maker->ending) {
		struct maker_product *product = get(&maker->urgent);
		if (!product)
			product = get(&maker->orders);
		if (!product) {
			(void)pthread_cond_wait(&maker->orders.filled, &maker->lock);
			continue;
		}
		unsigned long number = ++maker->made;
		maker->in_hand++;
		(void)pthread_mutex_unlock(&maker->lock);
		(void)snprintf(product->name, sizeof(product->name), "s%lu", number);
		(void)make(maker, product);
		(void)pthread_mutex_lock(&maker->lock);
		maker->in_hand--;
		deliver(maker, product);
	}
	(void)pthread_mutex_unlock(&maker->lock);
	return NULL;
}

int maker_order(struct maker *maker, const struct maker_order *order)
{
	struct maker_product *product = malloc(sizeof(*product));
	if (!product)
		return -ENOMEM;
	*product = (struct maker_product){ .order = *order, .child = CRUN_CHILD_NONE };
	(void)pthread_mutex_lock(&maker->lock);
	put(order->urgent ? &maker->urgent : &maker->orders, product);
	(void)pthread_cond_signal(&maker->orders.filled);
	(void)pthread_mutex_unlock(&maker->lock);
	return 0;
}

struct maker_product *maker_take(struct maker *maker)
{
	uint64_t count;
	(void)pthread_mutex_lock(&maker->lock);
	struct maker_product *product = maker->products;
	if (product) {
		maker->products = product->next;
		if (!maker->products)
			maker->last_product = NULL;
	} else {
		ssize_t ignored = read(maker->event_fd, &count, sizeof(count));
		(void)ignored;
	}
	(void)pthread_mutex_unlock(&maker->lock);
	return product;
}

bool maker_is_idle(struct maker *maker)
{
	(void)pthread_mutex_lock(&maker->lock);
	bool idle = maker->in_hand == 0 && !maker->urgent.head && !maker->orders.head && !maker->products;
	(void)pthread_mutex_unlock(&maker->lock);
	return idle;
}

/* ---- the cleaner ------------------------------------------------------------------------------- */

static void *cleaner_thread(void *argument)
{
	struct maker *maker = argument;
	(void)pthread_mutex_lock(&maker->lock);
	for (;;) {
		struct maker_product *job = get(&maker->removals);
		if (!job && maker->ending)
			break;
		if (!job) {
			(void)pthread_cond_wait(&maker->removals.filled, &maker->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&maker->lock);
		crun_forget(maker->crun, job->name);
		cgroup_remove(maker->cgroups, job->name);
		free(job);
		(void)pthread_mutex_lock(&maker->lock);
	}
	(void)pthread_mutex_unlock(&maker->lock);
	return NULL;
}

void maker_remove(struct maker *maker, const char *name)
{
	struct maker_product *job = calloc(1, sizeof(*job));
	if (!job) { /* rather slow than left behind */
		crun_forget(maker->crun, name);
		cgroup_remove(maker->cgroups, name);
		return;
	}
	(void)snprintf(job->name, sizeof(job->name), "%s", name);
	(void)pthread_mutex_lock(&maker->lock);
	put(&maker->removals, job);
	(void)pthread_cond_signal(&maker->removals.filled);
	(void)pthread_mutex_unlock(&maker->lock);
}

/* ---- life -------------------------------------------------------------------------------------- */

int maker_open(const struct crun *crun, const struct cgroup_host *cgroups, const struct scratch *scratch, int threads,
	       struct maker **ret_maker, struct wl_error *err)
{
	struct maker *maker = calloc(1, sizeof(*maker));
	if (!maker)
		return wl_fail(err, ENOMEM, "no memory for the maker");
	*maker = (struct maker){ .crun = crun, .cgroups = cgroups, .scratch = scratch };
	(void)pthread_mutex_init(&maker->lock, NULL);
	(void)pthread_cond_init(&maker->orders.filled, NULL);
	(void)pthread_cond_init(&maker->removals.filled, NULL);
	maker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result = maker->event_fd < 0 ? errno : pthread_create(&maker->threads[0], NULL, cleaner_thread, maker);
	maker->thread_count = result == 0;
	for (int i = 0; result == 0 && i < threads && i < THREADS_MAX; i++) {
		result = pthread_create(&maker->threads[maker->thread_count], NULL, maker_thread, maker);
		maker->thread_count += result == 0;
	}
	if (result == 0) {
		*ret_maker = maker;
		return 0;
	}
	maker_close(maker);
	return wl_fail_errno(err, result, "cannot start the threads that make sandboxes");
}

int maker_fd(const struct maker *maker)
{
	return maker->event_fd;
}

static void drop_product(struct maker *maker, struct maker_product *product)
{
	if (product->err.code == 0) {
		(void)kill(product->child.pid, SIGKILL);
		(void)waitpid(product->child.pid, NULL, 0);
		crun_child_close(&product->child);
		crun_forget(maker->crun, product->name);
		cgroup_remove(maker->cgroups, product->name);
	}
	free(product);
}

void maker_close(struct maker *maker)
{
	(void)pthread_mutex_lock(&maker->lock);
	maker->ending = true;
	(void)pthread_cond_broadcast(&maker->orders.filled);
	(void)pthread_cond_broadcast(&maker->removals.filled);
	(void)pthread_mutex_unlock(&maker->lock);
	for (int i = 0; i < maker->thread_count; i++)
		(void)pthread_join(maker->threads[i], NULL);
	for (struct maker_product *job; (job = get(&maker->urgent)) || (job = get(&maker->orders));)
		free(job);
	for (struct maker_product *product; (product = maker_take(maker));)
		drop_product(maker, product);
	if (maker->event_fd >= 0)
		(void)close(maker->event_fd);
	(void)pthread_cond_destroy(&maker->orders.filled);
	(void)pthread_cond_destroy(&maker->removals.filled);
	(void)pthread_mutex_destroy(&maker->lock);
	free(maker);
}
