# Fuzzers: `make fuzz` runs each one for FUZZ_SECONDS from the seeds in tests/fuzz/corpus/. What it finds lies in
# build/fuzz/; a file that showed a fault belongs into the corpus, which the unit tests run.
FUZZ_SECONDS ?= 20
FUZZ := build/fuzz
FUZZ_TARGETS := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_FLAGS := -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -D_GNU_SOURCE -I. -I$(GEN) \
	-DWL_SANITIZED=1
FUZZ_C := $(wildcard lib/base/*.c lib/model/*.c lib/codec/*.c) $(filter-out %/eval_main.c,$(wildcard supervisor/eval/*.c)) \
	supervisor/out_files.c webapp/server/artifact_range.c lib/store/object_key.c lib/store/object_s3_list.c \
	$(filter-out lib/llm/metered_call.c lib/llm/provider_chain.c lib/llm/model_names.c lib/llm/source_memory.c,$(wildcard lib/llm/*.c)) lib/ports/model_call.c \
	lib/net/http_client.c lib/net/egress.c lib/net/http_url.c lib/secrets/digest.c lib/secrets/hook_signature.c \
	webapp/server/hook_context.c webapp/server/core/parameters.c \
	webapp/server/core/guards.c webapp/server/core/prefer.c webapp/server/core/origin.c lib/mcp/server_message.c \
	lib/crew/interpolate.c lib/crew/json_repair.c lib/crew/react.c
FUZZ_OBJECTS := $(FUZZ_C:%.c=$(FUZZ)/obj/%.o) $(FUZZ)/obj/lib/codec/json_schema.o

$(FUZZ)/obj/%.o: %.c $(GEN)/gen/node_schemas.h
	@mkdir -p $(@D)
	@echo "  CC  $< (fuzz)"
	@clang -std=gnu11 $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<
$(FUZZ)/obj/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX $< (fuzz)"
	@clang++ -std=gnu++17 $(FUZZ_FLAGS) -DVALIJSON_USE_EXCEPTIONS=1 -MMD -MP -c -o $@ $<
$(FUZZ)/%: tests/fuzz/%_fuzz.c tests/fuzz/fuzz.h $(FUZZ_OBJECTS)
	@echo "  LD  $@"
	@clang++ -fsanitize=fuzzer,address,undefined -o $@ -x c -std=gnu11 $(FUZZ_FLAGS) $< -x none $(FUZZ_OBJECTS) \
		-lcjson -lyaml -lcurl -ljq -lonig -lseccomp -lsodium -lm -lpthread

.SECONDARY: $(FUZZ_OBJECTS)
.PHONY: fuzz
fuzz: $(FUZZ_TARGETS:%=$(FUZZ)/%) ## run each fuzzer for FUZZ_SECONDS (20)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ)/found/$$target; \
		echo "fuzz $$target"; \
		log=$(FUZZ)/$$target.log; \
		$(FUZZ)/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -rss_limit_mb=3000 \
			-verbosity=0 -print_final_stats=0 -artifact_prefix=$(FUZZ)/found/$$target- \
			$(FUZZ)/found/$$target tests/fuzz/corpus/$$target > $$log 2>&1 || { tail -40 $$log; exit 1; }; \
	done
