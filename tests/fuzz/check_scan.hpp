// What the walk promises, checked for one buffer: every SIMD level sees the same lines and spans; what it vouches for,
// the exact way sees likewise; and a value is found in its table by the bytes that it has.
#pragma once

#include <map>
#include <memory>
#include <tuple>

#include "values/columns.hpp"
#include "fuzz.hpp"
#include "values/json.hpp"
#include "scan/scan.hpp"
#include "caches/value_table.hpp"

namespace check_scan {

using namespace flowd;

constexpr uint16_t SKIPPED = NO_COLUMN;

// What a field is read from. A column SKIPPED is none.
struct Wish {
    std::string key;
    uint16_t column24, kind24, column27;
};

// A plan for these fields, made as Program.build_text makes it.
struct Wanted {
    struct Text {
        std::vector<WantedColumn> columns;
        std::vector<uint16_t> separators;
    };

    std::vector<std::string> quoted;
    std::vector<WantedKey> keys;
    Text text24, text27;
    Plan plan{};

    Wanted(const std::vector<Wish> &wishes, Format format) {
        for (const Wish &wish : wishes) quoted.push_back(wish.key + '"');
        for (uint32_t f = 0; f < wishes.size(); f++) {
            const Wish &wish = wishes[f];
            WantedKey key{0, 0, reinterpret_cast<const uint8_t *>(quoted[f].data()),
                          static_cast<uint32_t>(quoted[f].size()), f};
            size_t n = quoted[f].size() < 8 ? quoted[f].size() : 8;
            std::memcpy(&key.head, quoted[f].data(), n);
            std::memset(&key.head_mask, 255, n);
            keys.push_back(key);
            want(text24, wish.column24, wish.kind24, f);
            want(text27, wish.column27, NO_COLUMN, f);
        }
        plan.keys = keys.data();
        plan.n_keys = static_cast<uint32_t>(keys.size());
        plan.n_fields = static_cast<uint32_t>(wishes.size());
        plan.text24 = finish(text24, TEXT24_SEPARATORS);
        plan.text27 = finish(text27, TEXT27_SEPARATORS);
        plan.format = format;
    }

  private:
    static void want(Text &text, uint16_t column, uint16_t kind, uint32_t field) {
        if (column != SKIPPED) text.columns.push_back({column, kind, field});
    }
    static TextPlan finish(Text &text, uint32_t separators) {
        for (uint16_t place = 0; place < separators; place++)
            for (const WantedColumn &wanted : text.columns) {
                bool is_beside = wanted.column == place || wanted.column == place + 1;
                bool is_beside_kind = wanted.kind_column == place || wanted.kind_column == place + 1;
                if (!is_beside && !(wanted.kind_column != NO_COLUMN && is_beside_kind)) continue;
                text.separators.push_back(place);
                break;
            }
        return TextPlan{text.columns.data(), static_cast<uint32_t>(text.columns.size()), text.separators.data(),
                        static_cast<uint32_t>(text.separators.size()), separators};
    }
};

struct Walked {
    std::vector<Line> lines;
    std::vector<Span> spans;
};

inline bool same_spans(const Span *a, const Span *b, size_t n) {
    for (size_t f = 0; f < n; f++)
        if (a[f].n_tag != b[f].n_tag || (a[f].n_tag != SPAN_MISSING && a[f].p != b[f].p)) return false;
    return true;
}

// In blocks of seven lines, or of one: what is left open by one call, the next one must see.
inline Walked walk(const SimdLevel &level, const Plan &plan, const uint8_t *p, const uint8_t *end, size_t room) {
    Walked walked;
    std::vector<Line> block(room);
    std::vector<Span> values(room * plan.n_fields);
    while (p < end) {
        size_t n = level.scan_lines(plan, &p, end, block.data(), values.data(), room);
        FUZZ_CHECK(n > 0 && n <= room);
        walked.lines.insert(walked.lines.end(), block.data(), block.data() + n);
        walked.spans.insert(walked.spans.end(), values.data(), values.data() + n * plan.n_fields);
    }
    return walked;
}

inline void check_same(const Walked &a, const Walked &b, size_t fields) {
    FUZZ_CHECK(a.lines.size() == b.lines.size());
    for (size_t i = 0; i < a.lines.size(); i++) {
        FUZZ_CHECK(a.lines[i].p == b.lines[i].p && a.lines[i].n == b.lines[i].n);
        FUZZ_CHECK(a.lines[i].form == b.lines[i].form && a.lines[i].newlines == b.lines[i].newlines);
        if (a.lines[i].form <= FORM_TEXT27) FUZZ_CHECK(same_spans(&a.spans[i * fields], &b.spans[i * fields], fields));
    }
}

// What a slow eye sees of the lines: where they end, and what the exact way says of those that the walk vouches for.
inline void check_exact(const Plan &plan, const Walked &walked, const uint8_t *p, const uint8_t *end) {
    static Bytes stack, key;
    const size_t fields = plan.n_fields;
    std::vector<Span> exact(fields);
    for (size_t i = 0; i < walked.lines.size(); i++) {
        const Line &line = walked.lines[i];
        const Span *spans = &walked.spans[i * fields];
        const void *newline = std::memchr(p, '\n', static_cast<size_t>(end - p));
        const uint8_t *line_end = newline != nullptr ? static_cast<const uint8_t *>(newline) : end;
        FUZZ_CHECK(line.p == p && line.n == static_cast<size_t>(line_end - p) && line.newlines == (newline != nullptr));
        p = line_end + line.newlines;
        if (line.form == FORM_JSON) {
            // The values themselves are checked on a miss of the value table: the exact way checks them at once.
            bool is_valid = walk_object(plan, line.p, line.n, Strictness::lenient, exact.data(), stack, key);
            bool values_valid = true;
            for (size_t f = 0; f < fields; f++)
                if (spans[f].n_tag != SPAN_MISSING)
                    values_valid &= is_valid_value(spans[f].p, spans[f].n_tag & SPAN_BYTES, Strictness::lenient, stack);
            FUZZ_CHECK(is_valid == values_valid);
            if (is_valid) FUZZ_CHECK(same_spans(exact.data(), spans, fields));
        } else if (line.form == FORM_TEXT24 || line.form == FORM_TEXT27) {
            FUZZ_CHECK(walk_columns(plan, line.p, line.n, exact.data()) == line.form);
            FUZZ_CHECK(same_spans(exact.data(), spans, fields));
        } else if (line.form == FORM_JSON_ODD) {
            walk_object(plan, line.p, line.n, Strictness::ruby, exact.data(), stack, key);
        } else {
            walk_columns(plan, line.p, line.n, exact.data());
        }
    }
    FUZZ_CHECK(p == end);
}

// Classes given in the order in which values come, by a map of their bytes and by the tables of this machine's level.
inline void check_tables(const Plan &plan, const Walked &walked, const uint8_t *end) {
    const size_t fields = plan.n_fields, n = walked.lines.size();
    std::unique_ptr<ValueTable[]> tables(new ValueTable[fields]);
    std::map<std::tuple<size_t, uint64_t, std::string>, uint32_t> known;
    std::vector<uint32_t> missing(fields, 77), expected, found(n * fields);
    for (size_t f = 0; f < fields; f++) tables[f].set_bound(size_t(4) << 20);
    std::vector<Span> spans = walked.spans;
    for (size_t i = 0; i < n; i++)  // of odd lines there are no spans
        if (walked.lines[i].form > FORM_TEXT27)
            for (size_t f = 0; f < fields; f++) spans[i * fields + f] = Span{nullptr, SPAN_MISSING};
    for (size_t at = 0; at < spans.size(); at++) {
        const Span &span = spans[at];
        if (span.n_tag == SPAN_MISSING) {
            expected.push_back(77);
            continue;
        }
        const uint64_t size = span.n_tag & SPAN_BYTES;
        std::string bytes(reinterpret_cast<const char *>(span.p), size);
        uint32_t next = static_cast<uint32_t>(1000 + known.size());
        uint32_t value_class = known.insert({{at % fields, span.n_tag, bytes}, next}).first->second;
        expected.push_back(size <= ValueTable::LONGEST ? value_class : ValueTable::NONE);
        ValueTable::Key key = ValueTable::make_key(span, end);
        if (value_class == next) {
            FUZZ_CHECK(tables[at % fields].find(key, span) == ValueTable::NONE);
            tables[at % fields].insert(key, span, value_class);
        }
    }
    if (n == 0) return;
    for (int again = 0; again < 2; again++) {
        simd_level().find_classes(tables.get(), missing.data(), spans.data(), n, plan.n_fields, end, found.data());
        for (size_t at = 0; at < spans.size(); at++) FUZZ_CHECK(found[at] == expected[at]);
    }
}

// All of it, for a buffer in which nothing behind `end` may be read.
inline void check_buffer(const Plan &plan, const uint8_t *p, const uint8_t *end, size_t room) {
    Walked first;
    for (const SimdLevel *level = simd_levels(); level->name != nullptr; level++) {
        Walked walked = walk(*level, plan, p, end, room);
        if (level == simd_levels())
            first = std::move(walked);
        else
            check_same(first, walked, plan.n_fields);
    }
    check_exact(plan, first, p, end);
    check_tables(plan, first, end);
}

}  // namespace check_scan
