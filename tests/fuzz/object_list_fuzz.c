/* The list of an S3 server: what comes out are keys, and no more than may. */
#include "lib/store/object_store.h"
#include "tests/fuzz/fuzz.h"

static int object_list_key(void *context, const char *key)
{
	FUZZ_ASSERT(object_key_valid(key));
	(*(int *)context)++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct wl_error err = { 0 };
	int count = 0;
	int told = object_s3_list_read((const char *)bytes, length, object_list_key, &count, &err);
	FUZZ_ASSERT(told < 0 ? err.code != 0 : told == count && told <= OBJECT_LIST_MAX);
	return 0;
}
