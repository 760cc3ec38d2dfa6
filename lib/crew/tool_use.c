/*
 * A tool that the model asked for. What it did wrong (a name that is none, arguments that are no JSON or do not fit) is
 * told to it as the tool's failure; nothing of it is a failure of the run, but asking the same over and over is.
 */
#include "lib/crew/internal.h"
#include "lib/crew/json_repair.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LAST_KEPT 2000 /* bytes of a result that is told again */
#define KEY_KEPT 500   /* bytes of arguments that are compared as they are */

/* What one use goes through: all texts are owned but those of its step. */
struct use {
	struct crew_worker *worker;
	char place[CREW_PLACE];
	const char *name;
	const struct crew_tool *tool; /* NULL: there is none of that name */
	struct wl_json *arguments;    /* NULL: they are not JSON */
	char *canonical;
	char *text; /* for the model */
	bool failed;
};

static int no_memory(struct wl_error *err)
{
	return wl_fail(err, EIO, "no memory for a tool's call");
}

static int tell(struct use *use, bool failed, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int tell(struct use *use, bool failed, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int length = vasprintf(&use->text, fmt, args);
	va_end(args);
	use->failed = failed;
	if (length < 0)
		use->text = NULL;
	return length < 0 ? -ENOMEM : 0;
}

/* ---- the same again -------------------------------------------------------------------------------------- */

/* FNV-1a: two calls that only it takes for the same make an agent end early, and nothing worse. */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	return hash;
}

/* Tool and arguments; of long ones their beginning, length and hash. Allocated. */
static char *repeat_key(const struct use *use)
{
	const char *name = use->tool ? use->tool->told.name : use->name;
	size_t length = strlen(use->canonical);
	char *key = NULL;
	int made = length <= KEY_KEPT ? asprintf(&key, "%s %s", name, use->canonical)
				      : asprintf(&key, "%s %.*s %zu %016" PRIx64, name, KEY_KEPT, use->canonical,
						 length, hash_of(use->canonical));
	return made < 0 ? NULL : key;
}

static void forget_oldest(struct crew_lane *lane)
{
	free(lane->repeats[0].key);
	free(lane->repeats[0].last);
	memmove(lane->repeats, lane->repeats + 1, --lane->repeat_count * sizeof(*lane->repeats));
}

static struct crew_repeat *repeat_of(struct use *use)
{
	struct crew_lane *lane = use->worker->lane;
	_wl_free_ char *key = repeat_key(use);
	if (!key)
		return NULL;
	for (size_t i = 0; i < lane->repeat_count; i++) {
		if (lane->repeats[i].member == use->worker->member && strcmp(lane->repeats[i].key, key) == 0)
			return &lane->repeats[i];
	}
	if (lane->repeat_count == CREW_REPEATS_MAX)
		forget_oldest(lane);
	struct crew_repeat *grown = realloc(lane->repeats, (lane->repeat_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	lane->repeats = grown;
	grown[lane->repeat_count] = (struct crew_repeat){ .member = use->worker->member, .key = wl_steal(key) };
	return &grown[lane->repeat_count++];
}

enum repetition { REPEAT_GO, REPEAT_HINT, REPEAT_STOP };

/* Pure: the same call may be made so often, then the model is told once, in an answer of its own, then it is over. */
static enum repetition judge_repeat(const struct crew_repeat *repeat, unsigned asked)
{
	if (repeat->count <= WL_CREW_REPEAT_MAX)
		return REPEAT_GO;
	return repeat->hinted == 0 || repeat->hinted == asked ? REPEAT_HINT : REPEAT_STOP;
}

/* 0: go on; 1: the model was told; else the run ends. */
static int guard(struct use *use, struct wl_error *err)
{
	struct crew_lane *lane = use->worker->lane;
	struct crew_repeat *repeat = repeat_of(use);
	if (!repeat)
		return no_memory(err);
	repeat->count++;
	switch (judge_repeat(repeat, lane->asked)) {
	case REPEAT_GO:
		return 0;
	case REPEAT_STOP:
		return wl_crew_fault(lane, CREW_FAULT_LOOP, ELOOP, err,
				     "%.100s called %.64s with the same arguments again and again",
				     use->worker->who->agent.name, use->name);
	case REPEAT_HINT:
		break;
	}
	repeat->hinted = lane->asked;
	if (tell(use, true,
		 "You have called %s with these arguments %d times; it was not called again. Use what you have, try "
		 "other "
		 "arguments, or give your final answer. What came of it the last time: %s",
		 use->name, WL_CREW_REPEAT_MAX, repeat->last ? repeat->last : "nothing") < 0)
		return no_memory(err);
	return 1;
}

static int remember_last(struct use *use, struct wl_error *err)
{
	struct crew_repeat *repeat = repeat_of(use);
	if (!repeat)
		return no_memory(err);
	size_t length = strlen(use->text);
	if (length > LAST_KEPT) {
		length = LAST_KEPT;
		while (length > 0 && ((unsigned char)use->text[length] & 0xc0) == 0x80)
			length--;
	}
	free(repeat->last);
	repeat->last = strndup(use->text, length);
	return repeat->last ? 0 : no_memory(err);
}

/* ---- arguments ------------------------------------------------------------------------------------------- */

static int read_arguments(struct use *use, const char *text, struct wl_error *ret_why)
{
	size_t length = text ? strlen(text) : 0;
	if (length == 0 || strspn(text, " \t\r\n") == length)
		text = "{}", length = 2;
	/* what a model wrote as text is set right; what it wrote as a tool's arguments has a form that it knows */
	int result = use->worker->text_mode ? wl_crew_repair_json(text, length, &use->arguments, ret_why)
					    : wl_json_parse(text, length, &use->arguments, ret_why);
	if (result == 0 && !wl_json_is(use->arguments, WL_JSON_OBJECT)) {
		wl_json_free(use->arguments);
		use->arguments = NULL;
		(void)wl_fail(ret_why, EINVAL, "it is not an object");
	}
	if (result == -ENOMEM)
		return result;
	_wl_buffer_ struct wl_buffer canonical = { 0 };
	if (use->arguments)
		(void)wl_json_write_sorted(&canonical, use->arguments);
	else
		(void)wl_buffer_append(&canonical, text, length);
	use->canonical = canonical.failed ? NULL : wl_buffer_steal(&canonical);
	return use->canonical ? 0 : -ENOMEM;
}

/* 0: they fit; 1: the model was told; else the run ends. */
static int check_schema(struct use *use, struct wl_error *err)
{
	const struct wl_crew_world *world = use->worker->lane->run->world;
	const char *schema = use->tool->told.input_schema;
	struct wl_error why = { 0 };
	if (!schema || !world->fits)
		return 0;
	int result = world->fits(world->self, schema, use->canonical, &why);
	if (result == 0)
		return 0;
	if (result != -EINVAL) {
		*err = why;
		return wl_crew_world_failed(result, err);
	}
	return tell(use, true, "The arguments do not fit the tool's schema: %s", why.text) < 0 ? no_memory(err) : 1;
}

/* ---- the call -------------------------------------------------------------------------------------------- */

/* A tool's output for the model: a JSON text without its quotes, anything else as JSON, and not without end. */
static int tell_output(struct use *use, const char *output)
{
	_wl_json_ struct wl_json *json = NULL;
	const char *text = output ? output : "null";
	if (*text == '"') {
		if (wl_json_parse(text, strlen(text), &json, NULL) == -ENOMEM)
			return -ENOMEM;
		text = wl_json_string(json, text);
	}
	size_t length = strlen(text);
	if (length <= CREW_TOOL_KEPT)
		return tell(use, false, "%s", text);
	length = CREW_TOOL_KEPT;
	while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return tell(use, false, "%.*s\n[%zu more bytes were left out]", (int)length, text, strlen(text) - length);
}

static int call_port(struct use *use, struct wl_crew_step *step, struct wl_error *err)
{
	struct crew_run *run = use->worker->lane->run;
	const struct wl_tool_port *port = run->world->tools;
	struct wl_tool_request request = { .tool_id = use->tool->id,
					   .arguments = use->canonical,
					   .place = use->place,
					   .agent = use->worker->who->agent.name,
					   .cancel_fd = run->world->cancel_fd };
	struct wl_tool_answer answer = { 0 };
	int result = wl_crew_stopped(use->worker->lane, err);
	if (result < 0)
		return result;
	*err = (struct wl_error){ 0 };
	result = port->call(port->self, &request, &answer, err);
	(void)pthread_mutex_lock(&run->lock);
	run->result->tool_calls++;
	(void)pthread_mutex_unlock(&run->lock);
	step->replayed = answer.replayed;
	if (result < 0)
		result = wl_crew_world_failed(result, err);
	else if (answer.code)
		result = tell(use, true, "%s: %s", answer.code, answer.message ? answer.message : "the tool failed");
	else
		result = tell_output(use, answer.output);
	wl_tool_answer_release(&answer);
	return result == -ENOMEM ? no_memory(err) : result;
}

/* "Delegate work to coworker" for delegate_work_to_coworker: models write names as they would speak them. */
static bool spoken_alike(const char *name, const char *spoken)
{
	for (; *name && *spoken; name++, spoken++) {
		int a = isalnum((unsigned char)*name) ? tolower((unsigned char)*name) : '_';
		int b = isalnum((unsigned char)*spoken) ? tolower((unsigned char)*spoken) : '_';
		if (a != b)
			return false;
	}
	return *name == *spoken;
}

static const struct crew_tool *find_tool(const struct crew_worker *worker, const char *name)
{
	const struct crew_tool *alike = NULL;
	for (size_t i = 0; i < worker->tool_count; i++) {
		if (strcmp(worker->tools[i].told.name, name) == 0)
			return &worker->tools[i];
		if (!alike && spoken_alike(worker->tools[i].told.name, name))
			alike = &worker->tools[i];
	}
	return alike;
}

static int tell_unknown(struct use *use)
{
	_wl_buffer_ struct wl_buffer names = { 0 };
	for (size_t i = 0; i < use->worker->tool_count; i++)
		(void)wl_buffer_appendf(&names, "%s%s", i ? ", " : "", use->worker->tools[i].told.name);
	if (names.failed)
		return -ENOMEM;
	return tell(use, true, "There is no tool %.100s. Your tools: %s", use->name, names.data ? names.data : "none");
}

/* From the arguments to what the model is told. */
static int perform(struct use *use, const char *arguments, struct wl_crew_step *step, struct wl_error *err)
{
	struct wl_error why = { 0 };
	if (read_arguments(use, arguments, &why) < 0)
		return no_memory(err);
	int result = guard(use, err);
	if (result != 0)
		return result < 0 ? result : 0;
	if (!use->tool)
		result = tell_unknown(use);
	else if (!use->arguments)
		result = tell(use, true, "The arguments have to be one JSON object: %s", why.text);
	if (use->text || result < 0)
		return result < 0 ? no_memory(err) : 0;
	if (use->tool->kind != CREW_TOOL_PORT)
		return wl_crew_delegate(use->worker, use->tool, use->place, use->arguments, step, &use->text,
					&use->failed, err);
	result = check_schema(use, err);
	if (result != 0)
		return result < 0 ? result : 0;
	return call_port(use, step, err);
}

int wl_crew_use_tool(struct crew_worker *worker, const char *turn_place, size_t index, const char *name,
		     const char *arguments, char **ret_text, bool *ret_failed, struct wl_error *err)
{
	struct crew_run *run = worker->lane->run;
	struct use use = { .worker = worker, .name = name, .tool = find_tool(worker, name) };
	wl_crew_place(use.place, "%s/tool/%zu", turn_place, index);
	bool delegates = use.tool && use.tool->kind != CREW_TOOL_PORT;
	struct wl_crew_step step =
		wl_crew_step_begin(run, worker->step.id, delegates ? WL_CREW_STEP_DELEGATION : WL_CREW_STEP_TOOL,
				   use.place, name, worker->who->agent.name, arguments);
	int result = perform(&use, arguments, &step, err);
	if (result == 0)
		result = remember_last(&use, err);
	step.output = use.text;
	if (result == 0 && use.failed) {
		step.error_code = "tool_failed";
		step.error = use.text;
	}
	wl_crew_step_end(run, &step, worker->lane, result, err);
	wl_json_free(use.arguments);
	free(use.canonical);
	*ret_failed = use.failed;
	*ret_text = use.text;
	if (result < 0) {
		free(use.text);
		*ret_text = NULL;
	}
	return result;
}
