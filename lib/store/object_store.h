/* Opens the object store that the settings name: the port is lib/ports/object_store.h. */
#ifndef WL_STORE_OBJECT_STORE_H
#define WL_STORE_OBJECT_STORE_H

#include "lib/ports/object_store.h"

/*
 * A bucket when `s3_url` is not empty, else the folder `objects_dir`, which is made. Nothing is asked of an S3 server
 * yet. 0; -ENOENT when both are empty; -EINVAL for a URL that is none (the sentence does not repeat it: it holds a
 * secret); -errno of the folder. The caller ends it with ret_store->close(ret_store->self).
 */
int object_store_open(const char *objects_dir, const char *s3_url, struct object_store *ret_store,
		      struct wl_error *err);

/* The two kinds. */
int object_folder_open(const char *path, struct object_store *ret_store, struct wl_error *err);
/* s3://ACCESS:SECRET@host:port/bucket?region=NAME&tls=0; access and secret with %-escapes; region and tls may be left
 * out: us-east-1 and 1. Requests name the bucket in the path. */
int object_s3_open(const char *url, struct object_store *ret_store, struct wl_error *err);

/*
 * The keys in an S3 server's answer to a list (ListObjectsV2), which is XML; what is not a key of ours is passed over.
 * `each` returns 0 to go on. How many were told, or -EPROTO when it is not such an answer.
 */
int object_s3_list_read(const char *xml, size_t length, int (*each)(void *context, const char *key), void *context,
			struct wl_error *err);

#endif
