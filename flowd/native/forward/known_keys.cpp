#include "forward/known_keys.hpp"

#include <cstring>

#include "forward/copy_plain.hpp"
#include "values/json.hpp"

namespace flowd {

namespace {

unsigned hash_key(const uint8_t *packed) {  // padded with zeros
    uint64_t hash = 0;
    for (size_t i = 0; i < KNOWN_KEY_BYTES; i += 8) {
        uint64_t word;
        std::memcpy(&word, packed + i, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return static_cast<unsigned>(hash);
}

}  // namespace

KnownKeys::KnownKeys() { forget(); }

void KnownKeys::forget() {
    std::memset(places_, 0, sizeof places_);
    std::memset(&keys_[0], 0, sizeof keys_[0]);
    keys_[0].mask = NO_KEY;
    keys_[0].next = root();
    keys_[0].field = -1;
    n_ = 1;
}

KnownKey *KnownKeys::meet(KnownKey *before, const uint8_t *p, const Plan &plan) {
    uint8_t packed[KNOWN_KEY_BYTES] = {}, copy[KNOWN_KEY_BYTES];
    const unsigned n = 1 + (*p & 0x1Fu);
    std::memcpy(packed, p, n);
    // Signed: the header counts as outside ASCII.
    if (copy_plain_pair(packed, copy) & ((uint64_t(1) << n) - 1) & ~uint64_t(1)) return nullptr;
    unsigned place = hash_key(packed) % PLACES;
    unsigned found = 0;
    for (unsigned looks = 0; looks < MOST_LOOKS && places_[place]; looks++, place = (place + 1) % PLACES) {
        const KnownKey &key = keys_[places_[place]];
        if (key.n == n && std::memcmp(key.packed, packed, n) == 0) {
            found = places_[place];
            break;
        }
    }
    if (found == 0) {
        if (n_ == MOST_KEYS || places_[place]) {
            forget();
            before = root();
            place = hash_key(packed) % PLACES;
        }
        found = n_++;
        places_[place] = static_cast<uint8_t>(found);
        KnownKey &key = keys_[found];
        std::memcpy(key.packed, packed, sizeof packed);
        key.mask = (uint64_t(1) << n) - 1;
        key.field = find_wanted(plan, packed + 1, n - 1);
        key.next = root();
        key.n = static_cast<uint8_t>(n);
    }
    before->next = &keys_[found];
    return &keys_[found];
}

}  // namespace flowd
