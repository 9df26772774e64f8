#include "forward/msgpack.hpp"

namespace flowd {

Skipped skip_objects(const uint8_t *p, size_t n, uint64_t most, uint64_t *at, uint64_t *left) {
    uint64_t place = *at, wanted = *left;
    Skipped skipped = Skipped::done;
    while (wanted) {
        // Neither sum overflows: what is added to either is below 2^33, and the last round's sum was not above `most`.
        if (place > most || wanted > most - place) {
            skipped = Skipped::too_large;
            break;
        }
        if (place >= n) {
            skipped = Skipped::truncated;
            break;
        }
        const PackHeader header = read_pack_header(p + place, p + n);
        if (header.n == 0 || header.kind == Pack::invalid) {
            skipped = header.n == 0 ? Skipped::truncated : Skipped::invalid;
            break;
        }
        place += header.n + bytes_behind(header);
        wanted += objects_behind(header) - 1;
    }
    if (skipped == Skipped::done && place > most)
        skipped = Skipped::too_large;
    else if (skipped == Skipped::done && place > n)
        skipped = Skipped::truncated;
    *at = place;
    *left = wanted;
    return skipped;
}

}  // namespace flowd
