#include "forward/json_text.hpp"

#include <cmath>

#include "values/utf8.hpp"

namespace flowd {

namespace {

// What is no number of JSON is a string, so that a rule sees the text that fluentd's grep sees.
uint8_t *put_float(uint8_t *w, double value, bool is_quoted) {
    const bool is_text = !std::isfinite(value) && !is_quoted;
    if (is_text) *w++ = '"';
    w = reinterpret_cast<uint8_t *>(write_float(value, reinterpret_cast<char *>(w)));
    if (is_text) *w++ = '"';
    return w;
}

// An extension that nobody knows: its type and its bytes in base64. There is room for it.
uint8_t *put_extension(uint8_t *w, int8_t type, const uint8_t *p, size_t n) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    w = put_integer(put(w, "{\"type\":"), static_cast<int>(type));
    w = put(w, ",\"data\":\"");
    for (; n; p += 3) {
        const size_t m = n < 3 ? n : 3;
        const uint32_t bits = static_cast<uint32_t>(load_big(p, static_cast<unsigned>(m)) << (8 * (3 - m)));
        for (unsigned i = 0; i < 4; i++) *w++ = static_cast<uint8_t>(i <= m ? DIGITS[bits >> (18 - 6 * i) & 63] : '=');
        n -= m;
    }
    return put(w, "\"}");
}

uint8_t *put_escape(uint8_t *w, uint8_t c) {
    switch (c) {
    case '"': return put(w, "\\\"");
    case '\\': return put(w, "\\\\");
    case '\b': return put(w, "\\b");
    case '\f': return put(w, "\\f");
    case '\n': return put(w, "\\n");
    case '\r': return put(w, "\\r");
    case '\t': return put(w, "\\t");
    default: break;
    }
    w = put(w, "\\u00");
    *w++ = static_cast<uint8_t>('0' + (c >> 4));
    *w++ = static_cast<uint8_t>("0123456789abcdef"[c & 15]);
    return w;
}

}  // namespace

uint8_t *put_escaped(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        const size_t plain = copy_plain(p, static_cast<size_t>(end - p), end, w);
        w += plain;
        p += plain;
        while (p < end && *p >= 0x80) {
            bool is_valid;
            const unsigned n = read_subpart(p, end, &is_valid);
            if (is_valid) {
                std::memcpy(w, p, n);
                w += n;
            } else {
                *w++ = '?';  // what fluentd's grep sees in its place
            }
            p += n;
        }
        for (; p < end && (*p < 0x20 || *p == '"' || *p == '\\'); p++) w = put_escape(w, *p);
    }
    return w;
}

uint8_t *put_scalar(uint8_t *w, const PackHeader &header, const uint8_t *p, bool is_key) {
    switch (header.kind) {
    case Pack::unsigned_: return put_integer(w, header.value);
    case Pack::signed_: return put_integer(w, static_cast<int64_t>(header.value));
    case Pack::true_: return put(w, "true");
    case Pack::false_: return put(w, "false");
    case Pack::float32:
    case Pack::float64: return put_float(w, read_pack_float(header), is_key);
    case Pack::ext:
        if (is_event_time(header)) return put_integer(w, static_cast<uint32_t>(load_big(p, 4)));
        return put_extension(w, header.ext_type, p, static_cast<size_t>(header.value));
    default: return put(w, "null");
    }
}

void append_json_string(const uint8_t *p, size_t n, Bytes &out) {
    if (!out.make_room(LONGEST_ESCAPE * n + SCALAR_ROOM)) return;
    out.push('"');
    uint8_t *w = out.data() + out.size();
    out.shrink(static_cast<size_t>(put_escaped(w, p, p + n) - out.data()));
    out.push('"');
}

}  // namespace flowd
