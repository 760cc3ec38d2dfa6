/*
 * JSON as models write it, made into JSON: fences and talk around it are left out, quotes, commas, brackets and words
 * are set right. It guesses at form only, never at content. Pure; time and memory grow with the text's length alone.
 */
#ifndef WL_CREW_JSON_REPAIR_H
#define WL_CREW_JSON_REPAIR_H

#include "lib/base/error.h"
#include "lib/codec/json.h"

#include <stddef.h>

#define WL_CREW_REPAIR_MAX (1u << 20) /* bytes that are looked at */

/*
 * The first object or array in the text. What is JSON already is taken as it is. 0 and *ret_json; -EINVAL: there is
 * none, or it cannot be made out; -EMSGSIZE; -ENOMEM.
 */
int wl_crew_repair_json(const char *text, size_t length, struct wl_json **ret_json, struct wl_error *err);

#endif
