/* The header Prefer (RFC 7240), as far as it asks the server to wait. Pure. */
#ifndef WL_WEBAPP_CORE_PREFER_H
#define WL_WEBAPP_CORE_PREFER_H

#define WEB_WAIT_MOST_S 30

/*
 * The seconds of the first preference "wait" (RFC 7240 §4.3): at most WEB_WAIT_MOST_S. 0 when the header is NULL, has
 * no such preference, or one that is no number; unknown preferences and parameters are passed over, as §2 wants it.
 */
int web_prefer_wait(const char *prefer_header);

#endif
