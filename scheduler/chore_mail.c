/*
 * Send the mails that wait. Without a mail server their links are logged instead: that is how a development run shows
 * them.
 */
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/net/mail_smtp.h"
#include "scheduler/chores.h"

#include <stdio.h>
#include <string.h>

#define MAILS_AT_ONCE 10
#define TRIES_MOST 15 /* some 16 hours: see control.mail_take() for the pauses */

static int done(struct chore_desk *desk, double id, struct wl_error *err)
{
	_wl_free_ char *nothing = NULL;
	char request[64];
	(void)snprintf(request, sizeof(request), "{\"ids\":[%.0f]}", id);
	return wl_postgres_call(&desk->postgres, "control.mail_done", request, &nothing, err);
}

/* 0: sent or given up, -EAGAIN: it stays for another time. */
static int deliver(const struct wl_settings *settings, const struct wl_json *row, struct wl_error *err)
{
	const struct wl_mail mail = { .from = settings->mail_from,
				      .to = wl_json_get_string(row, "to", ""),
				      .subject = wl_json_get_string(row, "subject", ""),
				      .text = wl_json_get_string(row, "body", "") };
	double tries = wl_json_get_number(row, "tries", 1);
	if (!*settings->smtp_url) {
		wl_log(WL_LOG_NOTICE, "no mail server is set; the mail to %s would hold this link: %s", mail.to,
		       wl_json_get_string(row, "link", ""));
		return 0;
	}
	int r = wl_mail_send(settings->smtp_url, &mail, err);
	if (r == 0) {
		wl_log(WL_LOG_INFO, "a mail to %s was sent", mail.to);
		return 0;
	}
	if (r != -EACCES && tries < TRIES_MOST)
		return -EAGAIN;
	wl_log(WL_LOG_WARNING, "a mail to %s was given up after %.0f tries: %s", mail.to, tries, err->text);
	return 0;
}

int chore_mail(struct chore_desk *desk, struct wl_error *err)
{
	_wl_free_ char *text = NULL;
	_wl_json_ struct wl_json *rows = NULL;
	char request[32];
	(void)snprintf(request, sizeof(request), "{\"limit\":%d}", MAILS_AT_ONCE);
	int r = wl_postgres_call(&desk->postgres, "control.mail_take", request, &text, err);
	if (r == 0)
		r = wl_json_parse(text, strlen(text), &rows, err);
	if (r < 0)
		return r;
	struct wl_error first = { 0 };
	for (const struct wl_json *row = wl_json_first(rows); row && r == 0; row = wl_json_next(row)) {
		struct wl_error own = { 0 };
		if (deliver(desk->scheduler->settings, row, &own) == 0)
			r = done(desk, wl_json_get_number(row, "id", 0), err);
		else if (!first.code)
			first = own;
	}
	if (r == 0 && first.code) {
		*err = first;
		return -first.code;
	}
	return r < 0 ? r : wl_json_count(rows) == MAILS_AT_ONCE;
}
