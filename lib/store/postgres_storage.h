/* The port of room in a tenant's storage (lib/ports/storage_room.h) over PostgreSQL: control.kept_take of
 * specs/sql/0015_models.sql. */
#ifndef WL_STORE_POSTGRES_STORAGE_H
#define WL_STORE_POSTGRES_STORAGE_H

#include "lib/ports/storage_room.h"

/* 0; -EINVAL for a url that libpq cannot read; -ENOMEM. Nothing is connected yet. */
int wl_postgres_storage_open(const char *url, struct wl_storage_room *ret_room, struct wl_error *err);

#endif
