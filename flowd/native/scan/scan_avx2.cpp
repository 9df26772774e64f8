// The line walk for x86-64 with AVX2. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "values/json.hpp"
#include "forward/json_text.hpp"
#include "forward/line_writer.hpp"
#include "scan/scan.hpp"
#include "forward/short_number.hpp"
#include "caches/value_table.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,pclmul,popcnt,bmi,bmi2,lzcnt,aes")

namespace flowd {
namespace {
namespace avx2 {

struct Needle {
    __m256i bytes;
    explicit Needle(char c) : bytes(_mm256_set1_epi8(c)) {}
};

struct MarkTable {
    __m256i by_low_half, fold;
    MarkTable() : by_low_half(_mm256_broadcastsi128_si256(table())), fold(_mm256_set1_epi8(0x20)) {}
    // By the low half of a byte: the mark that has it, with bit 0x20 set.
    static inline __m128i table() {
        return _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0);
    }
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
    // { } [ ] , : and two control characters, 0x0C and 0x1A.
    template <typename Needles> inline uint64_t eq_marks(const Needles &needles) const {
        __m256i by_low_half = needles.marks.by_low_half, fold = needles.marks.fold;
        return mask(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(by_low_half, low), _mm256_or_si256(low, fold)),
                    _mm256_cmpeq_epi8(_mm256_shuffle_epi8(by_low_half, high), _mm256_or_si256(high, fold)));
    }
    // Brackets and braces, among bytes that are marks.
    template <typename Needles> inline uint64_t eq_brackets(const Needles &needles) const {
        __m256i fold = needles.bracket_fold.bytes, wanted = needles.bracket.bytes;
        return mask(_mm256_cmpeq_epi8(_mm256_or_si256(low, fold), wanted),
                    _mm256_cmpeq_epi8(_mm256_or_si256(high, fold), wanted));
    }
    // Is there anything up to the blank, or a backslash?
    template <typename Needles> inline bool has_special(const Needles &needles) const {
        __m256i space = needles.space.bytes, backslash = needles.backslash.bytes;
        __m256i found = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(low, space), low), _mm256_cmpeq_epi8(low, backslash)),
            _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(high, space), high), _mm256_cmpeq_epi8(high, backslash)));
        return !_mm256_testz_si256(found, found);
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

static inline unsigned lowest_or_64(uint64_t mask) { return static_cast<unsigned>(_tzcnt_u64(mask)); }

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    return static_cast<unsigned>(_tzcnt_u64(_pdep_u64(uint64_t(1) << k, mask)));
}

// A short value in one register.
struct Short {
    __m256i bytes;
    static inline bool can_load(const uint8_t *p, const uint8_t *end) {
        return static_cast<size_t>(end - p) >= ValueTable::SHORT;
    }
    static inline Short load(const uint8_t *p, uint64_t n) {
        alignas(32) static const uint8_t masks[64] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
        return Short{_mm256_and_si256(load_all(p), load_all(masks + 32 - n))};
    }
    static inline __m256i load_all(const uint8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static inline Short of_words(const uint64_t *words) { return Short{load_all(reinterpret_cast<const uint8_t *>(words))}; }
    inline void store(uint64_t *words) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(words), bytes); }
    inline bool equals(const uint64_t *words) const {
        return _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, of_words(words).bytes)) == -1;
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

struct PlaceStep {
    __m256i lanes;
    PlaceStep() = default;
    explicit PlaceStep(uint16_t n) : lanes(_mm256_set1_epi16(static_cast<short>(n))) {}
    inline __m256i find_sixteen(const uint16_t *places) const {
        __m256i step = _mm256_sub_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(places)),
                                        _mm256_loadu_si256(reinterpret_cast<const __m256i *>(places - 1)));
        return _mm256_cmpeq_epi16(step, lanes);
    }
    inline uint32_t find_half(const uint16_t *places) const {
        __m256i packed = _mm256_packs_epi16(find_sixteen(places), find_sixteen(places + 16));
        return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xD8)));
    }
    inline uint64_t find(const uint16_t *places) const {
        return find_half(places) | static_cast<uint64_t>(find_half(places + 32)) << 32;
    }
};

#include "scan/put_marks.hpp"
#include "scan/short_line.hpp"
#include "scan/scan_body.hpp"
#include "scan/find_body.hpp"
#include "scan/wide_avx2.hpp"
#include "forward/write_body.hpp"

}  // namespace avx2
}  // namespace

extern const SimdLevel level_avx2;
const SimdLevel level_avx2 = {"avx2", avx2::scan_lines, avx2::find_classes, avx2::hash_short, avx2::read_short, avx2::write_map};

}  // namespace flowd

#pragma GCC pop_options
#endif
