// What the fuzz targets share: each defines `fuzz_one`, which must neither crash, nor read outside its input, nor
// disagree with itself. With clang they are libFuzzer targets; elsewhere driver.cpp feeds them mutated samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

void fuzz_one(const uint8_t *p, size_t n);

extern "C" inline int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    fuzz_one(p, n);
    return 0;
}

#define FUZZ_CHECK(condition)                                                        \
    do {                                                                             \
        if (!(condition)) {                                                          \
            std::fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                            \
        }                                                                            \
    } while (0)

// A copy with nothing behind it, so that a read past the end is seen.
inline std::vector<uint8_t> exact_copy(const uint8_t *p, size_t n) { return std::vector<uint8_t>(p, p + n); }
