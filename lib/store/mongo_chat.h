/* Chats' history over the MongoDB protocol. */
#ifndef WL_STORE_MONGO_CHAT_H
#define WL_STORE_MONGO_CHAT_H

#include "lib/ports/chat_log.h"

/* Connect and try it. 0, -EINVAL for a bad URL, -ECONNREFUSED, -ENOMEM. The caller closes it by its port. */
int wl_mongo_chat_open(const char *url, struct wl_chat_log *ret_log, struct wl_error *err);

#endif
