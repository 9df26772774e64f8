// Records in msgpack and the messages that carry them: on bytes as they come, and on msgpack that is grown from them, since
// plain mutation seldom gives any. What is written is JSON, by every SIMD level the same; the values that the writer notes
// are those that the exact way finds in the line; the writer, the walk past an entry, and the walk of a message in pieces
// agree on where things end. The writers live on from input to input, as they do in a daemon: keys recur.
#include "check_scan.hpp"
#include "forward/forward_message.hpp"
#include "fuzz.hpp"
#include "values/json.hpp"
#include "forward/line_writer.hpp"
#include "values/utf8.hpp"

using namespace flowd;

namespace {

// msgpack by choices that the input makes, byte by byte; well formed until it runs out of depth or of input.
class Growing {
  public:
    Growing(const uint8_t *p, size_t n) : p_(p), end_(p + n) {}

    std::vector<uint8_t> entries() {
        while (p_ < end_) {
            put(draw() % 16 ? 0x92 : draw());
            if (draw() % 8 == 0) put(0x92), time(), object(3);
            else time();
            if (draw() % 16) map(0);
            else object(0);
        }
        return out_;
    }
    std::vector<uint8_t> message() {
        static const uint8_t heads[] = {0x92, 0x93, 0x93, 0x94, 0x91, 0x96, 0xDC};
        put(heads[draw() % sizeof heads]);
        text();
        const uint8_t choice = draw();
        if (choice % 4 == 0) return entries();
        if (choice % 4 == 1) put(static_cast<uint8_t>(0x90 | (draw() & 15)));
        while (p_ < end_) object(0);
        return out_;
    }

  private:
    uint8_t draw() { return p_ < end_ ? *p_++ : 0; }
    void put(unsigned c) { out_.push_back(static_cast<uint8_t>(c)); }
    void text() {
        static const std::string words[] = {"a", "b", "time", "", "a\"b", std::string(30, 'k'), std::string(31, 'k'),
                                            std::string(32, 'k'), "key-longer-than-eight", "\xC3\xA9", std::string(63, 'x'),
                                            std::string(64, 'x')};
        if (const uint8_t choice = draw(); choice % 2) {
            const std::string &word = words[choice / 2 % (sizeof words / sizeof *words)];
            if (word.size() < 32) put(0xA0 | static_cast<unsigned>(word.size()));
            else put(0xD9), put(static_cast<unsigned>(word.size()));
            for (const char c : word) put(static_cast<uint8_t>(c));
            return;
        }
        const uint8_t n = draw() % 40;
        if (n < 32) put(0xA0 | n);
        else put(draw() % 2 ? 0xD9 : 0xC4), put(n);
        for (unsigned i = 0; i < n; i++) put(draw());
    }
    void number() {
        static const uint8_t firsts[] = {0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3, 0xCA, 0xCB};
        const unsigned i = draw() % sizeof firsts;
        put(firsts[i]);
        for (unsigned n = i < 8 ? 1u << (i % 4) : 4u << (i - 8); n; n--) put(draw());
    }
    void time() {
        switch (draw() % 4) {
        case 0: return number();
        case 1: put(0xD7), put(0); break;
        case 2: put(0xC7), put(8), put(0); break;
        default: put(1); return;
        }
        for (int i = 0; i < 8; i++) put(draw() & 0x7F);
    }
    void map(unsigned depth) {
        const uint8_t n = draw() % 8;
        put(0x80 | n);
        for (unsigned i = 0; i < n; i++) {
            if (draw() % 16) text();
            else object(depth + 1);
            object(depth + 1);
        }
    }
    void object(unsigned depth) {
        const uint8_t choice = draw();
        if (depth > 140 || p_ == end_) return put(0xC0);
        switch (choice % 8) {
        case 0: return map(depth);
        case 1: {
            const uint8_t n = draw() % 6;
            put(0x90 | n);
            for (unsigned i = 0; i < n; i++) object(depth + 1);
            return;
        }
        case 2: return number();
        case 3: {
            const uint8_t n = draw() % 5;
            put(0xD4 + n), put(draw() % 3);
            for (unsigned i = 0; i < 1u << n; i++) put(draw());
            return;
        }
        case 4: return put(choice >= 0xE0 || choice < 0x80 ? choice : 0xC2 | (choice & 1));
        default: return text();
        }
    }

    const uint8_t *p_, *end_;
    std::vector<uint8_t> out_;
};

const check_scan::Wanted &wanted() {
    static const check_scan::Wanted found({{"a", check_scan::SKIPPED, check_scan::SKIPPED, check_scan::SKIPPED},
                                           {"time", check_scan::SKIPPED, check_scan::SKIPPED, check_scan::SKIPPED},
                                           {std::string(31, 'k'), check_scan::SKIPPED, check_scan::SKIPPED, check_scan::SKIPPED},
                                           {"a\"b", check_scan::SKIPPED, check_scan::SKIPPED, check_scan::SKIPPED},
                                           {"", check_scan::SKIPPED, check_scan::SKIPPED, check_scan::SKIPPED}},
                                          FORMAT_JSON);
    return found;
}

// The values that were noted are those that the exact way finds; it looks for itself where the line is an odd one.
void check_values(const Line &line, const Span *values) {
    static Bytes stack, key;
    std::vector<Span> found(wanted().plan.n_fields);
    FUZZ_CHECK(line.form == FORM_JSON || line.form == FORM_JSON_ODD);
    FUZZ_CHECK(walk_object(wanted().plan, line.p, line.n, Strictness::ruby, found.data(), stack, key));
    for (size_t f = 0; line.form == FORM_JSON && f < found.size(); f++) {
        FUZZ_CHECK(values[f].n_tag == found[f].n_tag);
        FUZZ_CHECK(found[f].n_tag == SPAN_MISSING || values[f].p == found[f].p);
    }
}

void check_entries_by(LineWriter &writer, const std::vector<uint8_t> &copy, const EntryForm &form, Bytes &lines) {
    static Bytes stack;
    const Plan &plan = wanted().plan;
    std::vector<Line> block;
    std::vector<Span> values;
    const uint8_t *p = copy.data(), *end = p + copy.size();
    lines.clear();
    lines.give_back(0);  // what is written beyond its room is seen
    while (p < end) {
        const uint8_t *before = p, *behind = p;
        const size_t line_at = lines.size();
        Line line{};
        values.resize((block.size() + 1) * plan.n_fields);
        const Entry entry = writer.write(form, plan, &p, end, lines, &line, values.data() + block.size() * plan.n_fields);
        const Entry skipped = skip_entry(form.is_bare, &behind, end);
        if (entry != Entry::written) {
            FUZZ_CHECK(p == before && lines.size() == line_at);
            if (entry == Entry::truncated || entry == Entry::invalid) FUZZ_CHECK(skipped != Entry::written);
            if (skipped != Entry::written) {
                FUZZ_CHECK(behind == before);
                break;
            }
            FUZZ_CHECK(behind > before && behind <= end);
            p = behind;
            continue;
        }
        block.push_back(line);
        FUZZ_CHECK(skipped == Entry::written && p == behind && p > before);
        FUZZ_CHECK(lines.size() - line_at <= 10 * static_cast<size_t>(p - before) + 64);
        FUZZ_CHECK(line.n == lines.size() - line_at - 1);
    }
    settle_block(lines.data(), block.size(), plan.n_fields, block.data(), values.data());
    for (size_t i = 0; i < block.size(); i++) {
        const uint8_t *line = block[i].p;
        const size_t n = block[i].n;
        FUZZ_CHECK(line[n] == '\n' && line[0] == '{' && std::memchr(line, '\n', n) == nullptr);
        FUZZ_CHECK(is_valid_value(line, n, Strictness::ruby, stack));
        FUZZ_CHECK(read_traits(line, n).is_valid);
        check_values(block[i], values.data() + i * plan.n_fields);
    }
}

void check_entries(const std::vector<uint8_t> &input, bool is_bare, bool has_time) {
    constexpr size_t MOST_LEVELS_HERE = 5;
    static Bytes first, lines;
    static std::unique_ptr<LineWriter> writers[MOST_LEVELS_HERE];
    static const uint8_t TIME_KEY[] = "\"time\"";
    const EntryForm form{is_bare, has_time ? TIME_KEY : nullptr, sizeof TIME_KEY - 1, 1700000000000000000};
    const std::vector<uint8_t> copy = exact_copy(input.data(), input.size());
    for (size_t i = 0; simd_levels()[i].name; i++) {
        if (!writers[i]) writers[i] = std::make_unique<LineWriter>(simd_levels()[i]);
        check_entries_by(*writers[i], copy, form, i ? lines : first);
        if (i) FUZZ_CHECK(lines.size() == first.size());
        if (i && lines.size()) FUZZ_CHECK(std::memcmp(lines.data(), first.data(), lines.size()) == 0);
    }
}

void check_message(const std::vector<uint8_t> &input, size_t most) {
    const std::vector<uint8_t> copy = exact_copy(input.data(), input.size());
    MessageWalk whole{}, pieces{};
    uint64_t missing = 0;
    const Walked wanted = walk_message(whole, copy.data(), copy.size(), most, &missing);
    Walked walked = Walked::truncated;
    for (size_t have = 0; walked == Walked::truncated && have <= copy.size();) {
        const std::vector<uint8_t> piece = exact_copy(copy.data(), have);
        walked = walk_message(pieces, piece.data(), have, most, &missing);
        if (walked != Walked::truncated) break;
        FUZZ_CHECK(missing > 0);
        if (have == copy.size()) break;
        have = missing < copy.size() - have ? have + missing : copy.size();
    }
    FUZZ_CHECK(walked == wanted);
    if (wanted != Walked::done) return;
    FUZZ_CHECK(whole.at == pieces.at && whole.at <= copy.size() && whole.at <= most && whole.kind == pieces.kind);
    FUZZ_CHECK(whole.tag_begin <= whole.tag_end && whole.tag_end <= whole.entries_end + whole.at);
    FUZZ_CHECK(whole.entries_begin <= whole.entries_end && whole.entries_end <= whole.at);
    FUZZ_CHECK(whole.option_begin <= whole.option_end && whole.option_end <= whole.at);
}

}  // namespace

void fuzz_one(const uint8_t *p, size_t n) {
    const std::vector<uint8_t> plain(p, p + n);
    const uint8_t choice = n ? p[n - 1] : 0;
    check_entries(plain, choice & 1, choice & 2);
    check_message(plain, 1 << 16);
    std::vector<uint8_t> entries = Growing(p, n).entries(), message = Growing(p, n).message();
    if (choice & 4 && !entries.empty()) entries.resize(entries.size() - 1 - choice % entries.size());
    if (choice & 8 && !message.empty()) message[choice % message.size()] ^= choice;
    check_entries(entries, false, choice & 2);
    check_message(message, choice & 16 ? n / 2 + 1 : 1 << 20);
}
