# Tests and checks.
#
# Each tests/unit/<name>_test.c is a program of its own, linked with the library and the pure cores. One
# that needs more objects names them in UNIT_LINK_<name>_test, in a fragment tests/unit/*.mk.
-include $(wildcard tests/unit/*.mk)
UNIT_SOURCES := $(wildcard tests/unit/*_test.c)
UNIT_NAMES := $(patsubst tests/unit/%.c,%,$(UNIT_SOURCES))
UNIT_PROGRAMS := $(UNIT_NAMES:%=$(BIN)/tests/%)
UNIT_COMMON := $(call objects,scheduler/core/*.c supervisor/core/*.c tests/kit/*.c)
TEST_FOLDERS := tests/tools tests/model tests/stack tests/sandbox tests/contract tests/system tests/faults
JOBS ?= $(shell nproc)

define unit_program
$(BIN)/tests/$(1): $(OBJ)/tests/unit/$(1).o $(UNIT_COMMON) $(UNIT_LINK_$(1)) $$(LIB)
	@mkdir -p $$(@D)
	@echo "  LD  $$@"
	@$(if $(LIB_CXX),$$(CXX),$$(CC)) $$(LDFLAGS) -o $$@ $(OBJ)/tests/unit/$(1).o $(UNIT_COMMON) $(UNIT_LINK_$(1)) \
		$$(LIB) $$(PKG_LIBS) -lcmocka
endef
$(foreach name,$(UNIT_NAMES),$(eval $(call unit_program,$(name))))

.PHONY: unit test check check-asan format
unit: $(UNIT_PROGRAMS)
	@:

test: setup-test ## set up, build, run every kind of test
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror compile docserver s3server unit sandbox-tools
	@$(PYTHON) tools/run_tests.py --unit $(BIN)/tests --servers --pytest $(TEST_FOLDERS)

check: setup-test ## format, layers, purity, function lengths, unit tests: under a minute once their servers are built
	@failed=0; for check in format layers lengths; do $(PYTHON) tools/check_$$check.py || failed=1; done; exit $$failed
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=-Werror docserver s3server unit
	@$(PYTHON) tools/check_purity.py $(OBJ)
	@$(PYTHON) tools/run_tests.py --unit $(BIN)/tests

check-asan: setup-test ## the unit tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory -j$(JOBS) MODE=asan unit
	@$(PYTHON) tools/run_tests.py --unit build/asan/bin/tests

format: ## let clang-format 14 write the C files
	@git ls-files -z '*.c' '*.h' '*.cc' | xargs -0 clang-format-14 -i --style=file
