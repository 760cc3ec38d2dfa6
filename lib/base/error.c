#include "lib/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Never report success by accident: what is no errno becomes EIO. */
static int fill(struct wl_error *err, int errnum, const char *fmt, va_list args)
{
	int code = errnum > 0 ? errnum : EIO;
	if (err) {
		(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
		err->code = code;
	}
	return -code;
}

int wl_fail(struct wl_error *err, int errnum, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int result = fill(err, errnum, fmt, args);
	va_end(args);
	return result;
}

int wl_fail_errno(struct wl_error *err, int errnum, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int result = fill(err, errnum, fmt, args);
	va_end(args);
	if (err) {
		size_t used = strlen(err->text);
		(void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-result));
	}
	return result;
}

int wl_fail_within(struct wl_error *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	char inner[WL_ERROR_TEXT];
	memcpy(inner, err->text, sizeof(inner));
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	size_t used = strlen(err->text);
	(void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", inner);
	if (err->code <= 0)
		err->code = EIO;
	return -err->code;
}
