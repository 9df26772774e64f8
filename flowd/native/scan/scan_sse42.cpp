// The line walk for x86-64 with SSE42. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "values/json.hpp"
#include "forward/json_text.hpp"
#include "forward/line_writer.hpp"
#include "scan/scan.hpp"
#include "forward/short_number.hpp"
#include "caches/value_table.hpp"

#pragma GCC push_options
#pragma GCC target("sse4.2,pclmul,popcnt")

namespace flowd {
namespace {
namespace sse42 {

struct Needle {
    __m128i bytes;
    explicit Needle(char c) : bytes(_mm_set1_epi8(c)) {}
};

struct MarkTable {
    __m128i by_low_half = table(), fold = _mm_set1_epi8(0x20);
    // By the low half of a byte: the mark that has it, with bit 0x20 set.
    static inline __m128i table() {
        return _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0);
    }
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
    // { } [ ] , : and two control characters, 0x0C and 0x1A.
    template <typename Needles> inline uint64_t eq_marks(const Needles &needles) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--) {
            __m128i mark = _mm_shuffle_epi8(needles.marks.by_low_half, part[i]);
            __m128i same = _mm_cmpeq_epi8(mark, _mm_or_si128(part[i], needles.marks.fold));
            bits = (bits << 16) | static_cast<uint32_t>(_mm_movemask_epi8(same));
        }
        return bits;
    }
    // Brackets and braces, among bytes that are marks.
    template <typename Needles> inline uint64_t eq_brackets(const Needles &needles) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--) {
            __m128i folded = _mm_or_si128(part[i], needles.bracket_fold.bytes);
            bits = (bits << 16) |
                   static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(folded, needles.bracket.bytes)));
        }
        return bits;
    }
    // Is there anything up to the blank, or a backslash?
    template <typename Needles> inline bool has_special(const Needles &needles) const {
        return (at_most(needles.space) | eq(needles.backslash)) != 0;
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

struct PlaceStep {
    __m128i lanes;
    PlaceStep() = default;
    explicit PlaceStep(uint16_t n) : lanes(_mm_set1_epi16(static_cast<short>(n))) {}
    inline __m128i find_eight(const uint16_t *places) const {
        __m128i step = _mm_sub_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(places)),
                                     _mm_loadu_si128(reinterpret_cast<const __m128i *>(places - 1)));
        return _mm_cmpeq_epi16(step, lanes);
    }
    inline uint64_t find(const uint16_t *places) const {
        uint64_t bits = 0;
        for (int i = 3; i >= 0; i--) {
            __m128i packed = _mm_packs_epi16(find_eight(places + 16 * i), find_eight(places + 16 * i + 8));
            bits = (bits << 16) | static_cast<uint32_t>(_mm_movemask_epi8(packed));
        }
        return bits;
    }
};

#include "scan/short_words.hpp"
#include "scan/put_marks.hpp"
#include "scan/short_line.hpp"
#include "scan/scan_body.hpp"
#include "scan/find_body.hpp"
#include "scan/wide_plain.hpp"
#include "forward/write_body.hpp"

}  // namespace sse42
}  // namespace

extern const SimdLevel level_sse42;
const SimdLevel level_sse42 = {"sse42", sse42::scan_lines, sse42::find_classes, sse42::hash_short, sse42::read_short, sse42::write_map};

}  // namespace flowd

#pragma GCC pop_options
#endif
