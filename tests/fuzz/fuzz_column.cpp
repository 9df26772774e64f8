// A text column becomes one valid JSON value, whatever it holds.
#include "values/columns.hpp"
#include "fuzz.hpp"
#include "values/json.hpp"

using namespace flowd;

void fuzz_one(const uint8_t *from, size_t n) {
    static Bytes out, stack;
    std::vector<uint8_t> copy = exact_copy(from, n);
    for (uint32_t mapping = MAP_STRING; mapping <= MAP_POLICIES; mapping++)
        for (uint64_t tag = TAG_COLUMN24; tag <= TAG_COLUMN27; tag++) {
            out.clear();
            map_column(mapping, tag, copy.data(), n, out);
            FUZZ_CHECK(is_valid_value(out.data(), out.size(), Strictness::lenient, stack));
        }
}
