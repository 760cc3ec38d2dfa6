/* Names of files that come from outside, what they tell of the content, and whether that is text. */
#ifndef WL_MODEL_FILE_NAME_H
#define WL_MODEL_FILE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define WL_FILE_NAME_MAX 256 /* bytes with the terminator */
#define WL_FILE_NAME_PARTS 8 /* folders and file */

/*
 * Whether `name` (`length` bytes) may name a file: 1 to 255 bytes of UTF-8 (RFC 3629) without control characters,
 * backslashes or an invisible change of direction (Unicode TR 36), up to WL_FILE_NAME_PARTS parts, none of them empty,
 * "." or "..".
 */
bool wl_file_name_valid(const char *name, size_t length);

/* Whether bytes are text for people: UTF-8 (RFC 3629) without control characters but tab, line and page ends. */
bool wl_text_is_plain(const char *text, size_t length);

/* The media type that goes with a file's name, by its ending; application/octet-stream when that tells nothing. */
const char *wl_media_type(const char *name);

#endif
