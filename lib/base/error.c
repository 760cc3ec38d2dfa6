#include "lib/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int wl_fail(struct wl_error *err, int errnum, const char *fmt, ...)
{
	int code = errnum > 0 ? errnum : EIO;
	if (!err)
		return -code;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	err->code = code;
	return -code;
}

int wl_fail_errno(struct wl_error *err, int errnum, const char *fmt, ...)
{
	int code = errnum > 0 ? errnum : EIO;
	if (!err)
		return -code;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	err->code = code;
	size_t used = strlen(err->text);
	(void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(code));
	return -code;
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
