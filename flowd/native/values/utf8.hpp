// UTF-8 as Ruby sees it: what is well formed, and what a match sees of text that is not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"

namespace flowd {

struct TextTraits {
    bool is_ascii;
    bool is_valid;     // well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF
    bool has_newline;
};

TextTraits read_traits(const uint8_t *p, size_t n);

// How many bytes from p on are a well-formed character or, where *is_valid becomes false, its longest ill-formed beginning
// (the Unicode standard's "maximal subpart"; at least one byte).
unsigned read_subpart(const uint8_t *p, const uint8_t *end, bool *is_valid);

// The length of the well-formed character at p, or 0 where there is none; *point is its code point.
unsigned read_character(const uint8_t *p, const uint8_t *end, uint32_t *point);

// Copies the text with one `?` for each maximal ill-formed subpart, as Ruby's String#scrub("?") does.
void scrub(const uint8_t *p, size_t n, Bytes &out);

// Copies the text with one character of its own (U+10FF00 and the byte) for each byte that belongs to no well-formed
// character: as Fluent Bit's matches see it, it is one that no class of letters, digits or scripts holds.
void mark_stray_bytes(const uint8_t *p, size_t n, Bytes &out);

// Appends the UTF-8 of a code point (a lone surrogate becomes its three bytes, which are then ill-formed).
void push_character(uint32_t point, Bytes &out);

}  // namespace flowd
