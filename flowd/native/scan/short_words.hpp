// What levels without wide registers for it share: places of set bits, and a short value as four words. Included by
// scan_<level>.cpp before scan_body.hpp and find_body.hpp, which use them.

// The lowest set bit, 64 where there is none.
static inline unsigned lowest_or_64(uint64_t mask) { return mask ? static_cast<unsigned>(__builtin_ctzll(mask)) : 64; }

static inline unsigned select_bit(uint64_t mask, unsigned k) {
    for (; k; k--) mask &= mask - 1;
    return static_cast<unsigned>(__builtin_ctzll(mask | uint64_t(1) << 63));
}

// A short value as four words.
struct Short {
    uint64_t words[4];
    static inline bool can_load(const uint8_t *p, const uint8_t *end) {
        return static_cast<size_t>(end - p) >= ValueTable::SHORT;
    }
    static inline Short load(const uint8_t *p, uint64_t n) {
        Short value;
        for (unsigned i = 0; i < 4; i++) {
            uint64_t kept = n >= 8 * i + 8 ? ~uint64_t(0) : n <= 8 * i ? 0 : ~(~uint64_t(0) << (8 * (n - 8 * i)));
            value.words[i] = load_word(p + 8 * i) & kept;
        }
        return value;
    }
    static inline Short of_words(const uint64_t *words) { return Short{{words[0], words[1], words[2], words[3]}}; }
    inline void store(uint64_t *out) const {
        for (unsigned i = 0; i < 4; i++) out[i] = words[i];
    }
    inline bool equals(const uint64_t *other) const {
        return ((words[0] ^ other[0]) | (words[1] ^ other[1]) | (words[2] ^ other[2]) | (words[3] ^ other[3])) == 0;
    }
    inline uint64_t hash(uint64_t n_tag) const {
        const HashSeeds &seeds = hash_seeds();
        return mix(words[0] ^ seeds.s[0], words[1] ^ seeds.s[1] ^ n_tag) ^
               mix(words[2] ^ seeds.s[2], words[3] ^ seeds.s[3]);
    }
};
