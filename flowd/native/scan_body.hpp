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
    Needle newline{'\n'}, space{' '}, quote{'"'}, backslash{'\\'}, comma{','}, colon{':'}, open{'{'}, close{'}'};
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

// The field whose key begins at p (behind the opening quote), or -1; *value is where its value begins.
static inline int find_key(const Plan &plan, const uint8_t *p, const uint8_t *end, const uint8_t **value) {
    uint64_t head = load_head(p);
    for (uint32_t k = 0; k < plan.n_keys; k++) {
        const WantedKey &key = plan.keys[k];
        if ((head & key.head_mask) != key.head) continue;
        if (key.n > 8 && (static_cast<size_t>(end - p) <= key.n || !same_tail(p, key.quoted, key.n))) continue;
        *value = p + key.n + 1;  // behind the closing quote stands the colon
        return static_cast<int>(key.field);
    }
    return -1;
}

// The keys to look for, as vector compares: a key can only begin at a place where its last byte's neighbour is the
// closing quote and one chosen byte is right. With more keys than these, every key of the line is compared by itself.
constexpr unsigned MOST_PROBES = 4;

struct Probes {
    unsigned n = 0;
    size_t reach = 0;  // how far behind a block its loads go
    Needle byte[MOST_PROBES]{Needle{0}, Needle{0}, Needle{0}, Needle{0}};
    size_t byte_at[MOST_PROBES], quote_at[MOST_PROBES];

    explicit Probes(const Plan &plan) {
        if (plan.n_keys > MOST_PROBES) return;
        for (uint32_t k = 0; k < plan.n_keys; k++) {
            const WantedKey &key = plan.keys[k];
            size_t at = key.n > 8 ? (key.n - 1) / 2 : 0;  // keys share beginnings and endings more than middles
            byte[n] = Needle{static_cast<char>(key.quoted[at])};
            byte_at[n] = 1 + at;
            quote_at[n] = key.n;
            if (quote_at[n] > reach) reach = quote_at[n];
            n++;
        }
    }
    // Places in the block at p where a wanted key may begin (its opening quote).
    inline uint64_t find(const Needles &needles, const uint8_t *p) const {
        uint64_t found = 0;
        for (unsigned i = 0; i < n; i++)
            found |= Block::load(p + byte_at[i]).eq(byte[i]) & Block::load(p + quote_at[i]).eq(needles.quote);
        return found;
    }
};

// Ends the value of a wanted key. False where it is not as collectors write it.
static inline bool end_value(Span *span, const uint8_t *value, const uint8_t *value_end) {
    if (span->n_tag != SPAN_MISSING) return false;  // the key's second value
    uint64_t n = static_cast<uint64_t>(value_end - value);
    if (is_blank(value[0]) || is_blank(value[n - 1])) return false;
    *span = Span{value, span_key(n, TAG_JSON)};
    return true;
}

// Walks one line that begins with `{`. Returns its end where it is as collectors write it, else null.
static inline const uint8_t *scan_json(const Needles &needles, const Probes &probes, const Plan &plan,
                                       const uint8_t *line, const uint8_t *end, Span *values) {
    uint64_t inside_carry = 0, value_carry = 0;  // all ones while inside a string, behind a colon
    uint64_t start_carry = 0, colon_carry = 0;   // a key (a value) begins with the block's first byte
    uint64_t kinds = 0;                          // the open brackets' kinds, the innermost in bit 0
    unsigned depth = 0;
    int pending = -1;  // the wanted field whose value we are in
    const uint8_t *pending_value = nullptr;
    for (const uint8_t *p = line;; p += 64) {
        Block block = load_block(p, end);
        uint64_t newlines = block.eq(needles.newline);
        uint64_t within = ~newlines & (newlines - 1);
        uint64_t quotes = block.eq(needles.quote) & within;
        uint64_t inside = prefix_xor(quotes) ^ inside_carry;
        inside_carry = static_cast<uint64_t>(static_cast<int64_t>(inside) >> 63);
        uint64_t plain = ~inside & ~quotes & within;
        uint64_t brackets = (block.eq_fold(needles.open) | block.eq_fold(needles.close)) & plain;
        uint64_t odd = block.eq(needles.backslash) & within;

        uint64_t top = depth == 1 ? ~uint64_t(0) : 0;  // the places at depth 1
        uint64_t opening = 0;                          // the object's own `{`
        unsigned close_at = 64;                        // the object's own `}`
        if (brackets) {
            top = 0;
            unsigned from = 0;
            for (uint64_t rest = brackets; rest; rest &= rest - 1) {
                unsigned i = lowest(rest);
                if (depth == 1) top |= bits_from(from) & bits_below(i);
                uint8_t c = p[i];
                uint64_t kind = (c >> 5) & 1;
                if ((c & 0x1F) == ('{' & 0x1F)) {
                    if (depth == 0) opening = uint64_t(1) << i;
                    if (++depth > 64) return nullptr;
                    kinds = (kinds << 1) | kind;
                } else {
                    if ((kinds & 1) != kind) return nullptr;
                    kinds >>= 1;
                    if (--depth == 0) {
                        close_at = i;
                        break;
                    }
                }
                from = i + 1;
            }
            if (depth == 1) top |= bits_from(from);
        }

        uint64_t commas = block.eq(needles.comma) & plain & top;
        uint64_t colons = block.eq(needles.colon) & plain & top;
        uint64_t in_value = prefix_xor(commas | colons) ^ value_carry;
        value_carry = static_cast<uint64_t>(static_cast<int64_t>(in_value) >> 63);
        uint64_t in_key = top & ~in_value & within;
        uint64_t starts = (((commas | opening) << 1) | start_carry) & within;
        start_carry = (commas | opening) >> 63;
        uint64_t value_starts = (colons << 1) | colon_carry;
        colon_carry = colons >> 63;
        uint64_t closing = close_at < 64 ? uint64_t(1) << close_at : 0;
        odd |= (colons & ~in_value) | (commas & in_value)    // they alternate
               | (plain & in_key & ~commas)                  // nothing but a string in a key's place
               | ((quotes & inside & in_key) ^ starts)       // one string, and at once
               | (brackets & ~opening & ~in_value)           // no bracket in a key's place
               | (value_starts & (commas | closing | block.at_most(needles.space)));  // no empty or blank value
        if (odd) return nullptr;

        uint64_t keys = starts;
        if (probes.n && static_cast<size_t>(end - p) >= 64 + probes.reach) keys &= probes.find(needles, p);
        uint64_t ends = commas | closing;
        if (keys | (pending >= 0 ? ends : 0)) {
            // Keys and the ends of values in their order: a value ends before the next key begins.
            for (;;) {
                if (pending >= 0) {
                    // Ends in this block and behind the value's beginning.
                    uint64_t behind = pending_value > p ? ends & bits_from(static_cast<unsigned>(pending_value - p)) : ends;
                    if (pending_value >= p + 64 || behind == 0) break;
                    if (!end_value(&values[pending], pending_value, p + lowest(behind))) return nullptr;
                    pending = -1;
                }
                if (keys == 0) break;
                const uint8_t *key = p + lowest(keys) + 1;
                keys &= keys - 1;
                if (end - key < 8) return nullptr;
                pending = find_key(plan, key, end, &pending_value);
            }
        }

        if (close_at < 64) {
            const uint8_t *tail = p + close_at + 1;
            while (tail < end && is_blank(*tail)) tail++;
            return tail == end || *tail == '\n' ? tail : nullptr;
        }
        if (newlines) return nullptr;
    }
}

static size_t scan_lines(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                         size_t room) {
    const uint8_t *p = *cursor;
    size_t n = 0;
    const Needles needles;
    const Probes probes(plan);
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
            line_end = scan_json(needles, probes, plan, p, end, values);
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
