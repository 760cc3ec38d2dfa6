/* Rows of CSV (RFC 4180) from JSON objects. */
#ifndef WL_CODEC_CSV_H
#define WL_CODEC_CSV_H

#include "lib/codec/json.h"

/* Append the heading: the columns' names; NULL ends them. Names need no quotes. */
void wl_csv_heading(struct wl_buffer *buffer, const char *const *columns);

/*
 * Append a row: the members of `object` by the columns' names. Absent and null are empty; texts as they are; other
 * values as JSON. A text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage
 * return) gets an apostrophe in front. buffer->failed tells whether memory sufficed.
 */
void wl_csv_row(struct wl_buffer *buffer, const struct wl_json *object, const char *const *columns);

#endif
