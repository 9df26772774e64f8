#include "values/columns.hpp"

namespace flowd {

namespace {

// Must any of these bytes be written with a backslash?
bool has_escapes(const uint8_t *p, size_t n) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = ones << 7;
    uint64_t found = 0;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t word;
        std::memcpy(&word, p + i, 8);
        uint64_t quotes = word ^ (ones * '"'), backslashes = word ^ (ones * '\\');
        found |= ((quotes - ones) & ~quotes) | ((backslashes - ones) & ~backslashes) | ((word - ones * 0x20) & ~word);
    }
    bool in_rest = false;
    for (; i < n; i++) in_rest |= p[i] == '"' || p[i] == '\\' || p[i] < 0x20;
    return in_rest || (found & highs) != 0;
}

void push_string(const uint8_t *p, size_t n, Bytes &out) {
    static const char digits[] = "0123456789abcdef";
    out.push('"');
    if (!has_escapes(p, n)) {
        out.append(p, n);
        out.push('"');
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        if (c == '"' || c == '\\') {
            out.push('\\');
            out.push(c);
        } else if (c < 0x20) {
            out.append("\\u00");
            out.push(static_cast<uint8_t>(digits[c >> 4]));
            out.push(static_cast<uint8_t>(digits[c & 15]));
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

bool is(const uint8_t *p, size_t n, const char *text) { return n == std::strlen(text) && std::memcmp(p, text, n) == 0; }

bool is_integer(const uint8_t *p, size_t n) {
    size_t i = n && p[0] == '-' ? 1 : 0;
    if (i == n || (p[i] == '0' && n - i > 1)) return false;
    for (; i < n; i++)
        if (p[i] < '0' || p[i] > '9') return false;
    return true;
}

void push_integer(const uint8_t *p, size_t n, Bytes &out) {
    if (is_integer(p, n))
        out.append(p, n);
    else
        push_string(p, n, out);
}

// `[a,b]` or `[a b]` as {"<name>":["a","b"]}.
void push_list(const char *name, const uint8_t *p, size_t n, Bytes &out) {
    if (is(p, n, "-")) {
        out.append("null");
        return;
    }
    if (n < 2 || p[0] != '[' || p[n - 1] != ']') {
        push_string(p, n, out);
        return;
    }
    out.append("{\"");
    out.append(name);
    out.append("\":[");
    const uint8_t *end = p + n - 1;
    for (const uint8_t *from = p + 1; n > 2 && from <= end;) {
        const uint8_t *to = from;
        while (to < end && *to != ',' && *to != ' ') to++;
        if (from != p + 1) out.push(',');
        push_string(from, static_cast<size_t>(to - from), out);
        from = to + 1;
    }
    out.append("]}");
}

const char *protocol_name(const uint8_t *p, size_t n) {
    static const struct {
        const char *number, *name;
    } names[] = {{"6", "tcp"}, {"17", "udp"}, {"1", "icmp"}, {"58", "icmp6"}, {"132", "sctp"}, {"4", "ipip"}, {"50", "esp"}};
    for (const auto &known : names)
        if (is(p, n, known.number)) return known.name;
    return nullptr;
}

bool is_aggregate(uint64_t tag, const uint8_t *p, size_t n) {
    if (tag == TAG_NAME_PUB || tag == TAG_NAME_PVT) return true;
    if (tag == TAG_NAME_NET && (is(p, n, "pub") || is(p, n, "pvt"))) return true;
    return n > 0 && p[n - 1] == '*';
}

constexpr uint32_t MOST_SEPARATORS = 26;

// The first blank from p on, or end: eight bytes at a time, since columns are some ten bytes long.
const uint8_t *find_blank(const uint8_t *p, const uint8_t *end) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = ones << 7, blanks = ones * ' ';
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        std::memcpy(&word, p, 8);
        word ^= blanks;
        if ((word - ones) & ~word & highs) break;  // a blank is among them
    }
    while (p < end && *p != ' ') p++;
    return p;
}

// Where the blanks are, eight bytes at a time. More than there may be of separators end the count.
uint32_t find_blanks(const uint8_t *p, const uint8_t *end, const uint8_t **places) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = ones << 7, blanks = ones * ' ';
    uint32_t count = 0;
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        std::memcpy(&word, p, 8);
        word ^= blanks;
        // Exact in every byte: nothing is carried from one into the next.
        for (uint64_t found = ~(((word & ~highs) + ~highs) | word | ~highs); found; found &= found - 1) {
            if (count == MOST_SEPARATORS) return MOST_SEPARATORS + 1;
            places[count++] = p + __builtin_ctzll(found) / 8;
        }
    }
    for (; p < end; p++) {
        if (*p != ' ') continue;
        if (count == MOST_SEPARATORS) return MOST_SEPARATORS + 1;
        places[count++] = p;
    }
    return count;
}

// The end of the list that begins at p: its bracket, before a blank or the line's end. Null where it is not closed.
const uint8_t *find_list_end(const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        p = static_cast<const uint8_t *>(std::memchr(p, ']', static_cast<size_t>(end - p)));
        if (p == nullptr || p + 1 == end || p[1] == ' ') return p;
        p++;
    }
    return nullptr;
}

// Where the separators are; one inside brackets is none when `lists` is set. More than there may be end the count.
uint32_t find_separators(const uint8_t *p, const uint8_t *end, bool lists, const uint8_t **places) {
    if (end > p && end[-1] == '\r') end--;  // no part of the last column
    if (!lists) return find_blanks(p, end, places);
    for (uint32_t count = 0;; p++) {
        if (p < end && *p == '[') {
            const uint8_t *close = find_list_end(p, end);
            if (close != nullptr) p = close;
        }
        p = find_blank(p, end);
        if (p == end) return count;
        if (count == MOST_SEPARATORS) return MOST_SEPARATORS + 1;
        places[count++] = p;
    }
}

void fill_columns(const TextPlan &plan, const uint8_t *line, const uint8_t *end, const uint8_t *const *places,
                  uint64_t plain_tag, Span *values) {
    if (end > line && end[-1] == '\r') end--;
    for (uint32_t i = 0; i < plan.n_columns; i++) {
        const WantedColumn &wanted = plan.columns[i];
        auto start_of = [&](uint16_t column) { return column ? places[column - 1] + 1 : line; };
        const uint8_t *p = start_of(wanted.column);
        const uint8_t *stop = wanted.column < plan.separators_in_line ? places[wanted.column] : end;
        uint64_t tag = plain_tag;
        if (wanted.kind_column != NO_COLUMN) {
            const uint8_t *kind = start_of(wanted.kind_column);
            size_t n = static_cast<size_t>(places[wanted.kind_column] - kind);
            tag = is(kind, n, "net")   ? TAG_NAME_NET
                  : is(kind, n, "pub") ? TAG_NAME_PUB
                  : is(kind, n, "pvt") ? TAG_NAME_PVT
                                       : TAG_NAME_OTHER;
        }
        values[wanted.field] = Span{p, span_key(static_cast<uint64_t>(stop - p), tag)};
    }
}

bool is_blank_line(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') return false;
    return true;
}

}  // namespace

uint32_t walk_columns(const Plan &plan, const uint8_t *p, size_t n, Span *values) {
    for (uint32_t f = 0; f < plan.n_fields; f++) values[f] = Span{nullptr, SPAN_MISSING};
    if (is_blank_line(p, n)) return FORM_MALFORMED;
    const uint8_t *places[MOST_SEPARATORS];
    uint32_t count = find_separators(p, p + n, false, places);
    if (count == TEXT24_SEPARATORS && plan.format != FORMAT_TEXT27) {
        fill_columns(plan.text24, p, p + n, places, TAG_COLUMN24, values);
        return FORM_TEXT24;
    }
    if (count > TEXT27_SEPARATORS) count = find_separators(p, p + n, true, places);
    if (count != TEXT27_SEPARATORS || plan.format == FORMAT_TEXT24) return FORM_MALFORMED;
    fill_columns(plan.text27, p, p + n, places, TAG_COLUMN27, values);
    return FORM_TEXT27;
}

bool find_column_text(uint32_t mapping, uint64_t tag, const uint8_t *p, size_t n, const uint8_t **text, size_t *text_n) {
    const char *other = nullptr;  // what stands for the column's own bytes
    switch (mapping) {
    case MAP_STRING:
        break;
    case MAP_NULLABLE_STRING:
        if (is(p, n, "-")) return false;
        break;
    case MAP_REPORTER:
        other = is(p, n, "out") ? "src" : is(p, n, "in") ? "dst" : nullptr;
        break;
    case MAP_TYPE:
        other = is(p, n, "pub") || is(p, n, "pvt") ? "net" : nullptr;
        break;
    case MAP_NAME:
        other = is_aggregate(tag, p, n) ? "-" : nullptr;
        break;
    case MAP_NAME_AGGR:
        other = tag == TAG_NAME_PUB ? "pub" : tag == TAG_NAME_PVT ? "pvt" : nullptr;
        break;
    case MAP_PROTOCOL:
        other = protocol_name(p, n);
        break;
    default:
        return false;
    }
    *text = other ? reinterpret_cast<const uint8_t *>(other) : p;
    *text_n = other ? std::strlen(other) : n;
    return true;
}

void map_column(uint32_t mapping, uint64_t tag, const uint8_t *p, size_t n, Bytes &out) {
    const uint8_t *text;
    size_t text_n;
    if (find_column_text(mapping, tag, p, n, &text, &text_n)) {
        push_string(text, text_n, out);
        return;
    }
    switch (mapping) {
    case MAP_INTEGER:
        push_integer(p, n, out);
        break;
    case MAP_NULLABLE_INTEGER:
        is(p, n, "-") ? out.append("null") : push_integer(p, n, out);
        break;
    case MAP_LABELS:
        push_list("labels", p, n, out);
        break;
    case MAP_POLICIES:
        push_list("all_policies", p, n, out);
        break;
    default:  // MAP_NULLABLE_STRING, which has no text
        out.append("null");
    }
}

}  // namespace flowd
