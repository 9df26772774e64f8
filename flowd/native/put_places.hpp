// Bits to places, for levels that cannot pack them in a register. Included by scan_<level>.cpp before scan_body.hpp.

// Writes from + the place of each bit, and returns how many they are. Eight are written whether there are as many or not:
// a loop whose end nobody can predict costs more.
static inline unsigned put_places(uint64_t bits, unsigned from, uint16_t *out) {
    unsigned n = static_cast<unsigned>(__builtin_popcountll(bits));
    unsigned i = 0;
    do {
        for (unsigned k = 0; k < 8; k++, i++) {
            out[i] = static_cast<uint16_t>(from + static_cast<unsigned>(__builtin_ctzll(bits | uint64_t(1) << 63)));
            bits &= bits - 1;
        }
    } while (__builtin_expect(i < n, 0));
    return n;
}
