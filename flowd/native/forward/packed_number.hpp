// Numbers as JSON writes them, as msgpack's. An integer beyond 64 bits is its digits, as text: msgpack has none such.
#pragma once

#include <cstdint>

namespace flowd {

constexpr uint8_t NIL = 0xC0;

// The number at *p, of a line that its newline ends; *p is then behind it. Null where there is none. NaN, Infinity and
// -Infinity are numbers, too, as Python's JSON writes and reads them. There is room for LONGEST_NUMBER bytes, and for a header
// and the text.
uint8_t *pack_number(uint8_t *w, const uint8_t **p);

// The integer at *p; null where there is none. What ends its digits is not looked at.
uint8_t *pack_integer(uint8_t *w, const uint8_t **p);

}  // namespace flowd
