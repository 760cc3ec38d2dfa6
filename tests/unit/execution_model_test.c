/*
 * The drawings in docs/architecture/execution-model.md are those of the state tables in lib/model/states.h.
 * `execution_model_test --write` brings the page up to date.
 */
#include "lib/base/buffer.h"
#include "lib/model/states.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE "docs/architecture/execution-model.md"
#define BEGIN_RUNS "<!-- states: executions -->\n"
#define BEGIN_NODES "<!-- states: nodes -->\n"
#define END "<!-- end -->"

struct table {
	int count;
	const char *(*name)(int state);
	const char *(*meaning)(int state);
	bool (*final)(int state);
	bool (*legal)(int from, int to);
};

#define TABLE(kind, COUNT)                                                                                             \
	static const char *kind##_name(int state)                                                                      \
	{                                                                                                              \
		return wl_##kind##_state_name((enum wl_##kind##_state)state);                                          \
	}                                                                                                              \
	static const char *kind##_meaning(int state)                                                                   \
	{                                                                                                              \
		return wl_##kind##_state_meaning((enum wl_##kind##_state)state);                                       \
	}                                                                                                              \
	static bool kind##_final(int state)                                                                            \
	{                                                                                                              \
		return wl_##kind##_state_final((enum wl_##kind##_state)state);                                         \
	}                                                                                                              \
	static bool kind##_legal(int from, int to)                                                                     \
	{                                                                                                              \
		return wl_##kind##_move_legal((enum wl_##kind##_state)from, (enum wl_##kind##_state)to);               \
	}                                                                                                              \
	static const struct table kind##_table = { COUNT, kind##_name, kind##_meaning, kind##_final, kind##_legal };
TABLE(run, WL_RUN_STATE_COUNT)
TABLE(node, WL_NODE_STATE_COUNT)

static void draw(const struct table *table, struct wl_buffer *out)
{
	(void)wl_buffer_append_text(out, "```mermaid\nstateDiagram-v2\n");
	(void)wl_buffer_appendf(out, "    [*] --> %s\n", table->name(0));
	for (int from = 0; from < table->count; from++) {
		for (int to = 0; to < table->count; to++)
			if (table->legal(from, to))
				(void)wl_buffer_appendf(out, "    %s --> %s\n", table->name(from), table->name(to));
		if (table->final(from))
			(void)wl_buffer_appendf(out, "    %s --> [*]\n", table->name(from));
	}
	(void)wl_buffer_append_text(out, "```\n\n| state | meaning |\n|---|---|\n");
	for (int state = 0; state < table->count; state++)
		(void)wl_buffer_appendf(out, "| `%s` | %s |\n", table->name(state), table->meaning(state));
}

static void read_page(struct wl_buffer *page)
{
	char bytes[4096];
	wl_buffer_init(page, 1u << 20);
	FILE *file = fopen(PAGE, "re");
	if (!file) {
		(void)fprintf(stderr, "%s cannot be read: run the test from the root of the checkout\n", PAGE);
		exit(1);
	}
	for (size_t got = 0; (got = fread(bytes, 1, sizeof(bytes), file)) > 0;)
		(void)wl_buffer_append(page, bytes, got);
	(void)fclose(file);
}

/* Copy the page up to a marker, then the drawing; returns where the page goes on. */
static const char *put_drawing(const char *page, const char *marker, const struct table *table, struct wl_buffer *out)
{
	const char *begin = strstr(page, marker);
	const char *end = begin ? strstr(begin, END) : NULL;
	if (!end) {
		(void)fprintf(stderr, "%s has lost its marker %s", PAGE, marker);
		exit(1);
	}
	begin += strlen(marker);
	(void)wl_buffer_append(out, page, (size_t)(begin - page));
	draw(table, out);
	return end;
}

/* The page as it ought to be. */
static void make_page(const char *page, struct wl_buffer *out)
{
	wl_buffer_init(out, 1u << 20);
	const char *rest = put_drawing(page, BEGIN_RUNS, &run_table, out);
	rest = put_drawing(rest, BEGIN_NODES, &node_table, out);
	(void)wl_buffer_append_text(out, rest);
}

static void test_page_is_up_to_date(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer page, wanted;
	read_page(&page);
	make_page(page.data, &wanted);
	if (strcmp(page.data, wanted.data) != 0)
		fail_msg("%s is out of date: run execution_model_test --write", PAGE);
}

/* The tables themselves: every state can be reached, and from every one a final one. */
static void check_reach(const struct table *table)
{
	unsigned reached = 1, ends = 0;
	for (int round = 0; round < table->count; round++)
		for (int from = 0; from < table->count; from++)
			for (int to = 0; to < table->count; to++) {
				if (!table->legal(from, to))
					continue;
				if (reached & 1U << from)
					reached |= 1U << to;
				if (table->final(to) || ends & 1U << to)
					ends |= 1U << from;
			}
	for (int state = 0; state < table->count; state++) {
		assert_true(reached & 1U << state);
		assert_true(table->final(state) || ends & 1U << state);
	}
}

static void test_tables(void **state)
{
	(void)state;
	check_reach(&run_table);
	check_reach(&node_table);
}

static int write_page(void)
{
	_wl_buffer_ struct wl_buffer page, wanted;
	read_page(&page);
	make_page(page.data, &wanted);
	FILE *file = fopen(PAGE, "we");
	if (!file || fwrite(wanted.data, 1, wanted.length, file) != wanted.length || fclose(file) != 0) {
		perror(PAGE);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_page_is_up_to_date), cmocka_unit_test(test_tables) };
	if (argc > 1 && strcmp(argv[1], "--write") == 0)
		return write_page();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
