#include "forward/packed_number.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "forward/msgpack.hpp"

namespace flowd {

namespace {

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

const uint8_t *skip_digits(const uint8_t *p) {
    while (is_digit(*p)) p++;
    return p;
}

// Behind the fraction and the exponent at p; null where they are not whole.
const uint8_t *skip_rest(const uint8_t *p) {
    if (*p == '.') {
        if (!is_digit(*++p)) return nullptr;
        p = skip_digits(p);
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!is_digit(*p)) return nullptr;
        p = skip_digits(p);
    }
    return p;
}

uint8_t *pack_real(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    const char *from = reinterpret_cast<const char *>(p);
    double value = 0;
    const auto read = std::from_chars(from, reinterpret_cast<const char *>(end), value);
    if (read.ec != std::errc()) value = std::strtod(from, nullptr);  // infinite, or next to nothing
    return pack_float(w, value);
}

// A word that only Python's JSON takes for a number.
uint8_t *pack_odd_number(uint8_t *w, const uint8_t **p, bool is_negative) {
    static constexpr double INFINITE = std::numeric_limits<double>::infinity();
    if (std::memcmp(*p, "Infinity", 8) == 0) {
        *p += 8;
        return pack_float(w, is_negative ? -INFINITE : INFINITE);
    }
    if (is_negative || std::memcmp(*p, "NaN", 3) != 0) return nullptr;
    *p += 3;
    return pack_float(w, std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

uint8_t *pack_integer(uint8_t *w, const uint8_t **from) {
    constexpr uint64_t TEN_TO_19 = 10000000000000000000u;
    const uint8_t *p = *from;
    const bool is_negative = *p == '-';
    const uint8_t *const first = p += is_negative;
    if (!is_digit(*p)) return nullptr;
    uint64_t value = 0;
    if (*p == '0')
        p++;
    else
        for (; is_digit(*p); p++) value = value * 10 + (*p - '0');
    const size_t digits = static_cast<size_t>(p - first);
    // Of twenty digits, those that fit begin with a 1; those that do not and begin so are small after they went round.
    const bool fits = digits < 20 || (digits == 20 && *first == '1' && value >= TEN_TO_19);
    const size_t n = static_cast<size_t>(p - *from);
    const uint8_t *const text = *from;
    *from = p;
    if (!is_negative && fits) return pack_unsigned(w, value);
    if (is_negative && fits && value <= uint64_t(1) << 63) return pack_signed(w, static_cast<int64_t>(0 - value));
    w = pack_text_header(w, n);
    std::memcpy(w, text, n);
    return w + n;
}

uint8_t *pack_number(uint8_t *w, const uint8_t **from) {
    const uint8_t *p = *from;
    uint8_t *const end = pack_integer(w, &p);
    if (end == nullptr) {
        const bool is_negative = **from == '-';
        *from += is_negative;
        return pack_odd_number(w, from, is_negative);
    }
    if (*p == '.' || *p == 'e' || *p == 'E') {
        const uint8_t *const behind = skip_rest(p);
        if (behind == nullptr) return nullptr;
        w = pack_real(w, *from, behind);
        *from = behind;
        return w;
    }
    *from = p;
    return end;
}

}  // namespace flowd
