UNIT_LINK_artifact_parts_test := $(call objects,webapp/server/artifact_range.c)
UNIT_LINK_code_files_test = $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
