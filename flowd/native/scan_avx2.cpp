// The line walk for x86-64 with AVX2. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "scan.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,pclmul,popcnt,bmi,bmi2,lzcnt")

namespace flowd {
namespace {
namespace avx2 {

struct Needle {
    __m256i bytes;
    explicit Needle(char c) : bytes(_mm256_set1_epi8(c)) {}
};

struct Block {
    __m256i low, high;
    static inline Block load(const uint8_t *p) {
        return Block{_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)),
                     _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 32))};
    }
    static inline uint64_t mask(__m256i low, __m256i high) {
        return static_cast<uint32_t>(_mm256_movemask_epi8(low)) |
               (static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(high))) << 32);
    }
    inline uint64_t eq(const Needle &needle) const {
        return mask(_mm256_cmpeq_epi8(low, needle.bytes), _mm256_cmpeq_epi8(high, needle.bytes));
    }
    // the needle, and what differs from it only in bit 0x20 (brackets and braces)
    inline uint64_t eq_fold(const Needle &needle) const {
        __m256i fold = _mm256_set1_epi8(0x20);
        return mask(_mm256_cmpeq_epi8(_mm256_or_si256(low, fold), needle.bytes),
                    _mm256_cmpeq_epi8(_mm256_or_si256(high, fold), needle.bytes));
    }
    inline uint64_t at_most(const Needle &needle) const {
        return mask(_mm256_cmpeq_epi8(_mm256_min_epu8(low, needle.bytes), low),
                    _mm256_cmpeq_epi8(_mm256_min_epu8(high, needle.bytes), high));
    }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, static_cast<int64_t>(mask)), _mm_set1_epi8(-1), 0);
    return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(uint64_t(1) << k, mask)));
}

#include "scan_body.hpp"

}  // namespace avx2
}  // namespace

size_t scan_lines_avx2(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                         size_t room) {
    return avx2::scan_lines(plan, cursor, end, lines, values, room);
}

}  // namespace flowd

#pragma GCC pop_options
#endif
