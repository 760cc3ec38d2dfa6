/* Any expression: understood or refused with a reason; what is understood goes to CEL and back to the same jq. */
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_cel.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *any_output(void *self, const char *name, bool *ret_model)
{
	(void)self;
	*ret_model = name[0] == 'm';
	return name;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const struct crewai_names names = { .find = any_output, .state = ".inputs", .item = true };
	struct wl_error err = { 0 };
	_wl_free_ char *jq = NULL, *cel = NULL, *again = NULL, *back = NULL;
	if (crewai_jq_to_cel((const char *)bytes, length, &names, &back, &err) < 0)
		FUZZ_ASSERT(err.text[0] && !back);
	memset(&err, 0, sizeof(err));
	if (crewai_cel_to_jq((const char *)bytes, length, &names, &jq, &err) < 0) {
		FUZZ_ASSERT(err.code == EINVAL && err.text[0] && !jq);
		return 0;
	}
	/* some jq has no way back (bounds, a name that is a word of jq's): refused, never changed */
	if (crewai_jq_to_cel(jq, strlen(jq), &names, &cel, &err) == 0 &&
	    crewai_cel_to_jq(cel, strlen(cel), &names, &again, &err) == 0)
		FUZZ_ASSERT(strlen(again) > 0);
	return 0;
}
