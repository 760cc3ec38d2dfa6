/* Reading and writing of whole files, and passwords. */
#ifndef WL_CLI_FILES_H
#define WL_CLI_FILES_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>

#define CLI_PASSWORD_MAX 201 /* with the NUL; the API takes 200 bytes */

/* Append a file ("-": standard input) to `into`, whose limit counts. -errno of open and read; -EISDIR; -EMSGSIZE. */
int cli_file_read(const char *path, struct wl_buffer *into, struct wl_error *err);

/* Write a file that only its owner may read: beside, synced, renamed. */
int cli_file_write_secret(const char *path, const char *bytes, size_t length, struct wl_error *err);

/*
 * A password: the first line of `file` when it is given, else WINDLASS_PASSWORD, else asked for on the terminal
 * without echo (`twice`: and again). -EINVAL when there is no way to get one or the two differ; -EINTR on Ctrl-C.
 */
int cli_password(const char *file, bool twice, char password[CLI_PASSWORD_MAX], struct wl_error *err);

#endif
