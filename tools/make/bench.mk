# Figures of a whole stack on this machine; docs/guides/testing.md says what each means.
.PHONY: bench
bench: setup-test ## measure a whole stack, one line a figure
	@$(MAKE) --no-print-directory -j$(JOBS) compile docserver
	@build/pytest/bin/python tools/bench.py $(BENCH)
