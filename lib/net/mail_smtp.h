/*
 * Mail by SMTP (RFC 5321), one message a call, by libcurl. A call blocks; callable from any thread.
 */
#ifndef WL_NET_MAIL_SMTP_H
#define WL_NET_MAIL_SMTP_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#include <stdbool.h>

struct wl_mail {
	const char *from, *to; /* addresses as local@domain */
	const char *subject;   /* UTF-8; line ends in it become blanks */
	const char *text;      /* UTF-8, lines end with \n */
};

/*
 * Whether a text is an address that can go into an envelope and a header as it is: local@domain of printable ASCII
 * without blanks, angle brackets or commas, at most 320 bytes.
 */
bool wl_mail_address_valid(const char *address);

/*
 * The subject as a header's value: as it is when it is printable ASCII, else as encoded words (RFC 2047 section 4.2).
 * Nothing in it can end the header.
 */
void wl_mail_subject(struct wl_buffer *out, const char *subject);

/*
 * Send it. `url`: smtp://[user:password@]host[:port] or smtps://...; a password goes over TLS alone, except to this
 * host itself. Errors: -EINVAL an address or the URL is of no use · -EACCES the server refuses this message for good ·
 * -ECONNREFUSED or -ETIMEDOUT it could not be handed over now. Error texts hold no password.
 */
int wl_mail_send(const char *url, const struct wl_mail *mail, struct wl_error *err);

#endif
