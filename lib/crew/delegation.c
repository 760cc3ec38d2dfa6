/* Work and questions for a coworker: an agent at a task of its own, one level deeper, whose answer is the tool's. */
#include "lib/crew/internal.h"
#include "lib/crew/prompts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The next byte that counts: letters without their case, no white space, no quotes. 0 at the end. */
static int next_byte(const char **at)
{
	while (**at && (isspace((unsigned char)**at) || strchr("\"'`", **at)))
		(*at)++;
	return **at ? tolower((unsigned char)*(*at)++) : 0;
}

bool wl_crew_same_coworker(const char *asked, const char *role)
{
	int a, b;
	do {
		a = next_byte(&asked);
		b = next_byte(&role);
	} while (a == b && a != 0);
	return a == b;
}

/* Who is meant: a role, else a name. Models write lists now and then: the first of one counts. */
static struct crew_member *find_coworker(const struct crew_worker *worker, const char *asked, size_t *ret_member)
{
	struct crew_run *run = worker->lane->run;
	char first[256];
	if (*asked == '[') {
		(void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(asked + 1, ",]"), asked + 1);
		asked = first;
	}
	for (int by_name = 0; by_name < 2; by_name++) {
		for (size_t i = 0; i < run->member_count; i++) {
			const struct wl_crew_agent *agent = &run->members[i].agent;
			const char *known = by_name ? agent->name : agent->role;
			if (!*known || !wl_crew_is_coworker(worker, i) || !wl_crew_same_coworker(asked, known))
				continue;
			*ret_member = i;
			return &run->members[i];
		}
	}
	return NULL;
}

static int tell_unknown(const struct crew_worker *worker, const char *asked, char **ret_text)
{
	_wl_free_ char *coworkers = NULL;
	if (wl_crew_coworkers(worker, &coworkers) < 0)
		return -ENOMEM;
	int length = asprintf(ret_text, "There is no coworker \"%.100s\". Your coworkers: %s", asked,
			      coworkers ? coworkers : "none");
	return length < 0 ? -ENOMEM : 0;
}

static int let_work(struct crew_worker *worker, size_t member, const char *place, int parent,
		    const struct crew_job *job, char **ret_text, struct wl_error *err)
{
	char inner[CREW_PLACE];
	wl_crew_place(inner, "%s/coworker", place);
	_wl_free_ struct crew_worker *coworker = calloc(1, sizeof(*coworker));
	if (!coworker)
		return wl_fail(err, EIO, "no memory for a coworker");
	int result = wl_crew_worker_begin(coworker, worker->lane, member, inner, parent, job, err);
	if (result == 0)
		result = wl_crew_worker_answer(coworker, ret_text, err);
	wl_crew_worker_end(coworker, result, result == 0 ? *ret_text : NULL, err);
	return result;
}

int wl_crew_delegate(struct crew_worker *worker, const struct crew_tool *tool, const char *place,
		     const struct wl_json *arguments, struct wl_crew_step *step, char **ret_text, bool *ret_failed,
		     struct wl_error *err)
{
	const char *word = tool->kind == CREW_TOOL_DELEGATE ? "task" : "question";
	const char *what = wl_json_get_string(arguments, word, "");
	const char *asked = wl_json_get_string(arguments, "coworker", wl_json_get_string(arguments, "co_worker", ""));
	size_t member = 0;
	int result = 0;
	*ret_failed = true;
	if (!*what)
		result = asprintf(ret_text, "The arguments need \"%s\", a text that says what to do", word);
	else if (!find_coworker(worker, asked, &member))
		result = tell_unknown(worker, asked, ret_text);
	if (result < 0) {
		*ret_text = NULL;
		return wl_fail(err, EIO, "no memory for a coworker");
	}
	if (*ret_text)
		return 0;
	*ret_failed = false;
	struct crew_job job = { .description = what,
				.expected = wl_crew_say(WL_CREW_SAY_COWORKER_EXPECTED),
				.context = wl_json_get_string(arguments, "context", NULL),
				.recall = true,
				.only = -1,
				.depth = worker->job.depth + 1,
				.until_ms = worker->deadline_ms };
	step->name = worker->lane->run->members[member].agent.name;
	return let_work(worker, member, place, step->id, &job, ret_text, err);
}
