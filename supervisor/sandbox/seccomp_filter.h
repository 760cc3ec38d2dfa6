/* System call filters: from an allow-list in policies/seccomp to the kernel's filter program (seccomp(2), BPF). */
#ifndef WL_SANDBOX_SECCOMP_FILTER_H
#define WL_SANDBOX_SECCOMP_FILTER_H

#include "lib/base/buffer.h"
#include "lib/codec/json.h"

/*
 * Compile `list` (list.schema.json) for this machine and append the program, an array of struct sock_filter, to
 * `program`. A call of the list that libseccomp does not know stays forbidden; *ret_unknown counts those.
 * Fails with -EINVAL and a sentence naming the field; -ENOMEM; what libseccomp returned.
 */
int seccomp_filter_compile(const struct wl_json *list, struct wl_buffer *program, int *ret_unknown,
			   struct wl_error *err);

#endif
