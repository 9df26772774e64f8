// The line walk over lines that are grown, not found: the input is no more than the seed of what is drawn.
#include "check_scan.hpp"
#include "grown.hpp"
#include "guarded.hpp"

using namespace check_scan;

namespace {

std::vector<Wish> draw_wishes(Grown &grown) {
    static const std::vector<std::string> names = {
        "a", "source_namespace", "dest_namespace", "num_flows", "seven77", "eight888", "", "k1", "k2", "p",
        "a_key_that_is_longer_than_sixty_three_bytes_with_what_stands_before_it"};
    std::vector<Wish> wishes;
    const bool have_columns = !grown.one_in(4);
    const size_t first = grown.below(names.size());
    for (size_t n = 1 + grown.below(8), i = 0; i < n; i++) {
        Wish wish{names[(first + i) % names.size()], SKIPPED, NO_COLUMN, SKIPPED};
        if (have_columns || grown.one_in(2)) {
            wish.column24 = static_cast<uint16_t>(grown.below(24));
            wish.column27 = static_cast<uint16_t>(grown.below(27));
            if (grown.one_in(3)) wish.kind24 = grown.one_in(2) ? 3 : 7;
        }
        wishes.push_back(wish);
    }
    return wishes;
}

}  // namespace

void fuzz_one(const uint8_t *from, size_t n) {
    static Guarded guarded(size_t(1) << 24);
    uint64_t seed = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) seed = (seed ^ from[i]) * 0x100000001b3u;
    Grown grown(seed);
    const std::vector<Wish> wishes = draw_wishes(grown);
    std::vector<std::string> keys;
    for (const Wish &wish : wishes) keys.push_back(wish.key);
    static const Format formats[] = {FORMAT_AUTO, FORMAT_AUTO, FORMAT_AUTO, FORMAT_JSON, FORMAT_TEXT24, FORMAT_TEXT27};
    const Wanted wanted(wishes, formats[grown.below(6)]);
    const size_t room = grown.one_in(4) ? 1 : 7;
    const std::string text = grown.buffer(keys);
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(text.data());
    const uint8_t *p = guarded.at_end(bytes, text.size());
    check_buffer(wanted.plan, p, p + text.size(), room);
    p = guarded.at_begin(bytes, text.size());
    check_buffer(wanted.plan, p, p + text.size(), room);
}
