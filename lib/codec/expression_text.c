#include "lib/codec/expression_text.h"

#include <string.h>

#define NESTING_MAX 64

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
	return is_name_start(c) || (c >= '0' && c <= '9');
}

/*
 * One step through a jq program. Strings may hold programs again, "\( ... )", so where a bracket closes has to be
 * remembered for each level: `closes_string` says that the bracket's end leads back into a string.
 */
struct walker {
	const char *text;
	size_t length, at;
	bool in_string;
	int depth;
	char open[NESTING_MAX];		      /* the bracket of each level */
	bool into_string[NESTING_MAX];	      /* the level's end is the end of "\(" */
	bool dot_is_context[NESTING_MAX + 1]; /* at each level: the dot is still the whole context */
	bool pipe_binds[NESTING_MAX + 1]; /* at each level: the next pipe belongs to "as $x |", which keeps the dot */
};

static char peek(const struct walker *walker, size_t ahead)
{
	return walker->at + ahead < walker->length ? walker->text[walker->at + ahead] : '\0';
}

/* Open a level. False when there are too many. */
static bool push(struct walker *walker, char bracket, bool into_string, bool dot_is_context)
{
	if (walker->depth == NESTING_MAX)
		return false;
	walker->open[walker->depth] = bracket;
	walker->into_string[walker->depth] = into_string;
	walker->depth++;
	walker->dot_is_context[walker->depth] = dot_is_context;
	walker->pipe_binds[walker->depth] = false;
	return true;
}

static void pop(struct walker *walker, char bracket)
{
	if (walker->depth == 0 || walker->open[walker->depth - 1] != bracket)
		return; /* jq will say that they do not match */
	walker->depth--;
	walker->in_string = walker->into_string[walker->depth];
}

static bool step_string(struct walker *walker)
{
	char c = peek(walker, 0);
	if (c == '\\' && peek(walker, 1) == '(') {
		walker->in_string = false;
		walker->at += 2;
		return push(walker, '(', true, walker->dot_is_context[walker->depth]);
	}
	if (c == '"')
		walker->in_string = false;
	walker->at += c == '\\' ? 2 : 1;
	return true;
}

static void skip_comment(struct walker *walker)
{
	while (walker->at < walker->length && walker->text[walker->at] != '\n')
		walker->at++;
}

/* True when the character before `at`, spaces left out, ends a name: a bracket there belongs to a call. */
static bool follows_name(const struct walker *walker)
{
	size_t at = walker->at;
	while (at > 0 && strchr(" \t\r\n", walker->text[at - 1]))
		at--;
	return at > 0 && is_name(walker->text[at - 1]);
}

/* Words before a bracket that do not call anything. */
static bool follows_operator_word(const struct walker *walker)
{
	static const char *const words[] = { "and", "or", "not", "if", "then", "elif", "else", "try" };
	size_t end = walker->at;
	while (end > 0 && strchr(" \t\r\n", walker->text[end - 1]))
		end--;
	size_t start = end;
	while (start > 0 && is_name(walker->text[start - 1]))
		start--;
	if (start > 0 && strchr(".$@:", walker->text[start - 1]))
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == end - start && memcmp(words[i], walker->text + start, end - start) == 0)
			return true;
	return false;
}

/* A word outside strings: the ones that change what the dot means from here on. */
static void step_word(struct walker *walker)
{
	size_t start = walker->at;
	while (walker->at < walker->length && is_name(walker->text[walker->at]))
		walker->at++;
	size_t length = walker->at - start;
	bool bare = start == 0 || !strchr(".$@", walker->text[start - 1]);
	if (bare && length == 2 && memcmp(walker->text + start, "as", 2) == 0)
		walker->pipe_binds[walker->depth] = true;
	static const char *const rebinding[] = { "def", "reduce", "foreach", "label" };
	for (size_t i = 0; bare && i < sizeof(rebinding) / sizeof(rebinding[0]); i++)
		if (strlen(rebinding[i]) == length && memcmp(walker->text + start, rebinding[i], length) == 0)
			walker->dot_is_context[walker->depth] = false;
}

static void step_pipe(struct walker *walker)
{
	/* |= keeps the dot on its left side only; what follows is another value, too */
	if (!walker->pipe_binds[walker->depth])
		walker->dot_is_context[walker->depth] = false;
	walker->pipe_binds[walker->depth] = false;
	walker->at++;
}

static bool step_bracket(struct walker *walker, char c)
{
	bool dot = walker->dot_is_context[walker->depth];
	if (c == '(' && follows_name(walker) && !follows_operator_word(walker))
		dot = false;
	walker->at++;
	return push(walker, c, false, dot);
}

/* Move over one piece of the program. False when it is nested too deep to be followed. */
static bool step(struct walker *walker)
{
	if (walker->in_string)
		return step_string(walker);
	char c = peek(walker, 0);
	switch (c) {
	case '"':
		walker->in_string = true;
		break;
	case '#':
		skip_comment(walker);
		return true;
	case '(':
	case '[':
	case '{':
		return step_bracket(walker, c);
	case ')':
	case ']':
	case '}':
		pop(walker, c == ')' ? '(' : c == ']' ? '[' : '{');
		break;
	case '|':
		step_pipe(walker);
		return true;
	case ',': /* the next member of an object begins with the object's own dot */
		if (walker->depth > 0 && walker->open[walker->depth - 1] == '{')
			walker->dot_is_context[walker->depth] = walker->dot_is_context[walker->depth - 1];
		break;
	default:
		if (is_name(c)) {
			step_word(walker);
			return true;
		}
	}
	walker->at++;
	return true;
}

/* The length of the program that begins at `text`, or -1 when no }} closes it. */
static long program_length(const char *text, size_t length)
{
	struct walker walker = { .text = text, .length = length };
	walker.dot_is_context[0] = true;
	while (walker.at < walker.length) {
		if (!walker.in_string && walker.depth == 0 && peek(&walker, 0) == '}' && peek(&walker, 1) == '}')
			return (long)walker.at;
		if (!step(&walker))
			return -1;
	}
	return -1;
}

struct wl_text_part wl_text_next(const char *text, size_t length, size_t *at)
{
	struct wl_text_part part = { .start = text + *at };
	if (*at >= length)
		return part;
	const char *open = memmem(text + *at, length - *at, "{{", 2);
	if (open != part.start) {
		part.kind = WL_TEXT_PLAIN;
		part.length = open ? (size_t)(open - part.start) : length - *at;
		*at += part.length;
		return part;
	}
	part.start = open + 2;
	long program = program_length(part.start, length - *at - 2);
	part.kind = program < 0 ? WL_TEXT_UNCLOSED : WL_TEXT_EXPRESSION;
	part.length = program < 0 ? length - *at - 2 : (size_t)program;
	*at = program < 0 ? length : *at + part.length + 4;
	return part;
}

bool wl_text_is_expression(const char *text, size_t length, struct wl_text_part *ret_part)
{
	size_t at = 0;
	struct wl_text_part part = wl_text_next(text, length, &at);
	if (part.kind != WL_TEXT_EXPRESSION || at != length)
		return false;
	*ret_part = part;
	return true;
}

/* The end of the name that follows ".nodes" at `at`, with *ret_name and *ret_length; 0 when no plain name does. */
static bool referenced_name(const struct walker *walker, size_t at, const char **ret_name, size_t *ret_length)
{
	const char *text = walker->text;
	if (at < walker->length && text[at] == '.')
		at++;
	else if (at < walker->length && text[at] == '[')
		for (at++; at < walker->length && strchr(" \t\r\n", text[at]);)
			at++;
	else
		return false;
	bool quoted = at < walker->length && text[at] == '"';
	at += quoted;
	size_t start = at;
	while (at < walker->length && (quoted ? text[at] != '"' && text[at] != '\\' : is_name(text[at])))
		at++;
	if (quoted && (at == walker->length || text[at] != '"'))
		return false;
	if (!quoted && (text[start - 1] == '[' || at == start || !is_name_start(text[start])))
		return false;
	*ret_name = text + start;
	*ret_length = at - start;
	return true;
}

/* True when the dot at walker->at begins a path and does not continue one. */
static bool begins_path(const struct walker *walker)
{
	if (walker->at == 0)
		return true;
	char before = walker->text[walker->at - 1];
	return !is_name(before) && !strchr(".])\"?}", before);
}

void wl_text_node_references(const char *program, size_t length,
			     void (*found)(void *self, const char *name, size_t name_length), void *self)
{
	static const char word[] = ".nodes";
	struct walker walker = { .text = program, .length = length };
	walker.dot_is_context[0] = true;
	while (walker.at < walker.length) {
		const char *name;
		size_t name_length;
		if (!walker.in_string && walker.dot_is_context[walker.depth] && begins_path(&walker) &&
		    length - walker.at >= sizeof(word) - 1 &&
		    memcmp(program + walker.at, word, sizeof(word) - 1) == 0 &&
		    referenced_name(&walker, walker.at + sizeof(word) - 1, &name, &name_length))
			found(self, name, name_length);
		if (!step(&walker))
			return;
	}
}
