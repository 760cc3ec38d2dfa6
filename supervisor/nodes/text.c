#include "supervisor/nodes/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

size_t text_utf8_length(const unsigned char *bytes, size_t length)
{
	if (length == 0 || bytes[0] == 0)
		return 0;
	if (bytes[0] < 0x80)
		return 1;
	size_t need = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || need > length)
		return 0;
	uint32_t point = bytes[0] & (0xffU >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (bytes[i] & 0x3fU);
	}
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	bool surrogate = point >= 0xd800 && point <= 0xdfff;
	return point < least[need] || surrogate || point > 0x10ffff ? 0 : need;
}

int text_append_json(struct wl_buffer *buffer, const char *bytes, size_t length)
{
	const unsigned char *at = (const unsigned char *)bytes;
	size_t good = 0;
	while (good < length) {
		size_t step = text_utf8_length(at + good, length - good);
		if (step == 0)
			break;
		good += step;
	}
	if (good == length)
		return wl_buffer_append_json_string(buffer, bytes, length);
	_wl_buffer_ struct wl_buffer clean;
	wl_buffer_init(&clean, 0);
	for (size_t i = 0; i < length;) {
		size_t step = text_utf8_length(at + i, length - i);
		if (step)
			(void)wl_buffer_append(&clean, bytes + i, step);
		else
			(void)wl_buffer_append_text(&clean, "\xef\xbf\xbd");
		i += step ? step : 1;
	}
	int result = clean.failed ? -clean.failed : wl_buffer_append_json_string(buffer, clean.data, clean.length);
	return result;
}

void text_compact_json(char *json)
{
	bool inside = false;
	char *to = json;
	for (const char *from = json; *from; from++) {
		if (!inside && strchr(" \t\r\n", *from))
			continue;
		if (*from == '"')
			inside = !inside;
		*to++ = *from;
		if (inside && *from == '\\' && from[1])
			*to++ = *++from;
	}
	*to = '\0';
}
