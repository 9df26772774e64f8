// Texts as msgpack's strings, which are UTF-8: what is not becomes U+FFFD, one for each ill-formed subpart.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forward/copy_plain.hpp"
#include "forward/msgpack.hpp"

namespace flowd {

// What can be read behind a text, and written behind what becomes of it.
constexpr size_t TEXT_AHEAD = 2 * PLAIN_BLOCK;
// What a text becomes has at most three times its bytes, and a header.
constexpr size_t MOST_TEXT_GROWTH = 3;

// The same as pack_json_text and pack_plain_text where they are not short and plain.
uint8_t *pack_odd_json_text(uint8_t *w, const uint8_t **p, const uint8_t *end);
uint8_t *pack_odd_plain_text(uint8_t *w, const uint8_t *p, size_t n);

// The JSON string whose inside begins at *p, of a line that ends at `end` with a newline; *p is then behind its closing
// quote. Null where it does not end or has no valid escapes. Control characters stay, half characters become U+FFFD.
inline uint8_t *pack_json_text(uint8_t *w, const uint8_t **p, const uint8_t *end) {
    const uint32_t odd = copy_plain_pair(*p, w + 1);
    const unsigned n = odd ? static_cast<unsigned>(__builtin_ctz(odd)) : 0;
    if (__builtin_expect(odd == 0 || (*p)[n] != '"', 0)) return pack_odd_json_text(w, p, end);
    *w = static_cast<uint8_t>(0xA0 | n);
    *p += n + 1;
    return w + 1 + n;
}

// A text as it is.
inline uint8_t *pack_plain_text(uint8_t *w, const uint8_t *p, size_t n) {
    if (__builtin_expect(n < 32 && (copy_plain_pair(p, w + 1) & ((uint32_t(1) << n) - 1)) == 0, 1)) {
        *w = static_cast<uint8_t>(0xA0 | n);
        return w + 1 + n;
    }
    return pack_odd_plain_text(w, p, n);
}

}  // namespace flowd
