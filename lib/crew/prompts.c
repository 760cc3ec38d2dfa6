#include "lib/crew/prompts.h"

static const char *const sentences[] = {
#define X(name, text) text,
	WL_CREW_SENTENCES(X)
#undef X
};

const char *wl_crew_say(enum wl_crew_sentence sentence)
{
	return sentences[sentence];
}

static char *done(struct wl_buffer *text)
{
	return text->failed ? NULL : wl_buffer_steal(text);
}

/* A paragraph that is left out when there is nothing in it. */
static void paragraph(struct wl_buffer *text, const char *before, const char *content)
{
	if (!content || !*content)
		return;
	if (text->length > 0)
		(void)wl_buffer_append_text(text, "\n\n");
	(void)wl_buffer_append_text(text, before);
	(void)wl_buffer_append_text(text, content);
}

static void describe_tools(struct wl_buffer *text, const struct crew_tool *tools, size_t count)
{
	paragraph(text, "", "You can use these tools, and no others:");
	for (size_t i = 0; i < count; i++)
		(void)wl_buffer_appendf(text, "\n\nTool: %s\nWhat it does: %s\nArguments (JSON Schema): %s",
					tools[i].told.name, tools[i].told.description, tools[i].told.input_schema);
	paragraph(text, "",
		  "To use a tool, write exactly these three lines and then stop:\n\n"
		  "Thought: what you think has to be done next\n"
		  "Action: the name of one tool\n"
		  "Action Input: its arguments as one JSON object\n\n"
		  "What the tool says comes back behind \"Observation:\"; you never write that yourself. When you know "
		  "enough, write:\n\n"
		  "Thought: I can answer now\n"
		  "Final Answer: your complete answer");
}

char *wl_crew_system_text(const struct wl_crew_agent *agent, const struct crew_tool *tools, size_t count)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	paragraph(&text, "", agent->system_prompt);
	paragraph(&text, "Your role: ", agent->role);
	paragraph(&text, "", agent->backstory);
	paragraph(&text, "What you work towards: ", agent->goal);
	if (text.length == 0)
		paragraph(&text, "Your name: ", agent->name);
	if (count > 0)
		describe_tools(&text, tools, count);
	return done(&text);
}

char *wl_crew_job_text(const struct crew_job *job, const char *recalled)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	/* an agent who is simply spoken to hears what was said and nothing else */
	bool plain = !(job->expected && *job->expected) && !(job->context && *job->context) && !job->plan &&
		     !job->schema && !recalled;
	paragraph(&text, plain ? "" : "Your task:\n", job->description);
	paragraph(&text, "A plan for it:\n", job->plan);
	paragraph(&text, "What the final answer has to be: ", job->expected);
	if (job->expected && *job->expected)
		(void)wl_buffer_append_text(&text, "\nGive all of it as the answer, not a description of it.");
	paragraph(
		&text,
		"The final answer has to be one JSON value, without any text around it, that fits this JSON Schema:\n",
		job->schema);
	paragraph(&text, "Context to work with:\n", job->context);
	paragraph(&text, "", recalled);
	return done(&text);
}

char *wl_crew_schema_text(const char *schema, const char *faults)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	paragraph(&text, "Your answer does not have the form that is needed: ", faults);
	paragraph(&text, "Give it again as one JSON value, without any text around it, that fits this JSON Schema:\n",
		  schema);
	return done(&text);
}

char *wl_crew_critique_text(const char *critique)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	paragraph(&text, "Your answer was checked and did not pass. What has to change: ", critique);
	paragraph(&text, "", "Do the task again with this in mind and give the complete answer.");
	return done(&text);
}

char *wl_crew_feedback_text(const char *feedback)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	paragraph(&text, "A person has looked at your answer and says:\n", feedback);
	paragraph(&text, "", "Revise the answer accordingly and give all of it again.");
	return done(&text);
}

char *wl_crew_guardrail_text(const char *rule, const char *output)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	paragraph(&text, "The rule:\n", rule);
	paragraph(&text, "The work:\n", output);
	paragraph(&text, "", "Does the work keep to the rule?");
	return done(&text);
}
