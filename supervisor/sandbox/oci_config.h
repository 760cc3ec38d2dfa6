/* The OCI runtime configuration (runtime-spec 1.0.2, config.json) of one sandbox. */
#ifndef WL_SANDBOX_OCI_CONFIG_H
#define WL_SANDBOX_OCI_CONFIG_H

#include "lib/base/buffer.h"
#include "supervisor/sandbox/profile.h"

struct oci_place {
	const char *rootfs;	     /* folder that becomes / */
	const char *runtime_dir;     /* shown as /opt/runtime; NULL: none */
	const char *environment_dir; /* shown at the profile's environment.path; NULL: none */
	const char *cgroups_path;    /* below each hierarchy, with a leading slash */
	const char *args0;	     /* path of init inside the sandbox */
	uint32_t tenant;	     /* 1 to WARDEN_TENANT_MAX */
};

/* Append the configuration; 0, or -ENOMEM with `out` marked as failed. */
int oci_config_write(const struct sandbox_profile *profile, const struct oci_place *place, struct wl_buffer *out);

#endif
