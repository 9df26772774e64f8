// What the walks of both forms share. Included by scan_<level>.cpp first of all, in its own namespace.

static inline uint64_t bits_from(unsigned i) { return i < 64 ? ~uint64_t(0) << i : 0; }
static inline uint64_t bits_below(unsigned i) { return ~bits_from(i); }
static inline unsigned lowest(uint64_t mask) { return static_cast<unsigned>(__builtin_ctzll(mask)); }
static inline unsigned count_bits(uint64_t mask) { return static_cast<unsigned>(__builtin_popcountll(mask)); }

static inline bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

// What the walk looks for, made once a call.
struct Needles {
    Needle newline{'\n'}, space{' '}, quote{'"'}, backslash{'\\'}, comma{','}, colon{':'};
    Needle bracket_fold{0x26}, bracket{0x7F};  // a byte of a list of marks is a bracket where fold | it is this
    MarkTable marks;                           // what gives a JSON line its structure: { } [ ] , :
};

// Where a block of 64 bytes can be read: at p, or where fewer are left in the buffer, in a copy of them in which the rest is
// newlines, so that the line ends there. One byte behind the block can be read, too.
struct Tail {
    alignas(64) uint8_t copy[65];

    inline const uint8_t *block_at(const uint8_t *p, const uint8_t *end) {
        if (__builtin_expect(end - p > 64, 1)) return p;
        const size_t n = static_cast<size_t>(end - p);
        for (size_t i = 0; i < n; i++) copy[i] = p[i];
        for (size_t i = n; i < sizeof copy; i++) copy[i] = '\n';
        return copy;
    }
};

static inline Block load_block(const uint8_t *p, const uint8_t *end) {
    if (__builtin_expect(end - p >= 64, 1)) return Block::load(p);
    Tail tail;
    return Block::load(tail.block_at(p, end));
}

// The first newline from p on, or end.
static inline const uint8_t *find_line_end(const Needles &needles, const uint8_t *p, const uint8_t *end) {
    for (;; p += 64) {
        uint64_t newlines = load_block(p, end).eq(needles.newline);
        if (newlines) return p + lowest(newlines);
    }
}

static inline void forget_values(const Plan &plan, Span *values) {
    for (uint32_t f = 0; f < plan.n_fields; f++) values[f] = Span{nullptr, SPAN_MISSING};
}
