/* The tables of cli/groups.c and cli/commands.c say the same, and every row makes sense. */
#include "cli/actions.h"
#include "cli/commands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *command_of(const struct cli_group *group)
{
	return cli_command_find(cli_commands, group->name);
}

static bool has_option(const struct cli_command *command, const char *name)
{
	for (const struct cli_option *option = command->options; option->name; option++)
		if (strcmp(option->name, name) == 0)
			return true;
	return false;
}

static int count_words(const char *text)
{
	int count = 0;
	for (; *text; count++) {
		text += strcspn(text, " ");
		text += strspn(text, " ");
	}
	return count;
}

static void test_each_group_is_a_command_with_its_actions(void **state)
{
	(void)state;
	for (const struct cli_group *group = cli_groups; group->name; group++) {
		const struct cli_command *command = command_of(group);
		int actions = 0;
		assert_non_null(command);
		assert_ptr_equal(command->run, cli_group_run);
		for (const struct cli_action *action = group->actions; action->name; action++, actions++) {
			if (!cli_choice_has(command->choices, action->name))
				fail_msg("windlass %s %s is not among the choices", group->name, action->name);
			if (!strstr(command->detail, action->name))
				fail_msg("the help of %s does not tell of %s", group->name, action->name);
			assert_in_range(action->most, action->least, command->most - 1);
		}
		assert_int_equal(actions, count_words(command->choices));
	}
}

static void check_field(const struct cli_group *group, const struct cli_action *action, const struct cli_field *field)
{
	bool word = field->from[0] >= '1' && field->from[0] <= '9' && !field->from[1];
	bool fixed =
		field->type == CLI_FIELD_LITERAL || field->type == CLI_FIELD_ALWAYS || field->type == CLI_FIELD_FALSE;
	if (word && field->from[0] - '0' > action->most)
		fail_msg("%s %s takes no word %s", group->name, action->name, field->from);
	if (!word && !fixed && !has_option(command_of(group), field->from))
		fail_msg("%s has no option --%s, which %s takes", group->name, field->from, action->name);
}

static void test_each_action_can_be_called(void **state)
{
	(void)state;
	for (const struct cli_group *group = cli_groups; group->name; group++) {
		for (const struct cli_action *action = group->actions; action->name; action++) {
			if (action->run)
				continue;
			assert_non_null(action->method);
			assert_int_equal(action->path[0], '/');
			assert_true(action->least > 0 || !strchr(action->path, '{'));
			assert_true(action->shape != CLI_SHAPE_TABLE || (action->columns && action->member));
			assert_true(strcmp(action->method, "LIST") != 0 || action->shape == CLI_SHAPE_TABLE);
			for (const struct cli_field *field = action->fields; field && field->from; field++)
				check_field(group, action, field);
		}
	}
}

static void test_text_is_encoded_for_a_path(void **state)
{
	struct wl_buffer out;
	(void)state;
	wl_buffer_init(&out, 0);
	cli_append_encoded(&out, "a b/c?d=\xc3\xa4&-._~");
	assert_string_equal(out.data, "a%20b%2Fc%3Fd%3D%C3%A4%26-._~");
	wl_buffer_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_group_is_a_command_with_its_actions),
		cmocka_unit_test(test_each_action_can_be_called),
		cmocka_unit_test(test_text_is_encoded_for_a_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
