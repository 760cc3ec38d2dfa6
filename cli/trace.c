/*
 * windlass trace: a run as a tree. The nodes by their paths ("each[3].check" is part of "each"), below each the steps
 * of its trace by their parents. What comes from the server is bounded in depth and never trusted to be a tree: a step
 * whose parent does not stand before it is a child of the node.
 */
#include "cli/commands.h"
#include "cli/core/text.h"
#include "cli/follow.h"
#include "cli/lists.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST 24
#define TEXT_SHOWN 100 /* characters of an input or output */

struct tree {
	const struct cli *cli;
	bool texts, failed;
	struct wl_buffer prefix; /* what stands before a line: bars of the levels above */
};

/* ---- a line ------------------------------------------------------------------------------------------------------ */

static void print_number(double number)
{
	char digits[32];
	int length = snprintf(digits, sizeof(digits), "%.0f", number);
	for (int i = 0; i < length; i++) {
		(void)fputc(digits[i], stdout);
		if ((length - i) % 3 == 1 && i + 1 < length)
			(void)fputc(',', stdout);
	}
}

static void print_dim(const struct tree *tree, const char *text)
{
	(void)fputs(cli_colour(tree->cli->colour_out, CLI_DIM), stdout);
	cli_print_text(stdout, text, true);
	(void)fputs(cli_colour_end(tree->cli->colour_out), stdout);
}

static void print_usage(const struct wl_json *usage, double cost)
{
	double prompt = wl_json_get_number(usage, "prompt_tokens", 0);
	double completion = wl_json_get_number(usage, "completion_tokens", 0);
	if (prompt + completion > 0) {
		(void)fputs("  ", stdout);
		print_number(prompt);
		(void)fputc('+', stdout);
		print_number(completion);
		(void)fputs(" tokens", stdout);
	}
	if (cost > 0)
		(void)printf("  cost %.6g", cost);
}

static void print_took(const struct wl_json *one)
{
	char took[CLI_DURATION_TEXT];
	(void)cli_duration(
		cli_time_between_ms(wl_json_get_string(one, "start_time", ""), wl_json_get_string(one, "end_time", "")),
		took);
	if (*took)
		(void)printf("  %s", took);
}

/* "  failed: why", when it did. */
static void print_fault(const struct tree *tree, const struct wl_json *fault)
{
	if (!wl_json_is(fault, WL_JSON_OBJECT))
		return;
	(void)printf("  %s", cli_colour(tree->cli->colour_out, CLI_RED));
	cli_print_text(stdout, wl_json_get_string(fault, "code", "failed"), true);
	(void)fputs(": ", stdout);
	cli_print_text(stdout, wl_json_get_string(fault, "message", ""), true);
	(void)fputs(cli_colour_end(tree->cli->colour_out), stdout);
}

static void begin_line(const struct tree *tree, bool last)
{
	(void)fwrite(tree->prefix.data ? tree->prefix.data : "", 1, tree->prefix.length, stdout);
	(void)fputs(last ? "└─ " : "├─ ", stdout);
}

/* The beginning of a text on a line of its own, below its step. */
static void print_excerpt(const struct tree *tree, const char *label, const char *text)
{
	size_t at = 0;
	if (!tree->texts || !text || !*text)
		return;
	for (int count = 0; text[at] && count < TEXT_SHOWN; count++)
		for (at++; ((unsigned char)text[at] & 0xC0) == 0x80;)
			at++;
	_wl_free_ char *excerpt = strndup(text, at);
	(void)fwrite(tree->prefix.data ? tree->prefix.data : "", 1, tree->prefix.length, stdout);
	print_dim(tree, label);
	print_dim(tree, excerpt ? excerpt : "");
	(void)fputs(text[at] ? "…\n" : "\n", stdout);
}

static void enter(struct tree *tree, bool last)
{
	(void)wl_buffer_append_text(&tree->prefix, last ? "   " : "│  ");
}

static void leave(struct tree *tree, size_t length)
{
	if (tree->prefix.data)
		tree->prefix.data[length] = '\0';
	tree->prefix.length = length;
}

/* ---- the tree of a list ------------------------------------------------------------------------------------------ */

/* A member of a list of the answer and the place of the one that it belongs to: -1 for none. */
struct branch {
	const struct wl_json *what;
	long parent;
};

struct branches {
	struct branch *list;
	long count;
};

static void branches_release(struct branches *branches)
{
	free(branches->list);
}
#define _branches_ __attribute__((cleanup(branches_release)))

/* `parent_of` is asked for each one, with all that the list has before or behind it. */
static bool grow(const struct wl_json *list, long (*parent_of)(const struct branches *all, long at),
		 struct branches *branches)
{
	branches->list = calloc(wl_json_count(list) + 1, sizeof(*branches->list));
	if (!branches->list)
		return false;
	for (const struct wl_json *one = wl_json_first(list); one; one = wl_json_next(one))
		branches->list[branches->count++].what = one;
	for (long i = 0; i < branches->count; i++)
		branches->list[i].parent = parent_of(branches, i);
	return true;
}

/* The first from `at` on that belongs to `parent`; -1 when there is none. */
static long next_child(const struct branches *branches, long at, long parent)
{
	while (at < branches->count && branches->list[at].parent != parent)
		at++;
	return at < branches->count ? at : -1;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* Only a step that stands before it. */
static long parent_of_step(const struct branches *all, long at)
{
	double parent = wl_json_get_number(all->list[at].what, "parent", 0);
	for (long i = 0; i < at && parent > 0; i++)
		if (wl_json_get_number(all->list[i].what, "id", 0) == parent)
			return i;
	return -1;
}

static void print_step(const struct tree *tree, const struct wl_json *step)
{
	const char *agent = wl_json_get_string(step, "agent", NULL), *kind = wl_json_get_string(step, "kind", "step");
	const char *name = wl_json_get_string(step, "name", NULL);
	if (strcmp(kind, "cut") == 0) {
		(void)printf("and %.0f steps that are not kept\n", wl_json_get_number(step, "cut", 0));
		return;
	}
	cli_print_text(stdout, kind, true);
	if (name && *name) {
		(void)fputc(' ', stdout);
		cli_print_text(stdout, name, true);
	}
	if (agent && *agent && (!name || strcmp(agent, name) != 0)) {
		(void)fputs(" by ", stdout);
		cli_print_text(stdout, agent, true);
	}
	print_took(step);
	print_usage(wl_json_get(step, "usage"), wl_json_get_number(step, "cost", 0));
	if (wl_json_get_bool(step, "replayed", false))
		print_dim(tree, "  from the record");
	print_fault(tree, wl_json_get(step, "error"));
	(void)fputc('\n', stdout);
}

static void print_steps(struct tree *tree, const struct branches *steps, long parent, bool more, int depth)
{
	long at = next_child(steps, 0, parent);
	while (at >= 0 && depth < DEPTH_MOST) {
		const struct wl_json *step = steps->list[at].what;
		long next = next_child(steps, at + 1, parent);
		size_t length = tree->prefix.length;
		bool last = next < 0 && !more;
		begin_line(tree, last);
		print_step(tree, step);
		enter(tree, last);
		print_excerpt(tree, "in: ", wl_json_get_string(step, "input", NULL));
		print_excerpt(tree, "out: ", wl_json_get_string(step, "output", NULL));
		print_steps(tree, steps, at, false, depth + 1);
		leave(tree, length);
		at = next;
	}
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

/* Whether a node's path lies within another's: "sub.send" in "sub", "each[0].check" in "each". */
static bool lies_within(const char *path, const char *outer)
{
	size_t length = strlen(outer);
	return strncmp(path, outer, length) == 0 && (path[length] == '.' || path[length] == '[');
}

/* The nearest node that holds this one. */
static long holder_of_node(const struct branches *all, long at)
{
	const char *path = wl_json_get_string(all->list[at].what, "node_id", "");
	size_t longest = 0;
	long found = -1;
	for (long i = 0; i < all->count; i++) {
		const char *outer = wl_json_get_string(all->list[i].what, "node_id", "");
		if (strlen(outer) > longest && lies_within(path, outer)) {
			found = i;
			longest = strlen(outer);
		}
	}
	return found;
}

static void print_node(const struct tree *tree, const struct wl_json *node)
{
	const char *status = wl_json_get_string(node, "status", "");
	double attempt = wl_json_get_number(node, "attempt", 1);
	cli_print_text(stdout, wl_json_get_string(node, "node_id", ""), true);
	(void)printf("  %s", cli_colour(tree->cli->colour_out, cli_status_colour(status)));
	cli_print_text(stdout, status, true);
	(void)fputs(cli_colour_end(tree->cli->colour_out), stdout);
	print_took(node);
	if (attempt > 1)
		(void)printf("  attempt %.0f", attempt);
	print_fault(tree, wl_json_get(node, "error"));
	(void)fputc('\n', stdout);
}

static void print_nodes(struct tree *tree, const struct branches *nodes, long holder, int depth)
{
	long at = next_child(nodes, 0, holder);
	while (at >= 0 && depth < DEPTH_MOST) {
		_branches_ struct branches steps = { 0 };
		const struct wl_json *node = nodes->list[at].what;
		long next = next_child(nodes, at + 1, holder);
		size_t length = tree->prefix.length;
		begin_line(tree, next < 0);
		print_node(tree, node);
		enter(tree, next < 0);
		if (!grow(wl_json_get(node, "trace"), parent_of_step, &steps))
			tree->failed = true;
		print_steps(tree, &steps, -1, next_child(nodes, 0, at) >= 0, depth + 1);
		print_nodes(tree, nodes, at, depth + 1);
		leave(tree, length);
		at = next;
	}
}

static void print_head(const struct tree *tree, const struct wl_json *run)
{
	const struct wl_json *usage = wl_json_get(run, "usage");
	const char *status = wl_json_get_string(run, "status", "");
	double calls = wl_json_get_number(usage, "model_calls", 0);
	cli_print_text(stdout, wl_json_get_string(run, "id", ""), true);
	(void)printf("  %s", cli_colour(tree->cli->colour_out, cli_status_colour(status)));
	cli_print_text(stdout, status, true);
	(void)fputs(cli_colour_end(tree->cli->colour_out), stdout);
	print_took(run);
	if (calls > 0)
		(void)printf("  %.0f model calls", calls);
	print_usage(usage, wl_json_get_number(usage, "cost", 0));
	print_fault(tree, wl_json_get(run, "error"));
	(void)fputc('\n', stdout);
}

/* {"execution", "nodes"}: the answer without its log. */
static int print_as_json(const struct wl_json *answer, struct wl_error *err)
{
	_wl_json_ struct wl_json *whole = wl_json_object();
	if (!whole || wl_json_set(whole, "execution", wl_json_copy(wl_json_get(answer, "execution"))) < 0 ||
	    wl_json_set(whole, "nodes", wl_json_copy(wl_json_get(answer, "nodes"))) < 0)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return cli_print_json(whole, false, err);
}

int cli_trace(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	_branches_ struct branches nodes = { 0 };
	struct tree tree = { .cli = cli, .texts = cli_flag(arguments, "texts") };
	if (cli_need_execution_id(arguments->words[0], err) < 0 || cli_connect(cli, arguments, err) < 0 ||
	    cli_execution_read(cli, arguments->words[0], &answer, err) < 0)
		return -err->code;
	if (cli->json)
		return print_as_json(answer, err);
	wl_buffer_init(&tree.prefix, 0);
	print_head(&tree, wl_json_get(answer, "execution"));
	tree.failed = !grow(wl_json_get(answer, "nodes"), holder_of_node, &nodes);
	print_nodes(&tree, &nodes, -1, 0);
	tree.failed = tree.failed || tree.prefix.failed;
	wl_buffer_release(&tree.prefix);
	if (tree.failed)
		return wl_fail(err, ENOMEM, "no memory for the output");
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}
