/*
 * What a profile adds to the view of the host: a folder of programs that was made for it, such as Python packages,
 * and variables. Profiles name the folder; where it lies is the operator's setting environments_dir.
 */
#ifndef WL_SANDBOX_ENVIRONMENT_H
#define WL_SANDBOX_ENVIRONMENT_H

#include "lib/base/error.h"
#include "lib/codec/json.h"
#include "supervisor/sandbox/profile.h"

/* In such a folder: what it was made from. Written last, so a folder that has it is whole. */
#define ENVIRONMENT_MARK "made-from"

/* Take the fields environment and variables of a profile's file. -EINVAL with a sentence that names the field. */
int environment_read(const struct wl_json *object, struct sandbox_profile *profile, struct wl_error *err);

/*
 * Look in `environments_dir` for the folder that the profile wants, and let the profile's hash cover what it was made
 * from. A profile whose folder is not there stays with `folder` empty. Fails when a folder is there and cannot be read.
 */
int environment_find(const char *environments_dir, struct sandbox_profile *profile, struct wl_error *err);

/* Whether sandboxes can be made of this profile here; else -ENOENT with a sentence that says what is to be done. */
int environment_check(const struct sandbox_profile *profile, struct wl_error *err);

#endif
