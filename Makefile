# Windlass. `make run` and `make test` do all their own set-up; see docs/guides/local-development.md.
#
# All output goes to build/. Paths are relative so that the checkout may lie anywhere, spaces included.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := build

PYTHON := /usr/bin/python3
CC := gcc
CXX := g++
OBJ := build/obj
BIN := build/bin
GEN := build/gen

# ---- compile flags -----------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wimplicit-fallthrough=5 -Wuse-after-free=3
WARN_C := -Wstrict-prototypes -Wmissing-prototypes
HARDEN := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero
MODE ?= release
ifeq ($(MODE),release)
OPT := -O2 -g $(HARDEN)
else ifeq ($(MODE),asan)
OPT := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -DWL_SANITIZED=1
OBJ := build/asan/obj
BIN := build/asan/bin
else ifeq ($(MODE),tsan)
OPT := -O1 -g -fsanitize=thread -DWL_SANITIZED=1
OBJ := build/tsan/obj
BIN := build/tsan/bin
else
$(error MODE is release, asan or tsan)
endif
PACKAGES := libpq hiredis libmongoc-1.0 libcurl libjwt libsodium libcjson yaml-0.1 libseccomp libcap libmicrohttpd
# evaluated only when something is compiled: the packages are there by then
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES) | sed 's/-I\([^ ]*\)/-isystem \1/g')
PKG_LIBS = $(shell pkg-config --libs $(PACKAGES)) -ljq -lonig -lm -lpthread
INCLUDES := -I. -I$(GEN)
CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARN) $(WARN_C) $(WERROR) $(OPT) -fPIC -MMD -MP $(INCLUDES) $(PKG_CFLAGS)
CXXFLAGS = -std=gnu++17 -D_GNU_SOURCE $(OPT) -fPIC -MMD -MP $(INCLUDES) -DVALIJSON_USE_EXCEPTIONS=1
LDFLAGS = $(filter -fsanitize=%,$(OPT)) -Wl,--as-needed -Wl,-z,relro,-z,now -pie

# ---- sources -----------------------------------------------------------------------------------
LIB_SOURCES := $(wildcard lib/*/*.c)
LIB_CXX := $(wildcard lib/*/*.cc)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(OBJ)/%.o) $(LIB_CXX:%.cc=$(OBJ)/%.o)
LIB := $(OBJ)/libwindlass.a

objects = $(patsubst %.c,$(OBJ)/%.o,$(wildcard $(1)))
SCHEDULER_OBJECTS := $(call objects,scheduler/*.c scheduler/core/*.c)
SUPERVISOR_OBJECTS := $(call objects,supervisor/*.c supervisor/core/*.c supervisor/nodes/*.c supervisor/gateway/*.c)
WARDEN_OBJECTS := $(call objects,supervisor/sandbox/*.c)
EVAL_OBJECTS := $(call objects,supervisor/eval/*.c)
CLI_OBJECTS := $(call objects,cli/*.c cli/core/*.c)

PROGRAMS := $(BIN)/windlass-scheduler $(BIN)/windlass-supervisor $(BIN)/windlass-warden $(BIN)/windlass-eval \
	$(BIN)/windlass $(BIN)/windlass-init $(BIN)/windlass-web

.PHONY: build compile
build: setup-build ## compile everything
	@$(MAKE) --no-print-directory -j$(JOBS) compile docserver
compile: $(PROGRAMS)
	@:

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS) -c -o $@ $<

$(OBJ)/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) -c -o $@ $<

$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

define program
$(BIN)/$(1): $(2) $$(LIB)
	@mkdir -p $$(@D)
	@echo "  LD  $$@"
	@$(if $(LIB_CXX),$$(CXX),$$(CC)) $$(LDFLAGS) -o $$@ $(2) $$(LIB) $$(PKG_LIBS)
endef
$(eval $(call program,windlass-scheduler,$(SCHEDULER_OBJECTS)))
$(eval $(call program,windlass-supervisor,$(SUPERVISOR_OBJECTS)))
$(eval $(call program,windlass-warden,$(WARDEN_OBJECTS)))
$(eval $(call program,windlass-eval,$(EVAL_OBJECTS)))
$(eval $(call program,windlass,$(CLI_OBJECTS)))

# pid 1 of each sandbox: static, so that it needs nothing of the sandbox's file system
$(BIN)/windlass-init: supervisor/sandbox/init/init.c $(wildcard supervisor/sandbox/*.h)
	@mkdir -p $(@D)
	@echo "  CC  $< (static)"
	@$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(WARN_C) -O2 $(HARDEN) -I. -static -o $@ $<

include $(wildcard tools/make/*.mk)
include $(wildcard webapp/server/build.mk)

.PHONY: clean
clean: ## remove all output; the state folder .windlass stays
	rm -rf build

-include $(shell find build -name '*.d' 2>/dev/null | sed 's/ /\\ /g')
