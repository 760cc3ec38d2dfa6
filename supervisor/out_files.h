/*
 * Reads what a sandbox sends of the files that its program left (struct init_out_frame, init_protocol.h). The sender is
 * the tenant's own user, so every byte is hostile: counts, sizes and names are checked here whatever was checked there.
 */
#ifndef WL_SUPERVISOR_OUT_FILES_H
#define WL_SUPERVISOR_OUT_FILES_H

#include "lib/ports/sandbox.h"
#include "supervisor/sandbox/init_protocol.h"

struct out_files {
	struct sandbox_out_limits most;
	int (*open_out)(void *context);
	void *context;
	int fd; /* what open_out() gave; -1: not asked yet */
	/* the frame at hand */
	struct init_out_frame frame;
	size_t frame_have;
	char name[INIT_PATH_MAX];
	size_t name_have;
	uint64_t content_left;
	/* what came of it */
	bool ended;    /* END or REFUSED has come, or a fault was found: nothing more is taken */
	bool complete; /* END or REFUSED has come: the sender has nothing more to say */
	struct sandbox_out_file *files;
	size_t count, room;
	uint64_t bytes, passed_over;
	enum sandbox_out_fault fault;
	char fault_name[SANDBOX_NAME_MAX];
};

/* Begin; `most` is cut to what the port allows. */
void out_files_open(struct out_files *out, const struct sandbox_request *request);
void out_files_release(struct out_files *out);

/*
 * Take the next bytes of the stream, in pieces as they come. 0; -EPROTO when it is none of init's; -ENOMEM; what
 * open_out() or write() failed with. After a failure nothing more may be given.
 */
int out_files_take(struct out_files *out, const char *bytes, size_t length, struct wl_error *err);

/*
 * The stream is at its end: hand over the files, in order of their names, or why there are none. 0, or -EPROTO when it
 * was cut short.
 */
int out_files_finish(struct out_files *out, struct sandbox_result *result, struct wl_error *err);

#endif
