// What nearly every object of a record is: a short string or a small number, as JSON text without asking for its length.
#pragma once

#include <cstdint>
#include <cstring>

#include "copy_plain.hpp"

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

inline bool is_short_text(uint8_t first) { return (first & 0xE0) == 0xA0; }
inline bool is_small_number(uint8_t first) { return first < 0x80; }

// The string at *p with its quotes; null where something in it must be written otherwise. SHORT_BYTES can be read and
// SHORT_ROOM written.
constexpr size_t SHORT_BYTES = 1 + 32;
constexpr size_t SHORT_ROOM = 40;
inline uint8_t *put_short_text(uint8_t *w, const uint8_t **p) {
    const unsigned n = **p & 0x1Fu;
    *w = '"';
    const uint32_t odd = copy_plain_pair(*p + 1, w + 1);
    if (__builtin_expect((odd & ((uint32_t(1) << n) - 1)) != 0, 0)) return nullptr;
    *p += 1 + n;
    w[1 + n] = '"';
    return w + 2 + n;
}

inline uint8_t *put_small_number(uint8_t *w, uint8_t value) {
    std::memcpy(w, SMALL_NUMBERS.text[value], 4);
    return w + SMALL_NUMBERS.n[value];
}

}  // namespace flowd
