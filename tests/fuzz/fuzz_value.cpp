// A JSON value: validity, the way into it, and its text, on anything at all.
#include "fuzz.hpp"
#include "values/json.hpp"
#include "values/labels.hpp"
#include "values/record.hpp"
#include "values/ruby_print.hpp"
#include "values/utf8.hpp"

using namespace flowd;

void fuzz_one(const uint8_t *from, size_t n) {
    static Bytes stack, key, text, scrubbed;
    static RubyPrinter printer;
    static Labels labels;
    std::vector<uint8_t> copy = exact_copy(from, n);
    const uint8_t *p = copy.data();
    read_traits(p, n);
    scrubbed.clear();
    scrub(p, n, scrubbed);
    if (n) FUZZ_CHECK(read_traits(scrubbed.data(), scrubbed.size()).is_valid);
    scrubbed.clear();
    mark_stray_bytes(p, n, scrubbed);
    if (n) FUZZ_CHECK(read_traits(scrubbed.data(), scrubbed.size()).is_valid);
    bool is_strict = is_valid_value(p, n, Strictness::ruby, stack);
    bool is_lenient = is_valid_value(p, n, Strictness::lenient, stack);
    FUZZ_CHECK(is_lenient || !is_strict);
    if (!is_lenient) return;
    text.clear();
    // Blanks around a value are cut before a value is printed.
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r' || p[n - 1] == '\n')) n--;
    while (n && (p[0] == ' ' || p[0] == '\t' || p[0] == '\r' || p[0] == '\n')) p++, n--;
    printer.print(p, n, text);
    const PathPart path[] = {{reinterpret_cast<const uint8_t *>("labels"), 6, 0}, {nullptr, 0, -1},
                             {reinterpret_cast<const uint8_t *>("a"), 1, 0}};
    for (size_t parts = 0; parts <= 3; parts++) {
        const uint8_t *reached = p;
        size_t length = n;
        if (dig(&reached, &length, path, parts, key) == REACHED_VALUE)
            FUZZ_CHECK(reached >= p && reached + length <= p + n && is_valid_value(reached, length, Strictness::lenient, stack));
        reached = p;
        length = n;
        if (descend(&reached, &length, path, parts, key) == REACHED_VALUE)
            FUZZ_CHECK(reached >= p && reached + length <= p + n);
        reached = p;
        length = n;
        if (follow(&reached, &length, path, parts, key) == REACHED_VALUE)
            FUZZ_CHECK(reached >= p && reached + length <= p + n && is_valid_value(reached, length, Strictness::lenient, stack));
    }
    static const Word words[] = {{reinterpret_cast<const uint8_t *>("a"), 1}, {reinterpret_cast<const uint8_t *>(""), 0}};
    FUZZ_CHECK(labels.read(p, n));
    for (const Word &word : words) {
        Requirement exists{word, LABEL_EXISTS, nullptr, 0}, absent{word, LABEL_ABSENT, nullptr, 0};
        Requirement in{word, LABEL_IN, words, 2}, not_in{word, LABEL_NOT_IN, words, 2};
        FUZZ_CHECK(labels.fulfil(&exists, 1) != labels.fulfil(&absent, 1));
        FUZZ_CHECK(labels.fulfil(&in, 1) != labels.fulfil(&not_in, 1));
        FUZZ_CHECK(!labels.fulfil(&in, 1) || labels.fulfil(&exists, 1));
    }
}
