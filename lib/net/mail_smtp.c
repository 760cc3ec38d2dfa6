#include "lib/net/mail_smtp.h"

#include "lib/base/clock.h"
#include "lib/base/ids.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ADDRESS_MAX 320
#define CONNECT_MS 10000L
#define TOTAL_MS 60000L
#define WORD_BYTES 20 /* of UTF-8 in one encoded word: three characters each, and 75 are the most */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_begin(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool wl_mail_address_valid(const char *address)
{
	const char *at = strrchr(address, '@');
	size_t length = strlen(address);
	if (!at || at == address || !at[1] || length > ADDRESS_MAX)
		return false;
	for (const char *c = address; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("<>,\"\\()[]:;", *c))
			return false;
	return strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") == strlen(at + 1);
}

/* ---- the message ------------------------------------------------------------------------------------------------- */

/* Bytes of the character at `text`, whole ones as far as it is UTF-8. */
static size_t character_length(const char *text)
{
	size_t length = 1;
	while (length < 4 && ((unsigned char)text[length] & 0xC0) == 0x80)
		length++;
	return length;
}

/* One encoded word of whole characters; how many bytes of `text` went into it. */
static size_t append_word(struct wl_buffer *out, const char *text)
{
	size_t used = 0;
	wl_buffer_append_text(out, "=?UTF-8?Q?");
	while (text[used]) {
		size_t length = character_length(text + used);
		if (used + length > WORD_BYTES)
			break;
		for (size_t end = used + length; used < end; used++) {
			unsigned char byte = (unsigned char)text[used];
			wl_buffer_appendf(out, "=%02X", byte < ' ' || byte == 0x7F ? ' ' : byte);
		}
	}
	wl_buffer_append_text(out, "?=");
	return used;
}

void wl_mail_subject(struct wl_buffer *out, const char *subject)
{
	bool plain = strstr(subject, "=?") == NULL;
	for (const char *c = subject; *c && plain; c++)
		plain = *c >= ' ' && *c <= '~';
	if (plain) {
		wl_buffer_append_text(out, subject);
		return;
	}
	for (const char *rest = subject; *rest;) {
		rest += append_word(out, rest);
		if (*rest)
			wl_buffer_append_text(out, "\r\n ");
	}
}

/* Append "name: value" to a list; NULL without memory, and then the list is gone. */
static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
	struct wl_buffer line;
	wl_buffer_init(&line, 0);
	wl_buffer_appendf(&line, "%s: %s", name, value);
	struct curl_slist *grown = line.failed ? NULL : curl_slist_append(list, line.data);
	wl_buffer_release(&line);
	if (!grown)
		curl_slist_free_all(list);
	return grown;
}

static struct curl_slist *make_headers(const struct wl_mail *mail)
{
	char date[64], id[WL_UUID_TEXT + ADDRESS_MAX + 4], uuid[WL_UUID_TEXT];
	struct wl_buffer subject;
	struct tm utc;
	int64_t now_ms = wl_clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	(void)gmtime_r(&now, &utc);
	(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &utc);
	wl_uuid7(now_ms, uuid);
	(void)snprintf(id, sizeof(id), "<%s%s>", uuid, strrchr(mail->from, '@'));
	wl_buffer_init(&subject, 0);
	wl_mail_subject(&subject, mail->subject);
	struct curl_slist *list = subject.failed ? NULL : add_header(NULL, "Date", date);
	list = list ? add_header(list, "From", mail->from) : NULL;
	list = list ? add_header(list, "To", mail->to) : NULL;
	list = list ? add_header(list, "Subject", subject.data ? subject.data : "") : NULL;
	list = list ? add_header(list, "Message-ID", id) : NULL;
	list = list ? add_header(list, "Auto-Submitted", "auto-generated") : NULL; /* RFC 3834 section 5 */
	wl_buffer_release(&subject);
	return list;
}

/* ---- sending ------------------------------------------------------------------------------------------------------
 */

/* Whether a URL names this host itself, and whether it has a user in it. -EINVAL. */
static int look_at_url(const char *url, bool *ret_local, bool *ret_user, struct wl_error *err)
{
	CURLU *parsed = curl_url();
	char *host = NULL, *user = NULL, *scheme = NULL;
	bool good = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		    curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    (strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0);
	if (good) {
		*ret_user = curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK;
		*ret_local = strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
			     strcmp(host, "[::1]") == 0;
	}
	curl_free(host);
	curl_free(user);
	curl_free(scheme);
	curl_url_cleanup(parsed);
	return good ? 0
		    : wl_fail(err, EINVAL, "WINDLASS_SMTP_URL (smtp_url) must be smtp://[user:password@]host[:port]");
}

static int failed(CURL *curl, CURLcode rc, const char *reason, struct wl_error *err)
{
	long answer = 0;
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
	bool about_message = rc == CURLE_SEND_ERROR || rc == CURLE_WEIRD_SERVER_REPLY || rc == CURLE_RECV_ERROR;
	if (!*reason)
		reason = curl_easy_strerror(rc);
	if (about_message && answer >= 550 && answer < 560) /* RFC 5321 section 4.2.3: permanent, about the mailbox */
		return wl_fail(err, EACCES, "the mail server refuses it: %s", reason);
	return wl_fail(err, rc == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : ECONNREFUSED, "mail server: %s", reason);
}

static CURLcode set_options(CURL *curl, const char *url, const struct wl_mail *mail, struct curl_slist *recipients,
			    bool tls_needed)
{
	CURLcode rc = curl_easy_setopt(curl, CURLOPT_URL, url);
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(tls_needed ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->from);
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS);
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	return rc ? rc : curl_easy_setopt(curl, CURLOPT_PROXY, "");
}

static CURLcode set_message(CURL *curl, curl_mime *mime, struct curl_slist *headers, const char *text)
{
	curl_mimepart *part = curl_mime_addpart(mime);
	CURLcode rc = part ? curl_mime_data(part, text, CURL_ZERO_TERMINATED) : CURLE_OUT_OF_MEMORY;
	rc = rc ? rc : curl_mime_type(part, "text/plain; charset=utf-8");
	rc = rc ? rc : curl_mime_encoder(part, "quoted-printable");
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	return rc ? rc : curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
}

int wl_mail_send(const char *url, const struct wl_mail *mail, struct wl_error *err)
{
	char reason[CURL_ERROR_SIZE] = "";
	bool local = false, user = false;
	(void)pthread_once(&curl_once, curl_begin);
	if (!wl_mail_address_valid(mail->to) || !wl_mail_address_valid(mail->from))
		return wl_fail(err, EINVAL, "an e-mail address is of no use");
	if (look_at_url(url, &local, &user, err) < 0)
		return -err->code;
	CURL *curl = curl_easy_init();
	curl_mime *mime = curl ? curl_mime_init(curl) : NULL;
	struct curl_slist *recipients = curl_slist_append(NULL, mail->to), *headers = make_headers(mail);
	CURLcode rc = mime && recipients && headers ? CURLE_OK : CURLE_OUT_OF_MEMORY;
	rc = rc ? rc : curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	rc = rc ? rc : set_options(curl, url, mail, recipients, user && !local);
	rc = rc ? rc : set_message(curl, mime, headers, mail->text);
	rc = rc ? rc : curl_easy_perform(curl);
	int result = 0;
	if (rc == CURLE_OUT_OF_MEMORY)
		result = wl_fail(err, ENOMEM, "no memory to send a mail");
	else if (rc != CURLE_OK)
		result = failed(curl, rc, reason, err);
	curl_mime_free(mime);
	curl_easy_cleanup(curl);
	curl_slist_free_all(recipients);
	curl_slist_free_all(headers);
	return result;
}
