#include "lib/base/log.h"

#include "lib/base/buffer.h"
#include "lib/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warning", "notice", "info", "debug" };
static char program_name[64] = "windlass";
static enum wl_log_level shown = WL_LOG_NOTICE;

void wl_log_open(const char *program, enum wl_log_level level)
{
	(void)snprintf(program_name, sizeof(program_name), "%s", program);
	shown = level;
}

int wl_log_level_of(const char *word)
{
	for (int i = 0; i < (int)(sizeof(level_names) / sizeof(level_names[0])); i++)
		if (strcmp(word, level_names[i]) == 0)
			return i;
	return -1;
}

static void write_line(enum wl_log_level level, int tenant, const char *execution, const char *fmt, va_list args)
{
	char text[1024];
	char stamp[WL_RFC3339_SIZE];
	(void)vsnprintf(text, sizeof(text), fmt, args);
	_wl_buffer_ struct wl_buffer line;
	wl_buffer_init(&line, 0);
	(void)wl_buffer_appendf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"pid\":%d",
				wl_rfc3339(wl_clock_wall_ms(), stamp), level_names[level], program_name, (int)getpid());
	if (execution)
		(void)wl_buffer_appendf(&line, ",\"tenant\":%d,\"execution\":\"%s\"", tenant, execution);
	(void)wl_buffer_append_text(&line, ",\"text\":");
	(void)wl_buffer_append_json_string(&line, text, strlen(text));
	(void)wl_buffer_append_text(&line, "}\n");
	/* one write a line: lines of several threads and processes do not mix */
	if (!line.failed && write(STDERR_FILENO, line.data, line.length) < 0)
		return;
}

void wl_log(enum wl_log_level level, const char *fmt, ...)
{
	if (level > shown)
		return;
	va_list args;
	va_start(args, fmt);
	write_line(level, 0, NULL, fmt, args);
	va_end(args);
}

void wl_log_run(enum wl_log_level level, int tenant, const char *execution, const char *fmt, ...)
{
	if (level > shown)
		return;
	va_list args;
	va_start(args, fmt);
	write_line(level, tenant, execution, fmt, args);
	va_end(args);
}
