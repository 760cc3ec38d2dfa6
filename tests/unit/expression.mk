# The test starts the real program, which lies beside it.
$(BIN)/tests/expression_test: | $(BIN)/windlass-eval
