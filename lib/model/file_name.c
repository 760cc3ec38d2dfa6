#include "lib/model/file_name.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* The code point at `at` and its bytes; 0 bytes: not UTF-8 (overlong, a surrogate, above U+10FFFF, cut). */
static size_t decode(const unsigned char *at, size_t left, uint32_t *ret_point)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = at[0] < 0x80   ? 1
			: at[0] < 0xc0 ? 0
			: at[0] < 0xe0 ? 2
			: at[0] < 0xf0 ? 3
			: at[0] < 0xf8 ? 4
				       : 0;
	if (length == 0 || length > left)
		return 0;
	uint32_t point = length == 1 ? at[0] : at[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (at[i] & 0x3fu);
	}
	if (length > 1 && (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)))
		return 0;
	*ret_point = point;
	return length;
}

static bool is_plain(uint32_t point)
{
	bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
	bool line_or_direction = (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
				 point == 0x200e || point == 0x200f || point == 0xfeff;
	return !control && !line_or_direction && point != '\\' && point != 0xfffe && point != 0xffff;
}

static bool parts_valid(const char *name, size_t length)
{
	int parts = 0;
	for (size_t at = 0; at <= length;) {
		const char *slash = memchr(name + at, '/', length - at);
		size_t end = slash ? (size_t)(slash - name) : length;
		size_t part = end - at;
		if (part == 0 || ++parts > WL_FILE_NAME_PARTS || (part == 1 && name[at] == '.') ||
		    (part == 2 && name[at] == '.' && name[at + 1] == '.'))
			return false;
		at = end + 1;
	}
	return true;
}

bool wl_file_name_valid(const char *name, size_t length)
{
	uint32_t point = 0;
	if (length == 0 || length >= WL_FILE_NAME_MAX)
		return false;
	for (size_t at = 0, step; at < length; at += step) {
		step = decode((const unsigned char *)name + at, length - at, &point);
		if (step == 0 || !is_plain(point))
			return false;
	}
	return parts_valid(name, length);
}

bool wl_text_is_plain(const char *text, size_t length)
{
	uint32_t point = 0;
	for (size_t at = 0, step; at < length; at += step) {
		step = decode((const unsigned char *)text + at, length - at, &point);
		bool control = point < 0x20 && point != '\t' && point != '\n' && point != '\r' && point != '\f';
		if (step == 0 || control || point == 0x7f)
			return false;
	}
	return true;
}

const char *wl_media_type(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ ".txt", "text/plain" },
		{ ".log", "text/plain" },
		{ ".md", "text/markdown" },
		{ ".csv", "text/csv" },
		{ ".tsv", "text/tab-separated-values" },
		{ ".html", "text/html" },
		{ ".xml", "application/xml" },
		{ ".json", "application/json" },
		{ ".jsonl", "application/jsonl" },
		{ ".yaml", "application/yaml" },
		{ ".yml", "application/yaml" },
		{ ".pdf", "application/pdf" },
		{ ".zip", "application/zip" },
		{ ".gz", "application/gzip" },
		{ ".tar", "application/x-tar" },
		{ ".parquet", "application/vnd.apache.parquet" },
		{ ".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
		{ ".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
		{ ".png", "image/png" },
		{ ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" },
		{ ".gif", "image/gif" },
		{ ".svg", "image/svg+xml" },
		{ ".webp", "image/webp" },
		{ ".mp3", "audio/mpeg" },
		{ ".wav", "audio/wav" },
		{ ".mp4", "video/mp4" },
	};
	const char *slash = strrchr(name, '/');
	const char *ending = strrchr(slash ? slash : name, '.');
	for (size_t i = 0; ending && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(ending, types[i].ending) == 0)
			return types[i].type;
	return "application/octet-stream";
}
