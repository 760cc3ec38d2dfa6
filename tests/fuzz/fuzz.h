/* Each fuzz target is one function over bytes; libFuzzer calls it, and so does tests/unit/fuzz_corpus_test.c. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Stop loudly: what must hold for every input does not. */
#define FUZZ_ASSERT(condition)                                                                                         \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			__builtin_trap();                                                                              \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
