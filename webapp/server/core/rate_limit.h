/*
 * How often something may happen for each of many keys: a bucket of one minute's tokens a key, as the generic cell
 * rate algorithm keeps it (ITU-T I.371 Annex A, virtual scheduling). A bounded table; when it is full the key that was
 * not used for longest makes room: its bucket was the fullest. Pure: the time comes in.
 */
#ifndef WL_WEBAPP_CORE_RATE_LIMIT_H
#define WL_WEBAPP_CORE_RATE_LIMIT_H

#include <stdint.h>

#define WEB_RATE_KEY 32 /* bytes of a digest: evenly spread */

struct web_rate_limit;

/* Room for `capacity` keys, at least 1; each may take `per_minute` at once and per minute, 0: without limit. NULL
 * without memory. */
struct web_rate_limit *web_rate_limit_new(int capacity, long per_minute);
void web_rate_limit_free(struct web_rate_limit *limit);

/* Take one of a key's tokens at now_ms, which never goes back. 0, or the milliseconds until there is one: then nothing
 * was taken. */
int64_t web_rate_limit_take(struct web_rate_limit *limit, const unsigned char key[WEB_RATE_KEY], int64_t now_ms);

/* The same without taking one: 0, or the milliseconds until there is one. */
int64_t web_rate_limit_look(const struct web_rate_limit *limit, const unsigned char key[WEB_RATE_KEY], int64_t now_ms);

#endif
