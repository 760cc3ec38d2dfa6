UNIT_LINK_cli_core_test := $(call objects,cli/core/*.c)
UNIT_LINK_cli_groups_test := $(filter-out $(OBJ)/cli/main.o,$(call objects,cli/*.c cli/core/*.c))
