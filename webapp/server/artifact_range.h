/* The parts of HTTP that a download needs: ranges, conditions, and a file's name in a header. Pure. */
#ifndef WL_WEBAPP_ARTIFACT_RANGE_H
#define WL_WEBAPP_ARTIFACT_RANGE_H

#include "lib/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum web_range { WEB_RANGE_WHOLE, WEB_RANGE_PART, WEB_RANGE_OUTSIDE };

/*
 * Read a Range header (RFC 9110 §14.2) for a body of `size` bytes; NULL: none. PART fills *ret_first and *ret_last
 * (both included). What is not one range of bytes, also a list of several, is ignored as the RFC allows: WHOLE.
 */
enum web_range web_range_read(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

/* Whether an If-None-Match header (RFC 9110 §13.1.2) names `etag`, which has no quotes; NULL: it does not. */
bool web_etag_listed(const char *header, const char *etag);

/*
 * Append the value of a Content-Disposition header (RFC 6266) that makes a browser save the file under the last part of
 * `name`, whatever that part holds: a plain form in which all but a few letters are "_", and the name itself, encoded.
 */
void web_disposition_append(struct wl_buffer *value, const char *name);

#endif
