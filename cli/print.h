/* Printing for people and for programs. Text that came from outside never steers the terminal. */
#ifndef WL_CLI_PRINT_H
#define WL_CLI_PRINT_H

#include "cli/session.h"

#include <stdio.h>

/* Look at the terminal and at NO_COLOR (no-color.org). */
void cli_print_setup(struct cli *cli);

enum cli_colour { CLI_PLAIN, CLI_RED, CLI_GREEN, CLI_YELLOW, CLI_DIM };

/* Escape sequences that begin and end a colour; "" when `on` is false. */
const char *cli_colour(bool on, enum cli_colour colour);
const char *cli_colour_end(bool on);
/* The colour of an execution's or a node's status. */
enum cli_colour cli_status_colour(const char *status);

/* Text made safe, without a line end. */
void cli_print_text(FILE *out, const char *text, bool one_line);

/* One JSON value: on one line, or indented for people. -EIO when standard output is closed. */
int cli_print_json(const struct wl_json *json, bool pretty, struct wl_error *err);

/* Write a buffer to standard output. */
int cli_print_buffer(const struct wl_buffer *buffer, struct wl_error *err);

#define CLI_COLUMNS_MAX 8

/* A table of texts, columns as wide as their longest text. Row 0 is the heading. */
struct cli_rows {
	int columns;
	size_t count, capacity;
	char **cells; /* count times columns, owned */
	bool failed;
};

void cli_rows_release(struct cli_rows *rows);
#define _cli_rows_ __attribute__((cleanup(cli_rows_release)))
/* Add a row of `columns` texts; NULL reads as "". Control characters are made visible. */
void cli_rows_add(struct cli_rows *rows, const char *const *cells);
int cli_rows_print(const struct cli_rows *rows, struct wl_error *err);

#endif
