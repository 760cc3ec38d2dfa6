/*
 * What the supervisor tells pid 1 of a sandbox through the control pipe: frames of a header and a payload. Only
 * windlass-init parses them, as the tenant's own user inside the sandbox, so a bad frame harms its sender alone.
 * Any order until START; after START only TERM. End of file at any time ends the sandbox.
 */
#ifndef WL_SANDBOX_INIT_PROTOCOL_H
#define WL_SANDBOX_INIT_PROTOCOL_H

#include <stdint.h>

#define INIT_CONTROL_FD 3 /* read end of the control pipe */
#define INIT_STATUS_FD 4  /* write end of a pipe to the warden: the wait status of the program, once, as an int32_t */
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
};

struct init_frame {
	uint32_t kind;
	uint32_t length; /* bytes of payload that follow */
};

#endif
