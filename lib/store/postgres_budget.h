/*
 * The budget port over PostgreSQL: the ledger of model calls and the budgets of specs/sql/0015_models.sql. Everything
 * is decided there, in one transaction a call.
 */
#ifndef WL_STORE_POSTGRES_BUDGET_H
#define WL_STORE_POSTGRES_BUDGET_H

#include "lib/ports/budget.h"

/* Nothing is connected yet. Threads share eight connections. 0, -EINVAL, -ENOMEM. */
int wl_postgres_budget_open(const char *url, struct wl_budget *ret_budget, struct wl_error *err);
/* The same with the rights of the web server: for calls of the gateway and of chats alone; nobody is asked by them. */
int wl_postgres_gateway_budget_open(const char *url, struct wl_budget *ret_budget, struct wl_error *err);

#endif
