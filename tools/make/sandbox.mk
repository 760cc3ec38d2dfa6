# Test programs of the sandbox: they speak to a warden through the supervisor's own client.
SANDBOX_TOOLS := $(BIN)/sandbox-run $(BIN)/sandbox-bench

$(BIN)/sandbox-run: $(OBJ)/tests/sandbox/sandbox_run.o
$(BIN)/sandbox-bench: $(OBJ)/tests/load/sandbox_bench.o
$(SANDBOX_TOOLS): $(OBJ)/supervisor/warden_client.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) -lpthread

.PHONY: sandbox-tools
sandbox-tools: $(SANDBOX_TOOLS) $(BIN)/windlass-warden $(BIN)/windlass-init ## what tests/sandbox needs
