// Numbers as decimal text without a loop: small ones from a table, others eight digits at a time.
#pragma once

#include <cstdint>
#include <cstring>

namespace flowd {

struct SmallNumbers {
    char text[128][4];
    uint8_t n[128];
};

constexpr SmallNumbers make_small_numbers() {
    SmallNumbers made{};
    for (unsigned i = 0; i < 128; i++) {
        unsigned n = 0;
        if (i >= 100) made.text[i][n++] = '1';
        if (i >= 10) made.text[i][n++] = static_cast<char>('0' + i / 10 % 10);
        made.text[i][n++] = static_cast<char>('0' + i % 10);
        made.n[i] = static_cast<uint8_t>(n);
    }
    return made;
}
constexpr SmallNumbers SMALL_NUMBERS = make_small_numbers();

// Each may write up to NUMBER_ROOM bytes, whatever their number.
constexpr size_t NUMBER_ROOM = 12;

inline uint8_t *put_small_number(uint8_t *w, unsigned value) {
    std::memcpy(w, SMALL_NUMBERS.text[value], 4);
    return w + SMALL_NUMBERS.n[value];
}

// The eight digits of a number below 10^8, the first one in the lowest byte.
inline uint64_t spread_digits(uint32_t value) {
    const uint64_t fours = value / 10000 | uint64_t(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007F0000007Full;
    const uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
    const uint64_t tens = (twos * 103 >> 10) & 0x000F000F000F000Full;
    return tens | (twos - tens * 10) << 8;
}

inline uint8_t *put_number(uint8_t *w, uint32_t value) {
    constexpr uint32_t EIGHT = 100000000;
    constexpr uint64_t ZEROS = 0x3030303030303030ull;
    if (value < EIGHT) {
        const uint64_t digits = spread_digits(value);
        const unsigned leading = static_cast<unsigned>(__builtin_ctzll(digits | uint64_t(1) << 56)) / 8;
        const uint64_t text = (digits | ZEROS) >> 8 * leading;
        std::memcpy(w, &text, 8);
        return w + 8 - leading;
    }
    w = put_small_number(w, value / EIGHT);
    const uint64_t text = spread_digits(value % EIGHT) | ZEROS;
    std::memcpy(w, &text, 8);
    return w + 8;
}

}  // namespace flowd
