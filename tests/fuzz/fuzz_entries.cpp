// Lines as entries of the Forward protocol: on bytes as they come, and on JSON that is grown from them, since plain mutation
// seldom gives repeated keys or deep nesting. Each line becomes one well-formed entry of a bounded size with valid UTF-8; lines
// together become what they become alone.
#include <algorithm>

#include "values/columns.hpp"
#include "forward/entry_writer.hpp"
#include "fuzz.hpp"
#include "forward/line_writer.hpp"
#include "values/utf8.hpp"

using namespace flowd;

namespace {

constexpr int64_t TIME_NS = 1700000000123456789;
// A line grows threefold at most; the rest is an entry's own, and the names of its columns.
constexpr size_t ENTRY_BYTES = 1024;

// JSON by choices that the input makes, byte by byte: nearly always well formed.
class Growing {
  public:
    Growing(const uint8_t *p, size_t n) : p_(p), end_(p + n) {}

    std::vector<uint8_t> lines() {
        while (p_ < end_) {
            object(0);
            put(draw() % 16 ? "\n" : " \r\n");
        }
        return out_;
    }

  private:
    uint8_t draw() { return p_ < end_ ? *p_++ : 0; }
    void put(const char *text) { out_.insert(out_.end(), text, text + std::strlen(text)); }
    void text() {
        static const char *const PIECES[] = {"\\ud83d", "\\ude00", "\\u0061", "\\n", "\\\"", "\xC3\xA9", "\xFF", "\xE2\x82", "\\x"};
        out_.push_back('"');
        for (unsigned n = draw() % 40; n; n--) {
            const uint8_t c = draw();
            if (c >= 0xF8) put(PIECES[draw() % (sizeof PIECES / sizeof *PIECES)]);
            else out_.push_back(c == '"' || c == '\\' || c == '\n' ? 'x' : c);
        }
        out_.push_back('"');
    }
    void key() {
        static const char *const KEYS[] = {"\"a\"", "\"b\"", "\"\\u0061\"", "\"t\"", "\"\"", "\"\xFF\"", "\"\xFE\""};
        const uint8_t choice = draw() % 8;
        if (choice < 7) put(KEYS[choice]);
        else text();
    }
    void object(unsigned depth) {
        put("{");
        for (unsigned n = draw() % 20, i = 0; i < n; i++) {
            if (i) put(draw() % 32 ? "," : " , ");
            key();
            put(":");
            value(depth + 1);
        }
        put("}");
    }
    void value(unsigned depth) {
        static const char *const SCALARS[] = {"true", "false", "null", "0", "-0", "127", "128", "-33", "65536", "1e5", "0.5", "NaN",
                                              "1e400", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
                                              "\"2023-11-14T22:13:20.5+01:30\"", "1700000000.25", "01", "-Infinity"};
        const uint8_t choice = draw();
        if (depth > 27 || p_ == end_) return put("1");
        switch (choice % 5) {
        case 0: return object(depth);
        case 1:
            put("[");
            for (unsigned n = draw() % 18, i = 0; i < n; i++) {
                if (i) put(",");
                value(depth + 1);
            }
            return put("]");
        case 2: return text();
        default: return put(SCALARS[draw() % (sizeof SCALARS / sizeof *SCALARS)]);
        }
    }

    const uint8_t *p_, *end_;
    std::vector<uint8_t> out_;
};

// Walks an entry's objects: strings are UTF-8, no map has a key twice, nothing is nested too deep.
void check_objects(const uint8_t *p, const uint8_t *end, unsigned depth, uint64_t count, const uint8_t **behind) {
    FUZZ_CHECK(depth <= MOST_RECORD_LEVELS + 1);
    for (; count; count--) {
        const PackHeader header = read_pack_header(p, end);
        FUZZ_CHECK(header.n != 0 && header.kind != Pack::invalid);
        p += header.n;
        FUZZ_CHECK(bytes_behind(header) <= static_cast<size_t>(end - p));
        if (header.kind == Pack::str) FUZZ_CHECK(read_traits(p, header.value).is_valid);
        p += bytes_behind(header);
        if (header.kind == Pack::map) {
            std::vector<std::string> keys;
            for (uint64_t i = 0; i < header.value; i++) {
                const uint8_t *key = p;
                check_objects(p, end, depth + 1, 1, &p);
                keys.emplace_back(reinterpret_cast<const char *>(key), static_cast<size_t>(p - key));
                check_objects(p, end, depth + 1, 1, &p);
            }
            std::sort(keys.begin(), keys.end());
            FUZZ_CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
        } else if (header.kind == Pack::array) {
            check_objects(p, end, depth + 1, header.value, &p);
        }
    }
    *behind = p;
}

class Writer {
  public:
    Writer(const char *time_key) {
        static const struct {
            const char *name;
            uint16_t column, kind_column;
            uint32_t mapping;
        } FIELDS[] = {{"start_time", 0, NO_COLUMN, MAP_INTEGER},      {"source_type", 2, NO_COLUMN, MAP_TYPE},
                      {"source_name", 4, 2, MAP_NAME},                {"source_name_aggr", 4, 2, MAP_NAME_AGGR},
                      {"source_labels", 5, NO_COLUMN, MAP_LABELS},    {"source_ip", 10, NO_COLUMN, MAP_NULLABLE_STRING},
                      {"proto", 12, NO_COLUMN, MAP_PROTOCOL},         {"source_port", 13, NO_COLUMN, MAP_NULLABLE_INTEGER},
                      {"reporter", 18, NO_COLUMN, MAP_REPORTER},      {"policies", 22, NO_COLUMN, MAP_POLICIES},
                      {"action", 23, NO_COLUMN, MAP_STRING}};
        for (const auto &field : FIELDS) {
            for (uint32_t form : {FORM_TEXT24, FORM_TEXT27})
                FUZZ_CHECK(writer_.add_column(form, reinterpret_cast<const uint8_t *>(field.name), std::strlen(field.name),
                                              WantedColumn{field.column, field.kind_column, 0}, field.mapping));
        }
        if (*time_key)
            FUZZ_CHECK(writer_.set_time_key(reinterpret_cast<const uint8_t *>(time_key), std::strlen(time_key)));
    }

    std::vector<uint8_t> write(const uint8_t *p, size_t n, PackedLines *packed) {
        const std::vector<uint8_t> copy = exact_copy(p, n);
        entries_.clear();
        entries_.give_back(0);  // what is written beyond its room is seen
        *packed = PackedLines{0, 0};
        FUZZ_CHECK(writer_.write(copy.data(), n, TIME_NS, entries_, packed));
        writer_.give_back();
        return std::vector<uint8_t>(entries_.data(), entries_.data() + entries_.size());
    }

  private:
    EntryWriter writer_;
    Bytes entries_;
};

void check_lines(Writer &writer, const std::vector<uint8_t> &lines) {
    PackedLines all, one;
    const std::vector<uint8_t> entries = writer.write(lines.data(), lines.size(), &all);
    size_t at = 0;
    for (const uint8_t *p = lines.data(), *end = p + lines.size(); p < end;) {
        const void *newline = std::memchr(p, '\n', static_cast<size_t>(end - p));
        const uint8_t *line_end = newline ? static_cast<const uint8_t *>(newline) : end;
        const std::vector<uint8_t> alone = writer.write(p, static_cast<size_t>((newline ? line_end + 1 : end) - p), &one);
        FUZZ_CHECK(one.entries == 1 && one.messages <= 1);
        FUZZ_CHECK(alone.size() <= 3 * static_cast<size_t>(line_end - p) + ENTRY_BYTES);
        FUZZ_CHECK(at + alone.size() <= entries.size() && std::memcmp(entries.data() + at, alone.data(), alone.size()) == 0);
        const uint8_t *behind = nullptr;
        check_objects(alone.data(), alone.data() + alone.size(), 0, 1, &behind);
        FUZZ_CHECK(behind == alone.data() + alone.size());
        at += alone.size();
        all.entries--;
        all.messages -= one.messages;
        p = line_end + 1;
    }
    FUZZ_CHECK(at == entries.size() && all.entries == 0 && all.messages == 0);
    // And back: what is an entry here is one there, too. Not-a-number and the infinite are texts of JSON then.
    static Bytes written;
    static LineWriter line_writer;
    const EntryForm form{false, nullptr, 0, TIME_NS};
    for (const uint8_t *p = entries.data(), *end = p + entries.size(); p < end;) {
        written.clear();
        FUZZ_CHECK(line_writer.write(form, &p, end, written) == Entry::written);
    }
}

}  // namespace

void fuzz_one(const uint8_t *p, size_t n) {
    static Writer plain(""), timed("t"), by_start("start_time");
    Writer &writer = n % 3 == 0 ? plain : n % 3 == 1 ? timed : by_start;
    check_lines(writer, std::vector<uint8_t>(p, p + n));
    std::vector<uint8_t> grown = Growing(p, n).lines();
    check_lines(writer, grown);
    if (grown.empty()) return;
    grown[(n ? p[n / 2] * 31u : 0) % grown.size()] ^= n ? p[0] : 1;
    grown.resize(grown.size() - n % 5 % grown.size());
    check_lines(writer, grown);
}
