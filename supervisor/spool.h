/*
 * Node results that the document server could not take, on the disk of this host: an append-only file of records
 * "magic, length, CRC-32, payload", forced to the disk before anybody relies on it. A file belongs to the process that
 * holds its lock; one that nobody holds was left by a process that died, and is brought in by the next one.
 */
#ifndef WL_SUPERVISOR_SPOOL_H
#define WL_SUPERVISOR_SPOOL_H

#include "lib/base/error.h"
#include "lib/ports/node_results.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_MAX (256u << 20) /* bytes of one file */

struct spool {
	int fd; /* -1: not open */
	char path[512];
	size_t used, most; /* bytes */
};

/* Make a new file in `folder` (which is made if need be), named after this supervisor. */
int spool_open(const char *folder, const char *supervisor, size_t most, struct spool *ret_spool, struct wl_error *err);
/* Close it, and remove it when nothing is left in it. */
void spool_close(struct spool *spool);

/* Put results behind the others and force them to the disk. -ENOSPC when the file would be too large: nothing is
 * written. */
int spool_append(struct spool *spool, const struct wl_node_result *const *results, int count, struct wl_error *err);
/* Everything in it is stored elsewhere. */
int spool_clear(struct spool *spool, struct wl_error *err);
/*
 * Read the record at *offset and move on. 1 and *ret_result, which the caller releases; 0 at the end, which a record
 * that was cut off or damaged is as well; -errno.
 */
int spool_read(const struct spool *spool, size_t *offset, struct wl_node_result *ret_result, struct wl_error *err);

/* Take over one file in `folder` that a dead process left. 1 and *ret_spool, 0 when there is none, -errno. */
int spool_adopt(const char *folder, struct spool *ret_spool, struct wl_error *err);

#endif
