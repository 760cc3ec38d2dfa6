/*
 * What a supervisor and the warden say to each other: fixed structs over a unix SOCK_SEQPACKET socket, one struct a
 * message, in the machine's byte order (both ends live on one host).
 *
 *   supervisor                      warden
 *   RUN  ------------------------>            tenant, profile, limits
 *        <------------------------  REFUSED   a sentence; the connection stays usable
 *        <------------------------  STARTED   with five file descriptors (SCM_RIGHTS)
 *                                                     and one for each listener that was asked for
 *   KILL ------------------------>            optional: reason and grace
 *        <------------------------  ENDED     the receipt; the next RUN may follow
 *
 * Closing the connection kills the sandbox. What the tenant wrote (program text, arguments, environment, input) never
 * passes the warden: the supervisor writes it to the descriptors, init_protocol.h.
 */
#ifndef WL_SANDBOX_WARDEN_PROTOCOL_H
#define WL_SANDBOX_WARDEN_PROTOCOL_H

#include <stdint.h>

#define WARDEN_MAGIC 0x57415244u /* "WARD" */
#define WARDEN_VERSION 3

#define WARDEN_PROFILE_SIZE 32
#define WARDEN_ID_SIZE 96
#define WARDEN_TEXT_SIZE 256

/*
 * Tenants get host uids from 1000000 on, 65536 each. Two tenants may never share a range, so a number above the last
 * one is refused instead of wrapped round. The last range ends below 2^31, where some tools stop to read uids.
 */
#define WARDEN_UID_BASE 1000000u
#define WARDEN_UID_RANGE 65536u
#define WARDEN_TENANT_MAX 32000u

enum warden_kind {
	WARDEN_RUN = 1,
	WARDEN_KILL = 2,
	WARDEN_REFUSED = 3,
	WARDEN_STARTED = 4,
	WARDEN_ENDED = 5,
};

/* Order of the descriptors that come with STARTED. */
enum warden_fd {
	WARDEN_FD_CONTROL,
	WARDEN_FD_STDIN,
	WARDEN_FD_STDOUT,
	WARDEN_FD_STDERR,
	WARDEN_FD_FILES,
	WARDEN_FD_COUNT /* behind them: the listeners, in the order of `listen` */
};

#define WARDEN_LISTEN_MAX 2
#define WARDEN_FDS_MAX (WARDEN_FD_COUNT + WARDEN_LISTEN_MAX)

/* Why a sandbox ended. The first three are the warden's verdict, the others were asked for by KILL or a timer. */
enum warden_reason {
	WARDEN_EXITED = 0,
	WARDEN_SIGNALLED = 1,
	WARDEN_OOM = 2,
	WARDEN_TIMEOUT = 3,
	WARDEN_CANCELLED = 4,
	WARDEN_OUTPUT_CAP = 5,
};

#define WARDEN_HAS_RUNTIME 1u /* bit of `features`: /opt/runtime/bin/node is there */

struct warden_limits {
	uint32_t memory_mb;
	uint32_t cpu_milli;
	uint32_t pids;
	uint32_t wall_ms;
	uint32_t output_kb;
};

/* RUN and KILL; fields that a kind does not use are zero. */
struct warden_request {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint32_t tenant;
	uint32_t kill_reason; /* KILL: WARDEN_CANCELLED or WARDEN_OUTPUT_CAP */
	uint32_t grace_ms;    /* KILL: time until SIGKILL, at most 60000 */
	struct warden_limits limits;
	uint16_t listen[WARDEN_LISTEN_MAX]; /* RUN: ports of 127.0.0.1 in the sandbox; 0: none, and none behind it */
	char profile[WARDEN_PROFILE_SIZE];
	char id[WARDEN_ID_SIZE];
};

struct warden_receipt {
	uint32_t reason;
	uint32_t exit_code; /* as a shell shows it: 128 + signal after a signal */
	uint32_t signal;
	uint32_t warm;
	uint32_t pids_peak;
	uint32_t reserved;
	uint64_t wall_us;
	uint64_t cpu_us;
	uint64_t memory_peak;
	struct warden_limits limits;
	uint8_t profile_hash[32];
};

struct warden_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint32_t errnum;	       /* REFUSED: positive errno */
	uint32_t features;	       /* STARTED */
	char text[WARDEN_TEXT_SIZE];   /* REFUSED: a sentence */
	struct warden_receipt receipt; /* STARTED: limits only; ENDED: all of it */
};

#endif
