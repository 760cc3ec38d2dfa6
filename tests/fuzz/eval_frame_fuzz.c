/* A connection that gets any bytes answers whole frames or ends. Templates with expressions are left out: those are
 * jq's, which runs behind a seal for good reason. */
#include "lib/base/cleanup.h"
#include "lib/codec/expression_protocol.h"
#include "supervisor/eval/eval.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void check_answers(int fd)
{
	struct wl_eval_answer answer;
	static char body[65536];
	while (recv(fd, &answer, sizeof(answer), MSG_WAITALL) == (ssize_t)sizeof(answer)) {
		FUZZ_ASSERT(answer.magic == WL_EVAL_MAGIC && answer.length <= sizeof(body));
		FUZZ_ASSERT(answer.length == 0 || recv(fd, body, answer.length, MSG_WAITALL) == (ssize_t)answer.length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct program_cache *cache;
	static unsigned char stage;
	static const struct eval_limits limits = { .memory_mb = 64, .time_ms = 60000 };
	int pair[2];
	if (!cache)
		cache = program_cache_new();
	if (length > 4096 || memmem(bytes, length, "{{", 2) || memmem(bytes, length, "\\u007", 5))
		return 0;
	FUZZ_ASSERT(cache && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	_wl_close_ int ours = pair[0];
	_wl_close_ int theirs = pair[1];
	FUZZ_ASSERT(send(ours, bytes, length, MSG_NOSIGNAL) == (ssize_t)length || length == 0);
	(void)shutdown(ours, SHUT_WR);
	eval_connection(theirs, &stage, &limits, cache);
	(void)shutdown(theirs, SHUT_RDWR);
	check_answers(ours);
	return 0;
}
