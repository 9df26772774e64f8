// 32 bytes of a record where there is no register for them. Included by scan_<level>.cpp before write_body.hpp, which says
// what it is.

struct Wide {
    const uint8_t *p;
    static inline Wide load(const uint8_t *p) { return Wide{p}; }
    inline void store(uint8_t *w) const { std::memcpy(w, p, 32); }
    inline bool is(const KnownKey &key) const {
        return (key.mask & NO_KEY) == 0 && std::memcmp(p, key.packed, key.n) == 0;
    }
    inline uint32_t odd() const {
        uint8_t copy[32];
        return copy_plain_pair(p, copy);
    }
};
