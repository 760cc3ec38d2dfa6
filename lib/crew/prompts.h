/*
 * What is said to models. The structure is CrewAI's (role, goal and backstory for the system; then the task, what is
 * expected, the context), the words are ours. Every text ends up in records and replays: a changed word makes old
 * replays diverge, so change none without need. All functions return allocated text, NULL without memory. Pure.
 */
#ifndef WL_CREW_PROMPTS_H
#define WL_CREW_PROMPTS_H

#include "lib/crew/internal.h"

/* X(name, text): sentences without anything to fill in */
#define WL_CREW_SENTENCES(X)                                                                                           \
	X(EMPTY, "Nothing came back from you. Please give your answer to the task as text.")                           \
	X(FORCE, "You have used up your steps for this task. Do not call any more tools. Give your best final answer " \
		 "now, complete, from what you have found out so far.")                                                \
	X(TOO_MANY, "You asked for too many tools at once: only the first ones were called.")                          \
	X(NO_ACTION, "I could not read that. After a Thought, write either Action and Action Input, or Final Answer, " \
		     "each at the start of a line.")                                                                   \
	X(NO_INPUT, "I could not read that. An Action needs a line \"Action Input:\" with a JSON object behind it.")   \
	X(COWORKER_EXPECTED, "Your best and complete answer to the coworker who turned to you; he sees nothing but "   \
			     "what you write.")                                                                        \
	X(MANAGER_ROLE, "Crew manager")                                                                                \
	X(MANAGER_GOAL, "See to it that each task is done well by the coworkers who are best at it.")                  \
	X(MANAGER_STORY,                                                                                               \
	  "You lead a crew. You do none of the work yourself: you hand it out with all that a coworker "               \
	  "has to know, look closely at what comes back, ask again where it falls short, and answer "                  \
	  "for the result.")                                                                                           \
	X(PLANNER, "You plan the work of a crew before it begins. For each task you write a short list of steps that " \
		   "its agent can follow with the tools it has. You do no part of the work yourself.")                 \
	X(JUDGE, "You check whether a piece of work keeps to a rule. You judge by the rule alone. Answer with JSON "   \
		 "only: {\"valid\": true or false, \"feedback\": what has to change, or an empty text}.")              \
	X(SUMMARISER, "You shorten a conversation between an agent and its tools so that the agent can go on with "    \
		      "its task. Keep each fact, figure, name, source and failed attempt that may matter later. "      \
		      "Answer with the summary alone.")

enum wl_crew_sentence {
#define X(name, text) WL_CREW_SAY_##name,
	WL_CREW_SENTENCES(X)
#undef X
};

const char *wl_crew_say(enum wl_crew_sentence sentence);

/* Who the agent is; with `tools` (count > 0) also how to call them in the text form. */
char *wl_crew_system_text(const struct wl_crew_agent *agent, const struct crew_tool *tools, size_t count);
/* The task with all that belongs to it. `recalled` may be NULL. */
char *wl_crew_job_text(const struct crew_job *job, const char *recalled);
/* The answer does not fit its schema. */
char *wl_crew_schema_text(const char *schema, const char *faults);
/* A guardrail's critique, a person's feedback. */
char *wl_crew_critique_text(const char *critique);
char *wl_crew_feedback_text(const char *feedback);
/* The question whether an output keeps to a rule. */
char *wl_crew_guardrail_text(const char *rule, const char *output);

#endif
