// JSON the exact way: one line or one value at a time, any layout, escapes decoded, any depth, no recursion.
// What the line walk (scan.hpp) cannot vouch for comes here, and every value that a rule reads is checked here once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"
#include "scan/scan.hpp"

namespace flowd {

// Ruby's JSON refuses raw control characters and lone surrogates inside strings; Fluent Bit's takes both.
enum class Strictness { ruby, lenient };

// Walks a line that should be one JSON object; fills values (the last of equal keys wins). False where it is
// malformed: unbalanced, a broken top-level structure, or a wanted value that is not valid JSON.
bool walk_object(const Plan &plan, const uint8_t *p, size_t n, Strictness strictness, Span *values, Bytes &stack,
                 Bytes &key);

// The field that a key of n bytes, decoded and without quotes, names; -1 where it is none.
int find_wanted(const Plan &plan, const uint8_t *key, size_t n);

// Is this text, without blanks around it, exactly one valid JSON value?
bool is_valid_value(const uint8_t *p, size_t n, Strictness strictness, Bytes &stack);

// Behind the closing quote of the string whose opening quote is at p, or null where it does not end.
const uint8_t *skip_string(const uint8_t *p, const uint8_t *end);

// Behind the valid value that begins at p.
const uint8_t *skip_value(const uint8_t *p, const uint8_t *end);

// Appends the decoded text of a string's inside (without quotes). False at an invalid escape.
bool unescape(const uint8_t *p, const uint8_t *end, Bytes &out);

// The four hex digits at p as a number, or -1.
int32_t read_hex4(const uint8_t *p, const uint8_t *end);

inline bool is_high_surrogate(int32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
inline bool is_low_surrogate(int32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }
inline uint32_t join_surrogates(int32_t high, int32_t low) {
    return 0x10000 + (static_cast<uint32_t>(high - 0xD800) << 10) + static_cast<uint32_t>(low - 0xDC00);
}

inline const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) p++;
    return p;
}

}  // namespace flowd
