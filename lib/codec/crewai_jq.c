/*
 * jq back to CEL, for the programs that crewai_cel.c writes and those that people write like them: paths, literals,
 * operators, if, and the few pipes that stand for CEL's functions. All else is refused, never guessed.
 */
#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/codec/crewai_cel.h"
#include "lib/codec/crewai_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct jq {
	struct crewai_scan scan;
	const struct crewai_names *names;
};

static char *parse_pipe(struct jq *jq);

/* The three parts of a value that something is put behind or before: in brackets when it is composed. */
#define WHOLE(value) strchr(value, ' ') ? "(" : "", value, strchr(value, ' ') ? ")" : ""

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* A text as it stands: CEL reads JSON's escapes but for pairs of surrogates. */
static char *parse_string(struct jq *jq)
{
	size_t start = jq->scan.at++;
	for (; jq->scan.at < jq->scan.length && jq->scan.text[jq->scan.at] != '"'; jq->scan.at++) {
		if (jq->scan.text[jq->scan.at] != '\\')
			continue;
		if (jq->scan.at + 1 < jq->scan.length &&
		    (jq->scan.text[jq->scan.at + 1] == '(' ||
		     (jq->scan.text[jq->scan.at + 1] == 'u' && jq->scan.at + 2 < jq->scan.length &&
		      (jq->scan.text[jq->scan.at + 2] | 0x20) == 'd')))
			return crewai_refuse(&jq->scan, "a text holds more than characters");
		jq->scan.at++;
	}
	if (jq->scan.at >= jq->scan.length) {
		jq->scan.at = jq->scan.length; /* an escape may have led one further */
		return crewai_refuse(&jq->scan, "a text is not closed");
	}
	jq->scan.at++;
	return crewai_made(&jq->scan, "%.*s", (int)(jq->scan.at - start), jq->scan.text + start);
}

static char *parse_number(struct jq *jq)
{
	size_t start = jq->scan.at;
	jq->scan.at += strspn(jq->scan.text + jq->scan.at, "0123456789");
	if (jq->scan.text[jq->scan.at] == '.' && isdigit((unsigned char)jq->scan.text[jq->scan.at + 1]))
		jq->scan.at += 1 + strspn(jq->scan.text + jq->scan.at + 1, "0123456789");
	if ((jq->scan.text[jq->scan.at] | 0x20) == 'e') {
		size_t sign = jq->scan.text[jq->scan.at + 1] == '+' || jq->scan.text[jq->scan.at + 1] == '-';
		size_t digits = strspn(jq->scan.text + jq->scan.at + 1 + sign, "0123456789");
		jq->scan.at += digits ? 1 + sign + digits : 0;
	}
	return crewai_made(&jq->scan, "%.*s", (int)(jq->scan.at - start), jq->scan.text + start);
}

/* [LIST[] as $v | ...]: map or filter. The bracket and the list are taken. */
static char *parse_macro(struct jq *jq, const char *list)
{
	char local[64], again[64];
	if (!crewai_take(&jq->scan, "as") || !crewai_take(&jq->scan, "$") || !crewai_take_name(&jq->scan, local) ||
	    !crewai_take(&jq->scan, "|"))
		return crewai_refuse(&jq->scan, "a list of many values is not understood");
	size_t before = jq->scan.at;
	if (crewai_take(&jq->scan, "select") && crewai_take(&jq->scan, "(")) {
		_wl_free_ char *body = parse_pipe(jq);
		if (body && crewai_take(&jq->scan, ")") && crewai_take(&jq->scan, "|") && crewai_take(&jq->scan, "$") &&
		    crewai_take_name(&jq->scan, again) && strcmp(local, again) == 0 && crewai_take(&jq->scan, "]"))
			return crewai_made(&jq->scan, "%s%s%s.filter(%s, %s)", WHOLE(list), local, body);
		return crewai_refuse(&jq->scan, "a selection is not understood");
	}
	jq->scan.at = before;
	_wl_free_ char *body = parse_pipe(jq);
	if (!body || !crewai_take(&jq->scan, "]"))
		return crewai_refuse(&jq->scan, "a list is not closed");
	size_t behind = jq->scan.at;
	const char *kind = "map";
	if (crewai_take(&jq->scan, "|")) {
		kind = crewai_take(&jq->scan, "all") ? "all" : crewai_take(&jq->scan, "any") ? "exists" : "map";
		if (strcmp(kind, "map") == 0)
			jq->scan.at = behind;
	}
	return crewai_made(&jq->scan, "%s%s%s.%s(%s, %s)", WHOLE(list), kind, local, body);
}

static char *parse_list(struct jq *jq)
{
	char *all = crewai_made(&jq->scan, "[");
	for (bool first = true; all && !crewai_take(&jq->scan, "]"); first = false) {
		_wl_free_ char *before = all;
		all = NULL;
		if (!first && !crewai_take(&jq->scan, ","))
			return crewai_refuse(&jq->scan, "a comma is missing");
		_wl_free_ char *value = parse_pipe(jq);
		if (!value)
			return NULL;
		if (first && crewai_take(&jq->scan, "[]"))
			return parse_macro(jq, value);
		all = crewai_made(&jq->scan, "%s%s%s", before, first ? "" : ", ", value);
	}
	_wl_free_ char *before = all;
	return before ? crewai_made(&jq->scan, "%s]", before) : NULL;
}

static char *parse_object(struct jq *jq)
{
	char name[64], *all = crewai_made(&jq->scan, "{");
	for (bool first = true; all && !crewai_take(&jq->scan, "}"); first = false) {
		_wl_free_ char *before = all;
		all = NULL;
		if (!first && !crewai_take(&jq->scan, ","))
			return crewai_refuse(&jq->scan, "a comma is missing");
		_wl_free_ char *key = crewai_peek(&jq->scan) == '"'	  ? parse_string(jq)
				      : crewai_take(&jq->scan, "(")	  ? parse_pipe(jq)
				      : crewai_take_name(&jq->scan, name) ? crewai_made(&jq->scan, "\"%s\"", name)
									  : NULL;
		(void)crewai_take(&jq->scan, ")");
		_wl_free_ char *value = key && crewai_take(&jq->scan, ":") ? parse_pipe(jq) : NULL;
		if (!value)
			return crewai_refuse(&jq->scan, "a pair is not understood");
		all = crewai_made(&jq->scan, "%s%s%s: %s", before, first ? "" : ", ", key, value);
	}
	_wl_free_ char *before = all;
	return before ? crewai_made(&jq->scan, "%s}", before) : NULL;
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* .nodes.ID: an output, of a model its text or JSON. */
static char *parse_node(struct jq *jq)
{
	char id[64];
	bool model = false;
	if (crewai_take(&jq->scan, "[\"")) {
		size_t length = strcspn(jq->scan.text + jq->scan.at, "\"");
		if (length > 63 || strncmp(jq->scan.text + jq->scan.at + length, "\"]", 2) != 0)
			return crewai_refuse(&jq->scan, "a node is not named");
		(void)snprintf(id, sizeof(id), "%.*s", (int)length, jq->scan.text + jq->scan.at);
		jq->scan.at += length + 2;
	} else if (!crewai_take(&jq->scan, ".") || !crewai_take_name(&jq->scan, id)) {
		return crewai_refuse(&jq->scan, "a node is not named");
	}
	const char *name = jq->names->find(jq->names->self, id, &model);
	if (!name)
		return crewai_refuse(&jq->scan, "a node is named that is no method");
	if (!*name) /* the node that holds the state */
		return crewai_made(&jq->scan, "state");
	if (model && crewai_take(&jq->scan, ".text"))
		return crewai_made(&jq->scan, "outputs.%s.raw", name);
	if (model && crewai_take(&jq->scan, ".json"))
		return crewai_made(&jq->scan, "outputs.%s.json_dict", name);
	return crewai_made(&jq->scan, "outputs.%s", name);
}

static char *parse_path_root(struct jq *jq)
{
	char name[64];
	if (crewai_take(&jq->scan, "$"))
		return crewai_take_name(&jq->scan, name) ? crewai_made(&jq->scan, "%s", name)
							 : crewai_refuse(&jq->scan, "a variable is not named");
	jq->scan.at++; /* the dot */
	if (!crewai_take_name(&jq->scan, name))
		return crewai_refuse(&jq->scan, "the context as a whole is no value");
	if (strcmp(name, "inputs") == 0)
		return crewai_made(&jq->scan, "state");
	if (strcmp(name, "item") == 0 && jq->names->item)
		return crewai_made(&jq->scan, "item");
	if (strcmp(name, "nodes") == 0)
		return parse_node(jq);
	return crewai_refuse(&jq->scan, "a part of the context has no like");
}

static char *parse_primary(struct jq *jq)
{
	static const char *const words[] = { "true", "false", "null" };
	char first = crewai_peek(&jq->scan);
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (crewai_take(&jq->scan, words[i]))
			return crewai_made(&jq->scan, "%s", words[i]);
	if (first == '.' || first == '$')
		return parse_path_root(jq);
	if (first == '"')
		return parse_string(jq);
	if (isdigit((unsigned char)first))
		return parse_number(jq);
	if (crewai_take(&jq->scan, "["))
		return parse_list(jq);
	if (crewai_take(&jq->scan, "{"))
		return parse_object(jq);
	if (crewai_take(&jq->scan, "(")) {
		_wl_free_ char *inner = parse_pipe(jq);
		return inner && crewai_take(&jq->scan, ")") ? crewai_made(&jq->scan, "(%s)", inner)
							    : crewai_refuse(&jq->scan, "a bracket is not closed");
	}
	if (!crewai_take(&jq->scan, "if"))
		return crewai_refuse(&jq->scan, "a value is missing");
	_wl_free_ char *condition = parse_pipe(jq);
	_wl_free_ char *yes = condition && crewai_take(&jq->scan, "then") ? parse_pipe(jq) : NULL;
	_wl_free_ char *no = yes && crewai_take(&jq->scan, "else") ? parse_pipe(jq) : NULL;
	return no && crewai_take(&jq->scan, "end") ? crewai_made(&jq->scan, "(%s ? %s : %s)", condition, yes, no)
						   : crewai_refuse(&jq->scan, "an if is not understood");
}

static char *parse_postfix(struct jq *jq)
{
	char *value = parse_primary(jq), name[64];
	for (int steps = 0; value && steps < 100; steps++) {
		char next = jq->scan.at < jq->scan.length ? jq->scan.text[jq->scan.at] : '\0';
		_wl_free_ char *subject = NULL;
		if (next == '.' && jq->scan.at + 1 < jq->scan.length &&
		    (isalpha((unsigned char)jq->scan.text[jq->scan.at + 1]) || jq->scan.text[jq->scan.at + 1] == '_')) {
			jq->scan.at++;
			(void)crewai_take_name(&jq->scan, name);
			subject = value;
			value = crewai_made(&jq->scan, "%s.%s", subject, name);
		} else if (next == '[' &&
			   !(jq->scan.at + 1 < jq->scan.length && jq->scan.text[jq->scan.at + 1] == ']')) {
			jq->scan.at++;
			subject = value;
			_wl_free_ char *index = parse_pipe(jq);
			value = index && crewai_take(&jq->scan, "]")
					? crewai_made(&jq->scan, "%s[%s]", subject, index)
					: crewai_refuse(&jq->scan, "an index is not understood");
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
		if (!crewai_take(&jq->scan, "-"))
			return parse_postfix(jq);
		_wl_free_ char *value = parse_postfix(jq);
		return value ? crewai_made(&jq->scan, "-%s", value) : NULL;
	}
	char *left = parse_level(jq, level + 1);
	for (int steps = 0; left; steps++) {
		const char *found = NULL;
		for (const char *const *token = levels[level]; *token && !found; token++)
			found = crewai_take(&jq->scan, *token) ? *token : NULL;
		if (found && crewai_peek(&jq->scan) == '/' &&
		    *found == '/') /* jq's alternative: nothing like it there */
			return free(left), crewai_refuse(&jq->scan, "// has no like");
		if (!found)
			return left;
		_wl_free_ char *before = left;
		_wl_free_ char *right =
			steps < 100 ? parse_level(jq, level + 1) : crewai_refuse(&jq->scan, "too many operators");
		left = right ? crewai_made(&jq->scan, "%s%s %s %s%s", steps ? "(" : "", before, cel_operator(found),
					   right, steps ? ")" : "")
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
	if (!crewai_take(&jq->scan, "$") || !crewai_take_name(&jq->scan, name) || !crewai_take(&jq->scan, "|"))
		return crewai_refuse(&jq->scan, "a variable is not understood");
	_wl_free_ char *subject = parse_level(jq, 0);
	if (!subject || !crewai_take(&jq->scan, "|"))
		return crewai_refuse(&jq->scan, "a variable is not understood");
	(void)snprintf(call, sizeof(call), tail, name, name);
	(void)crewai_peek(&jq->scan);
	if (strncmp(jq->scan.text + jq->scan.at, call, strlen(call)) == 0) {
		jq->scan.at += strlen(call);
		return crewai_made(&jq->scan, "(%s%s%s in %s%s%s)", WHOLE(value), WHOLE(subject));
	}
	for (size_t i = 0; i < WL_COUNT_OF(pairs); i++) {
		(void)snprintf(call, sizeof(call), "%s($%s)", pairs[i][0], name);
		if (strncmp(jq->scan.text + jq->scan.at, call, strlen(call)) != 0)
			continue;
		jq->scan.at += strlen(call);
		return crewai_made(&jq->scan, "%s%s%s.%s(%s)", WHOLE(subject), pairs[i][1], value);
	}
	return crewai_refuse(&jq->scan, "a variable is not understood");
}

static char *parse_filter(struct jq *jq, const char *value)
{
	static const char *const known[][2] = {
		{ "length", "size" },
		{ "tostring", "string" },
		{ "type", "type" },
	};
	if (crewai_take(&jq->scan, "not"))
		return crewai_made(&jq->scan, "!%s%s%s", WHOLE(value));
	if (crewai_take(&jq->scan, "tonumber")) {
		size_t before = jq->scan.at;
		bool whole = crewai_take(&jq->scan, "|") && crewai_take(&jq->scan, "trunc");
		jq->scan.at = whole ? jq->scan.at : before;
		return crewai_made(&jq->scan, "%s(%s)", whole ? "int" : "double", value);
	}
	if (crewai_take(&jq->scan, "ascii_downcase"))
		return crewai_made(&jq->scan, "%s%s%s.lowerAscii()", WHOLE(value));
	if (crewai_take(&jq->scan, "ascii_upcase"))
		return crewai_made(&jq->scan, "%s%s%s.upperAscii()", WHOLE(value));
	for (size_t i = 0; i < WL_COUNT_OF(known); i++)
		if (crewai_take(&jq->scan, known[i][0]))
			return crewai_made(&jq->scan, "%s(%s)", known[i][1], value);
	return crewai_refuse(&jq->scan, "a pipe is not understood");
}

static char *parse_pipe(struct jq *jq)
{
	if (++jq->scan.depth > CREWAI_SCAN_DEPTH)
		return crewai_refuse(&jq->scan, "the expression is nested too deep");
	char *value = parse_level(jq, 0);
	if (value && crewai_take(&jq->scan, "as")) {
		_wl_free_ char *bound = value;
		value = parse_bound(jq, bound);
	}
	while (value && crewai_take(&jq->scan, "|")) {
		_wl_free_ char *left = value;
		value = parse_filter(jq, left);
	}
	jq->scan.depth--;
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
	struct jq jq = { .scan = { .text = copy, .length = strlen(copy), .err = &local }, .names = names };
	char *cel = parse_pipe(&jq);
	if (cel && crewai_peek(&jq.scan) != '\0') {
		free(cel);
		cel = crewai_refuse(&jq.scan, "something stands behind the expression");
	}
	if (!cel)
		return wl_fail(err, local.code ? local.code : EINVAL, "%s", local.text);
	*ret_cel = cel;
	return 0;
}
