// The line walk, once for every SIMD level. Included by scan_<level>.cpp, each of which defines, in its own namespace
// and compiled for its own instructions: `Needle` (a byte to look for, in a register), `Block` (64 bytes with
// eq(needle), eq_fold(needle) and at_most(needle) as bit masks), `prefix_xor(mask)` and `select_bit(mask, k)` (the place of the k-th set
// bit; anything up to 64 where there are fewer). All is static: nothing of a level may leak into another.
//
// Text: blocks of 64 bytes from the line's start; the newline ends the line, spaces are counted by popcount, and only
// the wanted separators are located.
//
// JSON: quotes become an inside-string mask; of what stands outside strings, brackets move a depth with a stack of
// their kinds, and commas and colons at depth 1 must alternate, each key being one string between a comma and a colon.
// So every top-level key is visited, a second one of the same name is seen, and the line is known to balance to its
// end. Anything else (a backslash, a blank between tokens, a duplicate) sends the line to the exact way.

static inline uint64_t bits_from(unsigned i) { return i < 64 ? ~uint64_t(0) << i : 0; }
static inline uint64_t bits_below(unsigned i) { return ~bits_from(i); }
static inline unsigned lowest(uint64_t mask) { return static_cast<unsigned>(__builtin_ctzll(mask)); }
static inline unsigned count_bits(uint64_t mask) { return static_cast<unsigned>(__builtin_popcountll(mask)); }

static inline bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

// A block at p where fewer than 64 bytes are left: the rest reads as newlines, so that the line ends there.
static inline Block load_tail(const uint8_t *p, const uint8_t *end) {
    alignas(64) uint8_t copy[64];
    size_t n = static_cast<size_t>(end - p);
    for (size_t i = 0; i < n; i++) copy[i] = p[i];
    for (size_t i = n; i < 64; i++) copy[i] = '\n';
    return Block::load(copy);
}

// The bytes that the walk looks for, made once a call.
struct Needles {
    Needle newline{'\n'}, space{' '}, quote{'"'}, backslash{'\\'}, comma{','}, colon{':'}, bracket_fold{0x26}, bracket{0x7F};
};

static inline Block load_block(const uint8_t *p, const uint8_t *end) {
    if (__builtin_expect(end - p >= 64, 1)) return Block::load(p);
    return load_tail(p, end);
}

// The first newline from p on, or end.
static inline const uint8_t *find_line_end(const Needles &needles, const uint8_t *p, const uint8_t *end) {
    for (;; p += 64) {
        uint64_t newlines = load_block(p, end).eq(needles.newline);
        if (newlines) return p + lowest(newlines);
    }
}

static inline uint64_t kind_tag(const uint8_t *p, const uint8_t *separator) {
    if (separator - p != 3) return TAG_NAME_OTHER;
    if (p[0] == 'n' && p[1] == 'e' && p[2] == 't') return TAG_NAME_NET;
    if (p[0] == 'p' && p[1] == 'u' && p[2] == 'b') return TAG_NAME_PUB;
    if (p[0] == 'p' && p[1] == 'v' && p[2] == 't') return TAG_NAME_PVT;
    return TAG_NAME_OTHER;
}

constexpr unsigned MOST_SEPARATORS = 32;

// Walks one text line by a plan; returns its end and counts its separators. places[] gets the wanted ones.
static inline const uint8_t *walk_text(const Needles &needles, const TextPlan &plan, const uint8_t *line,
                                       const uint8_t *end, const uint8_t **places, unsigned *separators) {
    unsigned seen = 0, wanted = 0;
    for (const uint8_t *p = line;; p += 64) {
        Block block = load_block(p, end);
        uint64_t newlines = block.eq(needles.newline);
        uint64_t spaces = block.eq(needles.space);
        if (newlines) spaces &= (newlines & -newlines) - 1;
        unsigned count = count_bits(spaces);
        while (wanted < plan.n_separators && plan.separators[wanted] < seen + count) {
            places[plan.separators[wanted]] = p + select_bit(spaces, plan.separators[wanted] - seen);
            wanted++;
        }
        seen += count;
        if (newlines) {
            *separators = seen;
            return p + lowest(newlines);
        }
    }
}

// Fills the values of a short line, whose columns begin at `starts` and end one byte before the next begins.
static inline void fill_short_columns(const TextPlan &plan, const uint8_t *line, const uint8_t *starts,
                                      uint64_t plain_tag, Span *values) {
    for (uint32_t i = 0; i < plan.n_columns; i++) {
        const WantedColumn wanted = plan.columns[i];
        unsigned from = starts[wanted.column];
        unsigned to = starts[wanted.column + 1] - 1u;
        uint64_t tag = plain_tag;
        if (wanted.kind_column != NO_COLUMN)
            tag = kind_tag(line + starts[wanted.kind_column], line + starts[wanted.kind_column + 1] - 1);
        values[wanted.field] = Span{line + from, span_key(to - from, tag)};
    }
}

// How far ahead of the line the next ones are asked for: memory answers late, and lines follow each other.
constexpr size_t FETCH_AHEAD = 2048;

// Walks text lines of less than 192 bytes, as most are, as long as they follow each other: three blocks at once, and no
// branch that depends on where in them things are. Stops before a line of any other kind, and returns how many it walked.
__attribute__((noinline)) static size_t scan_short_texts(const Plan &plan, const uint8_t **cursor, const uint8_t *end,
                                                         Line *lines, Span *values, size_t room) {
    const Needle newline{'\n'}, space{' '};
    const uint8_t *line = *cursor;
    size_t n = 0;
    ShortLine found;
    for (; n < room && end - line >= static_cast<ptrdiff_t>(SHORT_LINE); n++, values += plan.n_fields) {
        __builtin_prefetch(line + FETCH_AHEAD);
        __builtin_prefetch(line + FETCH_AHEAD + 64);
        uint8_t first = line[0];
        if (first <= ' ' || (first == '{' && plan.format == FORMAT_AUTO)) break;
        found.walk(plan, newline, space, line);
        if (found.n >= SHORT_LINE) break;
        const uint8_t *line_end = line + found.n;
        uint32_t form;
        if (found.has_separators(TEXT24_SEPARATORS) && plan.format != FORMAT_TEXT27) {
            found.end_columns(TEXT24_SEPARATORS, line_end[-1] == '\r');
            fill_short_columns(plan.text24, line, found.starts, TAG_COLUMN24, values);
            form = FORM_TEXT24;
        } else if (found.has_separators(TEXT27_SEPARATORS) && plan.format != FORMAT_TEXT24) {
            found.end_columns(TEXT27_SEPARATORS, line_end[-1] == '\r');
            fill_short_columns(plan.text27, line, found.starts, TAG_COLUMN27, values);
            form = FORM_TEXT27;
        } else {
            break;
        }
        lines[n] = Line{line, found.n, form, 1};
        line = line_end + 1;
    }
    *cursor = line;
    return n;
}

static inline void fill_columns(const TextPlan &plan, const uint8_t *line, const uint8_t *line_end,
                                const uint8_t *const *places, uint64_t plain_tag, Span *values) {
    const uint8_t *last_end = line_end;
    if (last_end > line && last_end[-1] == '\r') last_end--;
    for (uint32_t i = 0; i < plan.n_columns; i++) {
        const WantedColumn &wanted = plan.columns[i];
        const uint8_t *p = wanted.column ? places[wanted.column - 1] + 1 : line;
        const uint8_t *stop = wanted.column < plan.separators_in_line ? places[wanted.column] : last_end;
        uint64_t tag = plain_tag;
        if (wanted.kind_column != NO_COLUMN)
            tag = kind_tag(places[wanted.kind_column - 1] + 1, places[wanted.kind_column]);
        values[wanted.field] = Span{p, span_key(static_cast<uint64_t>(stop - p), tag)};
    }
}

static inline void forget_values(const Plan &plan, Span *values) {
    for (uint32_t f = 0; f < plan.n_fields; f++) values[f] = Span{nullptr, SPAN_MISSING};
}

// `form` is the form of the text line before this one: lines of one form follow each other.
static inline const uint8_t *scan_text(const Needles &needles, const Plan &plan, const uint8_t *line,
                                       const uint8_t *end, Span *values, uint32_t *form, Line *out) {
    const uint8_t *places[MOST_SEPARATORS];
    unsigned separators;
    bool as27 = *form == FORM_TEXT27;
    const TextPlan &likely = as27 ? plan.text27 : plan.text24;
    const uint8_t *line_end = walk_text(needles, likely, line, end, places, &separators);
    bool is24 = separators == TEXT24_SEPARATORS && plan.format != FORMAT_TEXT27;
    bool is27 = separators == TEXT27_SEPARATORS && plan.format != FORMAT_TEXT24;
    if (__builtin_expect(is24 || is27, 1)) {
        if (is27 != as27) {
            *form = is27 ? FORM_TEXT27 : FORM_TEXT24;
            walk_text(needles, is27 ? plan.text27 : plan.text24, line, end, places, &separators);
        }
        if (is24)
            fill_columns(plan.text24, line, line_end, places, TAG_COLUMN24, values);
        else
            fill_columns(plan.text27, line, line_end, places, TAG_COLUMN27, values);
        out->form = is24 ? FORM_TEXT24 : FORM_TEXT27;
    } else {
        forget_values(plan, values);
        out->form = FORM_TEXT_ODD;
    }
    return line_end;
}

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

// The lengths of the wanted keys: most keys of a line have another one.
struct KeyLengths {
    static constexpr unsigned LONGEST = 63;  // longer ones share a bit
    uint64_t bits = 0;

    explicit KeyLengths(const Plan &plan) {
        for (uint32_t k = 0; k < plan.n_keys; k++) bits |= bit(plan.keys[k].n);
    }
    static inline uint64_t bit(uint32_t n) { return uint64_t(1) << (n < LONGEST ? n : LONGEST); }
    inline bool have(uint32_t n) const { return (bits & bit(n)) != 0; }
};

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

// The places in a line of what parts its top level: the object's `{`, then a colon and a comma for each member in turn,
// its `}` behind the last one. Longer lines are for the exact way.
constexpr unsigned MOST_PLACES = 1024;
constexpr size_t LONGEST_WALK = (size_t(1) << 16) - 128;  // what a place can say, and a block more

struct JsonPlaces {
    uint16_t at[MOST_PLACES + 64];  // a block's places are written before they are counted
    unsigned n;
};

// Where the walk of a JSON line stands between two blocks.
struct JsonState {
    uint64_t inside = 0;        // all ones inside a string
    uint64_t in_key = 0;        // 1 between a comma and its colon
    uint64_t key_start = 0;     // 1 where a key must begin with the block
    uint64_t value_start = 0;   // 1 where a value must
    uint64_t nested = 0;        // 1 below the top level
    uint64_t first = 1;         // the object's own `{`, in the first block
    uint64_t kinds = 1;         // the open brackets' kinds, the innermost in bit 0: 1 is a brace
    uint64_t odd = 0;           // anything but 0: the line is not as collectors write it
    unsigned depth = 1;
};

// One block of a line; `special` ones may hold blanks, a backslash, or the line's end. Returns the place of the object's
// own `}`, 64 where it is not here, or more where the exact way must look.
template <bool special>
static inline __attribute__((always_inline)) unsigned walk_json_block(const Needles &needles, const Block &block,
                                                                      const uint8_t *p, unsigned from, JsonState &state,
                                                                      JsonPlaces &places) {
    constexpr unsigned EXACT = 65;
    uint64_t within = ~uint64_t(0);
    uint64_t newlines = 0;
    if (special) {
        newlines = block.eq(needles.newline);
        within = ~newlines & (newlines - 1);
        if (block.eq(needles.backslash) & within) return EXACT;
    }
    uint64_t quotes = block.eq(needles.quote) & within;
    uint64_t inside = prefix_xor(quotes) ^ state.inside;
    state.inside = static_cast<uint64_t>(static_cast<int64_t>(inside) >> 63);
    uint64_t outside = ~(inside | quotes) & within;
    uint64_t brackets = block.eq_brackets(needles) & outside & ~state.first;
    uint64_t top = ~uint64_t(0);  // the places at depth 1
    uint64_t closing = 0;         // the object's own `}`
    if (brackets) {
        uint64_t goes_down = 0, comes_up = 0;  // where the top level is left, and met again
        for (uint64_t rest = brackets; rest; rest &= rest - 1) {
            unsigned i = lowest(rest);
            unsigned c = p[i];
            unsigned opens = (c >> 1) & 1;
            uint64_t kind = (c >> 5) & 1;
            // `eq_brackets` takes Y, y, _ and DEL for brackets, too.
            state.odd |= (((c >> 1) ^ (c >> 2)) & 1) ^ 1;
            state.odd |= (state.kinds ^ kind) & 1 & (opens ^ 1);
            state.kinds = opens ? (state.kinds << 1) | kind : state.kinds >> 1;
            uint64_t edge = static_cast<uint64_t>(state.depth + opens == 2) << i;
            goes_down |= opens ? edge : 0;
            comes_up |= opens ? 0 : edge;
            state.depth += 2 * opens - 1;
            if (__builtin_expect(state.depth - 1 > 62, 0)) {  // 0, or too deep for `kinds`
                if (state.depth) return EXACT;
                closing = uint64_t(1) << i;
                break;
            }
        }
        // From each place where it goes down up to where it comes up again: they take turns.
        top = ~(comes_up - goes_down - state.nested);
        state.nested = state.depth > 1;
    } else if (state.depth != 1) {
        return special && newlines ? EXACT : 64;
    }
    uint64_t before_end = closing - 1;  // all, where it is not here
    uint64_t commas = (block.eq(needles.comma) & outside & top & before_end) | state.first;
    uint64_t colons = block.eq(needles.colon) & outside & top & before_end;
    state.first = 0;
    // From each comma up to its colon, if they take turns; where they do not, a bit is not as it should be.
    uint64_t in_key = colons - commas - state.in_key;
    uint64_t starts = (commas << 1) | state.key_start;
    uint64_t value_starts = (colons << 1) | state.value_start;
    uint64_t no_value = commas | closing;
    if (special) no_value |= block.at_most(needles.space);
    state.odd |= ((in_key & (commas | colons)) ^ commas)         // they take turns
                 | (in_key & outside & ~commas)                  // nothing but a string in a key's place
                 | ((in_key & quotes & inside) ^ starts)         // one string, and at once
                 | (value_starts & no_value)                     // no empty or blank value
                 | (in_key & closing);
    state.in_key = in_key >> 63;
    state.key_start = commas >> 63;
    state.value_start = colons >> 63;
    places.n += put_places(commas | colons | closing, from, places.at + places.n);
    if (__builtin_expect(places.n > MOST_PLACES, 0)) return EXACT;
    if (closing) return lowest(closing);
    return special && newlines ? EXACT : 64;
}

// Walks one line that begins with `{`. Returns its end where it is as collectors write it, else null.
static inline const uint8_t *scan_json(const Needles &needles, const KeyLengths &lengths, const Plan &plan,
                                       const uint8_t *line, const uint8_t *end, Span *values) {
    JsonState state;
    JsonPlaces places;
    places.n = 0;
    const uint8_t *line_end;
    for (const uint8_t *p = line;; p += 64) {
        Block block = load_block(p, end);
        unsigned from = static_cast<unsigned>(p - line);
        unsigned closing;
        if (__builtin_expect(block.has_special(needles), 0))
            closing = walk_json_block<true>(needles, block, p, from, state, places);
        else
            closing = walk_json_block<false>(needles, block, p, from, state, places);
        if (closing == 64 && from < LONGEST_WALK) continue;
        if (closing >= 64 || state.odd) return nullptr;
        line_end = p + closing + 1;
        while (line_end < end && is_blank(*line_end)) line_end++;
        if (line_end < end && *line_end != '\n') return nullptr;
        break;
    }
    for (unsigned i = 0; i + 2 < places.n; i += 2) {
        unsigned n = places.at[i + 1] - places.at[i] - 2u;  // without the opening quote, with the closing one
        if (__builtin_expect(!lengths.have(n), 1)) continue;
        const uint8_t *key = line + places.at[i] + 2;
        if (end - key < 8) return nullptr;
        int field = find_key(plan, key, n);
        if (field < 0) continue;
        const uint8_t *value = line + places.at[i + 1] + 1, *value_end = line + places.at[i + 2];
        if (values[field].n_tag != SPAN_MISSING) return nullptr;  // the key's second value
        if (is_blank(*value) || is_blank(value_end[-1])) return nullptr;
        values[field] = Span{value, span_key(static_cast<uint64_t>(value_end - value), TAG_JSON)};
    }
    return line_end;
}

static size_t scan_lines(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                         size_t room) {
    const uint8_t *p = *cursor;
    size_t n = 0;
    const Needles needles;
    const KeyLengths lengths(plan);
    const bool texts_fill_all = plan.text24.n_columns == plan.n_fields && plan.text27.n_columns == plan.n_fields;
    uint32_t text_form = plan.format == FORMAT_TEXT27 ? FORM_TEXT27 : FORM_TEXT24;
    for (; p < end && n < room; n++, values += plan.n_fields) {
        uint8_t first = *p;
        if (texts_fill_all && first > ' ' && (first != '{' || plan.format > FORMAT_JSON) && plan.format != FORMAT_JSON) {
            size_t walked = scan_short_texts(plan, &p, end, lines + n, values, room - n);
            n += walked;
            values += walked * plan.n_fields;
            if (n == room || p == end) break;
            first = *p;
        }
        Line *line = &lines[n];
        line->p = p;
        const uint8_t *line_end;
        bool is_text = first > ' ' && plan.format != FORMAT_JSON && (first != '{' || plan.format > FORMAT_JSON);
        // A text line's columns fill all values where every field has a column.
        if (!is_text || !texts_fill_all) forget_values(plan, values);
        if (is_text) {
            line_end = scan_text(needles, plan, p, end, values, &text_form, line);
        } else if (first == '{' && plan.format <= FORMAT_JSON) {
            line_end = scan_json(needles, lengths, plan, p, end, values);
            line->form = FORM_JSON;
            if (__builtin_expect(line_end == nullptr, 0)) {
                forget_values(plan, values);
                line_end = find_line_end(needles, p, end);
                line->form = FORM_JSON_ODD;
            }
        } else {
            line_end = find_line_end(needles, p, end);
            line->form = plan.format == FORMAT_JSON ? FORM_JSON_ODD : FORM_TEXT_ODD;
        }
        line->n = static_cast<uint64_t>(line_end - p);
        line->newlines = line_end < end;
        p = line_end + line->newlines;
    }
    *cursor = p;
    return n;
}
