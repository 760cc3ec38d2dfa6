#include "cli/core/inputs.h"

#include "cli/core/text.h"

#include <errno.h>
#include <string.h>

static bool type_is_text(const struct wl_json *type)
{
	const char *name = wl_json_string(type, NULL);
	if (name)
		return strcmp(name, "string") == 0;
	if (!wl_json_is(type, WL_JSON_ARRAY) || wl_json_count(type) == 0)
		return true;
	for (const struct wl_json *one = wl_json_first(type); one; one = wl_json_next(one))
		if (strcmp(wl_json_string(one, ""), "string") == 0)
			return true;
	return false;
}

/* Text is the reading of a value unless the schema names types and none of them is string. */
static bool wants_text(const struct wl_json *schema, const char *name)
{
	const struct wl_json *type = wl_json_get(wl_json_get(wl_json_get(schema, "properties"), name), "type");
	return !type || type_is_text(type);
}

static int put_value(struct wl_json *inputs, const char *name, bool is_text, const char *text, size_t length,
		     struct wl_error *err)
{
	if (is_text) {
		if (!cli_text_valid(text, length))
			return wl_fail(err, EILSEQ, "input %s is not UTF-8 text without NUL bytes", name);
		if (wl_json_set_string(inputs, name, text) < 0)
			return wl_fail(err, ENOMEM, "no memory for input %s", name);
		return 0;
	}
	struct wl_json *value = NULL;
	if (wl_json_parse(text, length, &value, err) < 0)
		return wl_fail_within(err, "input %s is to be JSON", name);
	if (wl_json_set(inputs, name, value) < 0)
		return wl_fail(err, ENOMEM, "no memory for input %s", name);
	return 0;
}

int cli_inputs_add(struct wl_json *inputs, const char *argument, const struct wl_json *schema, cli_file_reader reader,
		   struct wl_error *err)
{
	const char *equals = strchr(argument, '=');
	if (!equals || equals == argument)
		return wl_fail(err, EINVAL, "--input '%.64s' is not of the form name=value, name=@file or name:=json",
			       argument);
	bool is_json = equals[-1] == ':';
	size_t length = (size_t)(equals - argument) - (is_json ? 1 : 0);
	char name[CLI_INPUT_NAME_MAX];
	if (length == 0 || length >= sizeof(name))
		return wl_fail(err, EINVAL, "--input '%.64s' needs a name of 1 to %d bytes", argument,
			       CLI_INPUT_NAME_MAX - 1);
	memcpy(name, argument, length);
	name[length] = '\0';
	if (wl_json_get(inputs, name))
		return wl_fail(err, EINVAL, "input %s is given twice", name);
	bool is_text = !is_json && wants_text(schema, name);
	const char *value = equals + 1;
	if (*value != '@')
		return put_value(inputs, name, is_text, value, strlen(value), err);
	_wl_buffer_ struct wl_buffer content;
	wl_buffer_init(&content, CLI_INPUT_FILE_MAX);
	if (reader(value + 1, &content, err) < 0)
		return wl_fail_within(err, "input %s", name);
	return put_value(inputs, name, is_text, content.data ? content.data : "", content.length, err);
}

int cli_inputs_merge(struct wl_json *inputs, const struct wl_json *more, struct wl_error *err)
{
	if (!wl_json_is(more, WL_JSON_OBJECT))
		return wl_fail(err, EINVAL, "the inputs are to be a JSON object");
	for (const struct wl_json *member = wl_json_first(more); member; member = wl_json_next(member)) {
		if (wl_json_get(inputs, wl_json_key(member)))
			return wl_fail(err, EINVAL, "input %.64s is given twice", wl_json_key(member));
		if (wl_json_set(inputs, wl_json_key(member), wl_json_copy(member)) < 0)
			return wl_fail(err, ENOMEM, "no memory for the inputs");
	}
	return 0;
}
