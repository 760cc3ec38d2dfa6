/* Agents: a definition of agents.yaml, agents/NAME.jsonc or a flow, with what windlass.yaml says beside it. */
#include "lib/codec/crewai_internal.h"

#include <string.h>

struct agent_reading {
	struct wl_json *body, *config;
	const char *provider_name; /* of windlass.yaml */
};

/* ---- members that are taken ------------------------------------------------------------------------------------- */

#define TAKE_TEXT(name, most)                                                                                          \
	static void take_##name(struct crewai_reader *reader, const struct crewai_place *place,                        \
				const struct wl_json *value, void *into)                                               \
	{                                                                                                              \
		crewai_take_text(reader, place, value, 0, most, ((struct agent_reading *)into)->config, #name);        \
	}
TAKE_TEXT(role, 1000)
TAKE_TEXT(goal, 10000)
TAKE_TEXT(backstory, 10000)

#define TAKE_INTEGER(name, most)                                                                                       \
	static void take_##name(struct crewai_reader *reader, const struct crewai_place *place,                        \
				const struct wl_json *value, void *into)                                               \
	{                                                                                                              \
		crewai_take_integer(reader, place, value, 1, most, ((struct agent_reading *)into)->config, #name);     \
	}
TAKE_INTEGER(max_iter, 1000)
TAKE_INTEGER(max_rpm, 100000)
TAKE_INTEGER(max_execution_time, 604800)
TAKE_INTEGER(max_tokens, CREWAI_TOKENS_MAX)

static void take_allow_delegation(struct crewai_reader *reader, const struct crewai_place *place,
				  const struct wl_json *value, void *into)
{
	crewai_take_bool(reader, place, value, ((struct agent_reading *)into)->config, "allow_delegation");
}

static void take_memory(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	struct agent_reading *agent = into;
	if (!wl_json_is(value, WL_JSON_OBJECT)) {
		crewai_take_bool(reader, place, value, agent->config, "memory");
		return;
	}
	crewai_set(&reader->notes, agent->config, "memory", wl_json_new_bool(true));
	crewai_note(&reader->notes, place, CREWAI_CHANGED, "memory is on; its settings are not taken over");
}

static void take_llm(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     void *into)
{
	struct agent_reading *agent = into;
	struct crewai_llm llm;
	crewai_find_llm(reader, place, value, agent->provider_name, &llm);
	if (*llm.provider_id)
		crewai_set(&reader->notes, agent->body, "llm_provider_id", wl_json_new_string(llm.provider_id));
	if (*llm.model)
		crewai_set(&reader->notes, agent->config, "model", wl_json_new_string(llm.model));
	if (llm.has_temperature)
		crewai_set(&reader->notes, agent->config, "temperature", wl_json_new_number(llm.temperature));
	if (llm.max_tokens && !wl_json_get(agent->config, "max_tokens"))
		crewai_set(&reader->notes, agent->config, "max_tokens", wl_json_new_number(llm.max_tokens));
}

static bool has_text(const struct wl_json *list, const char *text)
{
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), text) == 0)
			return true;
	return false;
}

void crewai_add_tool(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     struct wl_json *config)
{
	const char *name = wl_json_string(value, NULL);
	if (!name) {
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    "a tool that is defined here is not imported; make it as a tool and give it to the agent");
		return;
	}
	const char *id = crewai_find_tool(reader->context->directory, name);
	if (!id) {
		crewai_note(&reader->notes, place, CREWAI_ATTENTION, "there is no tool named '%.80s'", name);
		return;
	}
	struct wl_json *tools = (struct wl_json *)wl_json_get(config, "tools"); /* the config is ours */
	if (!tools)
		tools = crewai_child(&reader->notes, config, "tools", true);
	if (tools && !has_text(tools, id) && wl_json_count(tools) < 100)
		crewai_append(&reader->notes, tools, wl_json_new_string(id));
}

static void take_tools(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	struct crewai_place at = { .parent = place };
	if (!wl_json_is(value, WL_JSON_ARRAY) || wl_json_count(value) > 100) {
		crewai_fault(reader, place, "is not a list of at most 100 tools");
		return;
	}
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one), at.index++)
		crewai_add_tool(reader, &at, one, ((struct agent_reading *)into)->config);
}

static void take_settings(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into);

static void take_type(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		      void *into)
{
	static const char *const plain[] = { "agent", "Agent", "crewai.Agent", "crewai.agent.core.Agent" };
	(void)into;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		if (strcmp(wl_json_string(value, ""), plain[i]) == 0)
			return;
	crewai_note(&reader->notes, place, CREWAI_ATTENTION,
		    "a class of its own is not imported; this is a plain agent");
}

static const char runs_code[] = "programs of the project are not run; say it as a tool or a guardrail";
static const char as_tool[] = "connect it as a tool and give that to the agent";
static const char as_artifact[] = "upload the texts as artifacts and name them in the agent's knowledge";
static const char own_prompt[] = "prompts are made of role, goal and backstory; system_prompt stands before them";

static const struct crewai_key agent_keys[] = {
	{ "role", take_role, 0, NULL },
	{ "goal", take_goal, 0, NULL },
	{ "backstory", take_backstory, 0, NULL },
	{ "llm", take_llm, 0, NULL },
	{ "tools", take_tools, 0, NULL },
	{ "max_iter", take_max_iter, 0, NULL },
	{ "max_rpm", take_max_rpm, 0, NULL },
	{ "max_execution_time", take_max_execution_time, 0, NULL },
	{ "max_tokens", take_max_tokens, 0, NULL },
	{ "allow_delegation", take_allow_delegation, 0, NULL },
	{ "memory", take_memory, 0, NULL },
	{ "settings", take_settings, 0, NULL },
	{ "type", take_type, 0, NULL },
	{ "verbose", NULL, CREWAI_IGNORED, "each run keeps its whole trace" },
	{ "cache", NULL, CREWAI_IGNORED, "results of tools are not cached" },
	{ "cache_handler", NULL, CREWAI_IGNORED, "results of tools are not cached" },
	{ "callbacks", NULL, CREWAI_ATTENTION, runs_code },
	{ "step_callback", NULL, CREWAI_ATTENTION, runs_code },
	{ "function_calling_llm", NULL, CREWAI_CHANGED, "tools are called by the agent's own model" },
	{ "use_system_prompt", NULL, CREWAI_IGNORED, "the provider decides how the system's prompt is sent" },
	{ "system_template", NULL, CREWAI_ATTENTION, own_prompt },
	{ "prompt_template", NULL, CREWAI_ATTENTION, own_prompt },
	{ "response_template", NULL, CREWAI_ATTENTION, own_prompt },
	{ "allow_code_execution", NULL, CREWAI_ATTENTION, "code runs in sandboxes only: give the agent a code tool" },
	{ "code_execution_mode", NULL, CREWAI_IGNORED, "code always runs in a sandbox" },
	{ "respect_context_window", NULL, CREWAI_IGNORED, "a context that is too long is always cut" },
	{ "max_retry_limit", NULL, CREWAI_CHANGED, "retries are the LLM provider's own" },
	{ "multimodal", NULL, CREWAI_CHANGED, "whether images are understood is a matter of the model" },
	{ "reasoning", NULL, CREWAI_CHANGED, "a crew plans, not an agent: 'planning' of the crew" },
	{ "planning", NULL, CREWAI_CHANGED, "a crew plans, not an agent: 'planning' of the crew" },
	{ "planning_config", NULL, CREWAI_CHANGED, "a crew plans, not an agent: 'planning' of the crew" },
	{ "max_reasoning_attempts", NULL, CREWAI_CHANGED, "a crew plans, not an agent: 'planning' of the crew" },
	{ "knowledge", NULL, CREWAI_ATTENTION, as_artifact },
	{ "knowledge_sources", NULL, CREWAI_ATTENTION, as_artifact },
	{ "knowledge_storage", NULL, CREWAI_CHANGED, "knowledge lies in the platform's own store" },
	{ "knowledge_config", NULL, CREWAI_CHANGED, "how knowledge is searched is fixed" },
	{ "embedder", NULL, CREWAI_CHANGED, "embeddings come from the agent's LLM provider" },
	{ "agent_knowledge_context", NULL, CREWAI_IGNORED, "is made when a crew runs" },
	{ "crew_knowledge_context", NULL, CREWAI_IGNORED, "is made when a crew runs" },
	{ "knowledge_search_query", NULL, CREWAI_IGNORED, "is made when a crew runs" },
	{ "inject_date", NULL, CREWAI_ATTENTION, "the date is not put into prompts; pass it as an input" },
	{ "date_format", NULL, CREWAI_ATTENTION, "the date is not put into prompts; pass it as an input" },
	{ "from_repository", NULL, CREWAI_ATTENTION, "the agent's definition is not in these files" },
	{ "guardrail", NULL, CREWAI_ATTENTION, "guardrails belong to tasks here" },
	{ "guardrail_max_retries", NULL, CREWAI_ATTENTION, "guardrails belong to tasks here" },
	{ "mcps", NULL, CREWAI_ATTENTION, as_tool },
	{ "apps", NULL, CREWAI_ATTENTION, as_tool },
	{ "skills", NULL, CREWAI_ATTENTION, as_tool },
	{ "a2a", NULL, CREWAI_ATTENTION, "agents of other servers are not called" },
	{ "tool_failure_policy", NULL, CREWAI_CHANGED, "the model is told of a tool's failure and goes on" },
	{ "response_format", NULL, CREWAI_ATTENTION, "give the node a JSON Schema" },
	{ "executor_class", NULL, CREWAI_IGNORED, "there is one way to run agents" },
	{ "agent_executor", NULL, CREWAI_IGNORED, "there is one way to run agents" },
	{ "use_better_compaction", NULL, CREWAI_IGNORED, "a context that is too long is always cut" },
	{ "checkpoint", NULL, CREWAI_IGNORED, "each run can be resumed" },
	{ "security_config", NULL, CREWAI_IGNORED, "is CrewAI's own" },
	{ "i18n", NULL, CREWAI_ATTENTION, "prompts have one language" },
	{ NULL, NULL, 0, NULL },
};

static void take_settings(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	if (wl_json_is(value, WL_JSON_OBJECT) && wl_json_get(value, "settings"))
		crewai_fault(reader, place, "has settings inside settings");
	else
		crewai_walk(reader, place, value, agent_keys, into);
}

/* ---- windlass.yaml ---------------------------------------------------------------------------------------------- */

static void extra_name(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	crewai_take_text(reader, place, value, 1, 200, ((struct agent_reading *)into)->body, "name");
}

static void extra_description(struct crewai_reader *reader, const struct crewai_place *place,
			      const struct wl_json *value, void *into)
{
	crewai_take_text(reader, place, value, 0, 10000, ((struct agent_reading *)into)->body, "description");
}

static void extra_system_prompt(struct crewai_reader *reader, const struct crewai_place *place,
				const struct wl_json *value, void *into)
{
	crewai_take_text(reader, place, value, 0, 100000, ((struct agent_reading *)into)->body, "system_prompt");
}

static void extra_provider(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			   void *into)
{
	((struct agent_reading *)into)->provider_name = wl_json_string(value, NULL);
	if (!wl_json_is(value, WL_JSON_STRING))
		crewai_fault(reader, place, "is not a text");
}

static void extra_model(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	crewai_take_text(reader, place, value, 1, 200, ((struct agent_reading *)into)->config, "model");
}

static void extra_temperature(struct crewai_reader *reader, const struct crewai_place *place,
			      const struct wl_json *value, void *into)
{
	double number = wl_json_number(value, -1);
	if (!wl_json_is(value, WL_JSON_NUMBER) || number < 0 || number > 2)
		crewai_fault(reader, place, "is not a number of 0 to 2");
	else
		crewai_set(&reader->notes, ((struct agent_reading *)into)->config, "temperature", wl_json_copy(value));
}

/* Ids of artifacts: they are those of the tenant that it was exported from. */
static void extra_knowledge(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			    void *into)
{
	struct wl_json *config = ((struct agent_reading *)into)->config;
	if (!wl_json_is(value, WL_JSON_ARRAY) || wl_json_count(value) > 100) {
		crewai_fault(reader, place, "is not a list of at most 100 ids");
		return;
	}
	for (const struct wl_json *one = wl_json_first(value); one; one = wl_json_next(one))
		if (!wl_uuid_valid(wl_json_string(one, ""))) {
			crewai_fault(reader, place, "is not a list of ids");
			return;
		}
	crewai_set(&reader->notes, config, "knowledge", wl_json_copy(value));
}

/* Members that were written because CrewAI needs them: the agent has none. */
static void extra_added(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			void *into)
{
	(void)into;
	if (!wl_json_is(value, WL_JSON_ARRAY))
		crewai_fault(reader, place, "is not a list");
}

static const struct crewai_key extra_keys[] = {
	{ "name", extra_name, 0, NULL },
	{ "description", extra_description, 0, NULL },
	{ "system_prompt", extra_system_prompt, 0, NULL },
	{ "provider", extra_provider, 0, NULL },
	{ "model", extra_model, 0, NULL },
	{ "temperature", extra_temperature, 0, NULL },
	{ "tools", take_tools, 0, NULL },
	{ "knowledge", extra_knowledge, 0, NULL },
	{ "added", extra_added, 0, NULL },
	{ NULL, NULL, 0, NULL },
};

/* ---- an agent --------------------------------------------------------------------------------------------------- */

/* The definition without what `added` names. NULL without memory. */
static struct wl_json *without_added(const struct wl_json *value, const struct wl_json *added)
{
	struct wl_json *made = wl_json_object();
	int failed = made ? 0 : -1;
	for (const struct wl_json *one = wl_json_first(value); one && !failed; one = wl_json_next(one))
		if (!has_text(added, wl_json_key(one)))
			failed = wl_json_set(made, wl_json_key(one), wl_json_copy(one));
	if (!failed)
		return made;
	wl_json_free(made);
	return NULL;
}

static void read_members(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			 const struct wl_json *extra, struct agent_reading *agent)
{
	bool yaml = reader->yaml;
	const struct crewai_place file = { .file = "windlass.yaml" }, agents = { .parent = &file, .key = "agents" },
				  at = { .parent = &agents, .key = place->key };
	reader->yaml = false; /* it is written by ourselves, to the letter */
	if (extra)
		crewai_walk(reader, &at, extra, extra_keys, agent);
	reader->yaml = yaml;
	const struct wl_json *added = wl_json_get(extra, "added");
	if (!wl_json_is(value, WL_JSON_OBJECT) || !wl_json_is(added, WL_JSON_ARRAY)) {
		crewai_walk(reader, place, value, agent_keys, agent);
		return;
	}
	_wl_json_ struct wl_json *rest = without_added(value, added);
	reader->notes.no_memory |= !rest;
	if (rest)
		crewai_walk(reader, place, rest, agent_keys, agent);
}

struct wl_json *crewai_read_agent(struct crewai_reader *reader, const struct crewai_place *place, const char *key,
				  const struct wl_json *value, const struct wl_json *extra)
{
	char id[WL_UUID_TEXT];
	int attention = reader->notes.attention, faults = reader->faults->count;
	struct wl_json *body = crewai_child(&reader->notes, reader->agents, NULL, false);
	struct wl_json *config = body ? crewai_child(&reader->notes, body, "config", false) : NULL;
	if (!config)
		return NULL;
	reader->context->new_id(reader->context->self, id);
	crewai_set(&reader->notes, body, "id", wl_json_new_string(id));
	crewai_set(&reader->notes, body, "name", wl_json_new_string(key));
	if (strlen(key) == 0 || strlen(key) > 200)
		crewai_fault(reader, place, "an agent's name has 1 to 200 bytes");
	struct agent_reading agent = { .body = body, .config = config };
	read_members(reader, place, value, extra, &agent);
	const struct wl_json *named = crewai_find_provider(reader->context->directory, agent.provider_name);
	if (named && !wl_json_get(body, "llm_provider_id"))
		crewai_set(&reader->notes, body, "llm_provider_id",
			   wl_json_new_string(wl_json_get_string(named, "id", "")));
	if (!wl_json_get(body, "llm_provider_id") && !wl_json_get(config, "model"))
		crewai_note(&reader->notes, place, CREWAI_CHANGED,
			    "names no model (CrewAI takes its environment's): choose an LLM provider");
	crewai_set(&reader->notes, body, "state",
		   wl_json_new_string(reader->notes.attention > attention ? "draft" : "active"));
	return reader->faults->count == faults ? body : NULL;
}
