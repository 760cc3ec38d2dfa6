/*
 * What the supervisor tells pid 1 of a sandbox through the control pipe: frames of a header and a payload. Only
 * windlass-init parses them, as the tenant's own user inside the sandbox, so a bad frame harms its sender alone.
 * Any order until START; after START only TERM. End of file at any time ends the sandbox.
 *
 * What it tells the supervisor through the files pipe, when COLLECT came and the program ended with exit code 0: the
 * files below /work/out, one FILE each, then END; or REFUSED and nothing more. It says so as the tenant's user, so the
 * supervisor believes nothing of it: supervisor/out_files.c.
 */
#ifndef WL_SANDBOX_INIT_PROTOCOL_H
#define WL_SANDBOX_INIT_PROTOCOL_H

#include <stdint.h>

#define INIT_CONTROL_FD 3 /* read end of the control pipe */
#define INIT_STATUS_FD 4  /* write end of a pipe to the warden: the wait status of the program, once, as an int32_t */
#define INIT_FILES_FD 5	  /* write end of a pipe to the supervisor: struct init_out_frame */
#define INIT_STRINGS_MAX 131072 /* bytes of all arguments and variables together */
#define INIT_VECTOR_MAX 1024	/* arguments or variables */
#define INIT_PATH_MAX 256
#define INIT_FILE_MAX (1u << 20)

enum init_kind {
	INIT_ARGUMENT = 1, /* payload: one argument, without NUL */
	INIT_VARIABLE = 2, /* payload: NAME=value, without NUL */
	INIT_FILE = 3,	   /* payload: path relative to /work, NUL, content; 0600 */
	INIT_PROGRAM = 4,  /* as INIT_FILE, 0700 */
	INIT_START = 5,	   /* no payload: execute the first argument */
	INIT_TERM = 6,	   /* no payload: SIGTERM to all processes */
	INIT_COLLECT = 7,  /* payload: struct init_collect; send what the program leaves below /work/out */
};

struct init_frame {
	uint32_t kind;
	uint32_t length; /* bytes of payload that follow */
};

#define INIT_OUT_DEPTH 8	  /* parts of a file's path below /work/out */
#define INIT_OUT_ENTRIES_MAX 4096 /* files, folders and others that are looked at */

struct init_collect {
	uint32_t files; /* at most so many */
	uint32_t reserved;
	uint64_t file_bytes; /* of one */
	uint64_t total_bytes;
};

enum init_out_kind {
	INIT_OUT_FILE = 1,    /* path relative to /work/out, then `value` bytes of content */
	INIT_OUT_REFUSED = 2, /* path; `value` is an enum init_out_refusal */
	INIT_OUT_END = 3,     /* no path; `value` links, devices and the like were passed over */
};

enum init_out_refusal {
	INIT_OUT_TOO_MANY = 1, /* more than `files` files, or INIT_OUT_ENTRIES_MAX entries */
	INIT_OUT_FILE_TOO_LARGE = 2,
	INIT_OUT_TOTAL_TOO_LARGE = 3,
	INIT_OUT_TOO_DEEP = 4,
	INIT_OUT_NAME_TOO_LONG = 5, /* the path has INIT_PATH_MAX bytes or more; its beginning is given */
	INIT_OUT_UNREADABLE = 6,
};

struct init_out_frame {
	uint32_t kind;
	uint32_t name_length; /* bytes of path that follow, less than INIT_PATH_MAX */
	uint64_t value;
};

#endif
