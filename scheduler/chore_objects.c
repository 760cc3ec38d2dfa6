/* Empty the trash of objects: remove each from the object store, then from the list. */
#include "lib/base/cleanup.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define KEYS_AT_ONCE 100

/* Remove until one fails; those that were removed go into `done`. */
static int remove_objects(const struct object_store *store, const struct wl_json *keys, struct wl_json *done,
			  struct wl_error *err)
{
	for (const struct wl_json *key = wl_json_first(keys); key; key = wl_json_next(key)) {
		const char *name = wl_json_string(key, "");
		if (store->remove(store->self, name, err) < 0)
			return -err->code;
		if (wl_json_append(done, wl_json_new_string(name)) < 0)
			return wl_fail(err, ENOMEM, "no memory to remove objects");
	}
	return 0;
}

static int tell_done(struct chore_desk *desk, struct wl_json *consumed, struct wl_error *err)
{
	_wl_json_ struct wl_json *request = wl_json_object();
	_wl_free_ char *nothing = NULL;
	int rc = wl_json_set(request, "keys", consumed);
	_wl_free_ char *text = rc == 0 ? wl_json_print(request) : NULL;
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to remove objects");
	return wl_postgres_call(&desk->postgres, "control.object_trash_done", text, &nothing, err);
}

int chore_objects(struct chore_desk *desk, struct wl_error *err)
{
	const struct wl_settings *settings = desk->scheduler->settings;
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *keys = NULL;
	struct object_store *store;
	struct wl_error told = { 0 };
	char request[32];
	if (!*settings->objects_dir && !*settings->s3_url)
		return 0; /* nothing can have been stored */
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", KEYS_AT_ONCE);
	int r = chore_object_store(desk, &store, err);
	if (r == 0)
		r = wl_postgres_call(&desk->postgres, "control.object_trash_take", request, &text, err);
	if (r == 0 && text)
		r = wl_json_parse(text, strlen(text), &keys, err);
	if (r < 0 || wl_json_count(keys) == 0)
		return r;
	struct wl_json *done = wl_json_array();
	r = done ? remove_objects(store, keys, done, err) : wl_fail(err, ENOMEM, "no memory to remove objects");
	int removed = (int)wl_json_count(done);
	/* also after a failure: what is gone is gone */
	int noted = done ? tell_done(desk, done, &told) : 0;
	if (r == 0 && noted < 0)
		return wl_fail(err, told.code, "%s", told.text);
	return r < 0 ? r : removed;
}
