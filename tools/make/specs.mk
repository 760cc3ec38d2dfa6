# The node kinds' JSON Schemas, compiled into the programs as one header.
NODE_SCHEMAS := $(wildcard specs/nodes/*.json)

$(GEN)/gen/node_schemas.h: $(NODE_SCHEMAS) tools/gen_node_schemas.py
	@mkdir -p $(@D)
	@echo "  GEN $@"
	@$(PYTHON) tools/gen_node_schemas.py $@ $(NODE_SCHEMAS)

$(OBJ)/lib/codec/flow_node_schemas.o: $(GEN)/gen/node_schemas.h
