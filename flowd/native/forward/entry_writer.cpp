#include "forward/entry_writer.hpp"

#include <algorithm>
#include <new>

#include "values/columns.hpp"
#include "values/json.hpp"
#include "forward/packed_number.hpp"
#include "forward/time_text.hpp"

namespace flowd {

namespace {

// Readable behind each line: so nothing asks whether a line has ended that its newline or a bound of its own ends.
constexpr size_t READ_AHEAD = 2 * TEXT_AHEAD;
// What an entry needs beside MOST_TEXT_GROWTH times its line: its time, headers of open levels, and what is written ahead. A
// number of three bytes (1e5) becomes nine, a list's bracket and comma a byte each; nothing grows more.
constexpr size_t LINE_ROOM = 1024;
constexpr size_t MOST_KEPT_BYTES = 1 << 20;

constexpr int64_t NS_A_SECOND = 1000000000;
constexpr size_t TIME_BYTES = 11;

// [EventTime, ...
uint8_t *put_begin(uint8_t *w, uint32_t seconds, uint32_t ns) {
    *w++ = 0x92;
    *w++ = 0xD7;
    w = pack_big(w, static_cast<uint8_t>(EVENT_TIME), seconds, 4);
    const uint32_t big = __builtin_bswap32(ns);
    std::memcpy(w, &big, 4);
    return w + 4;
}

// Within a line; the newline ends it.
inline const uint8_t *skip_line_blanks(const uint8_t *p) {
    while (__builtin_expect(*p <= ' ', 0) && (*p == ' ' || *p == '\t' || *p == '\r')) p++;
    return p;
}

inline bool is_word(const uint8_t *p, const char *word, size_t n) { return std::memcmp(p, word, n) == 0; }

// The number or the word at *p; null where there is none.
uint8_t *pack_scalar(uint8_t *w, const uint8_t **p) {
    switch (**p) {
    case 't':
        if (!is_word(*p, "true", 4)) return nullptr;
        *p += 4;
        *w = 0xC3;
        return w + 1;
    case 'f':
        if (!is_word(*p, "false", 5)) return nullptr;
        *p += 5;
        *w = 0xC2;
        return w + 1;
    case 'n':
        if (!is_word(*p, "null", 4)) return nullptr;
        *p += 4;
        *w = NIL;
        return w + 1;
    default:
        return pack_number(w, p);
    }
}

bool is_nothing(const uint8_t *p, size_t n) { return n == 1 && *p == '-'; }

template <size_t N> uint8_t *pack_name(uint8_t *w, const char (&name)[N]) {
    w = pack_text_header(w, N - 1);
    std::memcpy(w, name, N - 1);
    return w + N - 1;
}

// `[a,b]` or `[a b]` as {"<name>": ["a", "b"]}.
template <size_t N> uint8_t *pack_list(uint8_t *w, const char (&name)[N], const uint8_t *p, size_t n) {
    if (n < 2 || p[0] != '[' || p[n - 1] != ']') return pack_plain_text(w, p, n);
    const uint8_t *end = p + n - 1;
    size_t count = 0;
    if (n > 2) {
        count = 1;
        for (const uint8_t *c = p + 1; c < end; c++) count += *c == ',' || *c == ' ';
    }
    put_container_header(w, true, 1);
    w = pack_name(w + 1, name);
    put_container_header(w, false, count);
    w += container_header_bytes(count);
    for (const uint8_t *from = p + 1; count; count--) {
        const uint8_t *to = from;
        while (to < end && *to != ',' && *to != ' ') to++;
        w = pack_plain_text(w, from, static_cast<size_t>(to - from));
        from = to + 1;
    }
    return w;
}

uint8_t *pack_column(uint8_t *w, uint32_t mapping, uint64_t tag, const uint8_t *p, size_t n) {
    const uint8_t *text;
    size_t text_n;
    if (find_column_text(mapping, tag, p, n, &text, &text_n)) {
        if (text == p) return pack_plain_text(w, p, n);
        w = pack_text_header(w, text_n);  // a word of the mapping's, of which nothing behind can be read
        std::memcpy(w, text, text_n);
        return w + text_n;
    }
    if (is_nothing(p, n) && mapping != MAP_INTEGER) {
        *w = NIL;
        return w + 1;
    }
    switch (mapping) {
    case MAP_LABELS:
        return pack_list(w, "labels", p, n);
    case MAP_POLICIES:
        return pack_list(w, "all_policies", p, n);
    default:
        break;
    }
    const uint8_t *behind = p;
    uint8_t *number_end = pack_integer(w, &behind);
    return number_end != nullptr && behind == p + n ? number_end : pack_plain_text(w, p, n);
}

const uint8_t *skip_packed(const uint8_t *p, const uint8_t *end) {
    uint64_t at = 0, left = 1;
    const size_t n = static_cast<size_t>(end - p);
    skip_objects(p, n, n, &at, &left);
    return p + at;
}

}  // namespace

bool EntryWriter::add_column(uint32_t form, const uint8_t *name, size_t n, const WantedColumn &column, uint32_t mapping) {
    Layout &layout = layouts_[form == FORM_TEXT27];
    if (layout.n == MOST_COLUMNS || n > MOST_NAME_BYTES) return false;
    FieldColumn &field = layout.fields[layout.n];
    uint8_t *w = pack_text_header(field.name, n);
    std::memcpy(w, name, n);
    field.name_n = static_cast<uint8_t>(n + 1);
    field.mapping = mapping;
    layout.columns[layout.n] = column;
    layout.columns[layout.n].field = layout.n;
    layout.n++;
    layout.names_bytes += n + 1 + LONGEST_PACK_HEADER;
    return true;
}

bool EntryWriter::set_time_key(const uint8_t *key, size_t n) {
    try {
        time_key_.resize(n + LONGEST_NUMBER);
    } catch (const std::bad_alloc &) {
        return false;
    }
    uint8_t *w = pack_text_header(time_key_.data(), n);
    if (n) std::memcpy(w, key, n);
    time_key_.resize(static_cast<size_t>(w + n - time_key_.data()));
    return true;
}

bool EntryWriter::is_time_key(const uint8_t *key, const uint8_t *key_end) const {
    const size_t n = static_cast<size_t>(key_end - key);
    return n == time_key_.size() && std::memcmp(key, time_key_.data(), n) == 0;
}

// The packed value as the entry's time; where it is none, that is the lines'.
void EntryWriter::read_time(const uint8_t *value, const uint8_t *value_end) {
    const PackHeader header = read_pack_header(value, value_end);
    seconds_ = lines_seconds_;
    ns_ = lines_ns_;
    if (header.kind == Pack::unsigned_ && header.value <= MOST_SECONDS_OF_ENTRY) {
        seconds_ = static_cast<uint32_t>(header.value);
        ns_ = 0;
    } else if (header.kind == Pack::float64) {
        const double number = read_pack_float(header);
        if (!(number >= 0 && number <= static_cast<double>(MOST_SECONDS_OF_ENTRY))) return;
        seconds_ = static_cast<uint32_t>(number);
        ns_ = static_cast<uint32_t>((number - static_cast<double>(seconds_)) * static_cast<double>(NS_A_SECOND));
    } else if (header.kind == Pack::str) {
        uint32_t seconds, ns;
        if (!read_time_text(value + header.n, static_cast<size_t>(header.value), &seconds, &ns)) return;
        seconds_ = seconds;
        ns_ = ns;
    }
}

// Of equal keys the first one's place and the last one's value count: the object is written once more, without the rest.
uint8_t *EntryWriter::settle_repeats(Level &level, uint8_t *w) {
    const size_t n = static_cast<size_t>(w - (base_ + level.begin));
    pairs_.assign(base_ + level.begin, w);
    by_first_.assign(repeats_.begin() + static_cast<std::ptrdiff_t>(level.repeats), repeats_.end());
    std::sort(by_first_.begin(), by_first_.end(), [](const Repeat &a, const Repeat &b) {
        return a.first != b.first ? a.first < b.first : a.again < b.again;
    });
    const uint8_t *const begin = pairs_.data(), *const end = begin + n;
    size_t dropped = level.repeats, found = 0;
    w = base_ + level.begin;
    for (const uint8_t *p = begin; p < end;) {
        const size_t place = level.begin + static_cast<size_t>(p - begin);
        const uint8_t *value = skip_packed(p, end), *behind = skip_packed(value, end), *from = value, *to = behind;
        if (dropped < repeats_.size() && repeats_[dropped].again == place) {
            dropped++;
        } else {
            for (; found < by_first_.size() && by_first_[found].first == place; found++) {
                from = skip_packed(begin + (by_first_[found].again - level.begin), end);
                to = nullptr;
            }
            if (to == nullptr) to = skip_packed(from, end);
            const size_t key_n = static_cast<size_t>(value - p), value_n = static_cast<size_t>(to - from);
            std::memcpy(w, p, key_n);
            std::memcpy(w + key_n, from, value_n);
            w += key_n + value_n;
        }
        p = behind;
    }
    level.count -= repeats_.size() - level.repeats;
    repeats_.resize(level.repeats);
    return w;
}

// Writes the header of a level whose objects are all there.
uint8_t *EntryWriter::close(const Level &level, uint8_t *w) {
    const unsigned header_n = container_header_bytes(level.count);
    uint8_t *const header = base_ + level.header_at, *const begin = base_ + level.begin;
    if (__builtin_expect(header + header_n != begin, 0)) {
        std::memmove(header + header_n, begin, static_cast<size_t>(w - begin));
        w = header + header_n + (w - begin);
    }
    put_container_header(header, level.is_map, level.count);
    return w;
}

// The object that a line is, behind its first bracket; null where it is malformed or nested too deep. A bounded stack takes
// recursion's place. May throw std::bad_alloc.
uint8_t *EntryWriter::pack_object(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    Level levels[MOST_RECORD_LEVELS];
    Level *level = levels;
    auto open = [&](bool is_map, unsigned header_n) {
        const size_t header_at = static_cast<size_t>(w - base_);
        *level = Level{header_at, header_at + header_n, repeats_.size(), is_map ? keys_.begin_object() : 0, 0, is_map};
        w += header_n;
    };
    keys_.begin_line();
    repeats_.clear();
    open(true, usual_header_);
    for (;;) {
        bool is_time = false;
        p = skip_line_blanks(p);
        const bool is_empty = level->count == 0 && *p == (level->is_map ? '}' : ']');
        if (!is_empty) {
            level->count++;
            if (level->is_map) {
                if (*p++ != '"') return nullptr;
                uint8_t *const key = w;
                if ((w = pack_json_text(w, &p, end)) == nullptr) return nullptr;
                const size_t place = static_cast<size_t>(key - base_);
                const size_t first = keys_.note(level->object, base_, place, static_cast<size_t>(w - key));
                if (__builtin_expect(first != KeyTable::NO_PLACE, 0)) repeats_.push_back(Repeat{first, place});
                is_time = level == levels && !time_key_.empty() && is_time_key(key, w);
                p = skip_line_blanks(p);
                if (*p++ != ':') return nullptr;
                p = skip_line_blanks(p);
            }
            const uint8_t c = *p;
            if (c == '"') {
                p++;
                uint8_t *const value = w;
                if ((w = pack_json_text(w, &p, end)) == nullptr) return nullptr;
                if (__builtin_expect(is_time, 0)) read_time(value, w);
            } else if (c == '{' || c == '[') {
                if (is_time) read_time(&NIL, &NIL + 1);
                if (level == levels + MOST_RECORD_LEVELS - 1) return nullptr;
                p++;
                level++;
                open(c == '{', 1);
                continue;
            } else {
                uint8_t *const value = w;
                if ((w = pack_scalar(w, &p)) == nullptr) return nullptr;
                if (__builtin_expect(is_time, 0)) read_time(value, w);
            }
        }
        for (;;) {
            p = skip_line_blanks(p);
            if (*p == ',' && !is_empty) break;
            if (*p != (level->is_map ? '}' : ']')) return nullptr;
            p++;
            if (__builtin_expect(repeats_.size() > level->repeats, 0)) w = settle_repeats(*level, w);
            w = close(*level, w);
            if (level == levels) {
                usual_header_ = container_header_bytes(level->count);
                return skip_line_blanks(p) == end ? w : nullptr;
            }
            level--;
            if (*(p = skip_line_blanks(p)) == ',') break;
        }
        p++;
    }
}

// The record of a line of columns; null where it is none.
uint8_t *EntryWriter::pack_columns(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    Span values[MOST_COLUMNS];
    Plan plan{};
    plan.n_fields = std::max(layouts_[0].n, layouts_[1].n);
    plan.text24 = TextPlan{layouts_[0].columns, layouts_[0].n, nullptr, 0, TEXT24_SEPARATORS};
    plan.text27 = TextPlan{layouts_[1].columns, layouts_[1].n, nullptr, 0, TEXT27_SEPARATORS};
    plan.format = FORMAT_AUTO;
    const uint32_t form = walk_columns(plan, p, static_cast<size_t>(end - p), values);
    if (form == FORM_MALFORMED) return nullptr;
    const Layout &layout = layouts_[form == FORM_TEXT27];
    put_container_header(w, true, layout.n);
    w += container_header_bytes(layout.n);
    for (uint32_t i = 0; i < layout.n; i++) {
        const FieldColumn &field = layout.fields[i];
        uint8_t *const name = w;
        std::memcpy(w, field.name, sizeof field.name);
        w += field.name_n;
        uint8_t *const value = w;
        w = pack_column(w, field.mapping, values[i].n_tag >> 56, values[i].p, values[i].n_tag & SPAN_BYTES);
        if (!time_key_.empty() && is_time_key(name, value)) read_time(value, w);
    }
    return w;
}

bool EntryWriter::write_line(const uint8_t *p, const uint8_t *end, Bytes &entries, PackedLines *packed) {
    const size_t n = static_cast<size_t>(end - p), before = entries.size();
    if (!entries.make_room(MOST_TEXT_GROWTH * n + LINE_ROOM + layouts_[0].names_bytes + layouts_[1].names_bytes)) return false;
    base_ = entries.data();
    uint8_t *const entry = base_ + before, *const record = entry + TIME_BYTES;
    seconds_ = lines_seconds_;
    ns_ = lines_ns_;
    const uint8_t *first = skip_line_blanks(p);
    uint8_t *w = *first == '{' ? pack_object(record, first + 1, end) : pack_columns(record, p, end);
    if (__builtin_expect(w == nullptr, 0)) {
        seconds_ = lines_seconds_;
        ns_ = lines_ns_;
        put_container_header(record, true, 1);
        w = pack_plain_text(pack_name(record + 1, "message"), p, n);
        packed->messages++;
    }
    put_begin(entry, seconds_, ns_);
    packed->entries++;
    entries.shrink(static_cast<size_t>(w - base_));
    return true;
}

bool EntryWriter::write(const uint8_t *p, size_t n, int64_t time_ns, Bytes &entries, PackedLines *packed) {
    const uint8_t *const end = p + n;
    int64_t seconds = time_ns / NS_A_SECOND, ns = time_ns % NS_A_SECOND;
    if (ns < 0) ns += NS_A_SECOND, seconds--;
    const int64_t most = static_cast<int64_t>(MOST_SECONDS_OF_ENTRY);
    lines_seconds_ = static_cast<uint32_t>(seconds < 0 ? 0 : seconds > most ? most : seconds);
    lines_ns_ = static_cast<uint32_t>(ns);
    try {
        while (p < end) {
            const void *newline = std::memchr(p, '\n', static_cast<size_t>(end - p));
            const uint8_t *line_end = newline ? static_cast<const uint8_t *>(newline) : end;
            if (static_cast<size_t>(end - line_end) > READ_AHEAD) {
                if (!write_line(p, line_end, entries, packed)) return false;
            } else {
                static const uint8_t behind[1 + READ_AHEAD] = {'\n'};
                const size_t line_n = static_cast<size_t>(line_end - p);
                last_line_.clear();
                last_line_.append(p, line_n);
                last_line_.append(behind, sizeof behind);
                if (last_line_.failed()) return false;
                if (!write_line(last_line_.data(), last_line_.data() + line_n, entries, packed)) return false;
            }
            p = line_end + 1;
        }
    } catch (const std::bad_alloc &) {
        return false;
    }
    return true;
}

void EntryWriter::give_back() {
    last_line_.clear();
    last_line_.give_back(MOST_KEPT_BYTES);
    if (pairs_.capacity() > MOST_KEPT_BYTES) pairs_ = std::vector<uint8_t>();
    if (repeats_.capacity() > MOST_KEPT_BYTES / sizeof(Repeat)) repeats_ = std::vector<Repeat>();
    if (by_first_.capacity() > MOST_KEPT_BYTES / sizeof(Repeat)) by_first_ = std::vector<Repeat>();
}

}  // namespace flowd
