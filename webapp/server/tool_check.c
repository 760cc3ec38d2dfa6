#include "webapp/server/tool_check.h"

#include "lib/base/cleanup.h"
#include "lib/net/http_client.h"
#include "webapp/server/flow_check.h"
#include "webapp/server/tool_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int web_schema_check(const struct web_checker *checker, const struct wl_json *schema, const char *path,
		     struct wl_flow_faults *faults, struct wl_error *err)
{
	if (web_schema_is_trivial(schema))
		return 0;
	_wl_free_ char *text = wl_json_print(schema);
	_wl_free_ char *found = NULL;
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to check a schema");
	int rc = wl_expression_schema(checker->expressions, text, strlen(text), NULL, 0, checker->timeout_ms, &found,
				      err);
	if (!web_expression_refused(rc))
		return rc;
	wl_flow_fault_add(faults, path, "%s", err->text);
	return 0;
}

int web_tool_check(const struct web_checker *checker, const struct wl_json *body, struct wl_flow_faults *faults,
		   struct wl_error *err)
{
	const struct wl_json *config = wl_json_get(body, "execution_config");
	if (config)
		(void)web_tool_config_check(config, "execution_config", faults);
	int rc = web_schema_check(checker, wl_json_get(body, "input_schema"), "input_schema", faults, err);
	return rc < 0 ? rc
		      : web_schema_check(checker, wl_json_get(body, "output_schema"), "output_schema", faults, err);
}

/* A task's condition is one expression, with or without its braces. */
static int check_condition(const struct web_checker *checker, const char *condition, const char *path,
			   struct wl_flow_faults *faults, struct wl_error *err)
{
	_wl_json_ struct wl_json *template = wl_json_object();
	int rc = wl_json_set_string(template, "condition", condition);
	_wl_free_ char *text = rc == 0 ? wl_json_print(template) : NULL;
	if (!text)
		return wl_fail(err, ENOMEM, "no memory to check a crew");
	if (!strstr(condition, "{{")) {
		wl_flow_fault_add(faults, path, "is no expression: it stands in {{ }}");
		return 0;
	}
	rc = wl_expression_check(checker->expressions, text, strlen(text), checker->timeout_ms, err);
	if (!web_expression_refused(rc))
		return rc;
	const char *sentence = strncmp(err->text, "condition: ", 11) == 0 ? err->text + 11 : err->text;
	wl_flow_fault_add(faults, path, "%s", sentence);
	return 0;
}

int web_crew_check(const struct web_checker *checker, const struct wl_json *body, struct wl_flow_faults *faults,
		   struct wl_error *err)
{
	const struct wl_json *tasks = wl_json_get(wl_json_get(body, "config"), "tasks");
	int index = 0, rc = 0;
	for (const struct wl_json *task = wl_json_first(tasks); task && rc == 0; task = wl_json_next(task), index++) {
		const char *condition = wl_json_get_string(task, "condition", NULL);
		char path[64];
		(void)snprintf(path, sizeof(path), "config.tasks[%d].schema", index);
		rc = web_schema_check(checker, wl_json_get(task, "schema"), path, faults, err);
		(void)snprintf(path, sizeof(path), "config.tasks[%d].condition", index);
		if (rc == 0 && condition && *condition)
			rc = check_condition(checker, condition, path, faults, err);
	}
	return rc;
}

int web_provider_check(const struct web_checker *checker, const struct wl_json *body, struct wl_flow_faults *faults,
		       struct wl_error *err)
{
	const char *url = wl_json_get_string(wl_json_get(body, "config"), "base_url", NULL);
	const struct wl_json *credentials = wl_json_get(body, "api_credentials");
	(void)checker;
	if (url && wl_http_url_check(url, NULL, NULL, err) < 0)
		wl_flow_fault_add(faults, "config.base_url", "%s", err->text);
	else if (url && strpbrk(url, "?#"))
		wl_flow_fault_add(faults, "config.base_url", "has no query or fragment");
	const char *key = wl_json_get_string(credentials, "api_key", NULL);
	if (wl_json_is(credentials, WL_JSON_OBJECT) && !key)
		wl_flow_fault_add(faults, "api_credentials.api_key", "is missing");
	else if (key && !wl_http_header_valid("authorization", key))
		wl_flow_fault_add(faults, "api_credentials.api_key", "has characters that no header can carry");
	return 0;
}
