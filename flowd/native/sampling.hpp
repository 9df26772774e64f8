// Which lines a sampling rule lets go: the same ones on every machine and in every run, by the line's own bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "caches/value_table.hpp"

namespace flowd {

// Is this line one of the N-th part that is let go? `seed` differs from rule to rule, so that their shares are
// independent of each other.
inline bool is_in_sample(const uint8_t *p, size_t n, uint64_t seed, uint32_t one_in) {
    constexpr uint64_t ODD[3] = {0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u, 0xA0761D6478BD642Fu};
    uint64_t hash = seed ^ (n * ODD[0]);
    for (; n >= 16; p += 16, n -= 16) hash = mix(load_word(p) ^ ODD[1] ^ hash, load_word(p + 8) ^ ODD[2]);
    uint64_t rest[2] = {0, 0};
    if (n) std::memcpy(rest, p, n);
    hash = mix(rest[0] ^ ODD[1] ^ hash, rest[1] ^ ODD[2]);
    hash = mix(hash ^ ODD[0], ODD[2]);
    return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) * one_in) >> 64) == 0;
}

}  // namespace flowd
