#include "values/utf8.hpp"

#include <cstring>

namespace flowd {

unsigned read_subpart(const uint8_t *p, const uint8_t *end, bool *is_valid) {
    uint8_t first = p[0];
    *is_valid = true;
    if (first < 0x80) return 1;
    unsigned more;
    uint8_t low = 0x80, high = 0xBF;  // what the second byte may be
    if (first >= 0xC2 && first <= 0xDF) {
        more = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
        more = 2;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
        more = 3;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
    } else {
        *is_valid = false;
        return 1;
    }
    for (unsigned i = 1; i <= more; i++) {
        if (p + i == end || p[i] < low || p[i] > high) {
            *is_valid = false;
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    return more + 1;
}

TextTraits read_traits(const uint8_t *p, size_t n) {
    TextTraits traits{true, true, false};
    const uint8_t *end = p + n;
    constexpr uint64_t ones = 0x0101010101010101u, highs = ones << 7;
    if (n >= 8) {  // eight at a time where all are ASCII, as they nearly always are; the last eight may be seen twice
        uint64_t seen = 0, newlines = 0;
        for (size_t i = 0; i < n; i += 8) {
            uint64_t word;
            std::memcpy(&word, p + (i + 8 <= n ? i : n - 8), 8);
            uint64_t other = word ^ (ones * '\n');
            seen |= word;
            newlines |= (other - ones) & ~other;
        }
        if ((seen & highs) == 0) {
            traits.has_newline = (newlines & highs) != 0;
            return traits;
        }
    }
    while (p < end) {
        if (*p < 0x80) {
            if (*p == '\n') traits.has_newline = true;
            p++;
            continue;
        }
        traits.is_ascii = false;
        bool is_valid;
        p += read_subpart(p, end, &is_valid);
        if (!is_valid) traits.is_valid = false;
    }
    return traits;
}

unsigned read_character(const uint8_t *p, const uint8_t *end, uint32_t *point) {
    bool is_valid;
    unsigned n = read_subpart(p, end, &is_valid);
    if (!is_valid) return 0;
    if (n == 1) {
        *point = p[0];
        return 1;
    }
    uint32_t value = p[0] & (0x7Fu >> n);
    for (unsigned i = 1; i < n; i++) value = (value << 6) | (p[i] & 0x3Fu);
    *point = value;
    return n;
}

void scrub(const uint8_t *p, size_t n, Bytes &out) {
    const uint8_t *end = p + n;
    while (p < end) {
        bool is_valid;
        unsigned length = read_subpart(p, end, &is_valid);
        if (is_valid)
            out.append(p, length);
        else
            out.push('?');
        p += length;
    }
}

void mark_stray_bytes(const uint8_t *p, size_t n, Bytes &out) {
    const uint8_t *end = p + n;
    while (p < end) {
        bool is_valid;
        unsigned length = read_subpart(p, end, &is_valid);
        if (is_valid)
            out.append(p, length);
        else
            for (unsigned i = 0; i < length; i++) push_character(0x10FF00u + p[i], out);
        p += length;
    }
}

void push_character(uint32_t point, Bytes &out) {
    if (point < 0x80) {
        out.push(static_cast<uint8_t>(point));
    } else if (point < 0x800) {
        out.push(static_cast<uint8_t>(0xC0 | (point >> 6)));
        out.push(static_cast<uint8_t>(0x80 | (point & 0x3F)));
    } else if (point < 0x10000) {
        out.push(static_cast<uint8_t>(0xE0 | (point >> 12)));
        out.push(static_cast<uint8_t>(0x80 | ((point >> 6) & 0x3F)));
        out.push(static_cast<uint8_t>(0x80 | (point & 0x3F)));
    } else {
        out.push(static_cast<uint8_t>(0xF0 | (point >> 18)));
        out.push(static_cast<uint8_t>(0x80 | ((point >> 12) & 0x3F)));
        out.push(static_cast<uint8_t>(0x80 | ((point >> 6) & 0x3F)));
        out.push(static_cast<uint8_t>(0x80 | (point & 0x3F)));
    }
}

}  // namespace flowd
