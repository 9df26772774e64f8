// msgpack's scalars and strings as JSON text, written where there is room. What each becomes stands in docs/forward.md.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bytes.hpp"
#include "forward/copy_plain.hpp"
#include "values/float_text.hpp"
#include "forward/msgpack.hpp"

namespace flowd {

// What a number or a word needs at most, with quotes, a colon or a comma; and what a copy may write beyond its end.
constexpr size_t SCALAR_ROOM = 96;
static_assert(SCALAR_ROOM >= LONGEST_FLOAT + PLAIN_BLOCK + 8, "a float has room, and a copy behind it");
// A byte becomes at most six: \u001f.
constexpr size_t LONGEST_ESCAPE = 6;

// A number, a word or an extension; of a key, without the quotes around it. There must be SCALAR_ROOM, and for an
// extension twice its bytes more. `p` is behind the header.
uint8_t *put_scalar(uint8_t *w, const PackHeader &header, const uint8_t *p, bool is_key);

// A text of which something must be written otherwise, without its quotes. There must be room for LONGEST_ESCAPE times its
// bytes, and SCALAR_ROOM.
uint8_t *put_escaped(uint8_t *w, const uint8_t *p, const uint8_t *end);

// Appends a text as a JSON string, as the writer writes a key.
void append_json_string(const uint8_t *p, size_t n, Bytes &out);

template <size_t N> inline uint8_t *put(uint8_t *w, const char (&text)[N]) {
    std::memcpy(w, text, N - 1);
    return w + N - 1;
}

template <typename Number> inline uint8_t *put_integer(uint8_t *w, Number value) {
    char *out = reinterpret_cast<char *>(w);
    return reinterpret_cast<uint8_t *>(std::to_chars(out, out + 24, value).ptr);
}

}  // namespace flowd
