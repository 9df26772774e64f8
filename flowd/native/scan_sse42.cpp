// The line walk for x86-64 with SSE42. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "scan.hpp"
#include "value_table.hpp"

#pragma GCC push_options
#pragma GCC target("sse4.2,pclmul,popcnt")

namespace flowd {
namespace {
namespace sse42 {

struct Needle {
    __m128i bytes;
    explicit Needle(char c) : bytes(_mm_set1_epi8(c)) {}
};

struct Block {
    __m128i part[4];
    static inline Block load(const uint8_t *p) {
        const __m128i *from = reinterpret_cast<const __m128i *>(p);
        return Block{{_mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2),
                      _mm_loadu_si128(from + 3)}};
    }
    inline uint64_t eq(const Needle &needle) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--)
            bits = (bits << 16) | static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(part[i], needle.bytes)));
        return bits;
    }
    // the needle, and what differs from it only in bit 0x20 (brackets and braces)
    inline uint64_t eq_fold(const Needle &needle) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--) {
            __m128i folded = _mm_or_si128(part[i], _mm_set1_epi8(0x20));
            bits = (bits << 16) | static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(folded, needle.bytes)));
        }
        return bits;
    }
    inline uint64_t at_most(const Needle &needle) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--) {
            __m128i least = _mm_min_epu8(part[i], needle.bytes);
            bits = (bits << 16) | static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(least, part[i])));
        }
        return bits;
    }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, static_cast<int64_t>(mask)), _mm_set1_epi8(-1), 0);
    return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    for (; k; k--) mask &= mask - 1;
    return static_cast<unsigned>(__builtin_ctzll(mask | uint64_t(1) << 63));
}

// A short value as four words.
struct Short {
    uint64_t words[4];
    static inline bool can_load(const uint8_t *p, const uint8_t *end) {
        return static_cast<size_t>(end - p) >= ValueTable::SHORT;
    }
    static inline Short load(const uint8_t *p, uint64_t n) {
        Short value;
        for (unsigned i = 0; i < 4; i++) {
            uint64_t kept = n >= 8 * i + 8 ? ~uint64_t(0) : n <= 8 * i ? 0 : ~(~uint64_t(0) << (8 * (n - 8 * i)));
            value.words[i] = load_word(p + 8 * i) & kept;
        }
        return value;
    }
    static inline Short of_words(const uint64_t *words) { return Short{{words[0], words[1], words[2], words[3]}}; }
    inline bool equals(const uint64_t *other) const {
        return ((words[0] ^ other[0]) | (words[1] ^ other[1]) | (words[2] ^ other[2]) | (words[3] ^ other[3])) == 0;
    }
    inline uint64_t hash(uint64_t n_tag) const {
        const HashSeeds &seeds = hash_seeds();
        return mix(words[0] ^ seeds.s[0], words[1] ^ seeds.s[1] ^ n_tag) ^
               mix(words[2] ^ seeds.s[2], words[3] ^ seeds.s[3]);
    }
};

#include "scan_body.hpp"
#include "find_body.hpp"

}  // namespace sse42
}  // namespace

extern const SimdLevel level_sse42;
const SimdLevel level_sse42 = {"sse42", sse42::scan_lines, sse42::find_classes, sse42::hash_short};

}  // namespace flowd

#pragma GCC pop_options
#endif
