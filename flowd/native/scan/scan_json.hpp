// The walk of one JSON line. Included by scan_<level>.cpp after scan_common.hpp.
//
// It goes in two passes. The first sees every byte, knows no depth and hardly branches: quotes become an inside-string mask,
// and what gives a line its structure (brackets, commas and colons outside of strings) is packed into a list. As collectors
// write lines, a string stands between two of these, and a colon behind a string: that is seen on the way.
//
// The second pass reads the list, sixty-four at a time: brackets move a depth with a stack of their kinds, and at the top
// level each comma is followed at once by its colon. So every top-level key is visited, a second one of the same name is
// seen, and the line is known to balance to its end. Anything else (a backslash in a key, a blank between tokens, a
// duplicate) sends the line to the exact way.

static inline uint64_t load_head(const uint8_t *p) {
    uint64_t head;
    __builtin_memcpy(&head, p, 8);
    return head;
}

// Are bytes 8 to n the same? n is at least 8: the last word may overlap the one before it.
static inline bool same_tail(const uint8_t *a, const uint8_t *b, size_t n) {
    for (size_t i = 8; i + 8 <= n; i += 8)
        if (load_head(a + i) != load_head(b + i)) return false;
    return load_head(a + n - 8) == load_head(b + n - 8);
}

// The field that the key of n bytes, its closing quote included, at p names; -1 where it is none. Eight bytes can be read.
static inline int find_key(const Plan &plan, const uint8_t *p, uint32_t n) {
    uint64_t head = load_head(p);
    for (uint32_t k = 0; k < plan.n_keys; k++) {
        const WantedKey &key = plan.keys[k];
        if (key.n == n && (head & key.head_mask) == key.head && (n <= 8 || same_tail(p, key.quoted, n)))
            return static_cast<int>(key.field);
    }
    return -1;
}

// The lengths of the wanted keys, each with its closing quote and what stands before it: from a comma to its colon.
struct KeySteps {
    static constexpr unsigned MOST = 4;
    PlaceStep steps[MOST];
    unsigned n = 0;
    uint64_t bits = 0;  // the same as a set, where there are more than MOST; longer ones share the last bit

    explicit KeySteps(const Plan &plan) {
        for (uint32_t k = 0; k < plan.n_keys; k++) {
            uint32_t step = plan.keys[k].n + 2;
            uint64_t bit = uint64_t(1) << (step < 63 ? step : 63);
            bool is_known = (bits & bit) != 0 && step < 63;
            bits |= bit;
            if (is_known || n > MOST) continue;
            if (n < MOST) steps[n] = PlaceStep(static_cast<uint16_t>(step));
            n++;
        }
    }

    // Which of sixty-four places are as far from the one before as a wanted key makes it.
    inline uint64_t find(const uint16_t *places) const {
        if (__builtin_expect(n > MOST, 0)) {
            uint64_t found = 0;
            for (unsigned i = 0; i < 64; i++) {
                unsigned step = static_cast<unsigned>(places[i] - (places - 1)[i]) & 0xFFFF;
                found |= (bits >> (step < 63 ? step : 63) & 1) << i;
            }
            return found;
        }
        uint64_t found = 0;
        for (unsigned k = 0; k < n; k++) found |= steps[k].find(places);
        return found;
    }
};

// What gives a line its structure, in the line's order. Lines with more of it, and longer ones, are for the exact way.
constexpr unsigned MOST_STRUCTURE = 1024;  // blocks of 64 as well, so that sixteen bits say a place
constexpr unsigned MOST_PUT = 66;  // what put_marks may write for one block

struct JsonStructure {
    alignas(64) uint8_t chars[MOST_STRUCTURE + MOST_PUT];  // a block's are written before they are counted
    uint16_t room[1 + MOST_STRUCTURE + MOST_PUT];
    unsigned n;

    inline uint16_t *places() { return room + 1; }  // each has one before it
    inline const uint16_t *places() const { return room + 1; }
};

// Where the first pass stands between two blocks.
struct JsonState {
    uint64_t inside = 0;        // all ones inside a string
    uint64_t string_ended = 0;  // 1 behind a closing quote
    uint64_t may_begin = 0;     // 1 behind a bracket, a comma or a colon: a string may begin
    uint64_t value_start = 0;   // 1 behind a colon
    uint64_t escaped = 0;       // 1 behind a backslash that escapes
    uint64_t backslashes = 0;   // anything but 0: there are some
    uint64_t odd = 0;           // anything but 0: the line is not as collectors write it
};

// The bytes that a backslash escapes; *carry is 1 where that is the first byte of the block, then of the next one.
static inline uint64_t find_escaped(uint64_t backslashes, uint64_t *carry) {
    uint64_t escaped = *carry;
    *carry = 0;
    for (uint64_t rest = backslashes & ~escaped; rest; rest &= ~escaped & (rest - 1)) {
        uint64_t backslash = rest & -rest;
        escaped |= backslash << 1;
        *carry = backslash >> 63;
    }
    return escaped;
}

// One block of the first pass; `special` ones may hold blanks, a backslash, or the line's end. Returns the place of the
// newline, 64 where it is not here.
template <bool special>
static inline __attribute__((always_inline)) unsigned list_structure(const Needles &needles, const Block &block,
                                                                     const uint8_t *bytes,
                                                                     unsigned from, JsonState &state,
                                                                     JsonStructure &structure, unsigned &n) {
    uint64_t quotes = block.eq(needles.quote);
    uint64_t marks = block.eq_marks(needles);
    uint64_t colons = block.eq(needles.colon);
    unsigned newline = 64;
    uint64_t blanks = 0, backslashes = 0;
    if (special) {
        uint64_t newlines = block.eq(needles.newline);
        uint64_t within = ~newlines & (newlines - 1);
        blanks = block.at_most(needles.space);
        if (newlines) newline = lowest(newlines);
        quotes &= within;
        marks &= within & ~blanks;  // two control characters look like a comma and a colon
        colons &= within;
        backslashes = block.eq(needles.backslash) & within;
        quotes &= ~find_escaped(backslashes, &state.escaped);
        state.backslashes |= backslashes;
    }
    uint64_t inside = prefix_xor(quotes) ^ state.inside;
    marks &= ~inside;
    colons &= ~inside;
    if (special) state.odd |= (((colons << 1) | state.value_start) & blanks) | (backslashes & ~inside);
    uint64_t opening = quotes & inside, closing = quotes & ~inside;
    uint64_t ended = (closing << 1) | state.string_ended;
    uint64_t may_begin = (marks << 1) | state.may_begin;
    state.odd |= (ended & ~marks) | (colons & ~ended) | (opening & ~may_begin);
    state.inside = static_cast<uint64_t>(static_cast<int64_t>(inside) >> 63);
    state.string_ended = closing >> 63;
    state.may_begin = marks >> 63;
    state.value_start = colons >> 63;
    n += put_marks(block, bytes, marks, from, structure.chars + n, structure.places() + n);
    return newline;
}

// Is there a backslash in one of the keys before these colons? It may be a wanted one, written otherwise.
static inline bool has_escaped_key(const uint8_t *line, const uint16_t *places, uint64_t colons) {
    for (; colons; colons &= colons - 1) {
        const uint16_t *colon = places + lowest(colons);
        if (std::memchr(line + colon[-1], '\\', static_cast<size_t>(colon[0] - colon[-1])) != nullptr) return true;
    }
    return false;
}

// The second pass, behind the `{`. False where the line is not as collectors write it.
static inline bool read_structure(const Needles &needles, const KeySteps &steps, const Plan &plan, const uint8_t *line,
                                  const uint8_t *end, const JsonStructure &structure, bool has_backslashes,
                                  Span *values) {
    const unsigned n = structure.n;
    const uint16_t *const places = structure.places();
    const PlaceStep neighbours{1};
    uint64_t wanted[MOST_STRUCTURE / 64 + 1], ends[MOST_STRUCTURE / 64 + 1];  // colons behind wanted keys; values' ends
    uint64_t first = 1;         // the object's own `{`, in the first block
    uint64_t nested = 0;        // 1 below the top level
    uint64_t key_due = 0;       // 1 behind a comma of the top level
    uint64_t value_due = 0;     // 1 behind a colon
    uint64_t kinds = 1;         // the open brackets' kinds, the innermost in bit 0: 1 is a brace
    uint64_t odd = 0;
    unsigned depth = 1;
    unsigned blocks = 0;
    for (unsigned from = 0; from < n; from += 64, blocks++) {
        Block chars = Block::load(structure.chars + from);
        const uint64_t valid = bits_below(n - from);
        uint64_t goes_down = 0, comes_up = 0;  // where the top level is left, and met again
        uint64_t closing = 0;                  // the object's own `}`
        for (uint64_t rest = chars.eq_brackets(needles) & valid & ~first; rest; rest &= rest - 1) {
            unsigned i = lowest(rest);
            unsigned c = structure.chars[from + i];
            unsigned opens = (c >> 1) & 1;
            uint64_t kind = (c >> 5) & 1;
            odd |= (kinds ^ kind) & 1 & (opens ^ 1);
            kinds = opens ? (kinds << 1) | kind : kinds >> 1;
            uint64_t edge = static_cast<uint64_t>(depth + opens == 2) << i;
            goes_down |= opens ? edge : 0;
            comes_up |= opens ? 0 : edge;
            depth += 2 * opens - 1;
            if (__builtin_expect(depth - 1 > 62, 0)) {  // 0, or too deep for `kinds`
                if (depth || from + i + 1 != n) return false;
                closing = uint64_t(1) << i;
            }
        }
        // Below is all from each place where it goes down up to where it comes up again: they take turns.
        const uint64_t top = ~(comes_up - goes_down - nested);
        nested = depth > 1;
        uint64_t commas = (chars.eq(needles.comma) & valid & top) | first;
        uint64_t colons = chars.eq(needles.colon) & valid & top;
        first = 0;
        uint64_t value_ends = commas | closing;
        odd |= colons ^ ((commas << 1) | key_due);  // each comma's colon follows at once: a key is one string
        odd |= ((colons << 1) | value_due) & value_ends & neighbours.find(places + from);  // no empty value
        key_due = commas >> 63;
        value_due = colons >> 63;
        wanted[blocks] = steps.find(places + from) & colons;
        if (__builtin_expect(has_backslashes, 0) && has_escaped_key(line, places + from, colons)) return false;
        ends[blocks] = value_ends;
    }
    if (odd || depth) return false;
    for (unsigned b = 0; b < blocks; b++) {
        for (uint64_t rest = wanted[b]; rest; rest &= rest - 1) {
            const unsigned i = 64 * b + lowest(rest);
            const uint8_t *key = line + places[i - 1] + 2;
            if (end - key < 8) return false;
            int field = find_key(plan, key, places[i] - places[i - 1] - 2u);
            if (field < 0) continue;
            unsigned in = b;
            uint64_t behind = ends[b] & ~(rest ^ (rest - 1));
            while (behind == 0) behind = ends[++in];  // the object's own `}` is the last one
            const uint8_t *value = line + places[i] + 1;
            const uint8_t *value_end = line + places[64 * in + lowest(behind)];
            if (values[field].n_tag != SPAN_MISSING) return false;  // the key's second value
            if (is_blank(*value) || is_blank(value_end[-1])) return false;
            values[field] = Span{value, span_key(static_cast<uint64_t>(value_end - value), TAG_JSON)};
        }
    }
    return true;
}

// How far ahead of a block the next ones are asked for: a line's length, as lines are.
constexpr size_t FETCH_JSON_AHEAD = 1536;

// Walks one line that begins with `{`. Returns its end where it is as collectors write it, else null.
static inline const uint8_t *scan_json(const Needles &needles, const KeySteps &steps, const Plan &plan, const uint8_t *line,
                                       const uint8_t *end, JsonStructure &structure, Span *values) {
    JsonState state;
    Tail tail;
    unsigned n = 0, newline;
    const uint8_t *p = line;
    for (;; p += 64) {
        const uint8_t *bytes = tail.block_at(p, end);
        __builtin_prefetch(p + FETCH_JSON_AHEAD);
        const Block block = Block::load(bytes);
        const unsigned from = static_cast<unsigned>(p - line);
        if (__builtin_expect(block.has_special(needles) || state.escaped, 0))
            newline = list_structure<true>(needles, block, bytes, from, state, structure, n);
        else
            newline = list_structure<false>(needles, block, bytes, from, state, structure, n);
        if (newline < 64) break;
        if (__builtin_expect(n >= MOST_STRUCTURE || from >= 64 * (MOST_STRUCTURE - 1), 0)) return nullptr;
    }
    if (n >= MOST_STRUCTURE || state.odd || state.inside) return nullptr;
    structure.n = n;
    const uint8_t *line_end = p + newline;
    const uint8_t *behind = line + structure.places()[n - 1] + 1;
    while (behind < line_end && is_blank(*behind)) behind++;
    if (behind != line_end || !read_structure(needles, steps, plan, line, end, structure, state.backslashes != 0, values)) return nullptr;
    return line_end;
}

// Walks JSON lines as long as they follow each other and are as collectors write them, and returns how many it walked.
__attribute__((noinline)) static size_t scan_json_lines(const Plan &plan, const uint8_t **cursor, const uint8_t *end,
                                                        Line *lines, Span *values, size_t room) {
    const Needles needles;
    const KeySteps steps(plan);
    const uint8_t *line = *cursor;
    JsonStructure structure;
    size_t n = 0;
    for (; n < room && line < end && *line == '{'; n++, values += plan.n_fields) {
        forget_values(plan, values);
        const uint8_t *line_end = scan_json(needles, steps, plan, line, end, structure, values);
        if (line_end == nullptr) break;
        lines[n] = Line{line, static_cast<uint64_t>(line_end - line), FORM_JSON, line_end < end};
        line = line_end + (line_end < end);
    }
    *cursor = line;
    return n;
}
