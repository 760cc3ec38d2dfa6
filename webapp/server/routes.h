/* The handlers, one for each operation of specs/openapi.yaml. */
#ifndef WL_WEBAPP_ROUTES_H
#define WL_WEBAPP_ROUTES_H

struct web_request;

/* X(operation) */
#define WEB_OPERATIONS(X)                                                                                              \
	X(auth_register)                                                                                               \
	X(auth_login)                                                                                                  \
	X(auth_refresh)                                                                                                \
	X(auth_logout)                                                                                                 \
	X(auth_invitation_preview)                                                                                     \
	X(auth_invitation_accept)                                                                                      \
	X(auth_password_reset)                                                                                         \
	X(auth_password_reset_confirm)                                                                                 \
	X(auth_password_change)                                                                                        \
	X(invitations_create)                                                                                          \
	X(api_keys_create)                                                                                             \
	X(tenants_current_delete)                                                                                      \
	X(operator_login)                                                                                              \
	X(operator_tenants_update)                                                                                     \
	X(operator_tenants_delete)                                                                                     \
	X(flows_list)                                                                                                  \
	X(flows_create)                                                                                                \
	X(flows_get)                                                                                                   \
	X(flows_update)                                                                                                \
	X(flows_delete)                                                                                                \
	X(flows_publish)                                                                                               \
	X(flow_versions_list)                                                                                          \
	X(flow_versions_get)                                                                                           \
	X(flows_execute)                                                                                               \
	X(executions_list)                                                                                             \
	X(executions_get)                                                                                              \
	X(executions_stream)                                                                                           \
	X(executions_cancel)                                                                                           \
	X(audit_log_list)                                                                                              \
	X(audit_log_export)                                                                                            \
	X(audit_log_verify)                                                                                            \
	X(artifacts_content)                                                                                           \
	X(openapi_get)                                                                                                 \
	X(healthz)                                                                                                     \
	X(readyz)                                                                                                      \
	X(metrics)

#define X(operation) void web_##operation(struct web_request *request);
WEB_OPERATIONS(X)
#undef X

#endif
