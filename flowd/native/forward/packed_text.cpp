#include "forward/packed_text.hpp"

#include "values/json.hpp"
#include "values/utf8.hpp"

namespace flowd {

namespace {

constexpr uint32_t REPLACEMENT = 0xFFFD;

uint8_t *put_character(uint8_t *w, uint32_t point) {
    if (point < 0x80) {
        *w++ = static_cast<uint8_t>(point);
        return w;
    }
    if (point < 0x800) {
        *w++ = static_cast<uint8_t>(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *w++ = static_cast<uint8_t>(0xE0 | point >> 12);
        } else {
            *w++ = static_cast<uint8_t>(0xF0 | point >> 18);
            *w++ = static_cast<uint8_t>(0x80 | (point >> 12 & 0x3F));
        }
        *w++ = static_cast<uint8_t>(0x80 | (point >> 6 & 0x3F));
    }
    *w++ = static_cast<uint8_t>(0x80 | (point & 0x3F));
    return w;
}

// The bytes at *p that belong together, or U+FFFD in their place.
uint8_t *put_subpart(uint8_t *w, const uint8_t **p, const uint8_t *end) {
    bool is_valid;
    const unsigned n = read_subpart(*p, end, &is_valid);
    if (is_valid) {
        std::memcpy(w, *p, n);
        w += n;
    } else {
        w = put_character(w, REPLACEMENT);
    }
    *p += n;
    return w;
}

// The escape at *p, which is behind its backslash; null where it is none.
uint8_t *put_escape(uint8_t *w, const uint8_t **from, const uint8_t *end) {
    const uint8_t *p = *from;
    const uint8_t c = *p++;
    uint32_t point = c;
    switch (c) {
    case '"': case '\\': case '/': break;
    case 'b': point = '\b'; break;
    case 'f': point = '\f'; break;
    case 'n': point = '\n'; break;
    case 'r': point = '\r'; break;
    case 't': point = '\t'; break;
    case 'u': {
        const int32_t unit = read_hex4(p, end);
        if (unit < 0) return nullptr;
        p += 4;
        point = static_cast<uint32_t>(unit);
        if (is_high_surrogate(unit) || is_low_surrogate(unit)) {
            const int32_t low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? read_hex4(p + 2, end) : -1;
            if (is_high_surrogate(unit) && is_low_surrogate(low)) {
                point = join_surrogates(unit, low);
                p += 6;
            } else {
                point = REPLACEMENT;
            }
        }
        break;
    }
    default:
        return nullptr;
    }
    *from = p;
    return put_character(w, point);
}

// How many bytes from p on are plain: a quote, a backslash, a control character or one outside ASCII ends them.
size_t count_plain(const uint8_t *p) {
    uint8_t unused[PLAIN_BLOCK];
    size_t n = 0;
    unsigned odd;
    while ((odd = copy_plain_block(p + n, unused)) == 0) n += PLAIN_BLOCK;
    return n + static_cast<size_t>(__builtin_ctz(odd));
}

// Puts the header before the text of which LONGEST_PACK_HEADER bytes behind w are the beginning; returns its end.
uint8_t *close_text(uint8_t *w, const uint8_t *text_end) {
    const uint8_t *text = w + LONGEST_PACK_HEADER;
    const size_t n = static_cast<size_t>(text_end - text);
    uint8_t header[8 + LONGEST_PACK_HEADER];
    const size_t header_n = static_cast<size_t>(pack_text_header(header, n) - header);
    std::memcpy(w, header, header_n);
    std::memmove(w + header_n, text, n);
    return w + header_n + n;
}

}  // namespace

uint8_t *pack_odd_json_text(uint8_t *w, const uint8_t **from, const uint8_t *end) {
    const uint8_t *p = *from;
    size_t n = count_plain(p);  // the line's newline ends it
    if (p[n] == '"') {
        uint8_t *text = pack_text_header(w, n);
        std::memcpy(text, p, n);
        *from = p + n + 1;
        return text + n;
    }
    uint8_t *out = w + LONGEST_PACK_HEADER;
    for (;;) {
        std::memcpy(out, p, n);
        out += n;
        p += n;
        if (*p == '"') break;
        if (p == end) return nullptr;
        if (*p == '\\') {
            p++;
            if ((out = put_escape(out, &p, end)) == nullptr) return nullptr;
        } else {
            out = put_subpart(out, &p, end);
        }
        n = count_plain(p);
    }
    *from = p + 1;
    return close_text(w, out);
}

uint8_t *pack_odd_plain_text(uint8_t *w, const uint8_t *p, size_t n) {
    const uint8_t *end = p + n;
    if (read_traits(p, n).is_valid) {
        uint8_t *text = pack_text_header(w, n);
        if (n) std::memcpy(text, p, n);
        return text + n;
    }
    uint8_t *out = w + LONGEST_PACK_HEADER;
    while (p < end) out = put_subpart(out, &p, end);
    return close_text(w, out);
}

}  // namespace flowd
