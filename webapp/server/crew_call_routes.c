/* Agents and crews that are run without a flow: to try them, and by the calls that CrewAI's own platform has. */
#include "lib/base/cleanup.h"
#include "webapp/server/lone_run.h"
#include "webapp/server/routes.h"

#include <stdio.h>

#define TRIAL_S 300 /* of a trial that says nothing else */
#define CALL_S 3600 /* of a crew that was kicked off */

static void run_crew(struct web_request *request, double timeout_s, bool waits)
{
	char node[512];
	(void)snprintf(
		node, sizeof(node),
		"{\"id\":\"crew\",\"type\":\"crew\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"crew_id\":\"%.36s\","
		"\"input\":\"{{ .inputs }}\",\"timeout_s\":%.0f}}",
		web_parameter_text(&request->parameters, "id", ""), timeout_s);
	web_lone_run(request, "crew", node, timeout_s, waits);
}

void web_crews_test(struct web_request *request)
{
	run_crew(request, wl_json_get_number(request->json, "timeout_s", TRIAL_S), true);
}

void web_crews_kickoff(struct web_request *request)
{
	run_crew(request, CALL_S, false);
}

void web_agents_test(struct web_request *request)
{
	char node[768];
	double timeout_s = wl_json_get_number(request->json, "timeout_s", TRIAL_S);
	(void)snprintf(node, sizeof(node),
		       "{\"id\":\"agent\",\"type\":\"agent\",\"position\":{\"x\":240,\"y\":0},\"data\":{\"agent_id\":"
		       "\"%.36s\","
		       "\"task\":\"{{ .inputs.task }}\",\"expected_output\":\"{{ .inputs.expected_output }}\","
		       "\"input\":\"{{ .inputs.input }}\",\"timeout_s\":%.0f}}",
		       web_parameter_text(&request->parameters, "id", ""), timeout_s);
	web_lone_run(request, "agent", node, timeout_s, true);
}
