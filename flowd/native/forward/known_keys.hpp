// The keys of records as they came lately, each with the one that came behind it: what the next record's keys probably are.
// A key that is the expected one is compared, not read: neither its length nor what stands in it has to be looked at.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scan/scan.hpp"

namespace flowd {

constexpr size_t KNOWN_KEY_BYTES = 32;  // of msgpack: a header of one byte and 31 of text at most

struct KnownKey {
    uint8_t packed[KNOWN_KEY_BYTES];  // header and text; what is behind them is not looked at
    uint64_t mask;   // a bit for each byte of `packed` that counts; NO_KEY besides where nothing may be found equal
    KnownKey *next;  // the key that came behind it
    int32_t field;   // that the key names, -1 where it is none
    uint8_t n;       // bytes of `packed`
};
constexpr uint64_t NO_KEY = uint64_t(1) << KNOWN_KEY_BYTES;

// For one thread and one plan. Bounded: where there are too many keys all are forgotten, and it begins anew.
class KnownKeys {
  public:
    KnownKeys();
    KnownKeys(const KnownKeys &) = delete;
    KnownKeys &operator=(const KnownKeys &) = delete;

    KnownKey *root() { return keys_; }  // what stands before a record's first key

    // Finds the key at p, a string of less than 32 bytes, or learns it; it is what is expected behind `before` from now
    // on. Null where its text cannot be written as it is. KNOWN_KEY_BYTES can be read.
    KnownKey *meet(KnownKey *before, const uint8_t *p, const Plan &plan);

  private:
    static constexpr unsigned MOST_KEYS = 128;
    static constexpr unsigned PLACES = 512;
    static constexpr unsigned MOST_LOOKS = 16;

    void forget();

    KnownKey keys_[MOST_KEYS];
    uint8_t places_[PLACES];  // by hash: a key's number, 0 where there is none
    unsigned n_;
};

}  // namespace flowd
