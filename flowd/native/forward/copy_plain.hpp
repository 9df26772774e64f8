// A text copied into a JSON string sixteen bytes at a time, up to the first byte that cannot stand there as it is: a
// control character, a quote, a backslash; and up to the first byte outside ASCII, which has to be looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace flowd {

constexpr size_t PLAIN_BLOCK = 16;

// Copies 16 bytes; a bit for each that cannot stand as it is.
inline unsigned copy_plain_block(const uint8_t *p, uint8_t *out) {
#if defined(__SSE2__)
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), bytes);
    // Signed: what is outside ASCII is less than a blank, too.
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash))));
#else
    unsigned odd = 0;
    std::memcpy(out, p, PLAIN_BLOCK);
    for (unsigned i = 0; i < PLAIN_BLOCK; i++) {
        const uint8_t c = p[i];
        odd |= static_cast<unsigned>(c < 0x20 || c >= 0x80 || c == '"' || c == '\\') << i;
    }
    return odd;
#endif
}

// Copies 32 bytes; a bit for each that cannot stand as it is.
inline uint32_t copy_plain_pair(const uint8_t *p, uint8_t *out) {
    return copy_plain_block(p, out) | static_cast<uint32_t>(copy_plain_block(p + PLAIN_BLOCK, out + PLAIN_BLOCK)) << 16;
}

// How many bytes of the text at p could be copied as they are. `end` is the end of what can be read; `out` has room for
// n + PLAIN_BLOCK bytes, of which those behind the result may be overwritten.
inline size_t copy_plain(const uint8_t *p, size_t n, const uint8_t *end, uint8_t *out) {
    size_t done = 0;
    for (;;) {
        unsigned odd;
        if (__builtin_expect(static_cast<size_t>(end - p) - done >= PLAIN_BLOCK, 1)) {
            odd = copy_plain_block(p + done, out + done);
        } else {
            uint8_t block[PLAIN_BLOCK] = {};
            std::memcpy(block, p + done, n - done < PLAIN_BLOCK ? n - done : PLAIN_BLOCK);
            odd = copy_plain_block(block, out + done);
        }
        const size_t left = n - done;
        if (left <= PLAIN_BLOCK) {
            odd &= (1u << left) - 1;
            return odd ? done + static_cast<size_t>(__builtin_ctz(odd)) : n;
        }
        if (odd) return done + static_cast<size_t>(__builtin_ctz(odd));
        done += PLAIN_BLOCK;
    }
}

}  // namespace flowd
