/*
 * The text form of tool calling, for models and servers that know no other: CrewAI's grammar
 *
 *	Thought: ...            Thought: ...
 *	Action: <tool>          Final Answer: ...
 *	Action Input: <JSON>
 *
 * with "Observation:" as stop word. Numbers behind Action and white space do not matter; a final answer wins over an
 * action beside it. Pure.
 */
#ifndef WL_CREW_REACT_H
#define WL_CREW_REACT_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stddef.h>

#define WL_CREW_REACT_STOP "\nObservation:"
#define WL_CREW_REACT_ANSWER "Final Answer:"

enum wl_crew_react_kind {
	WL_CREW_REACT_ACTION,
	WL_CREW_REACT_FINAL,
	WL_CREW_REACT_NO_ACTION, /* neither an action nor an answer */
	WL_CREW_REACT_NO_INPUT	 /* an action without its input */
};

/* Places within the text that was read, without white space around them. */
struct wl_crew_react {
	enum wl_crew_react_kind kind;
	const char *action, *input, *answer;
	size_t action_length, input_length, answer_length;
	size_t length; /* of the text up to an Observation that the model made up itself */
};

struct wl_crew_react wl_crew_react_read(const char *text, size_t length);
/* Where the final answer's text begins, NULL while there is none: for an answer that is still coming. */
const char *wl_crew_react_answer(const char *text, size_t length);

#endif
