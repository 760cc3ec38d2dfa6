/*
 * What servers say when they do not answer. Statuses are shared by many causes, and the words differ from server to
 * server: the tables below hold the ones that real servers use, in small letters.
 */
#include "lib/llm/wire.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define WORDS_MAX 4096
#define SAID_MAX 300 /* bytes of the server's words that are passed on */

/* X(words that have to be there, a further one or "", fault); the first row that fits counts */
#define FAULT_WORDS(X)                                                                                                 \
	X("context_length_exceeded", "", CONTEXT)                                                                      \
	X("maximum context length", "", CONTEXT)                                                                       \
	X("context length", "exceed", CONTEXT)                                                                         \
	X("context window", "", CONTEXT)                                                                               \
	X("exceed_context_size", "", CONTEXT)                                                                          \
	X("available context size", "", CONTEXT)                                                                       \
	X("prompt is too long", "", CONTEXT)                                                                           \
	X("input is too long", "", CONTEXT)                                                                            \
	X("too many tokens", "", CONTEXT)                                                                              \
	X("string too long", "", CONTEXT)                                                                              \
	X("reduce the length of the messages", "", CONTEXT)                                                            \
	X("longer than the maximum model length", "", CONTEXT)                                                         \
	X("is too large to process", "", CONTEXT)                                                                      \
	X("content_filter", "", FILTER)                                                                                \
	X("content filter", "", FILTER)                                                                                \
	X("content_policy_violation", "", FILTER)                                                                      \
	X("content management policy", "", FILTER)                                                                     \
	X("responsibleai", "", FILTER)                                                                                 \
	X("usage polic", "", FILTER)                                                                                   \
	X("does not support tools", "", TOOLS)                                                                         \
	X("does not support function", "", TOOLS)                                                                      \
	X("tools are not supported", "", TOOLS)                                                                        \
	X("tools is not supported", "", TOOLS)                                                                         \
	X("tool use", "not support", TOOLS)                                                                            \
	X("tool calling", "not support", TOOLS)                                                                        \
	X("support tool use", "no endpoints", TOOLS)                                                                   \
	X("function calling", "not support", TOOLS)                                                                    \
	X("'tools'", "unsupported", TOOLS)                                                                             \
	X("enable-auto-tool-choice", "", TOOLS)                                                                        \
	X("tool-call-parser", "", TOOLS)                                                                               \
	X("tools param requires", "", TOOLS)                                                                           \
	X("model_not_found", "", MODEL)                                                                                \
	X("model", "does not exist", MODEL)                                                                            \
	X("model", "not found", MODEL)                                                                                 \
	X("not_found_error", "model:", MODEL)                                                                          \
	X("unknown model", "", MODEL)                                                                                  \
	X("invalid model", "", MODEL)                                                                                  \
	X("not a valid model", "", MODEL)                                                                              \
	X("invalid_api_key", "", KEY)                                                                                  \
	X("incorrect api key", "", KEY)                                                                                \
	X("invalid x-api-key", "", KEY)                                                                                \
	X("authentication_error", "", KEY)                                                                             \
	X("permission_error", "", KEY)                                                                                 \
	X("insufficient_quota", "", RATE)                                                                              \
	X("rate_limit", "", RATE)                                                                                      \
	X("rate limit", "", RATE)                                                                                      \
	X("too many requests", "", RATE)                                                                               \
	X("overloaded", "", AWAY)                                                                                      \
	X("loading model", "", AWAY)

static const struct {
	const char *words, *too;
	enum wl_model_fault fault;
} fault_words[] = {
#define X(words, too, fault) { words, too, WL_MODEL_FAULT_##fault },
	FAULT_WORDS(X)
#undef X
};

/* X(word for a member of the request, dialect that leaves it out or says it otherwise); when the server does not know
 * it */
#define DIALECT_WORDS(X)                                                                                               \
	X("max_completion_tokens", COMPLETION_TOKENS)                                                                  \
	X("temperature", NO_SAMPLING)                                                                                  \
	X("top_p", NO_TOP_P)                                                                                           \
	X("'stop'", NO_STOP)                                                                                           \
	X("stop_sequences", NO_STOP)                                                                                   \
	X("stream_options", NO_STREAM_USAGE)                                                                           \
	X("parallel_tool_calls", NO_PARALLEL)                                                                          \
	X("strict", NO_STRICT)                                                                                         \
	X("response_format", SCHEMA_TOOL)                                                                              \
	X("json_schema", SCHEMA_TOOL)                                                                                  \
	X("structured output", SCHEMA_TOOL)

static const struct {
	const char *word;
	unsigned dialect;
} dialect_words[] = {
#define X(word, dialect) { word, WL_LLM_DIALECT_##dialect },
	DIALECT_WORDS(X)
#undef X
};

/* One of these has to be there, so that a value out of range does not count as a member that is not known. */
static const char *const refusals[] = { "unsupported",	 "not support",	    "unknown",	     "unrecognized",
					"not permitted", "not allowed",	    "deprecated",    "extra inputs",
					"unavailable",	 "not implemented", "cannot both be" };

int wl_llm_errno(enum wl_model_fault fault)
{
	static const int numbers[] = {
		[WL_MODEL_FAULT_NONE] = EIO,	    [WL_MODEL_FAULT_PROVIDER] = ENOENT,
		[WL_MODEL_FAULT_MODEL] = ENOENT,    [WL_MODEL_FAULT_KEY] = EACCES,
		[WL_MODEL_FAULT_REQUEST] = EINVAL,  [WL_MODEL_FAULT_CONTEXT] = EMSGSIZE,
		[WL_MODEL_FAULT_FILTER] = EINVAL,   [WL_MODEL_FAULT_TOOLS] = EINVAL,
		[WL_MODEL_FAULT_RATE] = EAGAIN,	    [WL_MODEL_FAULT_AWAY] = ECONNREFUSED,
		[WL_MODEL_FAULT_LATE] = ETIMEDOUT,  [WL_MODEL_FAULT_ANSWER] = EPROTO,
		[WL_MODEL_FAULT_EGRESS] = EACCES,   [WL_MODEL_FAULT_BUDGET] = EDQUOT,
		[WL_MODEL_FAULT_DIVERGED] = EPROTO, [WL_MODEL_FAULT_STOPPED] = ECANCELED,
	};
	return numbers[fault];
}

bool wl_llm_may_retry(enum wl_model_fault fault)
{
	return fault == WL_MODEL_FAULT_RATE || fault == WL_MODEL_FAULT_AWAY || fault == WL_MODEL_FAULT_LATE ||
	       fault == WL_MODEL_FAULT_ANSWER;
}

/* ---- masking ---------------------------------------------------------------------------------------------------- */

static void cover(char *from, size_t length)
{
	memset(from, '*', length);
}

static bool is_key_sign(char sign)
{
	return isalnum((unsigned char)sign) || sign == '-' || sign == '_' || sign == '*' || sign == '.';
}

void wl_llm_mask(char *text, const char *secret)
{
	size_t length = secret ? strlen(secret) : 0;
	for (char *at = length ? strstr(text, secret) : NULL; at; at = strstr(at + length, secret))
		cover(at, length);
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = ' ';
	/* what providers call their keys: sk-..., also when a part is starred out already */
	for (char *at = strstr(text, "sk-"); at; at = strstr(at, "sk-")) {
		size_t word = 3;
		while (is_key_sign(at[word]))
			word++;
		bool begins = at == text || !isalnum((unsigned char)at[-1]);
		if (begins && word >= 8)
			cover(at, word);
		at += begins && word >= 8 ? word : 3;
	}
}

/* ---- reading what was said -------------------------------------------------------------------------------------- */

static const char *first_text(const struct wl_json *json, const char *const *names)
{
	for (; *names; names++) {
		const char *text = wl_json_get_string(json, *names, NULL);
		if (text && *text)
			return text;
	}
	return NULL;
}

/* The server's sentence, cut at a character; "" when there is none. */
static void read_said(const char *body, size_t length, char said[SAID_MAX + 1])
{
	static const char *const names[] = { "message", "error", "detail", "msg", "title", NULL };
	_wl_json_ struct wl_json *json = NULL;
	said[0] = '\0';
	if (!body || wl_json_parse(body, length, &json, NULL) < 0)
		return;
	const struct wl_json *top = wl_json_is(json, WL_JSON_ARRAY) ? wl_json_at(json, 0) : json;
	const struct wl_json *error = wl_json_get(top, "error");
	const char *text = first_text(wl_json_is(error, WL_JSON_OBJECT) ? error : top, names);
	if (!text)
		return;
	(void)snprintf(said, SAID_MAX + 1, "%s", text);
	size_t end = strlen(said);
	while (end == SAID_MAX && end > 0 && ((unsigned char)said[end - 1] & 0xc0) == 0x80)
		end--;
	if (end < strlen(said) || (end > 0 && (unsigned char)said[end - 1] >= 0xc0))
		said[end > 0 ? end - 1 : 0] = '\0';
}

static void lower(const char *body, size_t length, char words[WORDS_MAX])
{
	size_t count = 0;
	for (size_t i = 0; body && i < length && count + 1 < WORDS_MAX; i++)
		if (body[i])
			words[count++] = (char)tolower((unsigned char)body[i]);
	words[count] = '\0';
}

static enum wl_model_fault fault_by_words(const char *words)
{
	for (size_t i = 0; i < WL_COUNT_OF(fault_words); i++)
		if (strstr(words, fault_words[i].words) && strstr(words, fault_words[i].too))
			return fault_words[i].fault;
	return WL_MODEL_FAULT_NONE;
}

static enum wl_model_fault judge(long status, const char *words)
{
	enum wl_model_fault fault = fault_by_words(words);
	/* words that tell of the request count for statuses that do, too */
	if (status == 401 || status == 403)
		return fault == WL_MODEL_FAULT_FILTER ? fault : WL_MODEL_FAULT_KEY;
	if (status == 429)
		return WL_MODEL_FAULT_RATE;
	if (status == 408 || status == 409 || status == 425)
		return WL_MODEL_FAULT_AWAY;
	bool ours = fault == WL_MODEL_FAULT_CONTEXT || fault == WL_MODEL_FAULT_FILTER || fault == WL_MODEL_FAULT_TOOLS;
	if (status >= 500 && ours)
		return fault;
	if (status == 501) /* Not Implemented (RFC 9110 §15.6.2): it is there, and will never do this */
		return WL_MODEL_FAULT_REQUEST;
	if (status >= 500)
		return WL_MODEL_FAULT_AWAY;
	if (status >= 300 && status < 400)
		return WL_MODEL_FAULT_ANSWER;
	if (fault != WL_MODEL_FAULT_NONE)
		return fault;
	return status == 404 ? WL_MODEL_FAULT_MODEL : status ? WL_MODEL_FAULT_REQUEST : WL_MODEL_FAULT_AWAY;
}

enum wl_model_fault wl_llm_fault_of(long status, const char *body, size_t length, const char *secret,
				    struct wl_error *err)
{
	static const char *const sentences[] = {
		[WL_MODEL_FAULT_MODEL] = "the server knows no such model",
		[WL_MODEL_FAULT_KEY] = "the server refuses the key",
		[WL_MODEL_FAULT_REQUEST] = "the server refuses the request",
		[WL_MODEL_FAULT_CONTEXT] = "the conversation is too long for the model",
		[WL_MODEL_FAULT_FILTER] = "the provider's content filter refuses the request",
		[WL_MODEL_FAULT_TOOLS] = "the server takes no tools for this model",
		[WL_MODEL_FAULT_RATE] = "the provider's limit of requests is reached",
		[WL_MODEL_FAULT_AWAY] = "the server cannot answer now",
		[WL_MODEL_FAULT_ANSWER] = "the server redirects, which is not followed",
	};
	char words[WORDS_MAX], said[SAID_MAX + 1] = "", number[32] = "";
	lower(body, length, words);
	enum wl_model_fault fault = judge(status, words);
	/* what is said of a key may hold a part of it */
	if (fault != WL_MODEL_FAULT_KEY)
		read_said(body, length, said);
	wl_llm_mask(said, secret);
	if (status)
		(void)snprintf(number, sizeof(number), " (status %ld)", status);
	(void)wl_fail(err, wl_llm_errno(fault), "%s%s%s%s", sentences[fault], number, *said ? ": " : "", said);
	return fault;
}

unsigned wl_llm_dialect_of(long status, const char *body, size_t length, const struct wl_llm_ask *ask)
{
	char words[WORDS_MAX];
	bool refused = false;
	unsigned found = 0;
	if (status != 400 && status != 404 && status != 422 && status != 500 && status != 501)
		return 0;
	lower(body, length, words);
	if (strstr(words, "v1/responses") && !(ask->dialect & WL_LLM_DIALECT_RESPONSES))
		return WL_LLM_DIALECT_RESPONSES;
	for (size_t i = 0; i < WL_COUNT_OF(refusals); i++)
		refused = refused || strstr(words, refusals[i]);
	for (size_t i = 0; refused && i < WL_COUNT_OF(dialect_words) && !found; i++) {
		unsigned dialect = dialect_words[i].dialect;
		if (!strstr(words, dialect_words[i].word) || (ask->dialect & dialect))
			continue;
		/* "temperature and top_p cannot both be given" needs one of them gone only */
		if (dialect == WL_LLM_DIALECT_NO_SAMPLING && strstr(words, "cannot both be"))
			dialect = WL_LLM_DIALECT_NO_TOP_P;
		if (dialect == WL_LLM_DIALECT_SCHEMA_TOOL && !ask->request->schema)
			continue;
		found = dialect & ~ask->dialect;
	}
	/* a schema that went by a tool, to a server that takes no tools */
	if (!found && wl_llm_schema_by_tool(ask) && ask->request->tool_count == 0 &&
	    fault_by_words(words) == WL_MODEL_FAULT_TOOLS)
		found = WL_LLM_DIALECT_SCHEMA_PROMPT;
	return found;
}
