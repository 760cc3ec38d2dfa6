/* The pure parts of the command line: arguments, help, completion, inputs, server-sent events, texts, exit codes. */
#include "cli/core/command.h"
#include "cli/core/inputs.h"
#include "cli/core/outcome.h"
#include "cli/core/sse.h"
#include "cli/core/text.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- arguments -------------------------------------------------------------------------------- */
static int do_nothing(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	(void)cli;
	(void)arguments;
	(void)err;
	return 0;
}

static const struct cli_option build_options[] = {
	{ "set", 's', "K=V", NULL, "a value, it's repeatable" },
	{ "kind", 0, "KIND", "red green", "what kind" },
	{ "count", 0, "N", NULL, "how many" },
	{ "quick", 'q', NULL, NULL, "hurry" },
	{ NULL, 0, NULL, NULL, NULL },
};
static const struct cli_option none[] = { { NULL, 0, NULL, NULL, NULL } };

static const struct cli_command table[] = {
	{ "build", "FILE|NAME", NULL, 1, 2, "Build it", "More about it.", build_options, do_nothing },
	{ "shell", "SHELL", "bash zsh", 1, 1, "Pick one", "", none, do_nothing },
	{ "help", "[COMMAND]", NULL, 0, 1, "Show help", "", none, do_nothing },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};

#define PARSE(arguments, err, ...)                                                                                     \
	cli_arguments_parse(table, (int)(sizeof((char *[]){ "windlass", __VA_ARGS__ }) / sizeof(char *)),              \
			    (char *[]){ "windlass", __VA_ARGS__ }, arguments, err)

static void arguments_come_in_any_order(void **state)
{
	(void)state;
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	assert_int_equal(
		PARSE(&arguments, &err, "--json", "build", "a", "--set", "x=1", "-q", "b", "--set=y=2", "-s", "z"), 0);
	assert_string_equal(arguments.command->name, "build");
	assert_int_equal(arguments.word_count, 2);
	assert_string_equal(arguments.words[1], "b");
	assert_true(cli_flag(&arguments, "json") && cli_flag(&arguments, "quick") && !cli_flag(&arguments, "kind"));
	assert_string_equal(cli_value(&arguments, "set", NULL), "z"); /* the last one */
	assert_int_equal(arguments.given_count, 5);
	assert_string_equal(arguments.given[3].value, "y=2");
	assert_null(cli_value(&arguments, "kind", NULL));
}

static void two_dashes_end_the_options(void **state)
{
	(void)state;
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	assert_int_equal(PARSE(&arguments, &err, "build", "--", "--set", "-"), 0);
	assert_string_equal(arguments.words[0], "--set");
	assert_string_equal(arguments.words[1], "-");
	assert_int_equal(PARSE(&arguments, &err, "build", "-"), 0); /* standard input is a word */
	assert_int_equal(arguments.word_count, 1);
}

static void wrong_arguments_are_named(void **state)
{
	(void)state;
	static const struct {
		char *words[6];
		const char *named;
	} wrong[] = {
		{ { "nope" }, "nope" },
		{ { "build" }, "FILE|NAME" },
		{ { "build", "a", "b", "surplus" }, "surplus" },
		{ { "build", "a", "--nope" }, "--nope" },
		{ { "build", "a", "--se" }, "--se" },
		{ { "build", "a", "--set" }, "K=V" },
		{ { "build", "a", "--quick=1" }, "quick" },
		{ { "build", "a", "--kind", "blue" }, "blue" },
		{ { "build", "a", "--kind", "" }, "kind" },
		{ { "build", "a", "-qs" }, "-qs" },
		{ { "build", "a", "-x" }, "-x" },
		{ { "shell", "fish" }, "fish" },
		{ { "--set", "x", "build" }, "--set" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++) {
		char *argv[8] = { "windlass" };
		int argc = 1;
		while (argc < 7 && wrong[i].words[argc - 1]) {
			argv[argc] = wrong[i].words[argc - 1];
			argc++;
		}
		struct cli_arguments arguments;
		struct wl_error err = { 0 };
		assert_int_equal(cli_arguments_parse(table, argc, argv, &arguments, &err), -EINVAL);
		assert_non_null(strstr(err.text, wrong[i].named));
	}
}

static void help_needs_no_other_argument(void **state)
{
	(void)state;
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	assert_int_equal(PARSE(&arguments, &err, "build", "--help"), 0);
	assert_int_equal(PARSE(&arguments, &err, "-h"), 0);
	assert_null(arguments.command);
}

static void too_many_arguments_are_refused(void **state)
{
	(void)state;
	char *argv[CLI_MAX_GIVEN + 8];
	int argc = 0;
	argv[argc++] = "windlass";
	argv[argc++] = "build";
	argv[argc++] = "a";
	while (argc < CLI_MAX_GIVEN + 4)
		argv[argc++] = "-q";
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	assert_int_equal(cli_arguments_parse(table, argc, argv, &arguments, &err), -EINVAL);
	argc = 2;
	while (argc < CLI_MAX_WORDS + 4)
		argv[argc++] = "word";
	assert_int_equal(cli_arguments_parse(table, argc, argv, &arguments, &err), -EINVAL);
}

static void numbers_keep_their_range(void **state)
{
	(void)state;
	static const char *const bad[] = { "0", "11", "x", "", "5x", "99999999999999999999", "-1" };
	struct cli_arguments arguments;
	struct wl_error err = { 0 };
	long number = 0;
	assert_int_equal(PARSE(&arguments, &err, "build", "a"), 0);
	assert_int_equal(cli_number(&arguments, "count", 1, 10, 7, &number, &err), 0);
	assert_int_equal(number, 7);
	assert_int_equal(PARSE(&arguments, &err, "build", "a", "--count=10"), 0);
	assert_int_equal(cli_number(&arguments, "count", 1, 10, 7, &number, &err), 0);
	assert_int_equal(number, 10);
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
		assert_int_equal(PARSE(&arguments, &err, "build", "a", "--count", (char *)(uintptr_t)bad[i]), 0);
		assert_int_equal(cli_number(&arguments, "count", 1, 10, 7, &number, &err), -EINVAL);
	}
}

/* ---- help and completion ----------------------------------------------------------------------- */
static void help_tells_every_command_option_and_exit(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer overview;
	_wl_buffer_ struct wl_buffer one;
	_wl_buffer_ struct wl_buffer page;
	wl_buffer_init(&overview, 0);
	wl_buffer_init(&one, 0);
	wl_buffer_init(&page, 0);
	cli_help_overview(&overview, table);
	cli_help_command(&one, &table[0]);
	cli_help_markdown(&page, table);
	for (const struct cli_command *command = table; command->name; command++) {
		assert_non_null(strstr(overview.data, command->summary));
		assert_non_null(strstr(page.data, command->name));
	}
	for (const struct cli_option *option = build_options; option->name; option++) {
		assert_non_null(strstr(one.data, option->meaning));
		assert_non_null(strstr(page.data, option->meaning));
	}
	assert_non_null(strstr(one.data, "More about it."));
	assert_non_null(strstr(one.data, "red green"));
	for (int code = 0; code < CLI_EXIT_COUNT; code++) {
		assert_non_null(strstr(overview.data, cli_exit_meaning((enum cli_exit)code)));
		assert_non_null(strstr(page.data, cli_exit_meaning((enum cli_exit)code)));
	}
}

static void completion_knows_every_word(void **state)
{
	(void)state;
	static const char *const shells[] = { "bash", "zsh", "fish" };
	struct wl_error err = { 0 };
	for (size_t i = 0; i < WL_COUNT_OF(shells); i++) {
		_wl_buffer_ struct wl_buffer script;
		wl_buffer_init(&script, 0);
		assert_int_equal(cli_completion(&script, table, shells[i], &err), 0);
		assert_non_null(strstr(script.data, "build"));
		assert_non_null(strstr(script.data, "quick"));
		assert_non_null(strstr(script.data, "red green"));
		assert_non_null(strstr(script.data, "json"));
		/* a quote inside of a meaning does not end the shell's text; bash's script has no meanings */
		assert_int_equal(strstr(script.data, "it'\\''s") != NULL, strcmp(shells[i], "bash") != 0);
	}
	_wl_buffer_ struct wl_buffer script;
	wl_buffer_init(&script, 0);
	assert_int_equal(cli_completion(&script, table, "tcsh", &err), -EINVAL);
}

/* ---- inputs ------------------------------------------------------------------------------------ */
static int read_double(const char *path, struct wl_buffer *into, struct wl_error *err)
{
	if (strcmp(path, "absent") == 0)
		return wl_fail(err, ENOENT, "open absent");
	if (strcmp(path, "binary") == 0)
		return wl_buffer_append(into, "a\0b", 3);
	if (strcmp(path, "latin1") == 0)
		return wl_buffer_append(into, "\xe4", 1);
	if (strcmp(path, "empty") == 0)
		return 0;
	return wl_buffer_append_text(into, strcmp(path, "json") == 0 ? "{\"deep\": [1]}" : "text of a file\n");
}

static const char schema_text[] =
	"{\"properties\": {\"n\": {\"type\": \"integer\"}, \"s\": {\"type\": \"string\"}, \"either\":"
	" {\"type\": [\"number\", \"string\"]}, \"maybe\": {\"type\": [\"object\", \"null\"]}, \"odd\":"
	" {\"type\": 7}, \"list\": {\"type\": \"array\"}}}";

static void inputs_take_the_type_of_the_schema(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *inputs = wl_json_object();
	_wl_json_ struct wl_json *schema = NULL;
	static const char *const given[] = { "n=42",	   "s=42",	   "either=42", "maybe=null",
					     "odd=1",	   "list=[1,2]",   "free=true", "forced:=[true]",
					     "file=@some", "empty=@empty", "eq=a=b:=c", "json:=@json",
					     "blank=",	   "u=ä\n\"" };
	struct wl_error err = { 0 };
	assert_int_equal(wl_json_parse(schema_text, strlen(schema_text), &schema, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(given); i++)
		assert_int_equal(cli_inputs_add(inputs, given[i], schema, read_double, &err), 0);
	_wl_json_ struct wl_json *wanted = NULL;
	static const char text[] =
		"{\"n\":42,\"s\":\"42\",\"either\":\"42\",\"maybe\":null,\"odd\":\"1\",\"list\":[1,2],"
		"\"free\":\"true\",\"forced\":[true],\"file\":\"text of a file\\n\",\"empty\":\"\","
		"\"eq\":\"a=b:=c\",\"json\":{\"deep\":[1]},\"blank\":\"\",\"u\":\"ä\\n\\\"\"}";
	assert_int_equal(wl_json_parse(text, strlen(text), &wanted, &err), 0);
	assert_true(wl_json_equal(inputs, wanted));
}

static void wrong_inputs_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *given;
		int code;
		const char *named;
	} wrong[] = {
		{ "novalue", -EINVAL, "novalue" },
		{ "=x", -EINVAL, "=x" },
		{ ":=1", -EINVAL, ":=1" },
		{ "n=x", -EINVAL, "n" },
		{ "n=", -EINVAL, "n" },
		{ "j:={", -EINVAL, "j" },
		{ "taken=1", -EINVAL, "taken" },
		{ "f=@absent", -ENOENT, "absent" },
		{ "b=@binary", -EILSEQ, "b" },
		{ "l=@latin1", -EILSEQ, "UTF-8" },
		{ "j:=@some", -EINVAL, "j" },
		{ "", -EINVAL, "name=value" },
	};
	_wl_json_ struct wl_json *schema = NULL;
	struct wl_error err = { 0 };
	assert_int_equal(wl_json_parse(schema_text, strlen(schema_text), &schema, &err), 0);
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++) {
		_wl_json_ struct wl_json *inputs = wl_json_object();
		assert_int_equal(wl_json_set_bool(inputs, "taken", true), 0);
		assert_int_equal(cli_inputs_add(inputs, wrong[i].given, schema, read_double, &err), wrong[i].code);
		assert_non_null(strstr(err.text, wrong[i].named));
		assert_int_equal(wl_json_count(inputs), 1); /* nothing is half in */
	}
	char long_name[CLI_INPUT_NAME_MAX + 8];
	memset(long_name, 'x', sizeof(long_name) - 3);
	strcpy(long_name + sizeof(long_name) - 3, "=1");
	_wl_json_ struct wl_json *inputs = wl_json_object();
	assert_int_equal(cli_inputs_add(inputs, long_name, NULL, read_double, &err), -EINVAL);
}

static void a_file_of_inputs_is_an_object(void **state)
{
	(void)state;
	_wl_json_ struct wl_json *inputs = wl_json_object();
	_wl_json_ struct wl_json *more = NULL;
	_wl_json_ struct wl_json *list = wl_json_array();
	struct wl_error err = { 0 };
	assert_int_equal(wl_json_parse("{\"a\":1,\"b\":[2]}", 15, &more, &err), 0);
	assert_int_equal(cli_inputs_merge(inputs, more, &err), 0);
	assert_true(wl_json_equal(inputs, more));
	assert_int_equal(cli_inputs_merge(inputs, more, &err), -EINVAL); /* twice */
	assert_int_equal(cli_inputs_merge(inputs, list, &err), -EINVAL);
}

/* ---- server-sent events ------------------------------------------------------------------------ */
struct heard {
	char text[4096];
	int stop_after, count;
};

static int hear(void *self, const struct cli_sse_event *event, struct wl_error *err)
{
	struct heard *heard = self;
	(void)err;
	size_t used = strlen(heard->text);
	(void)snprintf(heard->text + used, sizeof(heard->text) - used, "[%s|%s|%.*s]", event->type, event->id,
		       (int)event->length, event->data);
	return ++heard->count == heard->stop_after ? -ECANCELED : 0;
}

static const char stream[] = "\xef\xbb\xbf: a comment\n\n"
			     "id: 1-0\nevent: node\ndata: {\"a\":1}\n\n"
			     "data:two\ndata\ndata:  lines\r\n\r\n"
			     "event: forgotten\n\n"
			     "retry: 1500\nid: 2-0\rdata: x\r\r"
			     "nonsense: y\ndata: z\n\n"
			     "data: never finished\n";
static const char stream_heard[] = "[node|1-0|{\"a\":1}][message|1-0|two\n\n lines][message|2-0|x][message|2-0|z]";

static void events_are_the_same_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= sizeof(stream); piece++) {
		struct cli_sse sse;
		struct heard heard = { 0 };
		struct wl_error err = { 0 };
		cli_sse_init(&sse);
		for (size_t at = 0; at < sizeof(stream) - 1; at += piece) {
			size_t length = sizeof(stream) - 1 - at < piece ? sizeof(stream) - 1 - at : piece;
			assert_int_equal(cli_sse_feed(&sse, stream + at, length, hear, &heard, &err), 0);
		}
		assert_string_equal(heard.text, stream_heard);
		assert_int_equal(sse.retry_ms, 1500);
		assert_string_equal(sse.id, "2-0");
		cli_sse_release(&sse);
	}
}

static void a_new_connection_keeps_the_id_alone(void **state)
{
	(void)state;
	struct cli_sse sse;
	struct heard heard = { 0 };
	struct wl_error err = { 0 };
	cli_sse_init(&sse);
	assert_int_equal(cli_sse_feed(&sse, "id: 7-1\ndata: a\n\nevent: cut\ndata: half", 38, hear, &heard, &err), 0);
	cli_sse_restart(&sse);
	assert_int_equal(cli_sse_feed(&sse, "data: b\n\n", 9, hear, &heard, &err), 0);
	assert_string_equal(heard.text, "[message|7-1|a][message|7-1|b]");
	cli_sse_release(&sse);
}

static void a_handler_ends_the_feed(void **state)
{
	(void)state;
	struct cli_sse sse;
	struct heard heard = { .stop_after = 1 };
	struct wl_error err = { 0 };
	cli_sse_init(&sse);
	assert_int_equal(cli_sse_feed(&sse, "data: a\n\ndata: b\n\n", 18, hear, &heard, &err), -ECANCELED);
	assert_string_equal(heard.text, "[message||a]");
	cli_sse_release(&sse);
}

static void hostile_fields_are_left_out_or_refused(void **state)
{
	(void)state;
	struct cli_sse sse;
	struct heard heard = { 0 };
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, 0);
	cli_sse_init(&sse);
	assert_int_equal(wl_buffer_append_text(&text, "id: good\n\nid: a"), 0);
	assert_int_equal(wl_buffer_append(&text, "\0", 1), 0);
	assert_int_equal(wl_buffer_append_text(&text, "b\nevent: "), 0);
	for (int i = 0; i < CLI_SSE_NAME; i++)
		assert_int_equal(wl_buffer_append_char(&text, 'e'), 0);
	assert_int_equal(wl_buffer_append_text(&text, "\nid: "), 0);
	for (int i = 0; i < CLI_SSE_ID; i++)
		assert_int_equal(wl_buffer_append_char(&text, 'i'), 0);
	assert_int_equal(wl_buffer_append_text(&text, "\nretry: 12x\nretry: 99999999999999\ndata: d\n\n"), 0);
	assert_int_equal(cli_sse_feed(&sse, text.data, text.length, hear, &heard, &err), 0);
	assert_string_equal(heard.text, "[message|good|d]");
	assert_int_equal(sse.retry_ms, CLI_SSE_RETRY_MAX_MS);
	cli_sse_release(&sse);
}

static void an_event_without_end_is_bounded(void **state)
{
	(void)state;
	static char piece[64 << 10];
	static const char *const beginnings[] = { "", "\ndata: " };
	memset(piece, 'x', sizeof(piece));
	for (size_t kind = 0; kind < WL_COUNT_OF(beginnings); kind++) {
		struct cli_sse sse;
		struct heard heard = { 0 };
		struct wl_error err = { 0 };
		int result = 0;
		cli_sse_init(&sse);
		size_t fed = 0;
		for (; result == 0 && fed < 2 * CLI_SSE_MAX; fed += sizeof(piece)) {
			result = cli_sse_feed(&sse, piece, sizeof(piece), hear, &heard, &err);
			if (result == 0 && kind)
				result = cli_sse_feed(&sse, beginnings[kind], strlen(beginnings[kind]), hear, &heard,
						      &err);
		}
		assert_int_equal(result, -EMSGSIZE);
		assert_true(fed <= CLI_SSE_MAX + 2 * sizeof(piece));
		assert_int_equal(heard.count, 0);
		cli_sse_release(&sse);
	}
}

/* ---- texts ------------------------------------------------------------------------------------- */
static void outside_text_does_not_steer_the_terminal(void **state)
{
	(void)state;
	static const char text[] = "a\033[2Jb\tc\nd\x7f\xc2\x9b"
				   "31m ä \xff\xe2\x82 \xed\xa0\x80\xf0\x9f\x98\x80";
	_wl_buffer_ struct wl_buffer many;
	_wl_buffer_ struct wl_buffer one;
	wl_buffer_init(&many, 0);
	wl_buffer_init(&one, 0);
	cli_text_append_safe(&many, text, sizeof(text) - 1, false);
	cli_text_append_safe(&one, text, sizeof(text) - 1, true);
	assert_string_equal(many.data,
			    "a\\x1b[2Jb\tc\nd\\x7f\\xc2\\x9b31m ä \\xff\\xe2\\x82 \\xed\\xa0\\x80\xf0\x9f\x98\x80");
	assert_non_null(strstr(one.data, "b\\x09c\\x0ad"));
}

static void utf8_is_judged_strictly(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80",
					   "\xc0\xaf",
					   "\xc1\x81",
					   "\xe0\x80\xaf",
					   "\xed\xa0\x80",
					   "\xf0\x80\x80\x80",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "a\xe2\x82",
					   "\xff" };
	assert_true(cli_text_valid("aä€😀", strlen("aä€😀")));
	assert_true(cli_text_valid("", 0));
	assert_false(cli_text_valid("a\0b", 3));
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++)
		assert_false(cli_text_valid(bad[i], strlen(bad[i])));
	assert_int_equal(cli_text_columns("aä€😀"), 4);
}

static void pretty_json_reads_back_as_the_same(void **state)
{
	(void)state;
	static const char text[] = "{\"a\":[1,2.5,{\"b\":null}],\"c\":{},\"d\":[],\"e\":\"x\\n\",\"\\\"\":true}";
	struct wl_error err = { 0 };
	_wl_json_ struct wl_json *json = NULL;
	_wl_json_ struct wl_json *again = NULL;
	_wl_buffer_ struct wl_buffer pretty;
	wl_buffer_init(&pretty, 0);
	assert_int_equal(wl_json_parse(text, strlen(text), &json, &err), 0);
	cli_json_pretty(&pretty, json);
	assert_int_equal(wl_json_parse(pretty.data, pretty.length, &again, &err), 0);
	assert_true(wl_json_equal(json, again));
	assert_non_null(strstr(pretty.data, "\n    {\n      \"b\": null\n    }\n"));
}

static void times_and_durations_are_read(void **state)
{
	(void)state;
	char text[CLI_DURATION_TEXT];
	assert_int_equal(cli_time_between_ms("2026-05-01T09:30:00.125Z", "2026-05-01T09:30:01.500Z"), 1375);
	assert_int_equal(cli_time_between_ms("2024-02-28T23:59:59Z", "2024-03-01T00:00:00.000Z"), 86401000);
	assert_int_equal(cli_time_between_ms("2026-12-31T23:59:59.9Z", "2027-01-01T00:00:00.000000Z"), 100);
	assert_int_equal(cli_time_between_ms("2026-05-01T09:30:01Z", "2026-05-01T09:30:00Z"), 0); /* clocks differ */
	static const char *const bad[] = { "",
					   "now",
					   "2026-13-01T00:00:00Z",
					   "2026-01-01T00:00:00",
					   "2026-01-01T00:00:00+02:00",
					   "2026-01-01T99:00:00Z",
					   "99999-01-01T00:00:00Z" };
	for (size_t i = 0; i < WL_COUNT_OF(bad); i++)
		assert_int_equal(cli_time_between_ms(bad[i], "2026-05-01T09:30:00Z"), -1);
	assert_int_equal(cli_time_between_ms("2026-05-01T09:30:00Z", NULL), -1);
	assert_string_equal(cli_duration(-1, text), "");
	assert_string_equal(cli_duration(12, text), "12 ms");
	assert_string_equal(cli_duration(3499, text), "3.4 s");
	assert_string_equal(cli_duration(125000, text), "2 min 5 s");
	assert_string_equal(cli_duration(INT64_MAX, text), "2562047788015 h 12 min");
}

/* ---- exit codes --------------------------------------------------------------------------------- */
static void exits_tell_how_it_ended(void **state)
{
	(void)state;
	assert_int_equal(cli_exit_code(cli_exit_of_status("succeeded")), 0);
	assert_int_equal(cli_exit_code(cli_exit_of_status("failed")), 1);
	assert_int_equal(cli_exit_code(cli_exit_of_status("cancelled")), 3);
	assert_int_equal(cli_exit_code(cli_exit_of_status("timeout")), 4);
	assert_int_equal(cli_exit_code(cli_exit_of_status("running")), 1);
	assert_int_equal(cli_exit_code(cli_exit_of_status("no such status")), 1);
	assert_int_equal(cli_exit_code(cli_exit_of_error(EINVAL)), 2);
	assert_int_equal(cli_exit_code(cli_exit_of_error(ENOENT)), 2);
	assert_int_equal(cli_exit_code(cli_exit_of_error(ECONNREFUSED)), 5);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(401))), 5);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(403))), 5);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(503))), 5);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(404))), 6);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(422))), 6);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(429))), 6);
	assert_int_equal(cli_exit_code(cli_exit_of_error(cli_errno_of_http(500))), 6);
	assert_int_equal(cli_exit_code(cli_exit_of_error(EINTR)), 130);
	assert_int_equal(cli_errno_of_http(200), 0);
	assert_int_equal(cli_errno_of_http(202), 0);
	assert_int_not_equal(cli_errno_of_http(302), 0); /* not followed */
	assert_int_not_equal(cli_errno_of_http(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_come_in_any_order),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(wrong_arguments_are_named),
		cmocka_unit_test(help_needs_no_other_argument),
		cmocka_unit_test(too_many_arguments_are_refused),
		cmocka_unit_test(numbers_keep_their_range),
		cmocka_unit_test(help_tells_every_command_option_and_exit),
		cmocka_unit_test(completion_knows_every_word),
		cmocka_unit_test(inputs_take_the_type_of_the_schema),
		cmocka_unit_test(wrong_inputs_are_named),
		cmocka_unit_test(a_file_of_inputs_is_an_object),
		cmocka_unit_test(events_are_the_same_in_pieces_of_any_size),
		cmocka_unit_test(a_new_connection_keeps_the_id_alone),
		cmocka_unit_test(a_handler_ends_the_feed),
		cmocka_unit_test(hostile_fields_are_left_out_or_refused),
		cmocka_unit_test(an_event_without_end_is_bounded),
		cmocka_unit_test(outside_text_does_not_steer_the_terminal),
		cmocka_unit_test(utf8_is_judged_strictly),
		cmocka_unit_test(pretty_json_reads_back_as_the_same),
		cmocka_unit_test(times_and_durations_are_read),
		cmocka_unit_test(exits_tell_how_it_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
