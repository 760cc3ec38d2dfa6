# Test programs of the sandbox: they speak to a warden through the supervisor's own client.
SANDBOX_TOOLS := $(BIN)/sandbox-run $(BIN)/sandbox-bench

$(BIN)/sandbox-run: $(OBJ)/tests/sandbox/sandbox_run.o
$(BIN)/sandbox-bench: $(OBJ)/tests/load/sandbox_bench.o
$(SANDBOX_TOOLS): $(OBJ)/supervisor/warden_client.o $(OBJ)/supervisor/out_files.o $(patsubst %.c,$(OBJ)/%.o,$(wildcard lib/base/*.c lib/model/file_name.c))
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ -lpthread

.PHONY: sandbox-tools check-sandbox check-cgroupv2 bench-sandbox
sandbox-tools: $(SANDBOX_TOOLS)
check-sandbox: setup-test sandbox-tools $(BIN)/windlass-warden $(BIN)/windlass-init ## probes and limits in real sandboxes; needs root
	@build/pytest/bin/python -m pytest -q --confcutdir=tests/sandbox tests/sandbox
bench-sandbox: sandbox-tools $(BIN)/windlass-warden $(BIN)/windlass-init ## figures of the sandboxes; needs root
	@$(PYTHON) tests/load/sandbox_bench.py
check-cgroupv2: sandbox-tools $(BIN)/windlass-warden $(BIN)/windlass-init ## the limits on pure control groups version 2, in User-Mode Linux
	@tests/sandbox/cgroup_v2.sh
