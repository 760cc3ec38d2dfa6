#include "supervisor/wait_terms.h"

#include "lib/base/cleanup.h"
#include "lib/codec/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define QUESTION_MS (7LL * 86400 * 1000) /* so long a person has to answer */

/* Two digits at `text`, or -1. */
static int two_digits(const char *text)
{
	if (!isdigit((unsigned char)text[0]) || !isdigit((unsigned char)text[1]))
		return -1;
	return (text[0] - '0') * 10 + text[1] - '0';
}

/* The offset from UTC in minutes behind the seconds (RFC 3339 section 5.6); -EINVAL when it is none. */
static int read_offset(const char *text, int *ret_minutes)
{
	if (strcasecmp(text, "Z") == 0) {
		*ret_minutes = 0;
		return 0;
	}
	if ((*text != '+' && *text != '-') || strlen(text) != 6 || text[3] != ':')
		return -EINVAL;
	int hours = two_digits(text + 1), minutes = two_digits(text + 4);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*ret_minutes = (hours * 60 + minutes) * (*text == '-' ? -1 : 1);
	return 0;
}

int wait_read_time(const char *text, int64_t *ret_wall_ms)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	int64_t fraction_ms = 0;
	int offset = 0, weight = 100;
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == 'd' ? !isdigit((unsigned char)text[i]) : toupper((unsigned char)text[i]) != shape[i])
			return -EINVAL;
	struct tm tm = { .tm_year = two_digits(text) * 100 + two_digits(text + 2) - 1900,
			 .tm_mon = two_digits(text + 5) - 1,
			 .tm_mday = two_digits(text + 8),
			 .tm_hour = two_digits(text + 11),
			 .tm_min = two_digits(text + 14),
			 .tm_sec = two_digits(text + 17) };
	struct tm same = tm;
	int64_t seconds = timegm(&same);
	/* a leap second is the second after it; any other field that timegm() had to mend was out of range */
	if (tm.tm_sec > 60 || tm.tm_min > 59 || tm.tm_hour > 23 ||
	    (tm.tm_sec < 60 && (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday)))
		return -EINVAL;
	text += sizeof(shape) - 1;
	if (*text == '.' && !isdigit((unsigned char)text[1]))
		return -EINVAL;
	for (text += *text == '.'; isdigit((unsigned char)*text); text++, weight /= 10)
		fraction_ms += (*text - '0') * weight;
	if (read_offset(text, &offset) < 0)
		return -EINVAL;
	*ret_wall_ms = (seconds - offset * 60) * 1000 + fraction_ms;
	return 0;
}

static int read_wait(const struct wl_json *terms, struct wl_wait *wait, struct wl_error *err)
{
	const struct wl_json *seconds = wl_json_get(terms, "seconds");
	const char *until = wl_json_get_string(terms, "until", NULL);
	double delay_ms = wl_json_number(seconds, -1) * 1000;
	if (seconds && (!wl_json_is(seconds, WL_JSON_NUMBER) || delay_ms < 0 || delay_ms > WAIT_MAX_MS))
		return wl_fail(err, EINVAL, "seconds is no number from 0 to %lld", WAIT_MAX_MS / 1000);
	if (seconds) {
		wait->delay_ms = (int64_t)delay_ms;
		return 0;
	}
	if (!until || wait_read_time(until, &wait->until_ms) < 0)
		return wl_fail(err, EINVAL, "until is no time such as 2026-01-31T08:00:00Z");
	wait->until_ms += wait->until_ms == 0; /* 0 means that there is none */
	return 0;
}

static int read_approval(const struct wl_json *terms, const struct node_plan *plan, struct wl_wait *wait,
			 struct wl_error *err)
{
	const char *text = wl_json_string(terms, NULL);
	wait->approval = true;
	wait->delay_ms = (int64_t)plan->expires_s * 1000;
	wait->message = text ? strdup(text) : wl_json_print(terms);
	wait->roles_json = strdup(plan->roles_json);
	if (!wait->message || !wait->roles_json)
		return wl_fail(err, ENOMEM, "no memory for an approval");
	if (strlen(wait->message) > APPROVAL_MESSAGE_MAX)
		return wl_fail(err, EINVAL, "the message has more than %d bytes", APPROVAL_MESSAGE_MAX);
	return 0;
}

int wait_terms_ask(const char *message, const char *roles_json, struct wl_wait *wait, struct wl_error *err)
{
	wait->approval = true;
	wait->delay_ms = QUESTION_MS;
	wait->message = message ? strdup(message) : NULL;
	wait->roles_json = roles_json ? strdup(roles_json) : NULL;
	return wait->message && wait->roles_json ? 0 : wl_fail(err, ENOMEM, "no memory for a question");
}

int wait_terms_read(enum wl_node_kind kind, const struct node_plan *plan, const char *json, struct wl_wait *wait,
		    struct wl_error *err)
{
	_wl_json_ struct wl_json *terms = NULL;
	if (wl_json_parse(json, strlen(json), &terms, err) < 0)
		return -err->code;
	return kind == WL_KIND_WAIT ? read_wait(terms, wait, err) : read_approval(terms, plan, wait, err);
}
