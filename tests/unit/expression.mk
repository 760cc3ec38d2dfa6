# The test starts the real program, which lies beside it.
$(BIN)/tests/expression_test: | $(BIN)/windlass-eval
UNIT_LINK_fuzz_corpus_test := $(filter-out %/eval_main.o,$(EVAL_OBJECTS)) \
	$(call objects,supervisor/out_files.c webapp/server/artifact_range.c webapp/server/hook_context.c \
	webapp/server/core/parameters.c webapp/server/core/guards.c webapp/server/core/prefer.c \
	webapp/server/core/origin.c)
