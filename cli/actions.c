#include "cli/actions.h"

#include "cli/commands.h"
#include "cli/files.h"
#include "cli/flows.h"
#include "cli/lists.h"
#include "cli/print.h"
#include "cli/run.h"
#include "lib/base/cleanup.h"
#include "lib/base/ids.h"
#include "lib/codec/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_MAX_BYTES (16u << 10)
#define BODY_FILE_MAX (16u << 20)
#define TABLE_COLUMNS CLI_COLUMNS_MAX

/* ---- paths ------------------------------------------------------------------------------------------------------- */

void cli_append_encoded(struct wl_buffer *out, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
			     strchr("-._~", *at) != NULL;
		if (plain)
			(void)wl_buffer_append_char(out, (char)*at);
		else
			(void)wl_buffer_appendf(out, "%%%02X", *at);
	}
}

int cli_thing_find(struct cli *cli, const struct cli_group *group, const char *id_or_name, char *id,
		   struct wl_error *err)
{
	struct cli_list_plan plan = { .member = group->member, .limit = CLI_LIST_MOST };
	_wl_buffer_ struct wl_buffer path;
	_wl_json_ struct wl_json *rows = NULL;
	int found = 0;
	if (wl_uuid_valid(id_or_name)) {
		(void)snprintf(id, WL_UUID_TEXT, "%s", id_or_name);
		return 0;
	}
	wl_buffer_init(&path, PATH_MAX_BYTES);
	(void)wl_buffer_appendf(&path, "%s?", group->path);
	if (path.failed)
		return wl_fail(err, ENOMEM, "no memory for a request");
	plan.path = path.data;
	if (cli_list_read(cli, &plan, &rows, err) < 0)
		return -err->code;
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		const char *text = wl_json_get_string(row, "id", "");
		if (strcmp(wl_json_get_string(row, group->key, ""), id_or_name) != 0 || !wl_uuid_valid(text))
			continue;
		(void)snprintf(id, WL_UUID_TEXT, "%s", text);
		found++;
	}
	if (found == 1)
		return 0;
	return wl_fail(err, EREMOTEIO,
		       found ? "more than one of the %s is called '%.100s': give its id"
			     : "none of the %s is called '%.100s'",
		       group->name, id_or_name);
}

/* The words behind the action. */
static const char *word_of(const struct cli_arguments *arguments, char place)
{
	int index = place - '0';
	return index < arguments->word_count ? arguments->words[index] : NULL;
}

/* Replace {name} and {1} to {9} of the action's path. */
static int make_path(struct cli *cli, const struct cli_group *group, const struct cli_action *action,
		     const struct cli_arguments *arguments, struct wl_buffer *path, struct wl_error *err)
{
	char id[WL_UUID_TEXT];
	for (const char *at = action->path; *at;) {
		size_t plain = strcspn(at, "{");
		(void)wl_buffer_append(path, at, plain);
		at += plain;
		if (!*at)
			break;
		if (at[1] >= '1' && at[1] <= '9') {
			cli_append_encoded(path, word_of(arguments, at[1]));
		} else {
			if (cli_thing_find(cli, group, word_of(arguments, '1'), id, err) < 0)
				return -err->code;
			(void)wl_buffer_append_text(path, id);
		}
		at += strcspn(at, "}") + 1;
	}
	return path->failed ? wl_fail(err, path->failed, "no memory for a request") : 0;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static const char *given_value(const struct cli_arguments *arguments, const struct cli_field *field)
{
	if (field->type == CLI_FIELD_INPUTS || field->type == CLI_FIELD_FALSE || field->type == CLI_FIELD_ALWAYS ||
	    field->type == CLI_FIELD_LITERAL)
		return field->from;
	if (field->from[0] >= '1' && field->from[0] <= '9' && !field->from[1])
		return word_of(arguments, field->from[0]);
	if (field->type == CLI_FIELD_TRUE)
		return cli_flag(arguments, field->from) ? "true" : NULL;
	return cli_value(arguments, field->from, NULL);
}

static struct wl_json *list_of(const char *text)
{
	struct wl_json *list = wl_json_array();
	while (list && *text) {
		size_t length = strcspn(text, ",");
		_wl_free_ char *one = strndup(text, length);
		if (length && (!one || wl_json_append(list, wl_json_new_string(one)) < 0)) {
			wl_json_free(list);
			return NULL;
		}
		text += length + (text[length] == ',');
	}
	return list;
}

static int file_text(const char *path, struct wl_json **ret_value, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, BODY_FILE_MAX);
	if (cli_file_read(path, &text, err) < 0)
		return -err->code;
	if (!text.length || strlen(text.data) != text.length)
		return wl_fail(err, EINVAL, "%.200s is %s", path, text.length ? "no text" : "empty");
	*ret_value = wl_json_new_string(text.data);
	return 0;
}

/* The value of a field that was given. */
static int make_value(struct cli *cli, const struct cli_arguments *arguments, const struct cli_field *field,
		      const char *given, struct wl_json **ret_value, struct wl_error *err)
{
	_wl_json_ struct wl_json *flow = NULL;
	char secret[CLI_PASSWORD_MAX];
	char *end = NULL;
	switch (field->type) {
	case CLI_FIELD_NAMED:
	case CLI_FIELD_NUMBER:
		if (field->type == CLI_FIELD_NAMED && strcmp(given, "default") == 0) {
			*ret_value = wl_json_new_null();
			break;
		}
		*ret_value = wl_json_new_number(strtod(given, &end));
		if (end == given || *end)
			return wl_fail(err, EINVAL, "'%.64s' is not a number", given);
		break;
	case CLI_FIELD_JSON:
		if (wl_json_parse(given, strlen(given), ret_value, err) < 0)
			return wl_fail_within(err, "--%s", field->from);
		break;
	case CLI_FIELD_TRUE:
	case CLI_FIELD_ALWAYS:
	case CLI_FIELD_FALSE:
		*ret_value = wl_json_new_bool(field->type != CLI_FIELD_FALSE);
		break;
	case CLI_FIELD_VERDICT:
		if (strcmp(given, "approve") != 0 && strcmp(given, "reject") != 0)
			return wl_fail(err, EINVAL, "a person's word is approve or reject, not '%.64s'", given);
		*ret_value = wl_json_new_bool(strcmp(given, "approve") == 0);
		break;
	case CLI_FIELD_LIST:
		*ret_value = list_of(given);
		break;
	case CLI_FIELD_FILE:
		return file_text(given, ret_value, err);
	case CLI_FIELD_SECRET:
		if (cli_password(given, false, secret, err) < 0)
			return -err->code;
		*ret_value = wl_json_new_string(secret);
		memset(secret, 0, sizeof(secret));
		break;
	case CLI_FIELD_ID:
		if (cli_flow_find(cli, given, &flow, err) < 0)
			return -err->code;
		*ret_value = wl_json_new_string(wl_json_get_string(flow, "id", ""));
		break;
	case CLI_FIELD_INPUTS:
		*ret_value = wl_json_object();
		if (*ret_value && cli_inputs_given(arguments, NULL, *ret_value, err) < 0)
			return -err->code;
		break;
	case CLI_FIELD_LITERAL:
	case CLI_FIELD_TEXT:
		*ret_value = wl_json_new_string(given);
		break;
	}
	return *ret_value ? 0 : wl_fail(err, ENOMEM, "no memory for a request");
}

/* Put a value under "a", "a.b" or "a.b.c" of the body. */
static int put_member(struct wl_json *body, const char *member, struct wl_json *value, struct wl_error *err)
{
	const char *dot = strchr(member, '.');
	char outer[32];
	if (!dot)
		return wl_json_set(body, member, value) < 0 ? wl_fail(err, ENOMEM, "no memory for a request") : 0;
	(void)snprintf(outer, sizeof(outer), "%.*s", (int)(dot - member), member);
	struct wl_json *inner = wl_json_copy(wl_json_get(body, outer));
	if (!inner)
		inner = wl_json_object();
	int failed = put_member(inner, dot + 1, value, err);
	if (wl_json_set(body, outer, inner) < 0)
		return wl_fail(err, ENOMEM, "no memory for a request");
	return failed;
}

static void put_query(struct wl_buffer *path, const char *member, const struct wl_json *value)
{
	bool first = !strchr(path->data, '?');
	(void)wl_buffer_append_char(path, first ? '?' : '&');
	(void)wl_buffer_appendf(path, "%s=", member);
	if (wl_json_is(value, WL_JSON_NUMBER))
		(void)wl_buffer_appendf(path, "%.0f", wl_json_number(value, 0));
	else
		cli_append_encoded(path, wl_json_string(value, ""));
}

/* Where the field's value goes. */
static const char *member_of(const struct cli_arguments *arguments, const struct cli_field *field, char text[64])
{
	if (field->type != CLI_FIELD_NAMED)
		return field->member;
	(void)snprintf(text, 64, "quotas.%.50s", word_of(arguments, field->member[0]));
	return text;
}

/* The body from the fields; *ret_body stays NULL for actions without any. */
static int make_body(struct cli *cli, const struct cli_action *action, const struct cli_arguments *arguments,
		     struct wl_buffer *path, struct wl_json **ret_body, struct wl_error *err)
{
	_wl_json_ struct wl_json *body = wl_json_object();
	char name[64];
	bool any = false;
	if (!body)
		return wl_fail(err, ENOMEM, "no memory for a request");
	for (const struct cli_field *field = action->fields; field && field->from; field++) {
		const char *given = given_value(arguments, field);
		_wl_json_ struct wl_json *value = NULL;
		any = any || !field->in_query;
		if (!given)
			continue;
		if (make_value(cli, arguments, field, given, &value, err) < 0)
			return -err->code;
		if (field->in_query)
			put_query(path, field->member, value);
		else if (put_member(body, member_of(arguments, field, name), wl_steal(value), err) < 0)
			return -err->code;
	}
	if (any)
		*ret_body = wl_steal(body);
	return path->failed ? wl_fail(err, path->failed, "no memory for a request") : 0;
}

/* A JSON or YAML file as the body. */
static int read_body(const char *file, struct wl_json **ret_body, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, BODY_FILE_MAX);
	if (cli_file_read(file, &text, err) < 0)
		return -err->code;
	const char *data = text.data ? text.data : "";
	if (wl_json_parse(data, text.length, ret_body, NULL) == 0)
		return 0;
	return wl_yaml_parse(data, text.length, ret_body, err) < 0 ? wl_fail_within(err, "%.200s", file) : 0;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static const char *cell_of(const struct wl_json *row, const char *member, char text[64])
{
	const struct wl_json *value = wl_json_get(row, member);
	if (wl_json_is(value, WL_JSON_NUMBER))
		(void)snprintf(text, 64, "%.15g", wl_json_number(value, 0));
	else if (wl_json_is(value, WL_JSON_BOOL))
		(void)snprintf(text, 64, "%s", wl_json_bool(value, false) ? "yes" : "no");
	else if (wl_json_is(value, WL_JSON_ARRAY))
		(void)snprintf(text, 64, "%.63s", wl_json_string(wl_json_first(value), "-"));
	else
		return wl_json_string(value, "-");
	return text;
}

static int print_table(const struct cli_action *action, const struct wl_json *rows, struct wl_error *err)
{
	const char *cells[TABLE_COLUMNS];
	char texts[TABLE_COLUMNS][64];
	_cli_rows_ struct cli_rows table = { .columns = 0 };
	while (table.columns < TABLE_COLUMNS && action->columns[2 * table.columns]) {
		cells[table.columns] = action->columns[2 * table.columns];
		table.columns++;
	}
	cli_rows_add(&table, cells);
	for (const struct wl_json *row = wl_json_first(rows); row; row = wl_json_next(row)) {
		for (int i = 0; i < table.columns; i++)
			cells[i] = cell_of(row, action->columns[2 * i + 1], texts[i]);
		cli_rows_add(&table, cells);
	}
	return cli_rows_print(&table, err);
}

static int show_list(struct cli *cli, const struct cli_action *action, const struct cli_arguments *arguments,
		     struct wl_buffer *path, struct wl_error *err)
{
	struct cli_list_plan plan = { .member = action->member, .by_cursor = action->by_cursor };
	_wl_json_ struct wl_json *rows = NULL;
	_wl_json_ struct wl_json *none = NULL;
	if (cli_number(arguments, "limit", 1, CLI_LIST_MOST, action->by_cursor ? 20 : CLI_LIST_MOST, &plan.limit, err) <
		    0 ||
	    make_body(cli, action, arguments, path, &none, err) < 0)
		return -err->code;
	(void)wl_buffer_append_char(path, strchr(path->data, '?') ? '&' : '?');
	if (path->failed)
		return wl_fail(err, path->failed, "no memory for a request");
	plan.path = path->data;
	if (cli_list_read(cli, &plan, &rows, err) < 0)
		return -err->code;
	return cli->json ? cli_list_print_json(action->member, wl_steal(rows), err) : print_table(action, rows, err);
}

/* Lists that come whole, without pages. */
static int show_whole(struct cli *cli, const struct cli_action *action, const struct wl_json *answer,
		      struct wl_error *err)
{
	return cli->json ? cli_print_json(answer, false, err)
			 : print_table(action, wl_json_get(answer, action->member), err);
}

static int show_lines(const struct wl_json *texts, struct wl_error *err)
{
	for (const struct wl_json *text = wl_json_first(texts); text; text = wl_json_next(text)) {
		cli_print_text(stdout, wl_json_string(text, ""), true);
		(void)fputc('\n', stdout);
	}
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

static int show(struct cli *cli, const struct cli_action *action, const struct wl_json *answer, struct wl_error *err)
{
	if (!answer || action->shape == CLI_SHAPE_NOTHING)
		return 0;
	if (action->shape == CLI_SHAPE_TABLE)
		return show_whole(cli, action, answer, err);
	if (cli->json || action->shape == CLI_SHAPE_ONE)
		return cli_print_json(answer, !cli->json, err);
	if (action->shape == CLI_SHAPE_LINES)
		return show_lines(wl_json_get(answer, action->member), err);
	cli_print_text(stdout, wl_json_get_string(answer, action->member, ""), true);
	(void)fputc('\n', stdout);
	return fflush(stdout) == 0 ? 0 : wl_fail(err, EIO, "standard output is closed");
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static int call_action(struct cli *cli, const struct cli_group *group, const struct cli_action *action,
		       const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer path;
	_wl_json_ struct wl_json *body = NULL;
	_cli_answer_ struct cli_answer answer = { 0 };
	wl_buffer_init(&path, PATH_MAX_BYTES);
	if (cli_connect(cli, arguments, err) < 0 || make_path(cli, group, action, arguments, &path, err) < 0)
		return -err->code;
	if (action->shape == CLI_SHAPE_TABLE && action->columns && strcmp(action->method, "LIST") == 0)
		return show_list(cli, action, arguments, &path, err);
	int r = action->body_file ? read_body(arguments->words[arguments->word_count - 1], &body, err)
				  : make_body(cli, action, arguments, &path, &body, err);
	if (r < 0)
		return r;
	struct cli_call call = { .method = action->method, .path = path.data, .body = body };
	if (cli_call(cli, &call, &answer, err) < 0)
		return -err->code;
	return show(cli, action, answer.json, err);
}

static const struct cli_group *group_of(const char *command)
{
	const struct cli_group *group = cli_groups;
	while (group->name && strcmp(group->name, command) != 0)
		group++;
	return group;
}

int cli_group_run(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const struct cli_group *group = group_of(arguments->command->name);
	const struct cli_action *action = group->actions;
	int words = arguments->word_count - 1;
	while (action->name && strcmp(action->name, arguments->words[0]) != 0)
		action++;
	if (words < action->least || words > action->most)
		return wl_fail(err, EINVAL, "windlass %s %s takes %s; see windlass help %s", group->name, action->name,
			       action->least ? "other arguments" : "no such arguments", group->name);
	return action->run ? action->run(cli, arguments, err) : call_action(cli, group, action, arguments, err);
}
