#include "supervisor/out_files.h"

#include "lib/model/file_name.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert(SANDBOX_NAME_MAX == WL_FILE_NAME_MAX, "a name that is valid has room");

void out_files_open(struct out_files *out, const struct sandbox_request *request)
{
	*out = (struct out_files){
		.most = request->out, .open_out = request->open_out, .context = request->context, .fd = -1
	};
	if (out->most.files > SANDBOX_OUT_FILES_MAX)
		out->most.files = SANDBOX_OUT_FILES_MAX;
}

void out_files_release(struct out_files *out)
{
	for (size_t i = 0; i < out->count; i++)
		free(out->files[i].name);
	free(out->files);
	out->files = NULL;
	out->count = 0;
}

/* ---- the stream ------------------------------------------------------------------------------------------ */

static int stray(struct wl_error *err)
{
	return wl_fail(err, EPROTO, "a sandbox sent something else than the files its program left");
}

/* End the stream with a fault; its name, for people, has only what a terminal shows as it is. */
static void end_with(struct out_files *out, enum sandbox_out_fault fault)
{
	size_t length = out->name_have;
	out->ended = true;
	out->fault = fault;
	for (size_t i = 0; i < length; i++)
		out->fault_name[i] = out->name[i] >= ' ' && out->name[i] <= '~' ? out->name[i] : '?';
	out->fault_name[length] = '\0';
}

static int keep_file(struct out_files *out, uint64_t length, struct wl_error *err)
{
	if (out->count == out->room) {
		size_t room = out->room ? out->room * 2 : 8;
		struct sandbox_out_file *files = realloc(out->files, room * sizeof(*files));
		if (!files)
			return wl_fail(err, ENOMEM, "no memory for a sandbox's files");
		out->files = files;
		out->room = room;
	}
	char *name = strndup(out->name, out->name_have);
	if (!name)
		return wl_fail(err, ENOMEM, "no memory for a sandbox's files");
	out->files[out->count++] = (struct sandbox_out_file){ .name = name, .offset = out->bytes, .length = length };
	out->content_left = length;
	out->bytes += length;
	return 0;
}

static int begin_file(struct out_files *out, struct wl_error *err)
{
	uint64_t length = out->frame.value;
	if (!wl_file_name_valid(out->name, out->name_have))
		end_with(out, SANDBOX_OUT_NAME);
	else if (out->count >= out->most.files)
		end_with(out, SANDBOX_OUT_MANY);
	else if (length > out->most.file_bytes)
		end_with(out, SANDBOX_OUT_FILE_LARGE);
	else if (length > out->most.total_bytes - out->bytes)
		end_with(out, SANDBOX_OUT_TOTAL_LARGE);
	else
		return keep_file(out, length, err);
	return 0;
}

static int begin_refusal(struct out_files *out, struct wl_error *err)
{
	static const enum sandbox_out_fault faults[] = {
		[INIT_OUT_TOO_MANY] = SANDBOX_OUT_MANY,
		[INIT_OUT_FILE_TOO_LARGE] = SANDBOX_OUT_FILE_LARGE,
		[INIT_OUT_TOTAL_TOO_LARGE] = SANDBOX_OUT_TOTAL_LARGE,
		[INIT_OUT_TOO_DEEP] = SANDBOX_OUT_DEEP,
		[INIT_OUT_NAME_TOO_LONG] = SANDBOX_OUT_NAME,
		[INIT_OUT_UNREADABLE] = SANDBOX_OUT_UNREADABLE,
	};
	uint64_t why = out->frame.value;
	if (why == 0 || why >= sizeof(faults) / sizeof(faults[0]))
		return stray(err);
	out->complete = true;
	end_with(out, faults[why]);
	return 0;
}

/* A frame and its name are there. */
static int begin_frame(struct out_files *out, struct wl_error *err)
{
	switch (out->frame.kind) {
	case INIT_OUT_FILE:
		return begin_file(out, err);
	case INIT_OUT_REFUSED:
		return begin_refusal(out, err);
	case INIT_OUT_END:
		if (out->frame.name_length != 0)
			return stray(err);
		out->ended = out->complete = true;
		out->passed_over = out->frame.value;
		return 0;
	default:
		return stray(err);
	}
}

static size_t fill(void *into, size_t have, size_t want, const char *bytes, size_t length)
{
	size_t take = want - have < length ? want - have : length;
	memcpy((char *)into + have, bytes, take);
	return take;
}

/* Fill the frame's head and its name from the bytes; how many were used, or -errno. */
static ssize_t take_frame(struct out_files *out, const char *bytes, size_t length, struct wl_error *err)
{
	size_t used = fill(&out->frame, out->frame_have, sizeof(out->frame), bytes, length);
	out->frame_have += used;
	if (out->frame_have < sizeof(out->frame))
		return (ssize_t)used;
	if (out->frame.name_length >= sizeof(out->name))
		return stray(err);
	size_t more = fill(out->name, out->name_have, out->frame.name_length, bytes + used, length - used);
	out->name_have += more;
	used += more;
	if (out->name_have == out->frame.name_length) {
		if (begin_frame(out, err) < 0)
			return -err->code;
		out->frame_have = out->name_have = 0;
	}
	return (ssize_t)used;
}

static ssize_t take_content(struct out_files *out, const char *bytes, size_t length, struct wl_error *err)
{
	if (out->fd < 0 && (out->fd = out->open_out(out->context)) < 0)
		return wl_fail_errno(err, -out->fd, "cannot keep a sandbox's files");
	size_t want = out->content_left < length ? (size_t)out->content_left : length;
	/* at its place: the descriptor may hold what an earlier run, which was lost, had sent */
	ssize_t put = pwrite(out->fd, bytes, want, (off_t)(out->bytes - out->content_left));
	if (put <= 0)
		return errno == EINTR ? 0 : wl_fail_errno(err, put < 0 ? errno : EIO, "cannot keep a sandbox's files");
	out->content_left -= (uint64_t)put;
	return put;
}

int out_files_take(struct out_files *out, const char *bytes, size_t length, struct wl_error *err)
{
	while (length > 0) {
		if (out->ended)
			return out->fault ? 0 : stray(err); /* after a fault of ours it may still be sending */
		ssize_t used = out->content_left > 0 ? take_content(out, bytes, length, err)
						     : take_frame(out, bytes, length, err);
		if (used < 0)
			return (int)used;
		bytes += used;
		length -= (size_t)used;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sandbox_out_file *)a)->name, ((const struct sandbox_out_file *)b)->name);
}

int out_files_finish(struct out_files *out, struct sandbox_result *result, struct wl_error *err)
{
	if (!out->ended)
		return wl_fail(err, EPROTO, "a sandbox ended while it sent the files its program left");
	result->out_fault = out->fault;
	memcpy(result->out_fault_name, out->fault_name, sizeof(result->out_fault_name));
	result->files_passed_over = out->passed_over;
	if (out->fault || out->count == 0)
		return 0;
	qsort(out->files, out->count, sizeof(*out->files), by_name);
	for (size_t i = 1; i < out->count; i++)
		if (strcmp(out->files[i - 1].name, out->files[i].name) == 0)
			return stray(err);
	result->files = out->files;
	result->file_count = out->count;
	out->files = NULL;
	out->count = 0;
	return 0;
}
