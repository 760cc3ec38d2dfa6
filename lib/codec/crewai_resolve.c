/* What a project names by word, models and tools, and what of the tenant's is meant by it. */
#include "lib/codec/crewai_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- tools ------------------------------------------------------------------------------------------------------ */

/* Letters and digits alone, in lower case: SerperDevTool, serper-dev-tool and serper_dev_tool are one name. */
static void bare_name(const char *name, char bare[128])
{
	size_t length = 0;
	for (; *name && length < 127; name++)
		if (isalnum((unsigned char)*name))
			bare[length++] = (char)tolower((unsigned char)*name);
	bare[length] = '\0';
}

const char *crewai_find_tool(const struct wl_json *directory, const char *name)
{
	char wanted[128], bare[128];
	const char *colon = strrchr(name, ':');
	const char *last = colon ? colon + 1 : name; /* custom:x, module:Class */
	const struct wl_json *tools = wl_json_get(directory, "tools");
	for (const struct wl_json *tool = wl_json_first(tools); tool; tool = wl_json_next(tool)) {
		const char *known = wl_json_get_string(tool, "name", "");
		if (strcmp(known, name) == 0 || strcmp(known, last) == 0)
			return wl_json_get_string(tool, "id", NULL);
	}
	bare_name(last, wanted);
	for (const struct wl_json *tool = wl_json_first(tools); tool && *wanted; tool = wl_json_next(tool)) {
		bare_name(wl_json_get_string(tool, "name", ""), bare);
		if (strcmp(bare, wanted) == 0)
			return wl_json_get_string(tool, "id", NULL);
	}
	return NULL;
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* The first row of a type is the word that is written. */
static const struct {
	const char *word, *type;
} provider_words[] = {
	{ "openai", "openai" },	     { "anthropic", "anthropic" }, { "claude", "anthropic" }, { "ollama", "ollama" },
	{ "ollama_chat", "ollama" }, { "hosted_vllm", "vllm" },	   { "vllm", "vllm" },	      { "demo", "demo" },
};

const char *crewai_provider_word(const char *provider_type)
{
	for (size_t i = 0; i < sizeof(provider_words) / sizeof(*provider_words); i++)
		if (strcmp(provider_words[i].type, provider_type) == 0)
			return provider_words[i].word;
	return NULL;
}

const struct wl_json *crewai_find_provider(const struct wl_json *directory, const char *name)
{
	for (const struct wl_json *one = wl_json_first(wl_json_get(directory, "providers")); one;
	     one = wl_json_next(one))
		if (name && strcmp(wl_json_get_string(one, "name", ""), name) == 0)
			return one;
	return NULL;
}

static const char *type_of_word(const char *word, size_t length)
{
	for (size_t i = 0; i < sizeof(provider_words) / sizeof(*provider_words); i++)
		if (strlen(provider_words[i].word) == length && strncasecmp(provider_words[i].word, word, length) == 0)
			return provider_words[i].type;
	return NULL;
}

static bool lists_model(const struct wl_json *provider, const char *model)
{
	if (strcmp(wl_json_get_string(provider, "default_model", ""), model) == 0)
		return true;
	const struct wl_json *models = wl_json_get(provider, "models");
	for (const struct wl_json *one = wl_json_first(models); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), model) == 0)
			return true;
	return false;
}

/* Of the providers of a type the named one, else the one that lists the model, else one that lists none, else any. */
static const struct wl_json *choose_provider(const struct wl_json *directory, const char *type, const char *name,
					     const char *model, bool *ret_listed)
{
	const struct wl_json *best = NULL;
	int best_rank = 0;
	for (const struct wl_json *one = wl_json_first(wl_json_get(directory, "providers")); one;
	     one = wl_json_next(one)) {
		bool named = name && strcmp(wl_json_get_string(one, "name", ""), name) == 0;
		bool fits = type && strcmp(wl_json_get_string(one, "provider_type", ""), type) == 0;
		bool listed = lists_model(one, model), none = wl_json_count(wl_json_get(one, "models")) == 0;
		int rank = named ? 4 : !fits ? 0 : listed ? 3 : none ? 2 : 1;
		if (rank <= best_rank)
			continue;
		best = one;
		best_rank = rank;
		*ret_listed = listed || none;
	}
	return best;
}

static void settle_model(struct crewai_reader *reader, const struct crewai_place *place, const char *word,
			 const char *whole, const char *provider_name, struct crewai_llm *llm)
{
	const char *slash = strchr(whole, '/');
	const char *type = word	   ? type_of_word(word, strlen(word))
			   : slash ? type_of_word(whole, (size_t)(slash - whole))
				   : (strncmp(whole, "claude", 6) == 0 ? "anthropic" : "openai");
	bool cut = slash && type_of_word(whole, (size_t)(slash - whole)); /* Qwen/Qwen3 is a model's whole name */
	const char *model = cut ? slash + 1 : whole;
	bool listed = false;
	if (strlen(model) >= sizeof(llm->model) || !*model) {
		crewai_fault(reader, place, "a model's name has 1 to %zu bytes", sizeof(llm->model) - 1);
		return;
	}
	(void)snprintf(llm->model, sizeof(llm->model), "%s", model);
	const struct wl_json *provider =
		choose_provider(reader->context->directory, type, provider_name, model, &listed);
	if (!provider) {
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    type ? "there is no LLM provider of the type %s"
				 : "there is no kind of LLM provider for this%s",
			    type ? type : "");
		return;
	}
	(void)snprintf(llm->provider_id, sizeof(llm->provider_id), "%s", wl_json_get_string(provider, "id", ""));
	if (!listed)
		crewai_note(&reader->notes, place, CREWAI_ATTENTION,
			    "the provider '%.80s' does not list the model %.80s",
			    wl_json_get_string(provider, "name", ""), model);
}

struct llm_parts {
	const char *model, *provider;
	struct crewai_llm *llm;
};

static void take_model(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		       void *into)
{
	struct llm_parts *parts = into;
	parts->model = wl_json_string(value, NULL);
	if (!parts->model)
		crewai_fault(reader, place, "is not a text");
}

static void take_provider(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
			  void *into)
{
	struct llm_parts *parts = into;
	parts->provider = wl_json_string(value, NULL);
	if (!parts->provider)
		crewai_fault(reader, place, "is not a text");
}

static void take_temperature(struct crewai_reader *reader, const struct crewai_place *place,
			     const struct wl_json *value, void *into)
{
	struct llm_parts *parts = into;
	double number = wl_json_number(value, -1);
	if (!wl_json_is(value, WL_JSON_NUMBER) || number < 0 || number > 2) {
		crewai_fault(reader, place, "is not a number of 0 to 2");
		return;
	}
	parts->llm->has_temperature = true;
	parts->llm->temperature = number;
}

static void take_answer_tokens(struct crewai_reader *reader, const struct crewai_place *place,
			       const struct wl_json *value, void *into)
{
	struct llm_parts *parts = into;
	double number = wl_json_number(value, 0);
	if (!wl_json_is(value, WL_JSON_NUMBER) || number != floor(number) || number < 1 || number > CREWAI_TOKENS_MAX)
		crewai_fault(reader, place, "is not a whole number of 1 to %d", CREWAI_TOKENS_MAX);
	else
		parts->llm->max_tokens = (int)number;
}

static const struct crewai_key llm_keys[] = {
	{ "model", take_model, 0, NULL },
	{ "model_name", take_model, 0, NULL },
	{ "deployment_name", take_model, 0, NULL },
	{ "provider", take_provider, 0, NULL },
	{ "temperature", take_temperature, 0, NULL },
	{ "base_url", NULL, CREWAI_CHANGED, "the address is the LLM provider's own" },
	{ "api_base", NULL, CREWAI_CHANGED, "the address is the LLM provider's own" },
	{ "api_key", NULL, CREWAI_ATTENTION, "keys are not imported: they belong to the LLM provider" },
	{ "timeout", NULL, CREWAI_CHANGED, "the time-out is the LLM provider's own" },
	{ "max_retries", NULL, CREWAI_CHANGED, "retries are the LLM provider's own" },
	{ "max_tokens", take_answer_tokens, 0, NULL },
	{ "max_completion_tokens", take_answer_tokens, 0, NULL },
	{ "stream", NULL, CREWAI_IGNORED, "answers are always streamed" },
	{ NULL, NULL, 0, NULL },
};

void crewai_find_llm(struct crewai_reader *reader, const struct crewai_place *place, const struct wl_json *value,
		     const char *provider_name, struct crewai_llm *ret_llm)
{
	struct llm_parts parts = { .llm = ret_llm };
	memset(ret_llm, 0, sizeof(*ret_llm));
	if (wl_json_is(value, WL_JSON_STRING)) {
		settle_model(reader, place, NULL, wl_json_string(value, ""), provider_name, ret_llm);
		return;
	}
	if (!crewai_walk(reader, place, value, llm_keys, &parts))
		return;
	if (parts.model)
		settle_model(reader, place, parts.provider, parts.model, provider_name, ret_llm);
	else
		crewai_note(&reader->notes, place, CREWAI_ATTENTION, "names no model");
}
