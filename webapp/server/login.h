/* What logins of tenants' people and of operators have in common (auth_routes.c). */
#ifndef WL_WEBAPP_LOGIN_H
#define WL_WEBAPP_LOGIN_H

#include "webapp/server/api_call.h"
#include "webapp/server/password_task.h"

/* Answer a login or an accepted invitation: tokens for the user and tenant of the function's answer. */
void web_login_answer(struct web_request *request, const struct web_api_answer *answer);

/* Note a wrong password for the body's e-mail address and where it came from, then answer 401. `tell_accounts`: it is
 * also put into the audit logs of the candidates' tenants. */
void web_login_failed(const struct web_password_task *task, bool tell_accounts);

/* Answer 429 when there were too many of them and no candidate has logged in from there before. */
bool web_login_slowed(struct web_password_task *task);

#endif
