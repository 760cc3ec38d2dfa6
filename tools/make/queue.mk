# The queue's function library as one C string, so that a program can load it into Redis by itself.
$(GEN)/gen/queue_lua.h: quotas/queue.lua
	@mkdir -p $(@D)
	@echo "  GEN $@"
	@{ echo '/* made from $< */'; echo 'static const char wl_queue_lua[] ='; \
		sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/\t"&\\n"/' $<; echo ';'; } > $@

$(OBJ)/lib/store/redis_queue_library.o: $(GEN)/gen/queue_lua.h
