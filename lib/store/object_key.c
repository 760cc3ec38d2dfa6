#include "lib/ports/object_store.h"

#include <string.h>

static bool is_key_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '.';
}

bool object_key_valid(const char *key)
{
	size_t length = strnlen(key, OBJECT_KEY_MAX);
	if (length == 0 || length == OBJECT_KEY_MAX)
		return false;
	for (size_t i = 0; i <= length; i++) {
		bool part_begins = i == 0 || key[i - 1] == '/';
		if (part_begins && (key[i] == '/' || key[i] == '\0' || key[i] == '.'))
			return false;
		if (i < length && key[i] != '/' && !is_key_letter(key[i]))
			return false;
	}
	return true;
}
