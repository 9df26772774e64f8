// The line walk on anything at all. What it promises is in check_scan.hpp; fuzz_grown.cpp goes to its borders.
#include "check_scan.hpp"

using namespace check_scan;

void fuzz_one(const uint8_t *from, size_t n) {
    static const std::vector<Wish> wishes = {{"source_namespace", 3, SKIPPED, 3}, {"dest_namespace", 8, 6, 4},
                                             {"num_flows", 23, SKIPPED, 26}, {"a", SKIPPED, SKIPPED, 25},
                                             {"source_name", 0, SKIPPED, SKIPPED}};
    // Where every field has a column, text lines are walked another way than where one has none.
    static const Wanted few({wishes[0], wishes[1]}, FORMAT_AUTO), some({wishes[0], wishes[1], wishes[2]}, FORMAT_AUTO),
        all(wishes, FORMAT_AUTO);
    std::vector<uint8_t> copy = exact_copy(from, n);
    for (const Wanted *wanted : {&few, &some, &all}) check_buffer(wanted->plan, copy.data(), copy.data() + n, 7);
}
