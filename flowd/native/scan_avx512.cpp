// The line walk for x86-64 with AVX512. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "scan.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,pclmul,popcnt,bmi,bmi2,lzcnt")

namespace flowd {
namespace {
namespace avx512 {

struct Needle {
    __m512i bytes;
    explicit Needle(char c) : bytes(_mm512_set1_epi8(c)) { __asm__("" : "+v"(bytes)); }  // keep it in a register
};

struct Block {
    __m512i bytes;
    static inline Block load(const uint8_t *p) { return Block{_mm512_loadu_si512(p)}; }
    inline uint64_t eq(const Needle &needle) const { return _mm512_cmpeq_epi8_mask(bytes, needle.bytes); }
    // the needle, and what differs from it only in bit 0x20 (brackets and braces)
    inline uint64_t eq_fold(const Needle &needle) const {
        return _mm512_cmpeq_epi8_mask(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), needle.bytes);
    }
    inline uint64_t at_most(const Needle &needle) const { return _mm512_cmple_epu8_mask(bytes, needle.bytes); }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, static_cast<int64_t>(mask)), _mm_set1_epi8(-1), 0);
    return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(uint64_t(1) << k, mask)));
}

#include "scan_body.hpp"

}  // namespace avx512
}  // namespace

size_t scan_lines_avx512(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                         size_t room) {
    return avx512::scan_lines(plan, cursor, end, lines, values, room);
}

}  // namespace flowd

#pragma GCC pop_options
#endif
