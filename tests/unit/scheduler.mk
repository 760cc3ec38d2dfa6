# The scheduler's threads run inside the test: all of its objects but the one with main().
UNIT_LINK_scheduler_test := $(filter-out $(OBJ)/scheduler/main.o,$(call objects,scheduler/*.c))
UNIT_LINK_export_file_test := $(call objects,scheduler/export_file.c)
