/*
 * Log lines of the programs: one JSON object a line on standard error.
 * Libraries do not log; a program logs a failure once, where it decides what to do about it.
 */
#ifndef WL_BASE_LOG_H
#define WL_BASE_LOG_H

#include "lib/base/error.h"

enum wl_log_level { WL_LOG_ERROR, WL_LOG_WARNING, WL_LOG_NOTICE, WL_LOG_INFO, WL_LOG_DEBUG };

/* Name the program in each line and set what is shown. `level` from WINDLASS_LOG_LEVEL, default notice. */
void wl_log_open(const char *program, enum wl_log_level level);

/* "error", "warning", "notice", "info", "debug" to a level; -1 for another word. */
int wl_log_level_of(const char *word);

/* One line. fmt: a sentence; no secrets, no user input that was not bounded. */
void wl_log(enum wl_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line about an execution: its tenant and id become fields. */
void wl_log_run(enum wl_log_level level, int tenant, const char *execution, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
