/*
 * PostgreSQL says where an artifact's bytes lie, and whether whoever the run is for may see it
 * (control.artifact_for_run()); the object store gives them. What is no text is refused: a model would be shown noise.
 */
#include "supervisor/knowledge.h"

#include "lib/base/cleanup.h"
#include "lib/base/ids.h"
#include "lib/codec/json.h"
#include "lib/model/file_name.h"
#include "lib/store/object_store.h"
#include "lib/store/postgres_session.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct knowledge {
	struct object_store store;
	pthread_mutex_t lock; /* of the session */
	struct wl_postgres_session postgres;
};

/* {"key","name","size"}; -ENOENT: no such artifact for this run. */
static int find(struct knowledge *knowledge, int tenant, const char *eid, const char *artifact_id,
		struct wl_json **ret_found, struct wl_error *err)
{
	char request[128];
	_wl_free_ char *text = NULL;
	if (!wl_uuid_valid(artifact_id))
		return wl_fail(err, ENOENT, "there is no artifact %.36s", artifact_id);
	(void)snprintf(request, sizeof(request), "{\"tenant\":%d,\"eid\":\"%.36s\",\"artifact\":\"%.36s\"}", tenant,
		       eid, artifact_id);
	(void)pthread_mutex_lock(&knowledge->lock);
	int result = wl_postgres_call(&knowledge->postgres, "control.artifact_for_run", request, &text, err);
	(void)pthread_mutex_unlock(&knowledge->lock);
	if (result == 0 && !text)
		return wl_fail(err, ENOENT, "there is no artifact %.36s, or this run may not see it", artifact_id);
	return result < 0 ? result : wl_json_parse(text, strlen(text), ret_found, err);
}

static int read_text(const struct knowledge *knowledge, const struct wl_json *found, char **ret_text,
		     struct wl_error *err)
{
	const char *name = wl_json_get_string(found, "name", "");
	double bytes = wl_json_get_number(found, "size", 0);
	if (bytes > WL_KNOWLEDGE_MAX)
		return wl_fail(err, EMSGSIZE, "%.255s has %.1f MiB, knowledge at most %u", name, bytes / 1048576,
			       WL_KNOWLEDGE_MAX >> 20);
	size_t size = (size_t)bytes;
	_wl_free_ char *text = malloc(size + 1);
	if (!text)
		return wl_fail(err, EAGAIN, "no memory for knowledge");
	text[size] = '\0';
	int result = size > 0 ? knowledge->store.read(knowledge->store.self, wl_json_get_string(found, "key", ""), 0,
						      text, size, err)
			      : 0;
	if (result < 0)
		return result;
	if (!wl_text_is_plain(text, size))
		return wl_fail(err, EILSEQ, "%.255s is no text in UTF-8", name);
	*ret_text = wl_steal(text);
	return 0;
}

static int give_text(void *self, int tenant, const char *eid, const char *artifact_id, char **ret_text,
		     struct wl_error *err)
{
	struct knowledge *knowledge = self;
	_wl_json_ struct wl_json *found = NULL;
	if (!knowledge->store.self)
		return wl_fail(err, ENOENT, "there is no object store: set WINDLASS_OBJECTS_DIR or WINDLASS_S3_URL");
	int result = find(knowledge, tenant, eid, artifact_id, &found, err);
	return result < 0 ? result : read_text(knowledge, found, ret_text, err);
}

static void close_knowledge(void *self)
{
	struct knowledge *knowledge = self;
	if (knowledge->store.close)
		knowledge->store.close(knowledge->store.self);
	wl_postgres_session_release(&knowledge->postgres);
	(void)pthread_mutex_destroy(&knowledge->lock);
	free(knowledge);
}

int knowledge_open(const struct wl_settings *settings, struct wl_knowledge_source *ret_source, struct wl_error *err)
{
	struct knowledge *knowledge = calloc(1, sizeof(*knowledge));
	if (!knowledge)
		return wl_fail(err, ENOMEM, "no memory for knowledge");
	(void)pthread_mutex_init(&knowledge->lock, NULL);
	int result = 0;
	if (*settings->objects_dir || *settings->s3_url)
		result = object_store_open(settings->objects_dir, settings->s3_url, &knowledge->store, err);
	if (result == 0)
		result = wl_postgres_session_init(&knowledge->postgres, settings->postgres_url, NULL, err);
	if (result < 0) {
		close_knowledge(knowledge);
		return result;
	}
	*ret_source = (struct wl_knowledge_source){ .self = knowledge, .text = give_text, .close = close_knowledge };
	return 0;
}
