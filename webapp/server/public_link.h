/* Links to this server that go out in mails. */
#ifndef WL_WEBAPP_PUBLIC_LINK_H
#define WL_WEBAPP_PUBLIC_LINK_H

#define WEB_LINK_SIZE 1280

/*
 * <public_url><path><token>. The token stands behind a '#' in path, so that browsers send it to no server and no proxy
 * logs it.
 */
void web_public_link(const char *path, const char *token, char link[WEB_LINK_SIZE]);

#endif
