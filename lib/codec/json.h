/*
 * JSON values (RFC 8259). The one door to the JSON library: every other folder uses these functions.
 * Parsing is strict: UTF-8 only, one value, no trailing text, depth at most WL_JSON_DEPTH, no NUL in strings, and
 * an object that has a key twice is refused.
 */
#ifndef WL_CODEC_JSON_H
#define WL_CODEC_JSON_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define WL_JSON_DEPTH 64

struct wl_json; /* a value; an object or array owns its members */

enum wl_json_type { WL_JSON_NULL, WL_JSON_BOOL, WL_JSON_NUMBER, WL_JSON_STRING, WL_JSON_ARRAY, WL_JSON_OBJECT };

/*
 * Parse `length` bytes. 0 and *ret_json for the caller to free; -EINVAL with line and column; -ENOMEM.
 * A number that has more digits than a double keeps is carried as the text it came as: writing and copying give it back
 * unchanged, wl_json_number() gives the nearest double. Numbers beyond a double's range are refused.
 */
int wl_json_parse(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err);
/* The same with another bound on the depth: for texts of ours that wrap values which came in with the usual one. */
int wl_json_parse_deep(const char *text, size_t length, int depth, struct wl_json **ret_json, struct wl_error *err);
void wl_json_free(struct wl_json *json);
/* A deep copy, or NULL without memory. */
struct wl_json *wl_json_copy(const struct wl_json *json);

/* Reading; `json` may be NULL and then reads as absent. Returned values and texts belong to their parent. */
enum wl_json_type wl_json_type(const struct wl_json *json);
bool wl_json_is(const struct wl_json *json, enum wl_json_type type); /* false for NULL */
const struct wl_json *wl_json_get(const struct wl_json *object, const char *key);
const struct wl_json *wl_json_at(const struct wl_json *array, size_t index);
size_t wl_json_count(const struct wl_json *container);
const struct wl_json *wl_json_first(const struct wl_json *container);
const struct wl_json *wl_json_next(const struct wl_json *member);
const char *wl_json_key(const struct wl_json *member);
const char *wl_json_string(const struct wl_json *json, const char *otherwise);
double wl_json_number(const struct wl_json *json, double otherwise);
bool wl_json_bool(const struct wl_json *json, bool otherwise);
const char *wl_json_get_string(const struct wl_json *object, const char *key, const char *otherwise);
double wl_json_get_number(const struct wl_json *object, const char *key, double otherwise);
bool wl_json_get_bool(const struct wl_json *object, const char *key, bool otherwise);
bool wl_json_equal(const struct wl_json *a, const struct wl_json *b);

/* Whether bytes are text that a string may hold as it is: UTF-8 without NUL. */
bool wl_json_is_text(const char *bytes, size_t length);

/* Making; NULL without memory. Bytes of `text` that are not UTF-8 become U+FFFD. */
struct wl_json *wl_json_object(void);
struct wl_json *wl_json_array(void);
struct wl_json *wl_json_new_string(const char *text);
struct wl_json *wl_json_new_number(double number);
struct wl_json *wl_json_new_bool(bool value);
struct wl_json *wl_json_new_null(void);
/* Put `child` into the container (in place of a member of that key), which owns it from now on, also when this fails. 0
 * or -ENOMEM (child NULL too). */
int wl_json_set(struct wl_json *object, const char *key, struct wl_json *child);
int wl_json_append(struct wl_json *array, struct wl_json *child);
int wl_json_set_string(struct wl_json *object, const char *key, const char *text); /* NULL text: null */
int wl_json_set_number(struct wl_json *object, const char *key, double number);
int wl_json_set_bool(struct wl_json *object, const char *key, bool value);
/* Put JSON text in without parsing it again: the caller vouches that it is valid. */
int wl_json_set_raw(struct wl_json *object, const char *key, const char *json_text);

/* Compact text. 0 or -ENOMEM / -EMSGSIZE of the buffer. */
int wl_json_write(struct wl_buffer *buffer, const struct wl_json *json);
/* The same with the members of each object in the order of their keys' bytes: equal values give equal texts. */
int wl_json_write_sorted(struct wl_buffer *buffer, const struct wl_json *json);
/* On many lines for people and version control: two columns a level, a line end at the end. `buffer->failed` tells. */
void wl_json_write_lines(struct wl_buffer *buffer, const struct wl_json *json);
/* As wl_json_write() into memory of its own; NULL without memory. */
char *wl_json_print(const struct wl_json *json);

static inline void wl_json_cleanup(struct wl_json **json)
{
	wl_json_free(*json);
}
#define _wl_json_ __attribute__((cleanup(wl_json_cleanup)))

#endif
