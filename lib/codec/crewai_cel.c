/*
 * A reader by recursive descent (the grammar of cel-spec, "Syntax") that writes jq as it goes. Every composed part is
 * put into brackets, so jq's own precedence never counts. jq's dot stays the context throughout: what an expression
 * needs behind a pipe is bound to a variable before it.
 */
#include "lib/codec/crewai_cel.h"
#include "lib/codec/crewai_scan.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCALS_MAX 8

struct cel {
	struct crewai_scan scan;
	int variables;
	const struct crewai_names *names;
	char locals[LOCALS_MAX][40]; /* of macros */
	int local_count;
};

static char *parse_ternary(struct cel *cel);

/* ---- literals --------------------------------------------------------------------------------------------------- */

static int hex_value(const char *digits, int count, unsigned *ret_value)
{
	char text[9] = "", *end = NULL;
	memcpy(text, digits, (size_t)count);
	*ret_value = (unsigned)strtoul(text, &end, 16);
	return end == text + count ? 0 : -1;
}

static void append_utf8(struct wl_buffer *out, unsigned code)
{
	if (code < 0x80) {
		wl_buffer_append_char(out, (char)code);
	} else if (code < 0x800) {
		wl_buffer_append_char(out, (char)(0xc0 | code >> 6));
		wl_buffer_append_char(out, (char)(0x80 | (code & 0x3f)));
	} else if (code < 0x10000) {
		wl_buffer_append_char(out, (char)(0xe0 | code >> 12));
		wl_buffer_append_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
		wl_buffer_append_char(out, (char)(0x80 | (code & 0x3f)));
	} else {
		wl_buffer_append_char(out, (char)(0xf0 | code >> 18));
		wl_buffer_append_char(out, (char)(0x80 | (code >> 12 & 0x3f)));
		wl_buffer_append_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
		wl_buffer_append_char(out, (char)(0x80 | (code & 0x3f)));
	}
}

/* One escape behind its backslash. */
static bool take_escape(struct cel *cel, struct wl_buffer *out)
{
	static const char from[] = "abfnrtv\\?\"'`/", to[] = "\a\b\f\n\r\t\v\\?\"'`/";
	char kind = cel->scan.at < cel->scan.length ? cel->scan.text[cel->scan.at++] : '\0';
	const char *simple = kind ? strchr(from, kind) : NULL;
	int digits = kind == 'x' || kind == 'X' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
	unsigned code;
	if (simple)
		return wl_buffer_append_char(out, to[simple - from]) == 0;
	if (!digits || cel->scan.length - cel->scan.at < (size_t)digits ||
	    hex_value(cel->scan.text + cel->scan.at, digits, &code) < 0 || code == 0 || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return false;
	cel->scan.at += (size_t)digits;
	append_utf8(out, code);
	return true;
}

static char *parse_string(struct cel *cel, bool raw)
{
	_wl_buffer_ struct wl_buffer out = { 0 }, quoted = { 0 };
	char quote = cel->scan.text[cel->scan.at++];
	bool triple = cel->scan.length - cel->scan.at >= 2 && cel->scan.text[cel->scan.at] == quote &&
		      cel->scan.text[cel->scan.at + 1] == quote;
	if (triple)
		return crewai_refuse(&cel->scan, "a text in three quotes is not read");
	for (;;) {
		if (cel->scan.at >= cel->scan.length)
			return crewai_refuse(&cel->scan, "a text is not closed");
		char byte = cel->scan.text[cel->scan.at++];
		if (byte == quote)
			break;
		if (byte == '\\' && !raw) {
			if (!take_escape(cel, &out))
				return crewai_refuse(&cel->scan, "an escape is not known");
		} else {
			wl_buffer_append_char(&out, byte);
		}
	}
	wl_buffer_append_json_string(&quoted, out.data ? out.data : "", out.length);
	return quoted.failed ? crewai_refuse(&cel->scan, "a text is too long")
			     : crewai_made(&cel->scan, "%s", quoted.data);
}

static char *parse_number(struct cel *cel)
{
	char *end = NULL, digits[64];
	const char *start = cel->scan.text + cel->scan.at;
	if (start[0] == '0' && (start[1] == 'x' || start[1] == 'X')) {
		unsigned long long value = strtoull(start, &end, 16);
		cel->scan.at += (size_t)(end - start);
		return crewai_made(&cel->scan, "%llu", value);
	}
	size_t whole = strspn(start, "0123456789"), used = whole;
	if (start[used] == '.' && isdigit((unsigned char)start[used + 1]))
		used += 1 + strspn(start + used + 1, "0123456789");
	if ((start[used] | 0x20) == 'e') {
		size_t sign = start[used + 1] == '+' || start[used + 1] == '-';
		size_t exponent = strspn(start + used + 1 + sign, "0123456789");
		used += exponent ? 1 + sign + exponent : 0;
	}
	if (used >= sizeof(digits))
		return crewai_refuse(&cel->scan, "a number is too long");
	memcpy(digits, start, used);
	digits[used] = '\0';
	cel->scan.at += used;
	if (cel->scan.at < cel->scan.length &&
	    (cel->scan.text[cel->scan.at] == 'u' || cel->scan.text[cel->scan.at] == 'U'))
		cel->scan.at++;
	return crewai_made(&cel->scan, "%s", digits);
}

/* Values with commas between them up to `close`; each pair of a map with a colon. */
static char *parse_items(struct cel *cel, char open, char close)
{
	const char end[2] = { close, '\0' };
	char *all = crewai_made(&cel->scan, "%c", open);
	bool first = true;
	while (all && !crewai_take(&cel->scan, end)) {
		_wl_free_ char *before = all;
		all = NULL;
		if (!first && !crewai_take(&cel->scan, ","))
			return crewai_refuse(&cel->scan, "a comma is missing");
		if (!first && crewai_take(&cel->scan, end))
			return crewai_made(&cel->scan, "%s%c", before, close);
		_wl_free_ char *key = open == '{' ? parse_ternary(cel) : NULL;
		if (open == '{' && (!key || !crewai_take(&cel->scan, ":")))
			return crewai_refuse(&cel->scan, "a colon is missing");
		_wl_free_ char *value = parse_ternary(cel);
		if (!value)
			return NULL;
		all = key ? crewai_made(&cel->scan, "%s%s(%s): %s", before, first ? "" : ", ", key, value)
			  : crewai_made(&cel->scan, "%s%s%s", before, first ? "" : ", ", value);
		first = false;
	}
	_wl_free_ char *before = all;
	return before ? crewai_made(&cel->scan, "%s%c", before, close) : NULL;
}

/* ---- functions -------------------------------------------------------------------------------------------------- */

static bool close_call(struct cel *cel)
{
	if (crewai_take(&cel->scan, ")"))
		return true;
	(void)crewai_refuse(&cel->scan, "a closing bracket is missing");
	return false;
}

/* map, filter, all, exists of `list`, behind the opening bracket. */
static char *parse_macro(struct cel *cel, const char *name, const char *list)
{
	char local[64];
	if (!crewai_take_name(&cel->scan, local) || !crewai_take(&cel->scan, ",") ||
	    strlen(local) >= sizeof(cel->locals[0]) || cel->local_count == LOCALS_MAX)
		return crewai_refuse(&cel->scan, "a macro needs a name and an expression");
	(void)snprintf(cel->locals[cel->local_count++], sizeof(cel->locals[0]), "%s", local);
	_wl_free_ char *body = parse_ternary(cel);
	cel->local_count--;
	if (!body || !close_call(cel))
		return NULL;
	if (strcmp(name, "map") == 0)
		return crewai_made(&cel->scan, "[%s[] as $%s | %s]", list, local, body);
	if (strcmp(name, "filter") == 0)
		return crewai_made(&cel->scan, "[%s[] as $%s | select(%s) | $%s]", list, local, body, local);
	return crewai_made(&cel->scan, "([%s[] as $%s | %s] | %s)", list, local, body,
			   strcmp(name, "all") == 0 ? "all" : "any");
}

/* A call with one argument of a value: text.contains("x"). */
static char *parse_method(struct cel *cel, const char *name, const char *subject)
{
	static const char *const pairs[][2] = {
		{ "startsWith", "startswith" }, { "endsWith", "endswith" }, { "contains", "contains" },
		{ "split", "split" },		{ "join", "join" },
	};
	static const char *const plain[][2] = {
		{ "size", "length" },
		{ "lowerAscii", "ascii_downcase" },
		{ "upperAscii", "ascii_upcase" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(plain); i++)
		if (strcmp(name, plain[i][0]) == 0)
			return close_call(cel) ? crewai_made(&cel->scan, "(%s | %s)", subject, plain[i][1]) : NULL;
	for (size_t i = 0; i < WL_COUNT_OF(pairs); i++) {
		if (strcmp(name, pairs[i][0]) != 0)
			continue;
		_wl_free_ char *value = parse_ternary(cel);
		int number = ++cel->variables;
		return value && close_call(cel) ? crewai_made(&cel->scan, "(%s as $_%d | %s | %s($_%d))", value, number,
							      subject, pairs[i][1], number)
						: NULL;
	}
	return crewai_refuse(&cel->scan, "this function is not known");
}

static char *parse_function(struct cel *cel, const char *name)
{
	static const char *const known[][2] = {
		{ "size", "length" },	       { "string", "tostring" },       { "double", "tonumber" },
		{ "int", "tonumber | trunc" }, { "uint", "tonumber | trunc" }, { "type", "type" },
	};
	_wl_free_ char *value = parse_ternary(cel);
	if (!value || !close_call(cel))
		return NULL;
	if (strcmp(name, "has") == 0)
		return crewai_made(&cel->scan, "(%s != null)", value);
	if (strcmp(name, "dyn") == 0)
		return crewai_made(&cel->scan, "%s", value);
	for (size_t i = 0; i < WL_COUNT_OF(known); i++)
		if (strcmp(name, known[i][0]) == 0)
			return crewai_made(&cel->scan, "(%s | %s)", value, known[i][1]);
	return crewai_refuse(&cel->scan, "this function is not known");
}

/* ---- names and members ------------------------------------------------------------------------------------------ */

static bool is_local(const struct cel *cel, const char *name)
{
	for (int i = 0; i < cel->local_count; i++)
		if (strcmp(cel->locals[i], name) == 0)
			return true;
	return false;
}

/* outputs.METHOD, or outputs["METHOD"]. */
static char *parse_output(struct cel *cel)
{
	char name[64];
	bool model = false;
	if (crewai_take(&cel->scan, "[")) {
		char quote = crewai_peek(&cel->scan);
		_wl_free_ char *text = quote == '"' || quote == '\'' ? parse_string(cel, false) : NULL;
		if (!text || strlen(text) > 60 || !crewai_take(&cel->scan, "]"))
			return crewai_refuse(&cel->scan, "outputs are named one by one");
		(void)snprintf(name, sizeof(name), "%.*s", (int)strlen(text) - 2, text + 1);
	} else if (!crewai_take(&cel->scan, ".") || !crewai_take_name(&cel->scan, name)) {
		return crewai_refuse(&cel->scan, "outputs are named one by one");
	}
	const char *id = cel->names->find(cel->names->self, name, &model);
	if (!id)
		return crewai_refuse(&cel->scan, "an output is named that is not there");
	size_t before = cel->scan.at;
	if (model && crewai_take(&cel->scan, ".")) {
		if (crewai_take(&cel->scan, "raw"))
			return crewai_made(&cel->scan, ".nodes.%s.text", id);
		if (crewai_take(&cel->scan, "json_dict") || crewai_take(&cel->scan, "pydantic"))
			return crewai_made(&cel->scan, ".nodes.%s.json", id);
		cel->scan.at = before;
	}
	return crewai_made(&cel->scan, ".nodes.%s", id);
}

static char *parse_root(struct cel *cel, const char *name)
{
	static const char *const words[] = { "true", "false", "null" };
	for (size_t i = 0; i < WL_COUNT_OF(words); i++)
		if (strcmp(name, words[i]) == 0)
			return crewai_made(&cel->scan, "%s", words[i]);
	if (is_local(cel, name))
		return crewai_made(&cel->scan, "$%s", name);
	if (strcmp(name, "state") == 0)
		return crewai_made(&cel->scan, "%s", cel->names->state);
	if (strcmp(name, "item") == 0 && cel->names->item)
		return crewai_made(&cel->scan, ".item");
	if (strcmp(name, "outputs") == 0)
		return parse_output(cel);
	return crewai_refuse(&cel->scan, "a name is not known");
}

static char *parse_primary(struct cel *cel)
{
	char first = crewai_peek(&cel->scan), name[64];
	bool raw = (first == 'r' || first == 'R') && cel->scan.at + 1 < cel->scan.length &&
		   (cel->scan.text[cel->scan.at + 1] == '"' || cel->scan.text[cel->scan.at + 1] == '\'');
	if (raw)
		cel->scan.at++;
	if (raw || first == '"' || first == '\'')
		return parse_string(cel, raw);
	if (isdigit((unsigned char)first))
		return parse_number(cel);
	if (first == '[' || first == '{') {
		cel->scan.at++;
		return parse_items(cel, first, first == '[' ? ']' : '}');
	}
	if (crewai_take(&cel->scan, "(")) {
		_wl_free_ char *inner = parse_ternary(cel);
		return inner && close_call(cel) ? crewai_made(&cel->scan, "%s", inner) : NULL;
	}
	if (!crewai_take_name(&cel->scan, name))
		return crewai_refuse(&cel->scan, "a value is missing");
	return crewai_take(&cel->scan, "(") ? parse_function(cel, name) : parse_root(cel, name);
}

/* A path such as .a.b["c"] or $x needs no brackets around it before more is put behind. */
static const char *around(const char *text, char bracket)
{
	bool path = (text[0] == '.' || text[0] == '$' || text[0] == '(') && !strchr(text, '|');
	return path || text[0] == '(' ? "" : bracket == '(' ? "(" : ")";
}

static char *parse_member_step(struct cel *cel, const char *subject)
{
	char name[64];
	if (crewai_take(&cel->scan, "[")) {
		_wl_free_ char *index = parse_ternary(cel);
		return index && crewai_take(&cel->scan, "]")
			       ? crewai_made(&cel->scan, "%s%s%s[%s]", around(subject, '('), subject,
					     around(subject, ')'), index)
			       : crewai_refuse(&cel->scan, "an index is not closed");
	}
	if (!crewai_take(&cel->scan, ".") || !crewai_take_name(&cel->scan, name))
		return crewai_refuse(&cel->scan, "a member is missing");
	if (!crewai_take(&cel->scan, "("))
		return crewai_made(&cel->scan, "%s%s%s.%s", around(subject, '('), subject, around(subject, ')'), name);
	static const char *const macros[] = { "map", "filter", "all", "exists" };
	for (size_t i = 0; i < WL_COUNT_OF(macros); i++)
		if (strcmp(name, macros[i]) == 0)
			return parse_macro(cel, name, subject);
	return parse_method(cel, name, subject);
}

static char *parse_member(struct cel *cel)
{
	char *value = parse_primary(cel);
	int steps = 0;
	while (value && (crewai_peek(&cel->scan) == '.' || crewai_peek(&cel->scan) == '[')) {
		_wl_free_ char *subject = value;
		value = ++steps > 100 ? crewai_refuse(&cel->scan, "a path is too long")
				      : parse_member_step(cel, subject);
	}
	return value;
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

static char *parse_unary(struct cel *cel)
{
	if (++cel->scan.depth > CREWAI_SCAN_DEPTH)
		return crewai_refuse(&cel->scan, "the expression is nested too deep");
	char *made_here = NULL;
	if (crewai_peek(&cel->scan) == '!' &&
	    !(cel->scan.at + 1 < cel->scan.length && cel->scan.text[cel->scan.at + 1] == '=')) {
		cel->scan.at++;
		_wl_free_ char *value = parse_unary(cel);
		made_here = value ? crewai_made(&cel->scan, "(%s | not)", value) : NULL;
	} else if (crewai_take(&cel->scan, "-")) {
		_wl_free_ char *value = parse_unary(cel);
		made_here = value ? crewai_made(&cel->scan, "(-%s)", value) : NULL;
	} else {
		made_here = parse_member(cel);
	}
	cel->scan.depth--;
	return made_here;
}

/* Longer tokens stand before those that begin like them. */
static const char *const levels[][7] = {
	{ "||", NULL },	    { "&&", NULL },	     { "==", "!=", "<=", ">=", "<", ">", NULL },
	{ "+", "-", NULL }, { "*", "/", "%", NULL },
};

static char *combine(struct cel *cel, const char *left, const char *operator, const char * right)
{
	const char *jq = strcmp(operator, "||") == 0 ? "or" : strcmp(operator, "&&") == 0 ? "and" : operator;
	if (strcmp(operator, "in") != 0)
		return crewai_made(&cel->scan, "(%s %s %s)", left, jq, right);
	int number = ++cel->variables;
	return crewai_made(&cel->scan,
			   "(%s as $_%d | %s | if type == \"object\" then has($_%d) else index([$_%d]) != null end)",
			   left, number, right, number, number);
}

static const char *take_operator(struct cel *cel, size_t level)
{
	for (const char *const *token = levels[level]; *token; token++)
		if (crewai_take(&cel->scan, *token))
			return *token;
	return level == 2 && crewai_take(&cel->scan, "in") ? "in" : NULL;
}

static char *parse_level(struct cel *cel, size_t level)
{
	if (level == WL_COUNT_OF(levels))
		return parse_unary(cel);
	char *left = parse_level(cel, level + 1);
	for (int steps = 0; left; steps++) {
		const char *operator= take_operator(cel, level);
		if (!operator)
			return left;
		_wl_free_ char *before = left;
		_wl_free_ char *right =
			steps < 100 ? parse_level(cel, level + 1) : crewai_refuse(&cel->scan, "too many operators");
		left = right ? combine(cel, before, operator, right) : NULL;
	}
	return left;
}

static char *parse_ternary(struct cel *cel)
{
	if (++cel->scan.depth > CREWAI_SCAN_DEPTH)
		return crewai_refuse(&cel->scan, "the expression is nested too deep");
	char *condition = parse_level(cel, 0);
	if (condition && crewai_take(&cel->scan, "?")) {
		_wl_free_ char *chosen = condition;
		_wl_free_ char *yes = parse_ternary(cel);
		_wl_free_ char *no = yes && crewai_take(&cel->scan, ":") ? parse_ternary(cel) : NULL;
		condition = no ? crewai_made(&cel->scan, "(if %s then %s else %s end)", chosen, yes, no)
			       : crewai_refuse(&cel->scan, "the second value is missing");
	}
	cel->scan.depth--;
	return condition;
}

/* Take the brackets off that stand around all of it. */
static void strip(char *text)
{
	size_t length = strlen(text);
	int depth = 0;
	bool quoted = false;
	if (length < 2 || text[0] != '(')
		return;
	for (size_t i = 0; i < length; i++) {
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && strchr("([{", text[i]))
			depth++;
		else if (!quoted && strchr(")]}", text[i]) && --depth == 0 && i + 1 < length)
			return;
	}
	memmove(text, text + 1, length - 2);
	text[length - 2] = '\0';
}

int crewai_cel_to_jq(const char *text, size_t length, const struct crewai_names *names, char **ret_jq,
		     struct wl_error *err)
{
	struct wl_error local = { 0 };
	_wl_free_ char *copy = length <= CREWAI_CEL_MAX ? strndup(text, length) : NULL;
	if (length > CREWAI_CEL_MAX)
		return wl_fail(err, EINVAL, "an expression has at most %d bytes", CREWAI_CEL_MAX);
	if (!copy)
		return wl_fail(err, ENOMEM, "no memory for an expression");
	struct cel cel = { .scan = { .text = copy, .length = strlen(copy), .err = &local }, .names = names };
	char *jq = parse_ternary(&cel);
	if (jq && crewai_peek(&cel.scan) != '\0') {
		free(jq);
		jq = crewai_refuse(&cel.scan, "something stands behind the expression");
	}
	if (!jq)
		return wl_fail(err, local.code ? local.code : EINVAL, "%s", local.text);
	strip(jq);
	*ret_jq = jq;
	return 0;
}
