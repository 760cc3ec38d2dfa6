/* Images, sounds and files that tools of the kind mcp answer with: large ones are artifacts of the node. */
#include "lib/base/cleanup.h"
#include "lib/base/file.h"
#include "supervisor/nodes/code.h"
#include "supervisor/nodes/tool_mcp.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NAME_ROOM 32

/* The ending of a file's name by its media type: from it the type of the artifact is told. */
static const char *const endings[][2] = {
	{ "image/png", "png" },	      { "image/jpeg", "jpg" },	    { "image/gif", "gif" },
	{ "image/webp", "webp" },     { "image/svg+xml", "svg" },   { "audio/wav", "wav" },
	{ "audio/x-wav", "wav" },     { "audio/mpeg", "mp3" },	    { "audio/ogg", "ogg" },
	{ "application/pdf", "pdf" }, { "application/zip", "zip" }, { "application/json", "json" },
	{ "text/plain", "txt" },      { "text/html", "html" },	    { "text/csv", "csv" },
};

/* The files of one answer. */
struct files {
	struct sandbox_out_file items[WL_MCP_DATA_COUNT];
	char names[WL_MCP_DATA_COUNT][NAME_ROOM];
	uint64_t bytes;
	int fd;
};

static void name_file(struct files *files, size_t index, const char *media_type)
{
	const char *ending = "bin";
	for (size_t i = 0; i < WL_COUNT_OF(endings); i++)
		if (strcmp(endings[i][0], media_type) == 0)
			ending = endings[i][1];
	(void)snprintf(files->names[index], NAME_ROOM, "answer-%03zu.%s", index + 1, ending);
	files->items[index].name = files->names[index];
}

static int place_file(const struct artifact_port *artifacts, struct files *files, size_t index,
		      const struct wl_mcp_data *data, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer bytes;
	wl_buffer_init(&bytes, 0); /* bounded by what a session may say */
	int failed = wl_mcp_data_decode(data->base64, &bytes);
	if (failed)
		return wl_fail(err, failed == -EINVAL ? EPROTO : ENOMEM, "the tool's data is no base64");
	if (index >= artifacts->limits.files || bytes.length > artifacts->limits.file_bytes ||
	    files->bytes + bytes.length > artifacts->limits.total_bytes)
		return wl_fail(err, EFBIG, "the tool answered with more or larger files than a node may leave");
	files->items[index].offset = files->bytes;
	files->items[index].length = bytes.length;
	files->bytes += bytes.length;
	name_file(files, index, data->media_type);
	for (size_t at = 0; at < bytes.length;) {
		ssize_t put = write(files->fd, bytes.data + at, bytes.length - at);
		if (put < 0 && errno != EINTR)
			return wl_fail(err, errno, "a tool's data cannot be written");
		at += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

int tool_mcp_keep(void *context, const struct wl_mcp_data *data, size_t count, struct wl_json **ret_kept,
		  struct wl_error *err)
{
	const struct tool_call *tool = context;
	const struct artifact_port *artifacts = tool->world->artifacts;
	_wl_free_ char *kept = NULL;
	_wl_free_ struct files *files = calloc(1, sizeof(*files));
	if (!files)
		return wl_fail(err, ENOMEM, "no memory for a tool's data");
	if (!artifacts)
		return wl_fail(err, EFBIG, "the tool answered with more than %u KiB of data", WL_MCP_INLINE_MAX >> 10);
	_wl_close_ int fd = artifacts->place(artifacts->self, err);
	if (fd < 0)
		return fd;
	files->fd = fd;
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = place_file(artifacts, files, i, &data[i], err);
	if (result == 0)
		result = node_keep_files(tool->world, tool->call, fd, files->items, count, &kept, err);
	if (result == 0 && wl_json_parse(kept, strlen(kept), ret_kept, err) < 0)
		result = -ENOMEM;
	return result;
}
