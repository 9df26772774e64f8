// The line walk for x86-64 with AVX512. Built for these instructions by pragma, so that one build serves all machines.
#if defined(__x86_64__)
#include <immintrin.h>

#include "values/json.hpp"
#include "forward/json_text.hpp"
#include "forward/line_writer.hpp"
#include "scan/scan.hpp"
#include "forward/short_number.hpp"
#include "caches/value_table.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,pclmul,popcnt,bmi,bmi2,lzcnt,aes")

namespace flowd {
namespace {
namespace avx512 {

struct Needle {
    __m512i bytes;
    explicit Needle(char c) : bytes(_mm512_set1_epi8(c)) { __asm__("" : "+v"(bytes)); }  // keep it in a register
};

struct MarkTable {
    __m512i by_low_half, fold;  // by the low half of a byte: the mark that has it, with bit 0x20 set
    MarkTable() : by_low_half(_mm512_load_si512(table())), fold(_mm512_set1_epi8(0x20)) {
        __asm__("" : "+v"(by_low_half));
        __asm__("" : "+v"(fold));
    }
    static inline const uint8_t *table() {
        alignas(64) static const uint8_t marks[64] = {
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0};
        return marks;
    }
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
    // { } [ ] , : and two control characters, 0x0C and 0x1A.
    template <typename Needles> inline uint64_t eq_marks(const Needles &needles) const {
        return in_register(_mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(needles.marks.by_low_half, bytes),
                                                  _mm512_or_si512(bytes, needles.marks.fold)));
    }
    // Brackets and braces, among bytes that are marks.
    template <typename Needles> inline uint64_t eq_brackets(const Needles &needles) const {
        return in_register(_mm512_cmpeq_epi8_mask(_mm512_or_si512(bytes, needles.bracket_fold.bytes), needles.bracket.bytes));
    }
    // Is there anything up to the blank, or a backslash?
    template <typename Needles> inline bool has_special(const Needles &needles) const {
        return !_kortestz_mask64_u8(_mm512_cmple_epu8_mask(bytes, needles.space.bytes),
                                    _mm512_cmpeq_epi8_mask(bytes, needles.backslash.bytes));
    }
    inline uint64_t at_most(const Needle &needle) const {
        return in_register(_mm512_cmple_epu8_mask(bytes, needle.bytes));
    }
};

// A text line of less than 192 bytes, or if need be of a block more: the places of all its separators, packed by the
// register's own instruction.
struct ShortLine {
    unsigned n;       // bytes; as many as were looked at where the line is longer
    // Where columns begin. Behind the last one stand places behind the line, or 255: the number of separators is seen
    // by where the ones at its end are. Stores of 64 overlap, each from where the one before has no more places.
    alignas(64) uint8_t starts[64 * 5];

    inline bool has_separators(unsigned count) const { return starts[count] <= n && starts[count + 1] > n; }
    // The last column ends with the line, or before its carriage return.
    inline void end_columns(unsigned count, bool has_return) { starts[count + 1] = static_cast<uint8_t>(n + 1 - has_return); }

    inline void walk(const Plan &, const Needle &newline, const Needle &space, const uint8_t *line) {
        __m512i block0 = _mm512_loadu_si512(line), block1 = _mm512_loadu_si512(line + 64),
                block2 = _mm512_loadu_si512(line + 128);
        __asm__("" : "+v"(block0), "+v"(block1), "+v"(block2));  // not to be loaded again behind the stores
        const __mmask64 spaces0 = _mm512_cmpeq_epi8_mask(block0, space.bytes);
        const __mmask64 spaces1 = _mm512_cmpeq_epi8_mask(block1, space.bytes);
        const __mmask64 spaces2 = _mm512_cmpeq_epi8_mask(block2, space.bytes);
        const unsigned end0 = lowest_or_64(_mm512_cmpeq_epi8_mask(block0, newline.bytes));
        const unsigned end1 = lowest_or_64(_mm512_cmpeq_epi8_mask(block1, newline.bytes));
        const unsigned end2 = lowest_or_64(_mm512_cmpeq_epi8_mask(block2, newline.bytes));
        const unsigned below1 = static_cast<unsigned>(_mm_popcnt_u64(Block::in_register(spaces0)));
        const unsigned below2 = below1 + static_cast<unsigned>(_mm_popcnt_u64(Block::in_register(spaces1)));
        const __m512i none = _mm512_set1_epi8(-1);
        starts[0] = 0;
        _mm512_storeu_si512(starts + 1, _mm512_mask_compress_epi8(none, spaces0, numbers(1)));
        _mm512_storeu_si512(starts + 1 + below1, _mm512_mask_compress_epi8(none, spaces1, numbers(65)));
        _mm512_storeu_si512(starts + 1 + below2, _mm512_mask_compress_epi8(none, spaces2, numbers(129)));
        // Sums of what is 64 where there is no newline: which block has it is not to be predicted.
        n = end0 + (end1 & (0u - (end0 >> 6))) + (end2 & (0u - ((end0 & end1) >> 6)));
    }

    // Once more, for a line that does not end within three blocks.
    inline void extend(const Plan &, const Needle &newline, const Needle &space, const uint8_t *line) {
        unsigned below3 = 0;  // separators in the first three blocks
        for (unsigned b = 0; b < 3; b++)
            below3 += static_cast<unsigned>(_mm_popcnt_u64(Block::load(line + 64 * b).eq(space)));
        const __m512i block = _mm512_loadu_si512(line + 192);
        const __mmask64 spaces = _mm512_cmpeq_epi8_mask(block, space.bytes);
        n = 192 + lowest_or_64(_mm512_cmpeq_epi8_mask(block, newline.bytes));
        _mm512_storeu_si512(starts + 1 + below3, _mm512_mask_compress_epi8(_mm512_set1_epi8(-1), spaces, numbers(193)));
    }

    static inline unsigned lowest_or_64(uint64_t mask) { return static_cast<unsigned>(_tzcnt_u64(Block::in_register(mask))); }
    // from, from + 1, ... from + 63, and 255 at most: what is behind a line must not look like its beginning
    static inline __m512i numbers(int from) {
        alignas(64) static const uint8_t first[64] = {
            0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
            22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
            44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
        return _mm512_adds_epu8(_mm512_load_si512(first), _mm512_set1_epi8(static_cast<char>(from)));
    }
};

// Packs a block's marks by the register's own instruction. Most blocks have few: short stores seldom touch two cache lines.
static inline unsigned put_marks(const Block &block, const uint8_t *, uint64_t bits, unsigned from, uint8_t *chars,
                                 uint16_t *places) {
    const unsigned n = static_cast<unsigned>(_mm_popcnt_u64(bits));
    const __m512i packed = _mm512_maskz_compress_epi8(bits, ShortLine::numbers(0));
    const __m512i packed_chars = _mm512_maskz_compress_epi8(bits, block.bytes);
    // Parts by shuffles: the casts to them warn in some compilers.
    if (__builtin_expect(n <= 16, 1)) {
        const __m128i few = __builtin_shufflevector(packed, packed, 0, 1);
        const __m128i few_chars = __builtin_shufflevector(packed_chars, packed_chars, 0, 1);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(chars), few_chars);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(places),
                            _mm256_add_epi16(_mm256_cvtepu8_epi16(few), _mm256_set1_epi16(static_cast<short>(from))));
        return n;
    }
    const __m512i base = _mm512_set1_epi16(static_cast<short>(from));
    const __m256i low = __builtin_shufflevector(packed, packed, 0, 1, 2, 3);
    const __m256i high = __builtin_shufflevector(packed, packed, 4, 5, 6, 7);
    _mm512_storeu_si512(chars, packed_chars);
    _mm512_storeu_si512(places, _mm512_add_epi16(_mm512_cvtepu8_epi16(low), base));
    _mm512_storeu_si512(places + 32, _mm512_add_epi16(_mm512_cvtepu8_epi16(high), base));
    return n;
}

struct PlaceStep {
    __m512i lanes;
    PlaceStep() = default;
    explicit PlaceStep(uint16_t n) : lanes(_mm512_set1_epi16(static_cast<short>(n))) {}
    static inline __m512i steps(const uint16_t *places) {
        return _mm512_sub_epi16(_mm512_loadu_si512(places), _mm512_loadu_si512(places - 1));
    }
    inline uint64_t find(const uint16_t *places) const {
        return _mm512_kunpackd(_mm512_cmpeq_epi16_mask(steps(places + 32), lanes),
                               _mm512_cmpeq_epi16_mask(steps(places), lanes));
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
    inline void store(uint64_t *words) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(words), bytes); }
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

#include "scan/scan_body.hpp"
#include "scan/find_body.hpp"
#include "scan/wide_avx2.hpp"
#include "forward/write_body.hpp"

}  // namespace avx512
}  // namespace

extern const SimdLevel level_avx512;
const SimdLevel level_avx512 = {
    "avx512", avx512::scan_lines, avx512::find_classes, avx512::hash_short, avx512::read_short, avx512::write_map};

}  // namespace flowd

#pragma GCC pop_options
#endif
