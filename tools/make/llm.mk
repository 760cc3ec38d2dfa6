# Asks models by lib/llm, for tests against servers that are no part of a C test.
$(eval $(call program,llm-ask,$(OBJ)/tests/load/llm_ask.o))
unit: $(BIN)/llm-ask
