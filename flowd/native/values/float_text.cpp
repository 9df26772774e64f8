#include "values/float_text.hpp"

#include <charconv>
#include <cmath>
#include <cstring>

namespace flowd {

namespace {

char *put(char *out, const char *text, size_t n) {
    std::memcpy(out, text, n);
    return out + n;
}

char *put_zeros(char *out, int n) {
    if (n > 0) out = static_cast<char *>(std::memset(out, '0', static_cast<size_t>(n))) + n;
    return out;
}

}  // namespace

char *write_float(double value, char *out) {
    if (std::isnan(value)) return put(out, "NaN", 3);
    if (std::signbit(value)) *out++ = '-';
    if (std::isinf(value)) return put(out, "Infinity", 8);
    value = std::fabs(value);
    if (value == 0) return put(out, "0.0", 3);
    char digits[40];
    auto written = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
    // d.ddddde±XX: gather the digits and the exponent.
    char *e = written.ptr;
    while (*--e != 'e') {
    }
    int exponent = 0;
    std::from_chars(e[1] == '+' ? e + 2 : e + 1, written.ptr, exponent);
    char mantissa[32];
    int count = 0;
    for (char *c = digits; c < e; c++)
        if (*c != '.') mantissa[count++] = *c;
    // Ruby prints a number without an exponent up to 1e15, and above where its shortest digits reach behind the dot.
    if (exponent >= -4 && (exponent < 15 || count > exponent + 1)) {
        if (exponent < 0) {
            out = put_zeros(put(out, "0.", 2), -1 - exponent);
            return put(out, mantissa, static_cast<size_t>(count));
        }
        const int whole = count < exponent + 1 ? count : exponent + 1;
        out = put_zeros(put(out, mantissa, static_cast<size_t>(whole)), exponent + 1 - whole);
        *out++ = '.';
        if (count == whole) return put_zeros(out, 1);
        return put(out, mantissa + whole, static_cast<size_t>(count - whole));
    }
    *out++ = mantissa[0];
    *out++ = '.';
    out = count > 1 ? put(out, mantissa + 1, static_cast<size_t>(count - 1)) : put_zeros(out, 1);
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    if (exponent < 10) *out++ = '0';
    return std::to_chars(out, out + 4, exponent).ptr;
}

}  // namespace flowd
