/* The parts of a text lie in it, in order, and the scanner of references ends. */
#include "lib/codec/expression_text.h"
#include "tests/fuzz/fuzz.h"

struct bounds {
	const char *from, *to;
};

static void in_bounds(void *self, const char *name, size_t length)
{
	const struct bounds *bounds = self;
	FUZZ_ASSERT(name >= bounds->from && name + length <= bounds->to);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const char *text = (const char *)bytes;
	struct bounds bounds = { text, text + length };
	size_t at = 0;
	for (;;) {
		size_t before = at;
		struct wl_text_part part = wl_text_next(text, length, &at);
		if (part.kind == WL_TEXT_END)
			break;
		FUZZ_ASSERT(at > before && at <= length);
		FUZZ_ASSERT(part.start >= text + before && part.start + part.length <= text + at);
		if (part.kind == WL_TEXT_EXPRESSION)
			wl_text_node_references(part.start, part.length, in_bounds, &bounds);
	}
	if (length > 0)
		wl_text_node_references(text, length, in_bounds, &bounds);
	return 0;
}
