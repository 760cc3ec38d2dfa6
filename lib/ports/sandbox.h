/*
 * Port: run one program of a tenant in a fresh sandbox and get its output and a receipt.
 *
 * The real one is supervisor/warden_client.c; tests may fill the table with a double. A call blocks its
 * thread until the sandbox has ended, and may be made from many threads at once.
 *
 * Inside the sandbox: user 1000 without rights, no network but its own loopback, read-only system, /work (also HOME)
 * and /tmp writable and gone afterwards, /work/in and /work/out made ready, only file descriptors 0 to 2.
 */
#ifndef WL_PORTS_SANDBOX_H
#define WL_PORTS_SANDBOX_H

#include "lib/base/byte_queue.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Where the interpreters lie inside a sandbox. */
#define SANDBOX_PYTHON "/usr/bin/python3"
#define SANDBOX_BASH "/bin/bash"
#define SANDBOX_NODE "/opt/runtime/bin/node" /* there only when runtime_dir is set; else the call fails with ENOENT */

#define SANDBOX_PROFILE_DEFAULT "host"
#define SANDBOX_HASH_TEXT 65	  /* a sha256 in hex and the NUL */
#define SANDBOX_STDERR_TAIL 16384 /* bytes kept of the end of standard error */
#define SANDBOX_INPUT_MAX (64u << 20)
#define SANDBOX_FILE_MAX (1u << 20)
#define SANDBOX_NAME_MAX 256 /* bytes of an output file's name and its NUL */
#define SANDBOX_OUT_FILES_MAX 1024
#define SANDBOX_LISTEN_MAX 2	 /* listeners of one run */
#define SANDBOX_MODELS_PORT 8089 /* where programs find language models, when the run has any */

/* X(name, word, what a person is told) */
#define SANDBOX_REASONS(X)                                                                                             \
	X(EXITED, "exited", "the program ended by itself")                                                             \
	X(SIGNALLED, "signalled", "the program was ended by a signal")                                                 \
	X(OOM, "oom", "the memory limit was reached")                                                                  \
	X(TIMEOUT, "timeout", "the time limit was reached")                                                            \
	X(CANCELLED, "cancelled", "the execution was cancelled")                                                       \
	X(OUTPUT_CAP, "output_cap", "the program wrote more than it may")

enum sandbox_reason {
#define X(name, word, text) SANDBOX_##name,
	SANDBOX_REASONS(X)
#undef X
};

/* The word of a reason, such as "oom", as stored in receipts. */
static inline const char *sandbox_reason_word(enum sandbox_reason reason)
{
	static const char *const words[] = {
#define X(name, word, text) word,
		SANDBOX_REASONS(X)
#undef X
	};
	return words[reason];
}

/* A sentence about a reason, for people. */
static inline const char *sandbox_reason_text(enum sandbox_reason reason)
{
	static const char *const texts[] = {
#define X(name, word, text) text,
		SANDBOX_REASONS(X)
#undef X
	};
	return texts[reason];
}

/* Limits of one run. 0 takes the profile's default; more than the profile's maximum is refused. */
struct sandbox_limits {
	uint32_t memory_mb; /* MiB of memory and swap together, work files included */
	uint32_t cpu_milli; /* thousandths of one CPU */
	uint32_t pids;	    /* processes and threads at once, the sandbox's own init included */
	uint32_t wall_ms;   /* milliseconds from hand-out to the end */
	uint32_t output_kb; /* KiB of standard output, and as many of standard error */
};

struct sandbox_file {
	const char *path; /* relative to /work, without "..", such as "in/main.py"; folders are made */
	const void *content;
	size_t length;	 /* bytes, at most SANDBOX_FILE_MAX */
	bool executable; /* mode 0700 instead of 0600 */
};

/*
 * What is wanted of the files that a program leaves under /work/out. They are taken only when it ended with exit code
 * 0; links, devices, pipes and sockets are passed over.
 */
struct sandbox_out_limits {
	uint32_t files; /* at most SANDBOX_OUT_FILES_MAX; 0: none are wanted */
	uint64_t file_bytes;
	uint64_t total_bytes;
};

struct sandbox_request {
	int tenant;		 /* number of the tenant, 1 or more */
	const char *id;		 /* execution and node, for the warden's log; at most 95 printable bytes */
	const char *profile;	 /* NULL: SANDBOX_PROFILE_DEFAULT */
	const char *const *argv; /* NULL-terminated; argv[0] is an absolute path inside the sandbox */
	const char *const *env;	 /* NULL-terminated "NAME=value"s added to PATH, HOME, LC_CTYPE, TMPDIR; may be NULL */
	const struct sandbox_file *files;
	size_t file_count;
	const void *input; /* bytes for standard input, at most SANDBOX_INPUT_MAX */
	size_t input_length;
	/*
	 * NULL: standard input ends behind `input`. Else it stays open, and what any thread puts into this queue,
	 * before the start or while the program runs, is written behind it; its end (wl_byte_queue_end) is the end of
	 * standard input. A put never waits: a program that does not read leaves the bytes in the queue, whose bound
	 * (at most SANDBOX_INPUT_MAX) the caller has chosen, until the time limit or a cancel ends the run. When the
	 * program has closed its standard input, or the run is over, a put fails with EPIPE. The queue is the caller's,
	 * who frees it after run() has returned; one that a run has begun with serves no second run, while a run that
	 * failed with EBUSY, ECONNREFUSED, ECANCELED or EINVAL has left it as it was. Answers come by on_output, on the
	 * thread that called run(), which may put, too.
	 */
	struct wl_byte_queue *dialogue;
	struct sandbox_limits limits;
	/*
	 * Ports of 127.0.0.1 inside the sandbox on which the caller wants to listen, ended by a 0; its profile has to
	 * allow each. Before the program starts, on_listen is called once on the calling thread with a listening socket
	 * (O_NONBLOCK) for each, in their order, which are the callee's from then on, whatever it returns. Whoever
	 * connects there is this run and nobody else. They are to be closed when run() has returned: until then they
	 * keep the sandbox's network alive. -errno: the run fails with it.
	 */
	uint16_t listen[SANDBOX_LISTEN_MAX];
	int (*on_listen)(void *context, const int *fds, struct wl_error *err);
	int cancel_fd;		/* an eventfd (or any fd) that becomes readable to cancel; never read. -1: none */
	uint32_t kill_grace_ms; /* between SIGTERM and SIGKILL on a cancel */
	/* Chunks of standard error, and of standard output, as they come, called on the calling thread; may be NULL. */
	void (*on_log)(void *context, const char *bytes, size_t length);
	void (*on_output)(void *context, const char *bytes, size_t length);
	struct sandbox_out_limits out;
	/* Gives a file in which the contents of all output files are written, one behind the other from its beginning;
	 * called once, when the first byte is there. It stays the caller's. -errno: the run fails with it. */
	int (*open_out)(void *context);
	void *context;
};

/* A file that the program left. */
struct sandbox_out_file {
	char *name; /* relative to /work/out: UTF-8 without control characters, no part "." or "..", up to 8 parts */
	uint64_t offset; /* of its content in what open_out() gave */
	uint64_t length;
};

/* X(name, code of the node's failure, a sentence with the file's name behind it) */
#define SANDBOX_OUT_FAULTS(X)                                                                                          \
	X(NONE, "", "")                                                                                                \
	X(MANY, "output_cap", "the program left more files under /work/out than it may")                               \
	X(FILE_LARGE, "output_cap", "a file under /work/out is larger than it may be")                                 \
	X(TOTAL_LARGE, "output_cap", "the files under /work/out are larger together than they may be")                 \
	X(DEEP, "output_cap", "folders under /work/out are nested deeper than 8")                                      \
	X(NAME, "artifact_name",                                                                                       \
	  "a file's name under /work/out has over 255 bytes, is not UTF-8 or holds control characters")                \
	X(UNREADABLE, "artifact_unreadable", "a file or folder under /work/out cannot be read")

enum sandbox_out_fault {
#define X(name, code, text) SANDBOX_OUT_##name,
	SANDBOX_OUT_FAULTS(X)
#undef X
};

/* The code with which a node fails that has the fault. */
static inline const char *sandbox_out_fault_code(enum sandbox_out_fault fault)
{
	static const char *const codes[] = {
#define X(name, code, text) code,
		SANDBOX_OUT_FAULTS(X)
#undef X
	};
	return codes[fault];
}

/* A sentence about it; the name of the file belongs behind it. */
static inline const char *sandbox_out_fault_text(enum sandbox_out_fault fault)
{
	static const char *const texts[] = {
#define X(name, code, text) text,
		SANDBOX_OUT_FAULTS(X)
#undef X
	};
	return texts[fault];
}

/* What was applied and what was used. */
struct sandbox_receipt {
	struct sandbox_limits limits;
	uint64_t wall_us;     /* from hand-out to the end */
	uint64_t cpu_us;      /* user and system time of all processes */
	uint64_t memory_peak; /* bytes; 0: this kernel does not tell */
	uint32_t pids_peak;   /* 0: this kernel does not tell */
	bool warm;	      /* a parked sandbox was handed out */
	char profile[32];
	char profile_hash[SANDBOX_HASH_TEXT]; /* sha256 of the profile and its seccomp list */
};

struct sandbox_result {
	enum sandbox_reason reason;
	int exit_code; /* 0 to 255; 128 + signal when a signal ended it; 127 when argv[0] could not be started */
	int signal;    /* the signal, 0 when there was none */
	char *output;  /* standard output, NUL-terminated, never NULL after success; freed by sandbox_result_release */
	size_t output_length;
	char *log_tail; /* the last SANDBOX_STDERR_TAIL bytes of standard error, NUL-terminated */
	size_t log_tail_length;
	struct sandbox_out_file *files; /* in order of their names; freed by sandbox_result_release */
	size_t file_count;
	uint64_t files_passed_over; /* links, devices and the like */
	/* not NONE: the files are not to be had, and file_count is 0; the name is made printable */
	enum sandbox_out_fault out_fault;
	char out_fault_name[SANDBOX_NAME_MAX];
	struct sandbox_receipt receipt;
};

struct sandbox_port {
	void *self;
	/*
	 * Run it and wait. Returns 0 when the program was started, whatever became of it: see `reason`. Fails with
	 * EINVAL (a request out of bounds, a limit above the profile's), ENOENT (no such profile or interpreter),
	 * EBUSY (too many wait for a sandbox), ECANCELED (cancelled while it waited), EPERM (the host cannot apply a
	 * limit), EIO (the warden went away; the run may be tried again), ECONNREFUSED (it does not
	 * answer; nothing was begun), and then leaves ret_result untouched.
	 */
	int (*run)(void *self, const struct sandbox_request *request, struct sandbox_result *ret_result,
		   struct wl_error *err);
	void (*close)(void *self);
};

static inline int sandbox_run(const struct sandbox_port *port, const struct sandbox_request *request,
			      struct sandbox_result *ret_result, struct wl_error *err)
{
	return port->run(port->self, request, ret_result, err);
}

/* Free what a result owns. */
static inline void sandbox_result_release(struct sandbox_result *result)
{
	free(result->output);
	free(result->log_tail);
	for (size_t i = 0; i < result->file_count; i++)
		free(result->files[i].name);
	free(result->files);
	result->output = result->log_tail = NULL;
	result->files = NULL;
	result->file_count = 0;
	result->output_length = result->log_tail_length = 0;
}

#endif
