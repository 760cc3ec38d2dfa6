#include "cli/flow_file.h"

#include "cli/files.h"
#include "lib/base/cleanup.h"
#include "lib/codec/flow_export.h"
#include "lib/codec/flow_file.h"

#include <string.h>
#include <sys/stat.h>

static bool ends_with(const char *text, const char *ending)
{
	size_t length = strlen(text), tail = strlen(ending);
	return length >= tail && strcmp(text + length - tail, ending) == 0;
}

bool cli_flow_file_named(const char *word)
{
	struct stat about;
	if (strchr(word, '/') || ends_with(word, ".json") || ends_with(word, ".yaml") || ends_with(word, ".yml"))
		return true;
	return strcmp(word, "-") == 0 || (stat(word, &about) == 0 && S_ISREG(about.st_mode));
}

int cli_flow_file_read(const char *path, struct wl_json **ret_flow, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, WL_FLOW_FILE_MAX);
	if (cli_file_read(path, &text, err) < 0)
		return -err->code;
	_wl_json_ struct wl_json *file = NULL;
	if (wl_flow_file_parse(text.data ? text.data : "", text.length, &file, err) < 0 ||
	    wl_flow_file_build(path, file, ret_flow, err) < 0)
		return wl_fail_within(err, "%.200s", path);
	return 0;
}
