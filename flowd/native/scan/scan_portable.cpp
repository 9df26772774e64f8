// The line walk without SIMD: any machine with a C++ compiler.

#include "values/json.hpp"
#include "forward/json_text.hpp"
#include "forward/line_writer.hpp"
#include "scan/scan.hpp"
#include "forward/short_number.hpp"
#include "caches/value_table.hpp"

namespace flowd {
namespace {
namespace portable {

// Eight bytes at a time in a machine word; the words' bits count the bytes from the lowest, as loads on this machine do.
struct Needle {
    uint64_t bytes;
    explicit Needle(char c) : bytes(0x0101010101010101ull * static_cast<uint8_t>(c)) {}
};

struct MarkTable {
    Needle fold{0x20}, curly_open{'{'}, curly_close{'}'}, comma{','}, colon{':'};
};

struct Block {
    uint8_t bytes[64];
    static inline Block load(const uint8_t *p) {
        Block block;
        __builtin_memcpy(block.bytes, p, 64);
        return block;
    }
    static inline uint64_t gather_high_bits(uint64_t word) {  // the bytes' high bits into the low 8 bits
        return ((word & 0x8080808080808080ull) >> 7) * 0x0102040810204080ull >> 56;
    }
    static inline uint64_t zero_bytes(uint64_t word) {
        const uint64_t low7 = 0x7F7F7F7F7F7F7F7Full;
        return gather_high_bits(~(((word & low7) + low7) | word));
    }
    inline uint64_t read_word(int i) const {  // the same on machines of either byte order
        uint64_t word = 0;
        for (int b = 0; b < 8; b++) word |= static_cast<uint64_t>(bytes[8 * i + b]) << (8 * b);
        return word;
    }
    inline uint64_t matches(const Needle &needle, uint64_t fold) const {
        uint64_t bits = 0;
        for (int i = 0; i < 8; i++) {
            bits |= zero_bytes((read_word(i) | fold) ^ needle.bytes) << (8 * i);
        }
        return bits;
    }
    inline uint64_t eq(const Needle &needle) const { return matches(needle, 0); }
    // { } [ ] , : and two control characters, 0x0C and 0x1A.
    template <typename Needles> inline uint64_t eq_marks(const Needles &needles) const {
        const MarkTable &marks = needles.marks;
        return matches(marks.curly_open, marks.fold.bytes) | matches(marks.curly_close, marks.fold.bytes) |
               matches(marks.comma, marks.fold.bytes) | matches(marks.colon, marks.fold.bytes);
    }
    // Brackets and braces, among bytes that are marks.
    template <typename Needles> inline uint64_t eq_brackets(const Needles &needles) const {
        return matches(needles.bracket, needles.bracket_fold.bytes);
    }
    // Is there anything up to the blank, or a backslash?
    template <typename Needles> inline bool has_special(const Needles &needles) const {
        return (at_most(needles.space) | eq(needles.backslash)) != 0;
    }
    // For an ASCII needle: adding what is missing to 0x7F carries into the high bit where a byte is larger.
    inline uint64_t at_most(const Needle &needle) const {
        const uint64_t low7 = 0x7F7F7F7F7F7F7F7Full;
        uint64_t bits = 0;
        for (int i = 0; i < 8; i++) {
            uint64_t word = read_word(i);
            uint64_t larger = ((word & low7) + (low7 - needle.bytes)) | word;
            bits |= gather_high_bits(~larger) << (8 * i);
        }
        return bits;
    }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    for (unsigned shift = 1; shift < 64; shift <<= 1) mask ^= mask << shift;
    return mask;
}

#include "scan/short_words.hpp"
#include "scan/put_marks.hpp"
#include "scan/place_step.hpp"
#include "scan/short_line.hpp"
#include "scan/scan_body.hpp"
#include "scan/find_body.hpp"
#include "scan/wide_plain.hpp"
#include "forward/write_body.hpp"

}  // namespace portable
}  // namespace

extern const SimdLevel level_portable;
const SimdLevel level_portable = {
    "portable", portable::scan_lines, portable::find_classes, portable::hash_short, portable::read_short, portable::write_map};

}  // namespace flowd
