/*
 * What a sandbox sends of its files: the same bytes in one piece and in many give the same; every file that comes out
 * has a proper name and lies where it says; nothing above the limits comes out.
 */
#include "lib/model/file_name.h"
#include "supervisor/out_files.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int out_files_place(void *context)
{
	return *(int *)context;
}

/* Feed it in pieces of `step` bytes; the result of the first failure, or of finishing. */
static int out_files_feed(const uint8_t *bytes, size_t length, size_t step, int fd, struct sandbox_result *result)
{
	struct sandbox_request request = { .out = { .files = 4, .file_bytes = 1000, .total_bytes = 1500 },
					   .open_out = out_files_place,
					   .context = &fd };
	struct out_files out;
	struct wl_error err = { 0 };
	int rc = 0;
	out_files_open(&out, &request);
	for (size_t at = 0; at < length && rc == 0; at += step)
		rc = out_files_take(&out, (const char *)bytes + at, length - at < step ? length - at : step, &err);
	if (rc == 0)
		rc = out_files_finish(&out, result, &err);
	out_files_release(&out);
	FUZZ_ASSERT((rc < 0) == (err.code != 0));
	return rc;
}

static void out_files_hold(const struct sandbox_result *result, int fd)
{
	uint64_t at = 0;
	FUZZ_ASSERT(result->file_count <= 4);
	FUZZ_ASSERT(!result->out_fault || result->file_count == 0);
	FUZZ_ASSERT(memchr(result->out_fault_name, '\0', sizeof(result->out_fault_name)));
	for (size_t i = 0; i < result->file_count; i++) {
		const struct sandbox_out_file *file = &result->files[i];
		FUZZ_ASSERT(wl_file_name_valid(file->name, strlen(file->name)));
		FUZZ_ASSERT(file->length <= 1000);
		FUZZ_ASSERT(i == 0 || strcmp(result->files[i - 1].name, file->name) < 0);
		at += file->length;
	}
	FUZZ_ASSERT(at <= 1500 && (result->file_count == 0 || lseek(fd, 0, SEEK_END) == (off_t)at));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct sandbox_result whole = { 0 }, pieces = { 0 };
	int fds[2] = { memfd_create("whole", MFD_CLOEXEC), memfd_create("pieces", MFD_CLOEXEC) };
	int rc = out_files_feed(bytes, length, length + 1, fds[0], &whole);
	FUZZ_ASSERT(out_files_feed(bytes, length, 3, fds[1], &pieces) == rc);
	if (rc == 0) {
		out_files_hold(&whole, fds[0]);
		out_files_hold(&pieces, fds[1]);
		FUZZ_ASSERT(whole.file_count == pieces.file_count && whole.out_fault == pieces.out_fault);
		for (size_t i = 0; i < whole.file_count; i++)
			FUZZ_ASSERT(strcmp(whole.files[i].name, pieces.files[i].name) == 0 &&
				    whole.files[i].offset == pieces.files[i].offset);
	}
	sandbox_result_release(&whole);
	sandbox_result_release(&pieces);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return 0;
}
