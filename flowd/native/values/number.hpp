// Numbers as JSON writes them, compared by their value: 64-bit integers exactly, all else as long double.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace flowd {

struct Number {
    bool is_integer;
    int64_t integer;
    long double real;
};

enum Comparison : uint32_t { LESS = 0, LESS_OR_EQUAL = 1, GREATER = 2, GREATER_OR_EQUAL = 3 };

// A side of a range: the number that a value is compared with.
struct Bound {
    Number number;
    uint32_t comparison;
};

// Is the whole text a number of JSON's grammar? Text beyond what any number needs is none.
inline bool parse_number(const uint8_t *p, size_t n, Number *number) {
    constexpr size_t LONGEST = 1024;
    constexpr size_t INTEGER_DIGITS = 18;  // of which every number fits into 64 bits
    if (n == 0 || n > LONGEST) return false;
    auto is_digit = [&](size_t i) { return i < n && p[i] >= '0' && p[i] <= '9'; };
    size_t i = p[0] == '-' ? 1 : 0;
    size_t first = i;
    if (!is_digit(i)) return false;
    if (p[i] == '0')
        i++;
    else
        while (is_digit(i)) i++;
    if (i == n && n - first <= INTEGER_DIGITS) {
        int64_t value = 0;
        for (size_t k = first; k < n; k++) value = value * 10 + (p[k] - '0');
        number->is_integer = true;
        number->integer = first ? -value : value;
        number->real = static_cast<long double>(number->integer);
        return true;
    }
    if (i < n && p[i] == '.') {
        if (!is_digit(++i)) return false;
        while (is_digit(i)) i++;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-')) i++;
        if (!is_digit(i)) return false;
        while (is_digit(i)) i++;
    }
    if (i != n) return false;
    char text[LONGEST + 1];
    std::memcpy(text, p, n);
    text[n] = 0;
    number->is_integer = false;
    number->integer = 0;
    number->real = std::strtold(text, nullptr);
    return true;
}

inline bool holds(const Number &value, const Bound &bound) {
    int order;
    if (value.is_integer && bound.number.is_integer)
        order = value.integer < bound.number.integer ? -1 : value.integer > bound.number.integer;
    else
        order = value.real < bound.number.real ? -1 : value.real > bound.number.real;
    switch (bound.comparison) {
    case LESS:
        return order < 0;
    case LESS_OR_EQUAL:
        return order <= 0;
    case GREATER:
        return order > 0;
    default:
        return order >= 0;
    }
}

}  // namespace flowd
