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
	X(flows_diff)                                                                                                  \
	X(flows_export)                                                                                                \
	X(flows_import)                                                                                                \
	X(templates_list)                                                                                              \
	X(templates_get)                                                                                               \
	X(templates_use)                                                                                               \
	X(flows_execute)                                                                                               \
	X(executions_get)                                                                                              \
	X(executions_exchanges_list)                                                                                   \
	X(executions_stream)                                                                                           \
	X(executions_retry)                                                                                            \
	X(audit_log_list)                                                                                              \
	X(audit_log_export)                                                                                            \
	X(audit_log_verify)                                                                                            \
	X(artifacts_create)                                                                                            \
	X(artifacts_content)                                                                                           \
	X(exports_content)                                                                                             \
	X(agents_create)                                                                                               \
	X(crews_create)                                                                                                \
	X(crews_update)                                                                                                \
	X(crews_import)                                                                                                \
	X(crews_export)                                                                                                \
	X(tools_create)                                                                                                \
	X(tools_update)                                                                                                \
	X(tools_validate)                                                                                              \
	X(agents_test)                                                                                                 \
	X(crews_test)                                                                                                  \
	X(crews_kickoff)                                                                                               \
	X(crews_memory_list)                                                                                           \
	X(crews_memory_delete)                                                                                         \
	X(agents_memory_list)                                                                                          \
	X(agents_memory_delete)                                                                                        \
	X(tools_test)                                                                                                  \
	X(chat_sessions_create)                                                                                        \
	X(chat_sessions_delete)                                                                                        \
	X(chat_sessions_stop)                                                                                          \
	X(chat_messages_list)                                                                                          \
	X(chat_messages_create)                                                                                        \
	X(chat_stream)                                                                                                 \
	X(tools_import)                                                                                                \
	X(tools_import_preview)                                                                                        \
	X(tools_import_mcp)                                                                                            \
	X(tools_import_mcp_preview)                                                                                    \
	X(llm_providers_create)                                                                                        \
	X(llm_providers_update)                                                                                        \
	X(llm_providers_validate)                                                                                      \
	X(webhooks_create)                                                                                             \
	X(webhooks_update)                                                                                             \
	X(webhooks_rotate)                                                                                             \
	X(hooks_receive)                                                                                               \
	X(outgoing_webhooks_create)                                                                                    \
	X(outgoing_webhooks_update)                                                                                    \
	X(outgoing_webhooks_rotate)                                                                                    \
	X(schedules_create)                                                                                            \
	X(schedules_update)                                                                                            \
	X(schedules_preview)                                                                                           \
	X(gateway_chat)                                                                                                \
	X(gateway_messages)                                                                                            \
	X(gateway_embeddings)                                                                                          \
	X(gateway_models)                                                                                              \
	X(mcp_post)                                                                                                    \
	X(openapi_get)                                                                                                 \
	X(healthz)                                                                                                     \
	X(readyz)                                                                                                      \
	X(metrics)

#define X(operation) void web_##operation(struct web_request *request);
WEB_OPERATIONS(X)
#undef X

#endif
