/* The walk of a run, event by event: each row is a graph and a list of "event" => "actions". */
#include "supervisor/core/timer_heap.h"
#include "supervisor/core/walk.h"
#include "tests/kit/graphs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEPS 24

struct play {
	const char *name, *nodes, *edges;
	struct {
		const char *event, *actions;
	} steps[STEPS];
};

/* Events: begin [MS] · ok N [handle] · err N · bad N (not to be tried again) · stopped N · stored N · refused N ·
 * waits N MS · opened N · only N · end quiet or loud (from outside) · fail · rests and restless (what is to be true) ·
 * cancel · tick MS · check (outputs are to be) · checked HOW · hold · unhold · drain · interrupt · drop · restored N
 * state [handle] */
static const struct play plays[] = {
	{ "a pure chain runs ahead of its commits, the end waits for them",
	  "s:start t:transform o:output",
	  "s>t t>o",
	  { { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t, start o" },
	    { "ok o", "store o" },
	    { "stored o", "" },
	    { "stored s", "" },
	    { "stored t", "finish succeeded" } } },
	{ "an effect waits until all it rests on is stored",
	  "s:start t:transform x:code o:output",
	  "s>t t>x x>o",
	  { { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t" },
	    { "stored t", "" },
	    { "stored s", "start x" },
	    { "ok x", "store x" },
	    { "stored x", "start o" },
	    { "ok o", "store o" },
	    { "stored o", "finish succeeded" } } },
	{ "a condition takes one handle, the other branch is skipped down to the join",
	  "s:start c:condition a:transform b:transform d:transform j:join o:output",
	  "s>c c.true>a c.false>b b>d a>j d>j j>o",
	  { { "begin", "start s" },
	    { "ok s", "store s, start c" },
	    { "ok c true", "store c, start a, store b, store d" },
	    { "ok a", "store a, start j" },
	    { "ok j", "store j, start o" },
	    { "ok o", "store o" } } },
	{ "a switch without an edge for its handle skips everything behind it",
	  "s:start w:switch a:transform o:output",
	  "s>w w.one>a a>o",
	  { { "begin", "start s" },
	    { "ok s", "store s, start w" },
	    { "ok w two", "store w, store a, store o" },
	    { "stored s", "" },
	    { "stored w", "" },
	    { "stored a", "" },
	    { "stored o", "finish succeeded" } } },
	{ "join all waits for each live branch",
	  "s:start a:code b:code j:join o:output",
	  "s>a s>b a>j b>j j>o",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "ok b", "store b" },
	    { "stored b", "" },
	    { "ok a", "store a" },
	    { "stored a", "start j" } } },
	{ "join any goes on with the first, and an effect behind it does not wait for the others",
	  "s:start a:code b:code j:join/any x:code",
	  "s>a s>b a>j b>j j>x",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "ok b", "store b" },
	    { "stored b", "start j" },
	    { "ok j", "store j" },
	    { "stored j", "start x" },
	    { "ok x", "store x" },
	    { "ok a", "store a" },
	    { "stored x", "" },
	    { "stored a", "finish succeeded" } } },
	{ "join any is skipped when no branch lives",
	  "s:start c:condition a:transform b:transform j:join/any",
	  "s>c c.true>a c.true>b a>j b>j",
	  { { "begin", "start s" },
	    { "ok s", "store s, start c" },
	    { "ok c false", "store c, store a, store b, store j" } } },
	{ "a failure stops the siblings, and they are stored after their cause",
	  "s:start a:code b:code o:output",
	  "s>a s>b a>o b>o",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "err a", "store a, stop b" },
	    { "stopped b", "" },
	    { "stored a", "store b" },
	    { "stored b", "finish failed a" } } },
	{ "a sibling that succeeds while the run ends keeps its result",
	  "s:start a:code b:code",
	  "s>a s>b",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "err a", "store a, stop b" },
	    { "ok b", "store b" },
	    { "stored b", "" },
	    { "stored a", "finish failed a" } } },
	{ "retries: the delay passes, then it is tried again, then it has failed",
	  "s:start x:code/tries=3/delay=100",
	  "s>x",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start x" },
	    { "tick 1000", "" },
	    { "err x", "" },
	    { "tick 1099", "" },
	    { "tick 1100", "start x" },
	    { "err x", "" },
	    { "tick 1200", "start x" },
	    { "err x", "store x" },
	    { "stored x", "finish failed x" } } },
	{ "an error for good is not tried again",
	  "s:start x:code/tries=3",
	  "s>x",
	  { { "begin", "start s" }, { "ok s", "store s" }, { "stored s", "start x" }, { "bad x", "store x" } } },
	{ "a failure while another waits for its retry",
	  "s:start a:code b:code/tries=2/delay=50",
	  "s>a s>b",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "err b", "" },
	    { "err a", "store a" },
	    { "stored a", "store b" },
	    { "tick 5000", "" },
	    { "stored b", "finish failed a" } } },
	{ "on_error continue: what follows runs",
	  "s:start x:code/continue o:output",
	  "s>x x>o",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start x" },
	    { "err x", "store x" },
	    { "stored x", "start o" },
	    { "ok o", "store o" },
	    { "stored o", "finish succeeded" } } },
	{ "on_error branch: only the error edge lives",
	  "s:start x:code/branch o:output e:output",
	  "s>x x>o x.error>e",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start x" },
	    { "err x", "store x" },
	    { "stored x", "store o, start e" },
	    { "ok e", "store e" },
	    { "stored o", "" },
	    { "stored e", "finish succeeded" } } },
	{ "on_error branch: without an error its edge is dead",
	  "s:start t:transform/branch o:output e:output",
	  "s>t t>o t.error>e",
	  { { "begin", "start s" }, { "ok s", "store s, start t" }, { "ok t", "store t, start o, store e" } } },
	{ "cancel stops what runs and stores it as cancelled",
	  "s:start a:code t:transform",
	  "s>a a>t",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "cancel", "stop a" },
	    { "cancel", "" },
	    { "stopped a", "store a" },
	    { "stored a", "finish cancelled" } } },
	{ "cancel while a result is on its way",
	  "s:start a:code",
	  "s>a",
	  { { "begin", "start s" }, { "ok s", "store s" }, { "cancel", "" }, { "stored s", "finish cancelled" } } },
	{ "the deadline ends the run as timeout",
	  "s:start a:code",
	  "s>a",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "tick 100000", "stop a" },
	    { "stopped a", "store a" },
	    { "stored a", "finish timeout" } } },
	{ "while the lease is not sure no effect starts, and pure nodes do",
	  "s:start t:transform x:code",
	  "s>t t>x",
	  { { "hold", "" },
	    { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t" },
	    { "stored s", "" },
	    { "stored t", "" },
	    { "unhold", "start x" } } },
	{ "a retry of an effect is held as well",
	  "s:start x:code/tries=2",
	  "s>x",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start x" },
	    { "hold", "" },
	    { "err x", "" },
	    { "tick 10", "" },
	    { "unhold", "" },
	    { "tick 11", "start x" } } },
	{ "drain gives the run back at the next node boundary",
	  "s:start a:code b:code",
	  "s>a a>b",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "drain", "" },
	    { "ok a", "store a" },
	    { "stored a", "release" } } },
	{ "drain lets a run end that needs no more effects",
	  "s:start a:code t:transform o:output",
	  "s>a a>t t>o",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "drain", "" },
	    { "ok a", "store a" },
	    { "stored a", "start t" },
	    { "ok t", "store t, start o" },
	    { "ok o", "store o" },
	    { "stored t", "" },
	    { "stored o", "finish succeeded" } } },
	{ "interrupt stops the attempt; it counts as not run and is not stored",
	  "s:start a:code",
	  "s>a",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "interrupt", "stop a" },
	    { "stopped a", "release" } } },
	{ "interrupt, but the attempt had just failed: that is its result",
	  "s:start a:code",
	  "s>a",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "interrupt", "stop a" },
	    { "err a", "store a" },
	    { "stored a", "finish failed a" } } },
	{ "a lost lease: everything stops and nothing more is stored",
	  "s:start a:code b:code",
	  "s>a s>b",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start b" },
	    { "drop", "stop a, stop b" },
	    { "ok a", "" },
	    { "cancel", "" },
	    { "stopped b", "drop" } } },
	{ "a result that the store refuses fails the run",
	  "s:start t:transform o:output",
	  "s>t t>o",
	  { { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t, start o" },
	    { "refused t", "stop o" },
	    { "stopped o", "" },
	    { "stored s", "finish failed t" } } },
	{ "resume: what is stored never runs again",
	  "s:start a:code b:code j:join o:output",
	  "s>a s>b a>j b>j j>o",
	  { { "restored s succeeded", "" },
	    { "restored a succeeded", "" },
	    { "begin", "start b" },
	    { "ok b", "store b" },
	    { "stored b", "start j" } } },
	{ "resume: a stored node whose pure predecessor was lost; only the predecessor runs again",
	  "s:start t:transform u:transform x:code",
	  "s>t t>u u>x",
	  { { "restored s succeeded", "" },
	    { "restored u succeeded", "" },
	    { "begin", "start t" },
	    { "ok t", "store t" },
	    { "stored t", "start x" } } },
	{ "resume: a choice that was stored is not made again",
	  "s:start c:condition a:transform b:transform",
	  "s>c c.true>a c.false>b",
	  { { "restored s succeeded", "" }, { "restored c succeeded false", "" }, { "begin", "store a, start b" } } },
	{ "resume: all is stored, only the end was lost",
	  "s:start t:transform",
	  "s>t",
	  { { "restored s succeeded", "" }, { "restored t succeeded", "" }, { "begin", "finish succeeded" } } },
	{ "resume: a stored failure fails the run without starting anything",
	  "s:start a:code b:code",
	  "s>a s>b",
	  { { "restored s succeeded", "" }, { "restored a failed", "" }, { "begin", "finish failed a" } } },
	{ "resume: a stored cancellation",
	  "s:start a:code b:code",
	  "s>a s>b",
	  { { "restored s succeeded", "" }, { "restored a cancelled", "" }, { "begin", "finish cancelled" } } },
	{ "resume: a stored failure, and the supervisor drains",
	  "s:start a:code",
	  "s>a",
	  { { "restored s succeeded", "" },
	    { "restored a failed", "" },
	    { "drain", "" },
	    { "begin", "finish failed a" } } },
	{ "resume: what a passed deadline cancelled",
	  "s:start a:code b:code",
	  "s>a s>b",
	  { { "restored s succeeded", "" }, { "restored a cancelled", "" }, { "begin 100000", "finish timeout" } } },
	{ "resume: an error branch that was taken",
	  "s:start x:code/branch o:output e:output",
	  "s>x x>o x.error>e",
	  { { "restored s succeeded", "" }, { "restored x failed error", "" }, { "begin", "store o, start e" } } },
	{ "the outputs are checked after the last result is stored",
	  "s:start t:transform",
	  "s>t",
	  { { "check", "" },
	    { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t" },
	    { "stored s", "" },
	    { "stored t", "check" },
	    { "tick 10", "" },
	    { "hold", "" },
	    { "drain", "" },
	    { "checked ok", "finish succeeded" } } },
	{ "outputs that do not fit fail the run",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "check" },
	    { "checked err", "finish failed" } } },
	{ "a run that failed is not checked",
	  "s:start a:code",
	  "s>a",
	  { { "check", "" },
	    { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a" },
	    { "err a", "store a" },
	    { "stored a", "finish failed a" } } },
	{ "cancel during the check",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "check" },
	    { "cancel", "stop" },
	    { "checked ok", "finish cancelled" } } },
	{ "the deadline passes during the check",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "restored s succeeded", "" },
	    { "begin", "check" },
	    { "tick 100000", "stop" },
	    { "checked err", "finish timeout" } } },
	{ "the lease is lost during the check",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "restored s succeeded", "" },
	    { "begin", "check" },
	    { "drop", "stop" },
	    { "checked ok", "drop" } } },
	{ "interrupt during the check: the next owner checks again",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "restored s succeeded", "" },
	    { "begin", "check" },
	    { "interrupt", "stop" },
	    { "checked stopped", "release" } } },
	{ "interrupt, but the check had just ended",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "restored s succeeded", "" },
	    { "begin", "check" },
	    { "interrupt", "stop" },
	    { "checked ok", "finish succeeded" } } },
	{ "interrupt before the check",
	  "s:start",
	  "",
	  { { "check", "" },
	    { "begin", "start s" },
	    { "ok s", "store s" },
	    { "interrupt", "" },
	    { "stored s", "release" } } },
	{ "a wait holds nothing up, and the run can rest meanwhile",
	  "s:start w:wait a:code o:output",
	  "s>w s>a w>o",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start w, start a" },
	    { "waits w 5000", "" },
	    { "restless", "" },
	    { "ok a", "store a" },
	    { "restless", "" },
	    { "stored a", "" },
	    { "rests", "" },
	    { "tick 4999", "" },
	    { "tick 5000", "look w" },
	    { "restless", "" },
	    { "waits w 6000", "" },
	    { "rests", "" },
	    { "tick 6000", "look w" },
	    { "ok w", "store w" },
	    { "stored w", "start o" },
	    { "ok o", "store o" },
	    { "stored o", "finish succeeded" } } },
	{ "a wait starts only when all it rests on is stored, and follows the lease",
	  "s:start t:transform w:wait",
	  "s>t t>w",
	  { { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t" },
	    { "stored t", "" },
	    { "hold", "" },
	    { "stored s", "" },
	    { "unhold", "start w" },
	    { "waits w 100", "" },
	    { "hold", "" },
	    { "restless", "" },
	    { "tick 200", "" },
	    { "unhold", "" },
	    { "tick 200", "look w" } } },
	{ "an approval takes one handle",
	  "s:start p:approval y:output n:output",
	  "s>p p.approved>y p.rejected>n",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start p" },
	    { "waits p 9000", "" },
	    { "rests", "" },
	    { "tick 9000", "look p" },
	    { "ok p rejected", "store p" },
	    { "stored p", "store y, start n" } } },
	{ "an approval that was not given takes no handle but the error's",
	  "s:start p:approval/branch y:output e:output",
	  "s>p p.approved>y p.error>e",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start p" },
	    { "waits p 9000", "" },
	    { "tick 9000", "look p" },
	    { "bad p", "store p" },
	    { "stored p", "store y, start e" } } },
	{ "cancel ends a wait at once",
	  "s:start w:wait",
	  "s>w",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start w" },
	    { "waits w 9000", "" },
	    { "cancel", "store w" },
	    { "stored w", "finish cancelled" } } },
	{ "cancel while it is looked whether a wait is over",
	  "s:start w:wait",
	  "s>w",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start w" },
	    { "waits w 10", "" },
	    { "tick 10", "look w" },
	    { "cancel", "stop w" },
	    { "waits w 20", "store w" },
	    { "stored w", "finish cancelled" } } },
	{ "the deadline ends a wait",
	  "s:start w:wait",
	  "s>w",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start w" },
	    { "waits w 900000", "" },
	    { "tick 100000", "store w" },
	    { "stored w", "finish timeout" } } },
	{ "a drain gives a run that waits back",
	  "s:start w:wait",
	  "s>w",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start w" },
	    { "waits w 9000", "" },
	    { "drain", "release" } } },
	{ "a loop is under way while walks of its own are; they alone decide about its rest",
	  "s:start l:loop t:transform",
	  "s>l l>t",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "restless", "" },
	    { "stored s", "start l" },
	    { "restless", "" },
	    { "opened l", "" },
	    { "rests", "" },
	    { "ok l", "store l" },
	    { "restless", "" },
	    { "stored l", "start t" } } },
	{ "a drain gives the run back once the walks of a loop have ended without an answer",
	  "s:start l:loop",
	  "s>l",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start l" },
	    { "opened l", "" },
	    { "drain", "" },
	    { "stopped l", "release" } } },
	{ "inside a loop all nodes without incoming edges begin, those with effects as well",
	  "a:transform b:code j:join",
	  "a>j b>j",
	  { { "begin", "start a, start b" },
	    { "ok a", "store a" },
	    { "ok b", "store b" },
	    { "stored b", "start j" },
	    { "ok j", "store j" },
	    { "stored a", "" },
	    { "stored j", "finish succeeded" } } },
	{ "a walk that is ended from outside stores what is cut off when the reason is stored",
	  "a:code b:wait",
	  "",
	  { { "begin", "start a, start b" },
	    { "waits b 100", "" },
	    { "end loud", "stop a, store b" },
	    { "stopped a", "store a" },
	    { "stored b", "" },
	    { "stored a", "finish cancelled" } } },
	{ "and stores nothing of it when the reason is not",
	  "a:code b:wait c:code",
	  "",
	  { { "begin", "start a, start b, start c" },
	    { "waits b 100", "" },
	    { "end quiet", "stop a, stop c" },
	    { "stopped a", "" },
	    { "end loud", "" },
	    { "ok c", "store c" },
	    { "stored c", "finish cancelled" } } },
	{ "a run that cannot go on fails, and what is cut off is not stored",
	  "s:start a:code w:wait",
	  "s>a s>w",
	  { { "begin", "start s" },
	    { "ok s", "store s" },
	    { "stored s", "start a, start w" },
	    { "waits w 100", "" },
	    { "fail", "stop a" },
	    { "fail", "" },
	    { "stopped a", "finish failed" } } },
	{ "one node alone runs, whatever its edges say",
	  "s:start c:condition x:code o:output",
	  "s>c c.true>x x>o",
	  { { "restored s succeeded", "" },
	    { "restored c succeeded false", "" },
	    { "only x", "" },
	    { "begin", "start x" },
	    { "ok x", "store x" },
	    { "stored x", "finish succeeded" } } },
	{ "one node alone fails the run as ever",
	  "s:start t:transform x:code o:output",
	  "s>t t>x x>o",
	  { { "restored s succeeded", "" },
	    { "only x", "" },
	    { "begin", "start x" },
	    { "err x", "store x" },
	    { "stored x", "finish failed x" } } },
	{ "notes are not run and keep nothing waiting",
	  "s:start n:note t:transform",
	  "s>t",
	  { { "begin", "start s" },
	    { "ok s", "store s, start t" },
	    { "ok t", "store t" },
	    { "stored s", "" },
	    { "stored t", "finish succeeded" } } },
};

static void print_action(const struct wl_flow_graph *graph, const struct walk_action *action, char *out, size_t size)
{
	static const char *const verbs[] = { "start", "stop", "look", "store", "check", "finish", "release", "drop" };
	size_t used = strlen(out);
	used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", verbs[action->kind]);
	if (action->kind == WALK_FINISH)
		used += (size_t)snprintf(out + used, size - used, " %s", wl_run_state_name(action->run_state));
	if (action->node >= 0)
		(void)snprintf(out + used, size - used, " %s", graph->nodes[action->node].id);
}

static enum walk_result result_of(const char *how)
{
	if (strcmp(how, "err") == 0)
		return WALK_ERROR;
	if (strcmp(how, "bad") == 0)
		return WALK_ERROR_FOR_GOOD;
	return strcmp(how, "stopped") == 0 ? WALK_STOPPED : WALK_SUCCEEDED;
}

static void end_node(struct walk *walk, int node, const char *how, const char *handle, uint64_t now)
{
	struct walk_outcome outcome = { result_of(how), handle };
	walk_node_ended(walk, node, &outcome, now, 12345);
}

static void event_without_node(struct walk *walk, const char *verb, uint64_t now)
{
	if (strcmp(verb, "begin") == 0)
		walk_begin(walk, now);
	else if (strcmp(verb, "check") == 0)
		walk->check_due = true;
	else if (strcmp(verb, "cancel") == 0)
		walk_cancel(walk);
	else if (strcmp(verb, "tick") == 0)
		walk_tick(walk, now);
	else if (strcmp(verb, "hold") == 0 || strcmp(verb, "unhold") == 0)
		walk_hold(walk, verb[0] == 'h');
	else if (strcmp(verb, "drain") == 0)
		walk_drain(walk);
	else if (strcmp(verb, "interrupt") == 0)
		walk_interrupt(walk);
	else if (strcmp(verb, "drop") == 0)
		walk_drop(walk);
	else if (strcmp(verb, "fail") == 0)
		walk_fail(walk);
	else if (strcmp(verb, "rests") == 0 || strcmp(verb, "restless") == 0)
		assert_true(walk_rests(walk) == (strcmp(verb, "rests") == 0));
	else
		fail_msg("unknown event %s", verb);
}

static void event(struct walk *walk, const char *text, uint64_t *now)
{
	char verb[32] = "", name[32] = "", third[32] = "", fourth[32] = "";
	(void)sscanf(text, "%31s %31s %31s %31s", verb, name, third, fourth);
	int node = wl_flow_graph_find(walk->graph, name);
	if (strcmp(verb, "tick") == 0 || (strcmp(verb, "begin") == 0 && name[0]))
		*now = strtoull(name, NULL, 10);
	if (strcmp(verb, "restored") == 0)
		walk_restore(walk, node, (enum wl_node_state)wl_node_state_of(third), fourth[0] ? fourth : NULL);
	else if (strcmp(verb, "stored") == 0)
		walk_node_stored(walk, node);
	else if (strcmp(verb, "checked") == 0)
		walk_checked(walk, result_of(name));
	else if (strcmp(verb, "refused") == 0)
		walk_store_refused(walk, node);
	else if (strcmp(verb, "waits") == 0)
		walk_node_waits(walk, node, strtoull(third, NULL, 10));
	else if (strcmp(verb, "opened") == 0)
		walk_node_opened(walk, node);
	else if (strcmp(verb, "only") == 0)
		walk_confine(walk, node);
	else if (strcmp(verb, "end") == 0)
		walk_stop(walk, strcmp(name, "loud") == 0);
	else if (node >= 0)
		end_node(walk, node, verb, third[0] ? third : NULL, *now);
	else
		event_without_node(walk, verb, *now);
}

static void test_plays(void **state)
{
	(void)state;
	for (size_t p = 0; p < sizeof(plays) / sizeof(plays[0]); p++) {
		const struct play *play = &plays[p];
		struct wl_flow_graph graph;
		struct walk walk;
		struct wl_error err;
		uint64_t now = 0;
		graph_of(play->nodes, play->edges, &graph);
		assert_int_equal(walk_open(&walk, &graph, 100000, &err), 0);
		for (int i = 0; i < STEPS && play->steps[i].event; i++) {
			char actions[512] = "";
			struct walk_action action;
			event(&walk, play->steps[i].event, &now);
			while (walk_next_action(&walk, &action))
				print_action(&graph, &action, actions, sizeof(actions));
			if (strcmp(actions, play->steps[i].actions) != 0)
				fail_msg("%s, step %d (%s): '%s' instead of '%s'", play->name, i + 1,
					 play->steps[i].event, actions, play->steps[i].actions);
		}
		walk_release(&walk);
		wl_flow_graph_release(&graph);
	}
}

static void test_retry_delay(void **state)
{
	(void)state;
	struct wl_retry retry = { .attempts = 9, .backoff = WL_BACKOFF_NONE, .delay_ms = 100, .max_delay_ms = 1000 };
	assert_int_equal(walk_retry_delay_ms(&retry, 1, 7), 0);
	retry.backoff = WL_BACKOFF_FIXED;
	assert_int_equal(walk_retry_delay_ms(&retry, 5, 7), 100);
	retry.backoff = WL_BACKOFF_EXPONENTIAL;
	for (int attempt = 1; attempt < 100; attempt++) {
		uint64_t most = attempt < 5 ? 100ULL << (attempt - 1) : 1000;
		assert_true(walk_retry_delay_ms(&retry, attempt, 0) == 0);
		assert_true(walk_retry_delay_ms(&retry, attempt, (uint32_t)most) == most);
		assert_true(walk_retry_delay_ms(&retry, attempt, (uint32_t)most + 1) == 0);
	}
	retry.max_delay_ms = 0;
	assert_true(walk_retry_delay_ms(&retry, 100, UINT32_MAX) <= UINT32_MAX);
}

static void test_due(void **state)
{
	(void)state;
	struct wl_flow_graph graph;
	struct walk walk;
	struct wl_error err;
	uint64_t now = 0;
	graph_of("s:start x:code/tries=2/delay=70", "s>x", &graph);
	assert_int_equal(walk_open(&walk, &graph, 5000, &err), 0);
	event(&walk, "begin", &now);
	event(&walk, "ok s", &now);
	event(&walk, "stored s", &now);
	assert_true(walk_due_ms(&walk) == 5000);
	event(&walk, "err x", &now);
	assert_true(walk_due_ms(&walk) == 70);
	event(&walk, "hold", &now);
	assert_true(walk_due_ms(&walk) == 5000);
	event(&walk, "cancel", &now);
	assert_true(walk_due_ms(&walk) == UINT64_MAX);
	walk_release(&walk);
	wl_flow_graph_release(&graph);
}

/* The deepest graph that a document may hold: nothing recurses too deep, and the queue of actions is large enough. */
static void test_long_chain(void **state)
{
	(void)state;
	char nodes[WL_FLOW_MAX_NODES * 20] = "s:start c:condition", edges[WL_FLOW_MAX_NODES * 16] = "s>c c.true>n0";
	size_t node_used = strlen(nodes), edge_used = strlen(edges);
	for (int i = 0; i < WL_FLOW_MAX_NODES - 2; i++) {
		node_used += (size_t)snprintf(nodes + node_used, sizeof(nodes) - node_used, " n%d:transform", i);
		if (i > 0)
			edge_used +=
				(size_t)snprintf(edges + edge_used, sizeof(edges) - edge_used, " n%d>n%d", i - 1, i);
	}
	struct wl_flow_graph graph;
	struct walk walk;
	struct wl_error err;
	struct walk_action action;
	uint64_t now = 0;
	int stored = 0;
	graph_of(nodes, edges, &graph);
	assert_int_equal(walk_open(&walk, &graph, UINT64_MAX, &err), 0);
	event(&walk, "begin", &now);
	event(&walk, "ok s", &now);
	event(&walk, "ok c false", &now);
	while (walk_next_action(&walk, &action))
		stored += action.kind == WALK_STORE;
	assert_int_equal(stored, WL_FLOW_MAX_NODES);
	for (int i = graph.node_count - 1; i >= 0; i--)
		walk_node_stored(&walk, i);
	assert_true(walk_next_action(&walk, &action));
	assert_int_equal(action.kind, WALK_FINISH);
	assert_int_equal(action.run_state, WL_RUN_SUCCEEDED);
	walk_release(&walk);
	wl_flow_graph_release(&graph);
}

/* Against a plain array: after each of many random moves the heap's first is a smallest one. */
static void test_timer_heap(void **state)
{
	(void)state;
	enum { TIMERS = 60 };
	struct timer timers[TIMERS] = { 0 };
	struct timer_heap heap = { 0 };
	struct wl_error err;
	unsigned seed = 4711;
	for (int i = 0; i < TIMERS; i++)
		timers[i].due_ms = UINT64_MAX;
	assert_int_equal(timer_heap_reserve(&heap, TIMERS, &err), 0);
	for (int move = 0; move < 20000; move++) {
		int which = rand_r(&seed) % TIMERS;
		uint64_t due = rand_r(&seed) % 3 ? (uint64_t)(rand_r(&seed) % 1000) : UINT64_MAX;
		timer_heap_set(&heap, &timers[which], due);
		uint64_t least = UINT64_MAX;
		for (int i = 0; i < TIMERS; i++)
			least = timers[i].due_ms < least ? timers[i].due_ms : least;
		const struct timer *first = timer_heap_first(&heap);
		assert_true(first ? first->due_ms == least : least == UINT64_MAX);
	}
	timer_heap_release(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plays),	   cmocka_unit_test(test_retry_delay), cmocka_unit_test(test_due),
		cmocka_unit_test(test_long_chain), cmocka_unit_test(test_timer_heap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
