// The line walk for 64-bit ARM, which always has NEON.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "values/json.hpp"
#include "forward/json_text.hpp"
#include "forward/line_writer.hpp"
#include "scan/scan.hpp"
#include "forward/short_number.hpp"
#include "caches/value_table.hpp"

namespace flowd {
namespace {
namespace neon {

struct Needle {
    uint8x16_t bytes;
    explicit Needle(char c) : bytes(vdupq_n_u8(static_cast<uint8_t>(c))) {}
};

struct MarkTable {  // by the low half of a byte: the mark that has it, with bit 0x20 set
    uint8x16_t by_low_half = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0};
    uint8x16_t fold = vdupq_n_u8(0x20), low_half = vdupq_n_u8(0x0F);
};

struct Block {
    uint8x16_t part[4];
    static inline Block load(const uint8_t *p) {
        return Block{{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
    }
    // Four compare results of 16 bytes to one bit a byte: weigh the bytes by their place and add neighbours.
    static inline uint64_t mask(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
        const uint8x16_t weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
        uint8x16_t low = vpaddq_u8(vandq_u8(a, weights), vandq_u8(b, weights));
        uint8x16_t high = vpaddq_u8(vandq_u8(c, weights), vandq_u8(d, weights));
        uint8x16_t sums = vpaddq_u8(low, high);
        sums = vpaddq_u8(sums, sums);
        return vgetq_lane_u64(vreinterpretq_u64_u8(sums), 0);
    }
    inline uint64_t eq(const Needle &needle) const {
        return mask(vceqq_u8(part[0], needle.bytes), vceqq_u8(part[1], needle.bytes),
                    vceqq_u8(part[2], needle.bytes), vceqq_u8(part[3], needle.bytes));
    }
    // { } [ ] , : and two control characters, 0x0C and 0x1A.
    template <typename Needles> inline uint64_t eq_marks(const Needles &needles) const {
        uint8x16_t same[4];
        for (int i = 0; i < 4; i++) {
            uint8x16_t mark = vqtbl1q_u8(needles.marks.by_low_half, vandq_u8(part[i], needles.marks.low_half));
            same[i] = vceqq_u8(mark, vorrq_u8(part[i], needles.marks.fold));
        }
        return mask(same[0], same[1], same[2], same[3]);
    }
    // Brackets and braces, among bytes that are marks.
    template <typename Needles> inline uint64_t eq_brackets(const Needles &needles) const {
        uint8x16_t fold = needles.bracket_fold.bytes, wanted = needles.bracket.bytes;
        return mask(vceqq_u8(vorrq_u8(part[0], fold), wanted), vceqq_u8(vorrq_u8(part[1], fold), wanted),
                    vceqq_u8(vorrq_u8(part[2], fold), wanted), vceqq_u8(vorrq_u8(part[3], fold), wanted));
    }
    // Is there anything up to the blank, or a backslash?
    template <typename Needles> inline bool has_special(const Needles &needles) const {
        return (at_most(needles.space) | eq(needles.backslash)) != 0;
    }
    inline uint64_t at_most(const Needle &needle) const {
        return mask(vcleq_u8(part[0], needle.bytes), vcleq_u8(part[1], needle.bytes),
                    vcleq_u8(part[2], needle.bytes), vcleq_u8(part[3], needle.bytes));
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

}  // namespace neon
}  // namespace

extern const SimdLevel level_neon;
const SimdLevel level_neon = {"neon", neon::scan_lines, neon::find_classes, neon::hash_short, neon::read_short, neon::write_map};

}  // namespace flowd
#endif
