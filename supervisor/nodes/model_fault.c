#include "supervisor/nodes/model_fault.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <string.h>

#define APPROVAL_ROLES "[\"admin\",\"editor\"]"

enum cure {
	CURE_NONE, /* another attempt ends in the same way */
	CURE_WAIT, /* it may pass */
	CURE_ASK,  /* another attempt has to ask anew */
};

/* What helps against a failure of that code; codes of crews that are not here are those that models have to mend. */
static enum cure cure_of(const char *code)
{
	static const struct {
		const char *code;
		enum cure cure;
	} cures[] = {
		{ "provider_missing", CURE_NONE },  { "model_unknown", CURE_NONE },
		{ "model_key_refused", CURE_NONE }, { "model_request_refused", CURE_NONE },
		{ "context_too_long", CURE_NONE },  { "tools_unsupported", CURE_NONE },
		{ "egress_refused", CURE_NONE },    { "budget_exceeded", CURE_NONE },
		{ "replay_diverged", CURE_NONE },   { "input_missing", CURE_NONE },
		{ "condition_invalid", CURE_NONE }, { "storage_quota", CURE_NONE },
		{ "knowledge_missing", CURE_NONE }, { "model_rate_limited", CURE_WAIT },
		{ "model_unavailable", CURE_WAIT }, { "model_timeout", CURE_WAIT },
		{ "internal", CURE_WAIT },	    { NODE_MEMORY_CODE, CURE_WAIT },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cures); i++)
		if (strcmp(cures[i].code, code) == 0)
			return cures[i].cure;
	return CURE_ASK;
}

static char *detail_of(const struct node_models *models, const char *spent)
{
	_wl_buffer_ struct wl_buffer detail;
	wl_buffer_init(&detail, 0);
	(void)wl_buffer_appendf(&detail, "{\"usage\":%s", spent ? spent : "null");
	if (*models->said.scope)
		(void)wl_buffer_appendf(&detail,
					",\"budget\":{\"scope\":\"%s\",\"unit\":\"%s\",\"limit\":%.10g,\"used\":%.10g}",
					models->said.scope, models->said.unit, models->said.limit, models->said.used);
	if (*models->record->diverged)
		(void)wl_buffer_appendf(&detail, ",\"place\":\"%s\"", models->record->diverged);
	(void)wl_buffer_append_char(&detail, '}');
	return detail.failed ? NULL : wl_buffer_steal(&detail);
}

/* A budget that a person may lift: the node waits for him. */
static bool ask_person(struct node_outcome *outcome, const struct node_models *models, const char *sentence)
{
	const char *name = strrchr(models->said.wait, '!');
	char message[WL_ERROR_TEXT + 64];
	if (models->said.verdict != WL_BUDGET_ASK || !name)
		return false;
	(void)snprintf(message, sizeof(message), "%s. May the run go on?", sentence);
	outcome->wait_name = strdup(name + 1);
	outcome->wait_message = strdup(message);
	outcome->wait_roles = strdup(APPROVAL_ROLES);
	outcome->result = NODE_WAITS;
	return outcome->wait_name && outcome->wait_message && outcome->wait_roles;
}

void node_fail_model(struct node_outcome *outcome, const struct node_call *call, struct node_models *models,
		     const char *code, const char *spent, const char *sentence)
{
	_wl_free_ char *detail = detail_of(models, spent);
	if (*models->record->full) {
		code = "storage_quota";
		sentence = models->record->full;
	}
	enum cure cure = cure_of(code);
	if (strcmp(code, "budget_exceeded") == 0 && ask_person(outcome, models, sentence))
		return;
	if (cure == CURE_ASK)
		node_record_close_round(models->record, code);
	node_fail(outcome, call, cure == CURE_NONE ? NODE_FAILED_FOR_GOOD : NODE_FAILED, code, detail, "%s", sentence);
}

void node_fail_record(struct node_outcome *outcome, const struct node_call *call, int result,
		      const struct wl_error *err)
{
	if (result == -EDQUOT)
		node_fail(outcome, call, NODE_FAILED_FOR_GOOD, "storage_quota", NULL, "%s", err->text);
	else if (result == -ECANCELED || result == -ESTALE)
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "stopped before it ran");
	else
		node_fail(outcome, call, NODE_FAILED, "internal", NULL, "the record of exchanges cannot be read");
}

bool node_model_stopped(struct node_outcome *outcome, const struct node_call *call, const struct node_models *models,
			const char *spent)
{
	if (node_pause(call, 0)) {
		node_fail(outcome, call, NODE_STOPPED, "cancelled", NULL, "the execution was stopped");
		return true;
	}
	if (models->deadline_ms == 0 || wl_clock_boot_ms() < models->deadline_ms)
		return false;
	_wl_free_ char *detail = detail_of(models, spent);
	node_fail(outcome, call, NODE_FAILED, "timeout", detail, "the node's timeout_s is over");
	return true;
}
