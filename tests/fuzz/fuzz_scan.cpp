// The line walk: every SIMD level sees the same lines and spans; what it vouches for, the exact way sees likewise.
#include "columns.hpp"
#include "fuzz.hpp"
#include "json.hpp"
#include "scan.hpp"

using namespace flowd;

namespace {

constexpr uint32_t FIELDS = 5;

struct Wanted {
    std::string quoted[FIELDS] = {"source_namespace\"", "dest_namespace\"", "a\"", "num_flows\"", "source_name\""};
    WantedKey keys[FIELDS];
    WantedColumn columns24[4] = {{3, NO_COLUMN, 0}, {8, 6, 4}, {23, NO_COLUMN, 1}, {0, NO_COLUMN, 3}};
    uint16_t separators24[6] = {0, 2, 3, 5, 6, 7};
    uint16_t more24[8] = {0, 2, 3, 5, 6, 7, 8, 22};
    WantedColumn columns27[3] = {{3, NO_COLUMN, 0}, {26, NO_COLUMN, 1}, {4, NO_COLUMN, 4}};
    uint16_t separators27[4] = {2, 3, 4, 25};
    Plan plan{};

    explicit Wanted(uint32_t n_keys) {
        for (uint32_t k = 0; k < FIELDS; k++) {
            keys[k] = WantedKey{0, 0, reinterpret_cast<const uint8_t *>(quoted[k].data()),
                                static_cast<uint32_t>(quoted[k].size()), k};
            size_t n = quoted[k].size() < 8 ? quoted[k].size() : 8;
            std::memcpy(&keys[k].head, quoted[k].data(), n);
            std::memset(&keys[k].head_mask, 255, n);
        }
        plan.keys = keys;
        plan.n_keys = n_keys;
        plan.n_fields = FIELDS;
        plan.text24 = TextPlan{columns24, 4, more24, 8, TEXT24_SEPARATORS};
        plan.text27 = TextPlan{columns27, 3, separators27, 4, TEXT27_SEPARATORS};
    }
};

bool same_spans(const Span *a, const Span *b) {
    for (uint32_t f = 0; f < FIELDS; f++)
        if (a[f].n_tag != b[f].n_tag || (a[f].n_tag != SPAN_MISSING && a[f].p != b[f].p)) return false;
    return true;
}

void check_level(const SimdLevel &level, const Plan &plan, const uint8_t *p, const uint8_t *end,
                 std::vector<Line> &lines, std::vector<Span> &spans) {
    Line block[7];
    Span values[7 * FIELDS];
    lines.clear();
    spans.clear();
    while (p < end) {
        size_t n = level.scan_lines(plan, &p, end, block, values, 7);
        FUZZ_CHECK(n > 0);
        lines.insert(lines.end(), block, block + n);
        spans.insert(spans.end(), values, values + n * FIELDS);
    }
}

}  // namespace

void fuzz_one(const uint8_t *from, size_t n) {
    static Bytes stack, key;
    std::vector<uint8_t> copy = exact_copy(from, n);
    const uint8_t *p = copy.data(), *end = copy.data() + n;
    for (uint32_t n_keys : {2u, FIELDS}) {
        Wanted wanted(n_keys);
        std::vector<Line> first_lines, lines;
        std::vector<Span> first_spans, spans;
        for (const SimdLevel *level = simd_levels(); level->name != nullptr; level++) {
            bool is_first = level == simd_levels();
            check_level(*level, wanted.plan, p, end, is_first ? first_lines : lines, is_first ? first_spans : spans);
            if (is_first) continue;
            FUZZ_CHECK(lines.size() == first_lines.size());
            for (size_t i = 0; i < lines.size(); i++) {
                FUZZ_CHECK(lines[i].p == first_lines[i].p && lines[i].n == first_lines[i].n);
                FUZZ_CHECK(lines[i].form == first_lines[i].form && lines[i].newlines == first_lines[i].newlines);
                if (lines[i].form <= FORM_TEXT27)
                    FUZZ_CHECK(same_spans(&spans[i * FIELDS], &first_spans[i * FIELDS]));
            }
        }
        const uint8_t *expected = p;
        for (size_t i = 0; i < first_lines.size(); i++) {
            const Line &line = first_lines[i];
            FUZZ_CHECK(line.p == expected && (line.newlines || i + 1 == first_lines.size()));
            expected = line.p + line.n + line.newlines;
            std::vector<Span> exact(FIELDS);
            if (line.form == FORM_JSON) {
                // The values themselves are checked on a miss of the value table: the exact way checks them at once.
                bool is_valid = walk_object(wanted.plan, line.p, line.n, Strictness::lenient, exact.data(), stack, key);
                bool values_valid = true;
                for (uint32_t f = 0; f < FIELDS; f++) {
                    const Span &span = first_spans[i * FIELDS + f];
                    if (span.n_tag != SPAN_MISSING)
                        values_valid &= is_valid_value(span.p, span.n_tag & SPAN_BYTES, Strictness::lenient, stack);
                }
                FUZZ_CHECK(is_valid == values_valid);
                if (is_valid) FUZZ_CHECK(same_spans(exact.data(), &first_spans[i * FIELDS]));
            } else if (line.form == FORM_TEXT24 || line.form == FORM_TEXT27) {
                FUZZ_CHECK(walk_columns(wanted.plan, line.p, line.n, exact.data()) == line.form);
                FUZZ_CHECK(same_spans(exact.data(), &first_spans[i * FIELDS]));
            } else if (line.form == FORM_JSON_ODD) {
                walk_object(wanted.plan, line.p, line.n, Strictness::ruby, exact.data(), stack, key);
            } else {
                walk_columns(wanted.plan, line.p, line.n, exact.data());
            }
        }
        FUZZ_CHECK(expected == end);
    }
}
