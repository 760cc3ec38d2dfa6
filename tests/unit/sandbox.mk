# The pure parts of the warden, and those that work on a folder tree.
UNIT_LINK_sandbox_plans_test := $(call objects,supervisor/sandbox/park_plan.c supervisor/sandbox/fair_pick.c supervisor/sandbox/verdict.c)
UNIT_LINK_sandbox_profile_test := $(call objects,supervisor/sandbox/profile.c supervisor/sandbox/environment.c supervisor/sandbox/seccomp_filter.c supervisor/sandbox/oci_config.c)
UNIT_LINK_sandbox_cgroup_test := $(call objects,supervisor/sandbox/cgroup.c)
