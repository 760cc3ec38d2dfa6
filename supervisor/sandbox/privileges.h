/* The rights the warden keeps. */
#ifndef WL_SANDBOX_PRIVILEGES_H
#define WL_SANDBOX_PRIVILEGES_H

#include "lib/base/error.h"

/*
 * Give up every capability that neither the warden nor crun needs, for this process and all it will ever execute, and
 * the right to gain any by executing a file. Done last before the loop. 0 or a sentence.
 */
int privileges_drop(struct wl_error *err);

#endif
