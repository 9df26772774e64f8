// The walk of text lines. Included by scan_<level>.cpp after scan_common.hpp and ShortLine.
//
// Blocks of 64 bytes from the line's start; the newline ends the line, blanks are counted by popcount, and only the wanted
// separators are located. Lines of less than 192 bytes, nearly all, are walked without a branch that depends on them.

// The tag of a name by its endpoint's type, which ends at `separator`: what is not one of three words is another type. The
// byte behind the type is in the line, too.
static inline uint64_t kind_tag(const uint8_t *p, const uint8_t *separator) {
    uint32_t word;
    std::memcpy(&word, p, 4);
    uint8_t words[3][4] = {{'n', 'e', 't', ' '}, {'p', 'u', 'b', ' '}, {'p', 'v', 't', ' '}};
    uint64_t tag = TAG_NAME_OTHER;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t kind;
        std::memcpy(&kind, words[i], 4);
        tag = word == kind ? TAG_NAME_NET + i : tag;
    }
    return separator - p == 3 ? tag : static_cast<uint64_t>(TAG_NAME_OTHER);
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

constexpr unsigned SHORT_LINE = 192;
// With one block more, places up to here can be said in a byte.
constexpr unsigned LONGEST_SHORT_LINE = 250;

// Walks text lines of less than 192 bytes, as most are, or not much longer, as long as they follow each other: three blocks at once, and no
// branch that depends on where in them things are. Stops before a line of any other kind, and returns how many it walked.
__attribute__((noinline)) static size_t scan_short_texts(const Plan &plan, const uint8_t **cursor, const uint8_t *end,
                                                         Line *lines, Span *values, size_t room) {
    const Needle newline{'\n'}, space{' '};
    const uint8_t *line = *cursor;
    size_t n = 0;
    ShortLine found;
    for (; n < room && end - line >= 256; n++, values += plan.n_fields) {
        __builtin_prefetch(line + FETCH_AHEAD);
        __builtin_prefetch(line + FETCH_AHEAD + 64);
        uint8_t first = line[0];
        if (first <= ' ' || (first == '{' && plan.format == FORMAT_AUTO)) break;
        found.walk(plan, newline, space, line);
        if (__builtin_expect(found.n >= SHORT_LINE, 0)) {
            found.extend(plan, newline, space, line);
            if (found.n > LONGEST_SHORT_LINE) break;
        }
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
