/*
 * jq back to CEL, for the programs that crewai_cel.c writes and those that people write like them: paths, literals,
 * operators, if, and the few pipes that stand for CEL's functions. All else is refused, never guessed.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_cel.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 40
#define RESULT_MAX (64u << 10)

struct jq {
	const char *text;
	size_t length, at;
	int depth;
	const struct crewai_names *names;
	struct wl_error *err;
};

static char *parse_pipe(struct jq *jq);

static char *refuse(struct jq *jq, const char *what)
{
	if (jq->err->code == 0)
		(void)wl_fail(jq->err, EINVAL, "%s at character %zu", what, jq->at + 1);
	return NULL;
}

static char *made(struct jq *jq, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static char *made(struct jq *jq, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int length = vasprintf(&text, fmt, args);
	va_end(args);
	if (length < 0) {
		(void)wl_fail(jq->err, ENOMEM, "no memory for an expression");
		return NULL;
	}
	if (length > (int)RESULT_MAX) {
		free(text);
		return refuse(jq, "the expression becomes too long");
	}
	return text;
}

static char peek(struct jq *jq)
{
	while (jq->at < jq->length && isspace((unsigned char)jq->text[jq->at]))
		jq->at++;
	return jq->at < jq->length ? jq->text[jq->at] : '\0';
}

static bool take(struct jq *jq, const char *token)
{
	size_t length = strlen(token);
	(void)peek(jq);
	if (jq->length - jq->at < length || strncmp(jq->text + jq->at, token, length) != 0)
		return false;
	if (isalpha((unsigned char)token[0]) && jq->at + length < jq->length &&
	    (isalnum((unsigned char)jq->text[jq->at + length]) || jq->text[jq->at + length] == '_'))
		return false;
	jq->at += length;
	return true;
}

static bool take_name(struct jq *jq, char name[64])
{
	size_t length = 0;
	if (jq->at >= jq->length || (!isalpha((unsigned char)jq->text[jq->at]) && jq->text[jq->at] != '_'))
		return false;
	while (jq->at < jq->length && length < 63 &&
	       (isalnum((unsigned char)jq->text[jq->at]) || jq->text[jq->at] == '_'))
		name[length++] = jq->text[jq->at++];
	name[length] = '\0';
	return true;
}

/* The three parts of a value that something is put behind or before: in brackets when it is composed. */
#define WHOLE(value) strchr(value, ' ') ? "(" : "", value, strchr(value, ' ') ? ")" : ""

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* A text as it stands: CEL reads JSON's escapes but for pairs of surrogates. */
static char *parse_string(struct jq *jq)
{
	size_t start = jq->at++;
	for (; jq->at < jq->length && jq->text[jq->at] != '"'; jq->at++) {
		if (jq->text[jq->at] != '\\')
			continue;
		if (jq->at + 1 < jq->length &&
		    (jq->text[jq->at + 1] == '(' ||
		     (jq->text[jq->at + 1] == 'u' && jq->at + 2 < jq->length && (jq->text[jq->at + 2] | 0x20) == 'd')))
			return refuse(jq, "a text holds more than characters");
		jq->at++;
	}
	if (jq->at >= jq->length) {
		jq->at = jq->length; /* an escape may have led one further */
		return refuse(jq, "a text is not closed");
	}
	jq->at++;
	return made(jq, "%.*s", (int)(jq->at - start), jq->text + start);
}

static char *parse_number(struct jq *jq)
{
	size_t start = jq->at;
	jq->at += strspn(jq->text + jq->at, "0123456789");
	if (jq->text[jq->at] == '.' && isdigit((unsigned char)jq->text[jq->at + 1]))
		jq->at += 1 + strspn(jq->text + jq->at + 1, "0123456789");
	if ((jq->text[jq->at] | 0x20) == 'e') {
		size_t sign = jq->text[jq->at + 1] == '+' || jq->text[jq->at + 1] == '-';
		size_t digits = strspn(jq->text + jq->at + 1 + sign, "0123456789");
		jq->at += digits ? 1 + sign + digits : 0;
	}
	return made(jq, "%.*s", (int)(jq->at - start), jq->text + start);
}

/* [LIST[] as $v | ...]: map or filter. The bracket and the list are taken. */
static char *parse_macro(struct jq *jq, const char *list)
{
	char local[64], again[64];
	if (!take(jq, "as") || !take(jq, "$") || !take_name(jq, local) || !take(jq, "|"))
		return refuse(jq, "a list of many values is not understood");
	size_t before = jq->at;
	if (take(jq, "select") && take(jq, "(")) {
		_wl_free_ char *body = parse_pipe(jq);
		if (body && take(jq, ")") && take(jq, "|") && take(jq, "$") && take_name(jq, again) &&
		    strcmp(local, again) == 0 && take(jq, "]"))
			return made(jq, "%s%s%s.filter(%s, %s)", WHOLE(list), local, body);
		return refuse(jq, "a selection is not understood");
	}
	jq->at = before;
	_wl_free_ char *body = parse_pipe(jq);
	if (!body || !take(jq, "]"))
		return refuse(jq, "a list is not closed");
	size_t behind = jq->at;
	const char *kind = "map";
	if (take(jq, "|")) {
		kind = take(jq, "all") ? "all" : take(jq, "any") ? "exists" : "map";
		if (strcmp(kind, "map") == 0)
			jq->at = behind;
	}
	return made(jq, "%s%s%s.%s(%s, %s)", WHOLE(list), kind, local, body);
}

static char *parse_list(struct jq *jq)
{
	char *all = made(jq, "[");
	for (bool first = true; all && !take(jq, "]"); first = false) {
		_wl_free_ char *before = all;
		all = NULL;
		if (!first && !take(jq, ","))
			return refuse(jq, "a comma is missing");
		_wl_free_ char *value = parse_pipe(jq);
		if (!value)
			return NULL;
		if (first && take(jq, "[]"))
			return parse_macro(jq, value);
		all = made(jq, "%s%s%s", before, first ? "" : ", ", value);
	}
	_wl_free_ char *before = all;
	return before ? made(jq, "%s]", before) : NULL;
}

static char *parse_object(struct jq *jq)
{
	char name[64], *all = made(jq, "{");
	for (bool first = true; all && !take(jq, "}"); first = false) {
		_wl_free_ char *before = all;
		all = NULL;
		if (!first && !take(jq, ","))
			return refuse(jq, "a comma is missing");
		_wl_free_ char *key = peek(jq) == '"'	    ? parse_string(jq)
				      : take(jq, "(")	    ? parse_pipe(jq)
				      : take_name(jq, name) ? made(jq, "\"%s\"", name)
							    : NULL;
		(void)take(jq, ")");
		_wl_free_ char *value = key && take(jq, ":") ? parse_pipe(jq) : NULL;
		if (!value)
			return refuse(jq, "a pair is not understood");
		all = made(jq, "%s%s%s: %s", before, first ? "" : ", ", key, value);
	}
	_wl_free_ char *before = all;
	return before ? made(jq, "%s}", before) : NULL;
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* .nodes.ID: an output, of a model its text or JSON. */
static char *parse_node(struct jq *jq)
{
	char id[64];
	bool model = false;
	if (take(jq, "[\"")) {
		size_t length = strcspn(jq->text + jq->at, "\"");
		if (length > 63 || strncmp(jq->text + jq->at + length, "\"]", 2) != 0)
			return refuse(jq, "a node is not named");
		(void)snprintf(id, sizeof(id), "%.*s", (int)length, jq->text + jq->at);
		jq->at += length + 2;
	} else if (!take(jq, ".") || !take_name(jq, id)) {
		return refuse(jq, "a node is not named");
	}
	const char *name = jq->names->find(jq->names->self, id, &model);
	if (!name)
		return refuse(jq, "a node is named that is no method");
	if (!*name) /* the node that holds the state */
		return made(jq, "state");
	if (model && take(jq, ".text"))
		return made(jq, "outputs.%s.raw", name);
	if (model && take(jq, ".json"))
		return made(jq, "outputs.%s.json_dict", name);
	return made(jq, "outputs.%s", name);
}

static char *parse_path_root(struct jq *jq)
{
	char name[64];
	if (take(jq, "$"))
		return take_name(jq, name) ? made(jq, "%s", name) : refuse(jq, "a variable is not named");
	jq->at++; /* the dot */
	if (!take_name(jq, name))
		return refuse(jq, "the context as a whole is no value");
	if (strcmp(name, "inputs") == 0)
		return made(jq, "state");
	if (strcmp(name, "item") == 0 && jq->names->item)
		return made(jq, "item");
	if (strcmp(name, "nodes") == 0)
		return parse_node(jq);
	return refuse(jq, "a part of the context has no like");
}

static char *parse_primary(struct jq *jq)
{
	static const char *const words[] = { "true", "false", "null" };
	char first = peek(jq);
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (take(jq, words[i]))
			return made(jq, "%s", words[i]);
	if (first == '.' || first == '$')
		return parse_path_root(jq);
	if (first == '"')
		return parse_string(jq);
	if (isdigit((unsigned char)first))
		return parse_number(jq);
	if (take(jq, "["))
		return parse_list(jq);
	if (take(jq, "{"))
		return parse_object(jq);
	if (take(jq, "(")) {
		_wl_free_ char *inner = parse_pipe(jq);
		return inner && take(jq, ")") ? made(jq, "(%s)", inner) : refuse(jq, "a bracket is not closed");
	}
	if (!take(jq, "if"))
		return refuse(jq, "a value is missing");
	_wl_free_ char *condition = parse_pipe(jq);
	_wl_free_ char *yes = condition && take(jq, "then") ? parse_pipe(jq) : NULL;
	_wl_free_ char *no = yes && take(jq, "else") ? parse_pipe(jq) : NULL;
	return no && take(jq, "end") ? made(jq, "(%s ? %s : %s)", condition, yes, no)
				     : refuse(jq, "an if is not understood");
}

static char *parse_postfix(struct jq *jq)
{
	char *value = parse_primary(jq), name[64];
	for (int steps = 0; value && steps < 100; steps++) {
		char next = jq->at < jq->length ? jq->text[jq->at] : '\0';
		_wl_free_ char *subject = NULL;
		if (next == '.' && jq->at + 1 < jq->length &&
		    (isalpha((unsigned char)jq->text[jq->at + 1]) || jq->text[jq->at + 1] == '_')) {
			jq->at++;
			(void)take_name(jq, name);
			subject = value;
			value = made(jq, "%s.%s", subject, name);
		} else if (next == '[' && !(jq->at + 1 < jq->length && jq->text[jq->at + 1] == ']')) {
			jq->at++;
			subject = value;
			_wl_free_ char *index = parse_pipe(jq);
			value = index && take(jq, "]") ? made(jq, "%s[%s]", subject, index)
						       : refuse(jq, "an index is not understood");
		} else {
			break;
		}
	}
	return value;
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

static const char *const levels[][7] = {
	{ "or", NULL },	    { "and", NULL },	     { "==", "!=", "<=", ">=", "<", ">", NULL },
	{ "+", "-", NULL }, { "*", "/", "%", NULL },
};

static const char *cel_operator(const char *token)
{
	return strcmp(token, "or") == 0 ? "||" : strcmp(token, "and") == 0 ? "&&" : token;
}

static char *parse_level(struct jq *jq, size_t level)
{
	if (level == WL_COUNT_OF(levels)) {
		if (!take(jq, "-"))
			return parse_postfix(jq);
		_wl_free_ char *value = parse_postfix(jq);
		return value ? made(jq, "-%s", value) : NULL;
	}
	char *left = parse_level(jq, level + 1);
	for (int steps = 0; left; steps++) {
		const char *found = NULL;
		for (const char *const *token = levels[level]; *token && !found; token++)
			found = take(jq, *token) ? *token : NULL;
		if (found && peek(jq) == '/' && *found == '/') /* jq's alternative: nothing like it there */
			return free(left), refuse(jq, "// has no like");
		if (!found)
			return left;
		_wl_free_ char *before = left;
		_wl_free_ char *right = steps < 100 ? parse_level(jq, level + 1) : refuse(jq, "too many operators");
		left = right ? made(jq, "%s%s %s %s%s", steps ? "(" : "", before, cel_operator(found), right,
				    steps ? ")" : "")
			     : NULL;
	}
	return left;
}

/* VALUE as $x | SUBJECT | function($x), and the long form of `in`. */
static char *parse_bound(struct jq *jq, const char *value)
{
	static const char *const pairs[][2] = {
		{ "startswith", "startsWith" }, { "endswith", "endsWith" }, { "contains", "contains" },
		{ "split", "split" },		{ "join", "join" },
	};
	static const char tail[] = "if type == \"object\" then has($%s) else index([$%s]) != null end";
	char name[64], call[192];
	if (!take(jq, "$") || !take_name(jq, name) || !take(jq, "|"))
		return refuse(jq, "a variable is not understood");
	_wl_free_ char *subject = parse_level(jq, 0);
	if (!subject || !take(jq, "|"))
		return refuse(jq, "a variable is not understood");
	(void)snprintf(call, sizeof(call), tail, name, name);
	(void)peek(jq);
	if (strncmp(jq->text + jq->at, call, strlen(call)) == 0) {
		jq->at += strlen(call);
		return made(jq, "(%s%s%s in %s%s%s)", WHOLE(value), WHOLE(subject));
	}
	for (size_t i = 0; i < WL_COUNT_OF(pairs); i++) {
		(void)snprintf(call, sizeof(call), "%s($%s)", pairs[i][0], name);
		if (strncmp(jq->text + jq->at, call, strlen(call)) != 0)
			continue;
		jq->at += strlen(call);
		return made(jq, "%s%s%s.%s(%s)", WHOLE(subject), pairs[i][1], value);
	}
	return refuse(jq, "a variable is not understood");
}

static char *parse_filter(struct jq *jq, const char *value)
{
	static const char *const known[][2] = {
		{ "length", "size" },
		{ "tostring", "string" },
		{ "type", "type" },
	};
	if (take(jq, "not"))
		return made(jq, "!%s%s%s", WHOLE(value));
	if (take(jq, "tonumber")) {
		size_t before = jq->at;
		bool whole = take(jq, "|") && take(jq, "trunc");
		jq->at = whole ? jq->at : before;
		return made(jq, "%s(%s)", whole ? "int" : "double", value);
	}
	if (take(jq, "ascii_downcase"))
		return made(jq, "%s%s%s.lowerAscii()", WHOLE(value));
	if (take(jq, "ascii_upcase"))
		return made(jq, "%s%s%s.upperAscii()", WHOLE(value));
	for (size_t i = 0; i < WL_COUNT_OF(known); i++)
		if (take(jq, known[i][0]))
			return made(jq, "%s(%s)", known[i][1], value);
	return refuse(jq, "a pipe is not understood");
}

static char *parse_pipe(struct jq *jq)
{
	if (++jq->depth > DEPTH_MAX)
		return refuse(jq, "the expression is nested too deep");
	char *value = parse_level(jq, 0);
	if (value && take(jq, "as")) {
		_wl_free_ char *bound = value;
		value = parse_bound(jq, bound);
	}
	while (value && take(jq, "|")) {
		_wl_free_ char *left = value;
		value = parse_filter(jq, left);
	}
	jq->depth--;
	return value;
}

int crewai_jq_to_cel(const char *text, size_t length, const struct crewai_names *names, char **ret_cel,
		     struct wl_error *err)
{
	struct wl_error local = { 0 };
	_wl_free_ char *copy = length <= CREWAI_CEL_MAX ? strndup(text, length) : NULL;
	if (length > CREWAI_CEL_MAX)
		return wl_fail(err, EINVAL, "an expression has at most %d bytes", CREWAI_CEL_MAX);
	if (!copy)
		return wl_fail(err, ENOMEM, "no memory for an expression");
	struct jq jq = { .text = copy, .length = strlen(copy), .names = names, .err = &local };
	char *cel = parse_pipe(&jq);
	if (cel && peek(&jq) != '\0') {
		free(cel);
		cel = refuse(&jq, "something stands behind the expression");
	}
	if (!cel)
		return wl_fail(err, local.code ? local.code : EINVAL, "%s", local.text);
	*ret_cel = cel;
	return 0;
}
