/*
 * What a crew, or an agent alone, remembers beyond its runs (MongoDB protocol, collection crew_memory), the texts that
 * it may look things up in, and their vectors. Calls block; thread-safe.
 */
#ifndef WL_PORTS_CREW_MEMORY_H
#define WL_PORTS_CREW_MEMORY_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WL_MEMORY_TEXT_MAX 8192	    /* bytes of one memory */
#define WL_MEMORY_KEPT 2000	    /* memories of one owner; the oldest go */
#define WL_VECTORS_MAX (2u << 20)   /* bytes of vectors that are kept under one key */
#define WL_VECTORS_KEPT 128	    /* keys of one tenant; the oldest go */
#define WL_KNOWLEDGE_MAX (2u << 20) /* bytes of one knowledge source */

/* What a memory counts for in a tenant's storage. */
static inline int64_t wl_memory_bytes(const char *text, size_t dimensions)
{
	return (int64_t)(strlen(text) + dimensions * sizeof(float)) + 256;
}

struct wl_crew_memory {
	void *self;
	/*
	 * The `count` memories of (tenant, owner) that are nearest to the vector by cosine, best first, as a JSON array
	 * of
	 * {"text","score"}; allocated. Those of another number of dimensions (another model's) are passed over.
	 * 0 or -errno.
	 */
	int (*recall)(void *self, int tenant, const char *owner, const float *vector, size_t dimensions, int count,
		      char **ret_json, struct wl_error *err);
	/* Keep one. `key` names it: the same key again changes nothing. *ret_grown: by how many bytes
	 * (wl_memory_bytes()) the owner's memories grew, below 0 when older ones went; set on failure too. 0 or -errno.
	 */
	int (*remember)(void *self, int tenant, const char *owner, const char *key, const char *text,
			const float *vector, size_t dimensions, int64_t *ret_grown, struct wl_error *err);
	/*
	 * Vectors of texts that were paid for once: `key` names texts and model. *ret_vectors is allocated. 0; -ENOENT;
	 * -errno.
	 */
	int (*vectors)(void *self, int tenant, const char *key, size_t count, float **ret_vectors,
		       size_t *ret_dimensions, struct wl_error *err);
	/* Keep such; those above WL_VECTORS_MAX are not. 0 or -errno. */
	int (*keep_vectors)(void *self, int tenant, const char *key, const float *vectors, size_t count,
			    size_t dimensions, struct wl_error *err);
	void (*close)(void *self);
};

struct wl_knowledge_source {
	void *self;
	/*
	 * The text of an artifact that whoever the execution is for may see, allocated. 0; -ENOENT: there is none;
	 * -EMSGSIZE: over WL_KNOWLEDGE_MAX; -EILSEQ: it is no text in UTF-8; others may pass.
	 */
	int (*text)(void *self, int tenant, const char *eid, const char *artifact_id, char **ret_text,
		    struct wl_error *err);
	void (*close)(void *self);
};

#endif
