/* What an evaluating process gives up before it sees the first byte of a request. */
#ifndef SUPERVISOR_EVAL_SEAL_H
#define SUPERVISOR_EVAL_SEAL_H

#include "lib/base/error.h"

/* Keep only `keep_fd`, which becomes fd 3; 0, 1 and 2 become /dev/null. Returns 3 or -errno. */
int seal_descriptors(int keep_fd, struct wl_error *err);

/* Bounds: address space (what is mapped now plus memory_mb), open files, no files to write, no processes, no core. */
int seal_limits(long memory_mb, struct wl_error *err);

/* No new privileges, then the list of system calls that stay; any other one kills the process, and those that name
 * files fail, because the C library tries some (time zones) and goes on without. */
int seal_system_calls(struct wl_error *err);

#endif
