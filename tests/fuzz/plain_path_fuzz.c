/* A path program in the first line, a context behind it: whatever both are, what is found lies inside them. */
#include "supervisor/eval/plain_path.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const char *program = (const char *)bytes;
	const char *newline = length ? memchr(program, '\n', length) : NULL;
	struct text_slice value, rest;
	if (!newline)
		return 0;
	const char *context = newline + 1, *end = program + length;
	if (!plain_path_value(program, (size_t)(newline - program), context, (size_t)(end - context), &value, &rest))
		return 0;
	FUZZ_ASSERT(!value.start || (value.start >= context && value.start + value.length <= end));
	FUZZ_ASSERT(!rest.start || (rest.start > program && rest.start + rest.length <= newline));
	return 0;
}
