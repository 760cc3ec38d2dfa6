UNIT_LINK_cli_core_test := $(call objects,cli/core/*.c)
