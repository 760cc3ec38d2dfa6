/*
 * The model source over PostgreSQL: the functions control.providers_for_run and control.crew_for_run of
 * specs/sql/0015_models.sql.
 */
#ifndef WL_STORE_POSTGRES_MODELS_H
#define WL_STORE_POSTGRES_MODELS_H

#include "lib/ports/model_source.h"

/* Nothing is connected yet. Threads share four connections. 0, -EINVAL, -ENOMEM. */
int wl_postgres_models_open(const char *url, struct wl_model_source *ret_source, struct wl_error *err);
/* The same with the rights of the web server, which may read providers alone. */
int wl_postgres_gateway_models_open(const char *url, struct wl_model_source *ret_source, struct wl_error *err);

#endif
