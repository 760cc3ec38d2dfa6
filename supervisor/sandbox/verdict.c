#include "supervisor/sandbox/verdict.h"

#include <signal.h>
#include <sys/wait.h>

static void fill_codes(const struct ending *ending, struct warden_receipt *receipt)
{
	if (ending->has_status && WIFEXITED(ending->wait_status)) {
		receipt->exit_code = (uint32_t)WEXITSTATUS(ending->wait_status);
		return;
	}
	if (!ending->has_status && ending->init_exited) {
		receipt->exit_code = (uint32_t)ending->init_exit_code;
		return;
	}
	/* without a report init went down with everything else, and only SIGKILL does that to a process 1 */
	receipt->signal = (uint32_t)(ending->has_status ? WTERMSIG(ending->wait_status) : SIGKILL);
	receipt->exit_code = 128 + receipt->signal;
}

void verdict_fill(const struct ending *ending, struct warden_receipt *receipt)
{
	receipt->signal = 0;
	fill_codes(ending, receipt);
	/* the order is that of certainty: what we did ourselves, then what the kernel counted, then the exit status.
	 * A program that lost a child to the memory limit and still succeeded did not fail for lack of memory. */
	if (ending->stopped)
		receipt->reason = ending->stop_reason;
	else if (ending->oom_kills > 0 && receipt->exit_code != 0)
		receipt->reason = WARDEN_OOM;
	else if (receipt->signal != 0)
		receipt->reason = WARDEN_SIGNALLED;
	else if (!ending->has_status && ending->init_exit_code == 0)
		receipt->reason = WARDEN_CANCELLED; /* the control pipe was closed before anything was started */
	else
		receipt->reason = WARDEN_EXITED;
}
