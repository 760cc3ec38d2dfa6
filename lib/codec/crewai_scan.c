#include "lib/codec/crewai_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *crewai_refuse(struct crewai_scan *scan, const char *what)
{
	if (scan->err->code == 0)
		(void)wl_fail(scan->err, EINVAL, "%s at character %zu", what, scan->at + 1);
	return NULL;
}

char *crewai_made(struct crewai_scan *scan, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int length = vasprintf(&text, fmt, args);
	va_end(args);
	if (length < 0) {
		(void)wl_fail(scan->err, ENOMEM, "no memory for an expression");
		return NULL;
	}
	if (length > (int)CREWAI_SCAN_RESULT) {
		free(text);
		return crewai_refuse(scan, "the expression becomes too long");
	}
	return text;
}

char crewai_peek(struct crewai_scan *scan)
{
	while (scan->at < scan->length && isspace((unsigned char)scan->text[scan->at]))
		scan->at++;
	return scan->at < scan->length ? scan->text[scan->at] : '\0';
}

static bool is_of_name(char byte)
{
	return isalnum((unsigned char)byte) || byte == '_';
}

bool crewai_take(struct crewai_scan *scan, const char *token)
{
	size_t length = strlen(token);
	(void)crewai_peek(scan);
	if (scan->length - scan->at < length || strncmp(scan->text + scan->at, token, length) != 0)
		return false;
	if (is_of_name(token[0]) && is_of_name(scan->text[scan->at + length]))
		return false;
	scan->at += length;
	return true;
}

bool crewai_take_name(struct crewai_scan *scan, char name[64])
{
	size_t length = 0;
	char first = crewai_peek(scan);
	if (!isalpha((unsigned char)first) && first != '_')
		return false;
	while (scan->at < scan->length && length < 63 && is_of_name(scan->text[scan->at]))
		name[length++] = scan->text[scan->at++];
	name[length] = '\0';
	return true;
}
