/* Messages of chats: those that PostgreSQL has no more come from the document server. */
#ifndef WL_WEBAPP_CHAT_HISTORY_H
#define WL_WEBAPP_CHAT_HISTORY_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

/* On the loop: `page` is the callee's; NULL when it could not be filled, then err tells why. */
typedef void web_chat_filled(void *context, struct wl_json *page, const struct wl_error *err);

/*
 * Put into a page of messages, as chat_messages_list answers it from behind number `after` (taken over), those that it
 * lacks. `filled` may be called before this returns.
 */
void web_chat_fill(int tenant, const char *session, int after, struct wl_json *page, web_chat_filled *filled,
		   void *context);

/* Tell the streams of a chat, in whatever worker, that there is something new. Best effort: they look by themselves. */
void web_chat_poke(const char *session);

#endif
