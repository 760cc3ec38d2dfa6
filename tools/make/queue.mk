# The queue's function library as one C string, so that a program can load it into Redis by itself.
$(GEN)/gen/queue_lua.h: quotas/queue.lua
	@mkdir -p $(@D)
	@echo "  GEN $@"
	@{ echo '/* made from $< */'; echo 'static const char wl_queue_lua[] ='; \
		sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/\t"&\\n"/' $<; echo ';'; } > $@

$(OBJ)/lib/store/redis_queue_library.o: $(GEN)/gen/queue_lua.h

# Figures of the queue, the ledger and the scheduler by themselves.
QUEUE_BENCH_OBJECTS = $(OBJ)/tests/load/queue_bench.o $(OBJ)/tests/kit/servers.o $(OBJ)/tests/kit/ledger_kit.o \
	$(filter-out $(OBJ)/scheduler/main.o,$(SCHEDULER_OBJECTS))
$(BIN)/bench/queue_bench: $(QUEUE_BENCH_OBJECTS) $(LIB)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(if $(LIB_CXX),$(CXX),$(CC)) $(LDFLAGS) -o $@ $(QUEUE_BENCH_OBJECTS) $(LIB) $(PKG_LIBS)

.PHONY: bench-queue
bench-queue: $(BIN)/bench/queue_bench ## measure the queue, the ledger and the scheduler by themselves
	@$(BIN)/bench/queue_bench
