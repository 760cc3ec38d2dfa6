/*
 * The port of chats' history (MongoDB protocol, collection chat_messages). A message never changes; putting it a second
 * time changes nothing. The messages of a session are numbered from 1 without a gap and lie in buckets, so that a
 * reader finds its place by the number alone. Thread-safe; calls block.
 */
#ifndef WL_PORTS_CHAT_LOG_H
#define WL_PORTS_CHAT_LOG_H

#include "lib/base/error.h"
#include "lib/base/ids.h"

#define WL_CHAT_BUCKET 50

struct wl_chat_message {
	int tenant;
	char session[WL_UUID_TEXT];
	int seq;
	char *message_json; /* as the API shows it; owned by the struct */
};

struct wl_chat_log {
	void *self;
	/* 0 when all are kept for good; -errno: none may be assumed. */
	int (*put)(void *self, const struct wl_chat_message *messages, int count, struct wl_error *err);
	/*
	 * Those numbered first .. last, in order; *ret_messages is allocated. How many there are, or -errno. `last` -
	 * `first` is less than 1000.
	 */
	int (*range)(void *self, int tenant, const char *session, int first, int last,
		     struct wl_chat_message **ret_messages, struct wl_error *err);
	/* Forget a session. 0 or -errno. */
	int (*drop)(void *self, int tenant, const char *session, struct wl_error *err);
	void (*close)(void *self);
};

/* Free a list of messages and what they own. */
void wl_chat_messages_free(struct wl_chat_message *messages, int count);

#endif
