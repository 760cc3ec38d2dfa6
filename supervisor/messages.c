#include "supervisor/messages.h"

#include "supervisor/flow_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int node_job_prepare(struct node_job *job)
{
	if (!job->pieces)
		return 0;
	if (job->parts)
		job->call.upstream = job->upstream =
			context_parts_text(job->parts, job->part_count, job->shape, &job->call.upstream_length);
	else
		job->call.context = job->context = context_text(job->pieces, job->closing, &job->call.context_length);
	return job->context || job->upstream ? 0 : -ENOMEM;
}

void node_job_drop_texts(struct node_job *job)
{
	free(job->context);
	free(job->upstream);
	free(job->parts);
	context_drop(job->pieces);
	context_drop(job->closing);
	job->call.context = job->context = NULL;
	job->call.upstream = job->upstream = NULL;
	job->parts = NULL;
	job->pieces = job->closing = NULL;
}

void node_job_free(struct node_job *job)
{
	if (job->cancel_fd >= 0)
		(void)close(job->cancel_fd);
	node_job_drop_texts(job);
	node_outcome_release(&job->outcome);
	log_tail_release(&job->logs);
	flow_release(job->flow);
	free(job->path);
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
	free(ending->waits_json);
	free(ending);
}

void inquiry_free(struct inquiry *inquiry)
{
	wl_wait_release(&inquiry->wait);
	flow_release(inquiry->flow);
	free(inquiry->path);
	free(inquiry);
}
