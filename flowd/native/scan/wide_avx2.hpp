// 32 bytes of a record in one register of AVX2. Included by scan_<level>.cpp before write_body.hpp, which says what it is.

struct Wide {
    __m256i bytes;
    static inline Wide load(const uint8_t *p) { return Wide{_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p))}; }
    inline void store(uint8_t *w) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(w), bytes); }
    inline bool is(const KnownKey &key) const {
        const __m256i same = _mm256_cmpeq_epi8(bytes, load(key.packed).bytes);
        return (key.mask & ~uint64_t(static_cast<uint32_t>(_mm256_movemask_epi8(same)))) == 0;
    }
    inline uint32_t odd() const {
        // Signed: what is outside ASCII is less than a blank, too.
        const __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
        const __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
        const __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
        return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_or_si256(low, _mm256_or_si256(quote, backslash))));
    }
};
