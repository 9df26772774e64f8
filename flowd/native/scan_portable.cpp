// The line walk without SIMD: any machine with a C++ compiler.

#include "scan.hpp"

namespace flowd {
namespace {
namespace portable {

// Eight bytes at a time in a machine word; the words' bits count the bytes from the lowest, as loads on this machine do.
struct Needle {
    uint64_t bytes;
    explicit Needle(char c) : bytes(0x0101010101010101ull * static_cast<uint8_t>(c)) {}
};

struct Block {
    uint8_t bytes[64];
    static inline Block load(const uint8_t *p) {
        Block block;
        __builtin_memcpy(block.bytes, p, 64);
        return block;
    }
    static inline uint64_t zero_bytes(uint64_t word) {  // one bit, gathered in the low 8, for each zero byte: exact
        const uint64_t low7 = 0x7F7F7F7F7F7F7F7Full;
        uint64_t high = ~(((word & low7) + low7) | word | low7);
        return (high >> 7) * 0x0102040810204080ull >> 56;
    }
    inline uint64_t matches(const Needle &needle, uint64_t fold) const {
        uint64_t bits = 0;
        for (int i = 0; i < 8; i++) {
            uint64_t word = 0;
            for (int b = 0; b < 8; b++) word |= static_cast<uint64_t>(bytes[8 * i + b]) << (8 * b);
            bits |= zero_bytes((word | fold) ^ needle.bytes) << (8 * i);
        }
        return bits;
    }
    inline uint64_t eq(const Needle &needle) const { return matches(needle, 0); }
    // the needle, and what differs from it only in bit 0x20 (brackets and braces)
    inline uint64_t eq_fold(const Needle &needle) const { return matches(needle, 0x2020202020202020ull); }
};

static inline uint64_t prefix_xor(uint64_t mask) {
    for (unsigned shift = 1; shift < 64; shift <<= 1) mask ^= mask << shift;
    return mask;
}

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    for (; k; k--) mask &= mask - 1;
    return static_cast<unsigned>(__builtin_ctzll(mask));
}

#include "scan_body.hpp"

}  // namespace portable
}  // namespace

size_t scan_lines_portable(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                       size_t room) {
    return portable::scan_lines(plan, cursor, end, lines, values, room);
}

}  // namespace flowd
