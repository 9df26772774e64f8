// A block's marks one by one, for levels that cannot pack them in a register. Included by scan_<level>.cpp after `Block`.

// Six are written whether there are as many or not, which makes MOST_PUT: a loop whose end nobody can predict costs more.
// Where there are none left the place may be 64: a block has a readable byte behind it.
static inline unsigned put_marks(const Block &, const uint8_t *bytes, uint64_t bits, unsigned from, uint8_t *chars,
                                 uint16_t *places) {
    const unsigned n = static_cast<unsigned>(__builtin_popcountll(bits));
    for (;;) {
        for (unsigned k = 0; k < 6; k++) {
            const unsigned at = lowest_or_64(bits);
            chars[k] = bytes[at];
            places[k] = static_cast<uint16_t>(from + at);
            bits &= bits - 1;
        }
        if (__builtin_expect(bits == 0, 1)) return n;
        chars += 6;
        places += 6;
    }
}
