#include "lib/store/object_store.h"

#include <errno.h>
#include <string.h>

int object_s3_list_read(const char *xml, size_t length, int (*each)(void *context, const char *key), void *context,
			struct wl_error *err)
{
	static const char open_tag[] = "<Key>", close_tag[] = "</Key>";
	const char *end = xml + length;
	int told = 0;
	if (!memmem(xml, length, "<ListBucketResult", strlen("<ListBucketResult")))
		return wl_fail(err, EPROTO, "the S3 server answered something else than a list");
	for (const char *at = xml; told < OBJECT_LIST_MAX;) {
		char key[OBJECT_KEY_MAX];
		const char *from = memmem(at, (size_t)(end - at), open_tag, strlen(open_tag));
		if (!from)
			break;
		from += strlen(open_tag);
		const char *to = memmem(from, (size_t)(end - from), close_tag, strlen(close_tag));
		if (!to)
			return wl_fail(err, EPROTO, "the S3 server's list is cut");
		at = to + strlen(close_tag);
		if ((size_t)(to - from) >= sizeof(key))
			continue;
		memcpy(key, from, (size_t)(to - from));
		key[to - from] = '\0';
		if (!object_key_valid(key))
			continue; /* an escaped one is not ours either */
		told++;
		int result = each(context, key);
		if (result != 0)
			return result < 0 ? result : told;
	}
	return told;
}
