#include "supervisor/sandbox/seccomp_filter.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void release_filter(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static int errno_of(const char *word, struct wl_error *err)
{
	static const struct {
		const char *word;
		int number;
	} known[] = { { "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "EACCES", EACCES } };
	for (size_t i = 0; i < WL_COUNT_OF(known); i++)
		if (strcmp(word, known[i].word) == 0)
			return known[i].number;
	return wl_fail(err, EINVAL, "'%.32s' is not one of EPERM, ENOSYS, EACCES", word);
}

/* The number of a call; __NR_SCMP_ERROR when this libseccomp has never heard of it. */
static int call_number(const char *name, int *unknown)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		(*unknown)++;
	return number;
}

static int add_allowed(scmp_filter_ctx filter, const struct wl_json *groups, int *unknown, struct wl_error *err)
{
	for (const struct wl_json *group = wl_json_first(groups); group; group = wl_json_next(group)) {
		const struct wl_json *calls = wl_json_get(group, "calls");
		for (const struct wl_json *call = wl_json_first(calls); call; call = wl_json_next(call)) {
			const char *name = wl_json_string(call, "");
			int number = call_number(name, unknown);
			if (number == __NR_SCMP_ERROR)
				continue;
			int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
			if (result < 0)
				return wl_fail_errno(err, -result, "allow: call '%.40s' cannot be added", name);
		}
	}
	return 0;
}

static int add_condition(scmp_filter_ctx filter, const struct wl_json *row, int *unknown, struct wl_error *err)
{
	const char *name = wl_json_get_string(row, "call", "");
	double argument = wl_json_get_number(row, "argument", -1);
	double mask = wl_json_get_number(row, "mask", 0);
	double equals = wl_json_get_number(row, "equals", -1);
	if (argument < 0 || argument > 5 || mask < 0 || mask > UINT32_MAX || equals < 0 || equals > UINT32_MAX)
		return wl_fail(err, EINVAL, "conditions: call '%.40s' has no proper argument, mask or value", name);
	int number = call_number(name, unknown);
	if (number == __NR_SCMP_ERROR)
		return 0;
	/* the kernel reads these arguments as ints: without a mask the upper half could be set to slip by or to miss */
	struct scmp_arg_cmp compare = { .arg = (unsigned)argument,
					.op = SCMP_CMP_MASKED_EQ,
					.datum_a = mask > 0 ? (scmp_datum_t)mask : UINT32_MAX,
					.datum_b = (scmp_datum_t)equals };
	int result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &compare);
	return result < 0 ? wl_fail_errno(err, -result, "conditions: call '%.40s' cannot be added", name) : 0;
}

static int add_refused(scmp_filter_ctx filter, const struct wl_json *row, int *unknown, struct wl_error *err)
{
	const char *name = wl_json_get_string(row, "call", "");
	int errnum = errno_of(wl_json_get_string(row, "errno", ""), err);
	if (errnum < 0)
		return wl_fail_within(err, "errno of call '%.40s'", name);
	int number = call_number(name, unknown);
	if (number == __NR_SCMP_ERROR)
		return 0;
	int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)errnum), number, 0);
	return result < 0 ? wl_fail_errno(err, -result, "errno: call '%.40s' cannot be added", name) : 0;
}

static int export_program(scmp_filter_ctx filter, struct wl_buffer *program, struct wl_error *err)
{
	struct stat status;
	_wl_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return wl_fail_errno(err, errno, "cannot make a memory file");
	int result = seccomp_export_bpf(filter, fd);
	if (result < 0)
		return wl_fail_errno(err, -result, "cannot compile the list");
	if (fstat(fd, &status) < 0 || wl_buffer_reserve(program, (size_t)status.st_size) < 0)
		return wl_fail(err, ENOMEM, "no memory for the filter");
	ssize_t got = pread(fd, program->data + program->length, (size_t)status.st_size, 0);
	if (got != status.st_size)
		return wl_fail(err, EIO, "cannot read the compiled filter back");
	program->length += (size_t)got;
	return 0;
}

int seccomp_filter_compile(const struct wl_json *list, struct wl_buffer *program, int *ret_unknown,
			   struct wl_error *err)
{
	int unknown = 0;
	int refused = errno_of(wl_json_get_string(list, "default_errno", ""), err);
	if (refused < 0)
		return wl_fail_within(err, "default_errno");
	__attribute__((cleanup(release_filter))) scmp_filter_ctx filter =
		seccomp_init(SCMP_ACT_ERRNO((unsigned)refused));
	if (!filter)
		return wl_fail(err, ENOMEM, "no memory for the filter");
	/* as a binary tree: a call is looked up in about eight steps instead of up to three hundred */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (add_allowed(filter, wl_json_get(list, "allow"), &unknown, err) < 0)
		return -err->code;
	const struct wl_json *rows = wl_json_get(list, "conditions");
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row))
		if (add_condition(filter, row, &unknown, err) < 0)
			return -err->code;
	rows = wl_json_get(list, "errno");
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row))
		if (add_refused(filter, row, &unknown, err) < 0)
			return -err->code;
	int result = export_program(filter, program, err);
	if (result == 0)
		*ret_unknown = unknown;
	return result;
}
