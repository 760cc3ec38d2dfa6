# Tests of the supervisor's own parts: all its objects but the program's main.
SUPERVISOR_PARTS := $(filter-out $(OBJ)/supervisor/supervisor_main.o,$(SUPERVISOR_OBJECTS))
UNIT_LINK_supervisor_simulation_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_supervisor_nodes_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_supervisor_spool_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_supervisor_parts_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_node_record_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_tool_request_test := $(filter-out $(OBJ)/supervisor/core/%,$(SUPERVISOR_PARTS))
UNIT_LINK_gateway_test := $(call objects,supervisor/gateway/*.c)
