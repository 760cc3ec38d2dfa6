#include "supervisor/messages.h"

#include <stdlib.h>
#include <unistd.h>

void node_job_free(struct node_job *job)
{
	if (job->cancel_fd >= 0)
		(void)close(job->cancel_fd);
	free(job->context);
	free(job->upstream);
	node_outcome_release(&job->outcome);
	log_tail_release(&job->logs);
	free(job);
}

void commit_item_free(struct commit_item *item)
{
	wl_node_result_release(&item->result);
	free(item);
}

void ending_free(struct ending *ending)
{
	free(ending->outputs_json);
	free(ending->error_json);
	free(ending);
}
