/* A header in the first line, a body behind it: what nobody signed is refused, and what we sign is taken. */
#include "lib/secrets/hook_signature.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define HOOK_SIGNATURE_NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const char *const secrets[] = { "whsec_one", "whsec_two" };
	const uint8_t *newline = length ? memchr(bytes, '\n', length) : NULL;
	unsigned char first[WL_SHA256_BYTES], second[WL_SHA256_BYTES];
	char signature[WL_HOOK_SIGNATURE_TEXT];
	if (!newline || memchr(bytes, 0, (size_t)(newline - bytes)))
		return 0;
	char *header = strndup((const char *)bytes, (size_t)(newline - bytes));
	const uint8_t *body = newline + 1;
	size_t rest = (size_t)(bytes + length - body);
	if (!header)
		return 0;
	FUZZ_ASSERT(wl_hook_verify(header, secrets, 2, HOOK_SIGNATURE_NOW, body, rest, first, NULL) < 0);
	wl_hook_sign(secrets, 2, HOOK_SIGNATURE_NOW, body, rest, signature);
	FUZZ_ASSERT(wl_hook_verify(signature, &secrets[0], 1, HOOK_SIGNATURE_NOW + 300, body, rest, first, NULL) == 0);
	FUZZ_ASSERT(wl_hook_verify(signature, &secrets[1], 1, HOOK_SIGNATURE_NOW, body, rest, second, NULL) == 0);
	FUZZ_ASSERT(memcmp(first, second, sizeof(first)) == 0);
	FUZZ_ASSERT(wl_hook_verify(signature, secrets, 2, HOOK_SIGNATURE_NOW + 301, body, rest, first, NULL) < 0);
	free(header);
	return 0;
}
