// msgpack's headers: what an object is, how long its header is and what follows it; how one is written; and how to get past
// objects without looking into them. Never recurses, never copies, never believes a length that the bytes at hand do not bear out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flowd {

enum class Pack : uint8_t { unsigned_, signed_, nil, false_, true_, float32, float64, str, bin, ext, array, map, invalid };

// A header that was read. `value` is a number's 64 bits (a float's as it stands), else how many bytes (str, bin, ext) or
// objects (array) or pairs (map) follow. `ext_type` is that of an ext, whose type byte belongs to the header.
struct PackHeader {
    uint64_t value;
    uint32_t n;  // bytes of the header; 0 where the input ends inside of it
    Pack kind;
    int8_t ext_type;
};

// Numbers in msgpack are big-endian; compilers make one load and one swap of this.
inline uint64_t load_big(const uint8_t *p, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++) value = value << 8 | p[i];
    return value;
}

inline PackHeader read_pack_header(const uint8_t *p, const uint8_t *end) {
    const PackHeader truncated{0, 0, Pack::invalid, 0};
    if (p == end) return truncated;
    const size_t left = static_cast<size_t>(end - p);
    const uint8_t first = *p;
    if (first < 0x80) return {first, 1, Pack::unsigned_, 0};
    if (first < 0x90) return {first & 0x0Fu, 1, Pack::map, 0};
    if (first < 0xA0) return {first & 0x0Fu, 1, Pack::array, 0};
    if (first < 0xC0) return {first & 0x1Fu, 1, Pack::str, 0};
    if (first >= 0xE0) return {static_cast<uint64_t>(static_cast<int64_t>(static_cast<int8_t>(first))), 1, Pack::signed_, 0};
    // Of 0xC0 to 0xDF: the kind, and the bytes of the number behind the first byte.
    static constexpr Pack KINDS[32] = {
        Pack::nil, Pack::invalid, Pack::false_, Pack::true_, Pack::bin, Pack::bin, Pack::bin, Pack::ext,
        Pack::ext, Pack::ext, Pack::float32, Pack::float64, Pack::unsigned_, Pack::unsigned_, Pack::unsigned_,
        Pack::unsigned_, Pack::signed_, Pack::signed_, Pack::signed_, Pack::signed_, Pack::ext, Pack::ext, Pack::ext,
        Pack::ext, Pack::ext, Pack::str, Pack::str, Pack::str, Pack::array, Pack::array, Pack::map, Pack::map};
    static constexpr uint8_t BYTES[32] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
                                          1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    const unsigned i = first - 0xC0u, bytes = BYTES[i];
    PackHeader header{0, 1 + bytes, KINDS[i], 0};
    if (header.kind == Pack::ext) header.n++;
    if (left < header.n) return truncated;
    switch (bytes) {
    case 1: header.value = p[1]; break;
    case 2: header.value = load_big(p + 1, 2); break;
    case 4: header.value = load_big(p + 1, 4); break;
    case 8: header.value = load_big(p + 1, 8); break;
    default: break;
    }
    if (header.kind == Pack::ext) {
        if (bytes == 0) header.value = uint64_t(1) << (first - 0xD4u);  // fixext 1 to 16
        header.ext_type = static_cast<int8_t>(p[header.n - 1]);
    } else if (header.kind == Pack::signed_) {
        const unsigned unused = 64 - 8 * bytes;
        header.value = static_cast<uint64_t>(static_cast<int64_t>(header.value << unused) >> unused);
    }
    return header;
}

inline uint64_t bytes_behind(const PackHeader &header) {
    return header.kind == Pack::str || header.kind == Pack::bin || header.kind == Pack::ext ? header.value : 0;
}
inline uint64_t objects_behind(const PackHeader &header) {
    return header.kind == Pack::array ? header.value : header.kind == Pack::map ? header.value * 2 : 0;
}

inline double read_pack_float(const PackHeader &header) {
    if (header.kind == Pack::float64) {
        double value;
        std::memcpy(&value, &header.value, 8);
        return value;
    }
    float value;
    const uint32_t bits = static_cast<uint32_t>(header.value);
    std::memcpy(&value, &bits, 4);
    return static_cast<double>(value);
}

// Fluentd's time with nanoseconds: two numbers of 32 bits.
constexpr int8_t EVENT_TIME = 0;
constexpr uint64_t EVENT_TIME_BYTES = 8;
inline bool is_event_time(const PackHeader &header) {
    return header.kind == Pack::ext && header.ext_type == EVENT_TIME && header.value == EVENT_TIME_BYTES;
}

// Headers and numbers as msgpack's libraries write them, in the smallest form; there is room. Each returns the end.
inline uint8_t *pack_big(uint8_t *w, unsigned first, uint64_t value, unsigned n) {
    *w++ = static_cast<uint8_t>(first);
    const uint64_t big = __builtin_bswap64(value << (64 - 8 * n));
    std::memcpy(w, &big, 8);
    return w + n;
}
constexpr size_t LONGEST_NUMBER = 9;  // of which a shorter one may be overwritten behind its end
constexpr size_t LONGEST_PACK_HEADER = 5;

inline uint8_t *pack_unsigned(uint8_t *w, uint64_t value) {
    if (value < 0x80) {
        *w = static_cast<uint8_t>(value);
        return w + 1;
    }
    if (value <= 0xFF) return pack_big(w, 0xCC, value, 1);
    if (value <= 0xFFFF) return pack_big(w, 0xCD, value, 2);
    return value <= 0xFFFFFFFF ? pack_big(w, 0xCE, value, 4) : pack_big(w, 0xCF, value, 8);
}

inline uint8_t *pack_signed(uint8_t *w, int64_t value) {
    if (value >= 0) return pack_unsigned(w, static_cast<uint64_t>(value));
    const uint64_t bits = static_cast<uint64_t>(value);
    if (value >= -0x20) {
        *w = static_cast<uint8_t>(bits);
        return w + 1;
    }
    if (value >= -0x80) return pack_big(w, 0xD0, bits, 1);
    if (value >= -0x8000) return pack_big(w, 0xD1, bits, 2);
    return value >= -0x80000000LL ? pack_big(w, 0xD2, bits, 4) : pack_big(w, 0xD3, bits, 8);
}

inline uint8_t *pack_float(uint8_t *w, double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, 8);
    return pack_big(w, 0xCB, bits, 8);
}

inline uint8_t *pack_text_header(uint8_t *w, size_t n) {
    if (n < 32) {
        *w = static_cast<uint8_t>(0xA0 | n);
        return w + 1;
    }
    return n <= 0xFF ? pack_big(w, 0xD9, n, 1) : n <= 0xFFFF ? pack_big(w, 0xDA, n, 2) : pack_big(w, 0xDB, n, 4);
}

// Of a map or an array with so many pairs or objects.
inline unsigned container_header_bytes(size_t n) { return n < 16 ? 1 : n <= 0xFFFF ? 3 : 5; }
inline void put_container_header(uint8_t *w, bool is_map, size_t n) {
    const unsigned bytes = container_header_bytes(n);
    w[0] = static_cast<uint8_t>(bytes == 1 ? (is_map ? 0x80 : 0x90) | n : (is_map ? 0xDE : 0xDC) + (bytes == 5));
    for (unsigned i = 1; i < bytes; i++) w[i] = static_cast<uint8_t>(n >> 8 * (bytes - 1 - i));
}

enum class Skipped : uint8_t { done, truncated, invalid, too_large };

// Goes past *left objects from *at on, of an input of which n bytes are there and that has `most` at most. Whatever ends
// it, *at and *left are where to go on when more has come: nothing is walked twice. *at may then lie behind n, within a
// long string. Since every object has a byte, a count that cannot fit is seen at once.
Skipped skip_objects(const uint8_t *p, size_t n, uint64_t most, uint64_t *at, uint64_t *left);

}  // namespace flowd
