/* What is known of models by the beginning of their names; the longest row that fits counts. */
#include "lib/llm/wire.h"

#include "lib/base/cleanup.h"

#include <string.h>

#define REASONING (WL_LLM_DIALECT_COMPLETION_TOKENS | WL_LLM_DIALECT_NO_SAMPLING | WL_LLM_DIALECT_NO_STOP)
#define RESPONSES (REASONING | WL_LLM_DIALECT_RESPONSES)

/* X(beginning of the name, dialect) */
#define OPENAI_MODELS(X)                                                                                               \
	X("o1", REASONING)                                                                                             \
	X("o1-pro", RESPONSES)                                                                                         \
	X("o3", REASONING)                                                                                             \
	X("o3-pro", RESPONSES)                                                                                         \
	X("o3-deep-research", RESPONSES)                                                                               \
	X("o4-mini", REASONING)                                                                                        \
	X("o4-mini-deep-research", RESPONSES)                                                                          \
	X("gpt-5", REASONING)                                                                                          \
	X("gpt-5-chat", WL_LLM_DIALECT_COMPLETION_TOKENS)                                                              \
	X("gpt-5-pro", RESPONSES)                                                                                      \
	X("gpt-5-codex", RESPONSES)                                                                                    \
	X("gpt-5.1-codex", RESPONSES)                                                                                  \
	X("gpt-5.2-codex", RESPONSES)                                                                                  \
	X("gpt-5.2-pro", RESPONSES)                                                                                    \
	X("codex-mini", RESPONSES)                                                                                     \
	X("computer-use-preview", RESPONSES)

static const struct {
	const char *name;
	unsigned dialect;
} openai_models[] = {
#define X(name, dialect) { name, dialect },
	OPENAI_MODELS(X)
#undef X
};

unsigned wl_llm_known_dialect(enum wl_llm_type type, const char *model)
{
	unsigned dialect = type == WL_LLM_ANTHROPIC ? WL_LLM_DIALECT_SCHEMA_TOOL : 0;
	size_t longest = 0;
	for (size_t i = 0; type == WL_LLM_OPENAI && i < WL_COUNT_OF(openai_models); i++) {
		size_t length = strlen(openai_models[i].name);
		if (length <= longest || strncmp(model, openai_models[i].name, length) != 0)
			continue;
		longest = length;
		dialect = openai_models[i].dialect;
	}
	return dialect;
}
