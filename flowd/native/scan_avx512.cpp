// The line walk for x86-64 with AVX512. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "scan.hpp"
#include "value_table.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,pclmul,popcnt,bmi,bmi2,lzcnt,aes")

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
    // Masks go on in general registers: left to itself, the compiler mixes both kinds and waits for each change.
    static inline uint64_t in_register(uint64_t bits) {
        __asm__("" : "+r"(bits));
        return bits;
    }
    inline uint64_t eq(const Needle &needle) const {
        return in_register(_mm512_cmpeq_epi8_mask(bytes, needle.bytes));
    }
    // the needle, and what differs from it only in bit 0x20 (brackets and braces)
    inline uint64_t eq_fold(const Needle &needle) const {
        return in_register(_mm512_cmpeq_epi8_mask(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), needle.bytes));
    }
    inline uint64_t at_most(const Needle &needle) const {
        return in_register(_mm512_cmple_epu8_mask(bytes, needle.bytes));
    }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, static_cast<int64_t>(mask)), _mm_set1_epi8(-1), 0);
    return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(uint64_t(1) << k, mask)));
}

// A short value in one register.
struct Short {
    __m256i bytes;
    static inline bool can_load(const uint8_t *, const uint8_t *) { return true; }  // a masked load reads no byte more
    static inline Short load(const uint8_t *p, uint64_t n) {
        return Short{_mm256_maskz_loadu_epi8(_bzhi_u32(~0u, static_cast<uint32_t>(n)), p)};
    }
    static inline Short of_words(const uint64_t *words) {
        return Short{_mm256_loadu_si256(reinterpret_cast<const __m256i *>(words))};
    }
    inline bool equals(const uint64_t *words) const {
        return _mm256_cmpneq_epi64_mask(bytes, of_words(words).bytes) == 0;
    }
    // Three rounds of AES: after them every bit of the low word depends on every bit of the value.
    inline uint64_t hash(uint64_t n_tag) const {
        const __m128i *seeds = reinterpret_cast<const __m128i *>(hash_seeds().s);
        __m128i seed = _mm_loadu_si128(seeds), other = _mm_loadu_si128(seeds + 1);
        __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
        __m128i state = _mm_xor_si128(_mm_xor_si128(low, seed), _mm_set1_epi64x(static_cast<int64_t>(n_tag)));
        state = _mm_aesenc_si128(state, high);
        state = _mm_aesenc_si128(state, other);
        state = _mm_aesenc_si128(state, seed);
        return static_cast<uint64_t>(_mm_cvtsi128_si64(state));
    }
};

#include "scan_body.hpp"
#include "find_body.hpp"

}  // namespace avx512
}  // namespace

extern const SimdLevel level_avx512;
const SimdLevel level_avx512 = {"avx512", avx512::scan_lines, avx512::find_classes, avx512::hash_short};

}  // namespace flowd

#pragma GCC pop_options
#endif
