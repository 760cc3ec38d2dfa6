#include "cli/print.h"

#include "cli/core/text.h"
#include "lib/base/cleanup.h"
#include "lib/model/states.h"

#include <errno.h>
#include <string.h>

static const char *const colour_codes[] = {
	[CLI_PLAIN] = "",	   [CLI_RED] = "\033[31m", [CLI_GREEN] = "\033[32m",
	[CLI_YELLOW] = "\033[33m", [CLI_DIM] = "\033[2m",
};

void cli_print_setup(struct cli *cli)
{
	const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM");
	bool wanted = !(no_colour && *no_colour) && !(kind && strcmp(kind, "dumb") == 0);
	cli->colour_out = wanted && isatty(STDOUT_FILENO);
	cli->colour_err = wanted && isatty(STDERR_FILENO);
}

const char *cli_colour(bool on, enum cli_colour colour)
{
	return on ? colour_codes[colour] : "";
}

const char *cli_colour_end(bool on)
{
	return on ? "\033[0m" : "";
}

enum cli_colour cli_status_colour(const char *status)
{
	switch (wl_node_state_of(status)) {
	case WL_NODE_SUCCEEDED:
		return CLI_GREEN;
	case WL_NODE_FAILED:
		return CLI_RED;
	case WL_NODE_CANCELLED:
		return CLI_YELLOW;
	case WL_NODE_SKIPPED:
	case WL_NODE_PENDING:
		return CLI_DIM;
	default:
		return wl_run_state_of(status) == WL_RUN_TIMEOUT ? CLI_RED : CLI_PLAIN;
	}
}

void cli_print_text(FILE *out, const char *text, bool one_line)
{
	_wl_buffer_ struct wl_buffer safe;
	wl_buffer_init(&safe, 0);
	cli_text_append_safe(&safe, text, strlen(text), one_line);
	if (safe.length)
		(void)fwrite(safe.data, 1, safe.length, out);
}

int cli_print_buffer(const struct wl_buffer *buffer, struct wl_error *err)
{
	if (buffer->failed)
		return wl_fail(err, buffer->failed, "no memory for the output");
	if (buffer->length && fwrite(buffer->data, 1, buffer->length, stdout) != buffer->length)
		return wl_fail(err, EIO, "standard output is closed");
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

int cli_print_json(const struct wl_json *json, bool pretty, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	if (pretty)
		cli_json_pretty(&text, json);
	else
		(void)wl_json_write(&text, json);
	(void)wl_buffer_append_char(&text, '\n');
	return cli_print_buffer(&text, err);
}

void cli_rows_release(struct cli_rows *rows)
{
	for (size_t i = 0; i < rows->count * (size_t)rows->columns; i++)
		free(rows->cells[i]);
	free(rows->cells);
}

static bool rows_grow(struct cli_rows *rows)
{
	if (rows->count < rows->capacity)
		return true;
	size_t capacity = rows->capacity ? rows->capacity * 2 : 32;
	char **cells = reallocarray(rows->cells, capacity * (size_t)rows->columns, sizeof(*cells));
	if (!cells)
		return false;
	rows->cells = cells;
	rows->capacity = capacity;
	return true;
}

void cli_rows_add(struct cli_rows *rows, const char *const *cells)
{
	if (rows->failed || !rows_grow(rows)) {
		rows->failed = true;
		return;
	}
	char **row = rows->cells + rows->count++ * (size_t)rows->columns;
	for (int column = 0; column < rows->columns; column++) {
		_wl_buffer_ struct wl_buffer safe;
		wl_buffer_init(&safe, 0);
		const char *text = cells[column] ? cells[column] : "";
		(void)wl_buffer_append(&safe, "", 0);
		cli_text_append_safe(&safe, text, strlen(text), true);
		rows->failed |= safe.failed != 0;
		row[column] = wl_buffer_steal(&safe);
	}
}

int cli_rows_print(const struct cli_rows *rows, struct wl_error *err)
{
	if (rows->failed)
		return wl_fail(err, ENOMEM, "no memory for the output");
	size_t width[CLI_COLUMNS_MAX] = { 0 };
	for (size_t i = 0; i < rows->count * (size_t)rows->columns; i++) {
		size_t columns = cli_text_columns(rows->cells[i]), at = i % (size_t)rows->columns;
		width[at] = columns > width[at] ? columns : width[at];
	}
	_wl_buffer_ struct wl_buffer out;
	wl_buffer_init(&out, 0);
	for (size_t i = 0; i < rows->count * (size_t)rows->columns; i++) {
		size_t at = i % (size_t)rows->columns;
		bool last = at + 1 == (size_t)rows->columns;
		(void)wl_buffer_append_text(&out, rows->cells[i]);
		size_t gap = last ? 0 : width[at] - cli_text_columns(rows->cells[i]) + 2;
		(void)wl_buffer_appendf(&out, "%*s%s", (int)gap, "", last ? "\n" : "");
	}
	return cli_print_buffer(&out, err);
}
