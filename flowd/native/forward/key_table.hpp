// Which keys the objects of one line have had, so that a repeated one is found: a hash table of the places where packed keys
// stand. Its hashes are seeded, since keys are the sender's choice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "caches/value_table.hpp"

namespace flowd {

class KeyTable {
  public:
    static constexpr size_t NO_PLACE = ~size_t(0);

    // What was noted before is forgotten. A line with very many keys does not keep its memory.
    void begin_line() {
        if (slots_.size() > MOST_KEPT_SLOTS) slots_ = std::vector<Slot>();
        if (slots_.empty()) slots_.resize(FIRST_SLOTS);
        used_ = 0;
        first_object_ = next_object_;
    }

    // A new object's number.
    uint64_t begin_object() { return next_object_++; }

    // The place where this object has the key already, or NO_PLACE; it is noted then. Keys are n packed bytes at a place of
    // the entries, whose first byte is at `base`; eight more than that can be read. May throw std::bad_alloc.
    size_t note(uint64_t object, const uint8_t *base, size_t place, size_t n) {
        const uint64_t hash = mix(hash_key(base + place, n) + object, hash_seeds().s[3]);
        const size_t mask = slots_.size() - 1;
        size_t i = hash & mask;
        for (; slots_[i].object >= first_object_; i = (i + 1) & mask)
            if (slots_[i].hash == hash && slots_[i].object == object &&
                std::memcmp(base + slots_[i].place, base + place, n) == 0)
                return slots_[i].place;
        slots_[i] = Slot{hash, object, place};
        if (++used_ * 2 > slots_.size()) grow();
        return NO_PLACE;
    }

  private:
    struct Slot {
        uint64_t hash;
        uint64_t object;  // below `first_object_`: nobody's
        size_t place;
    };
    static constexpr size_t FIRST_SLOTS = 128;
    static constexpr size_t MOST_KEPT_SLOTS = 1 << 14;

    static uint64_t hash_key(const uint8_t *p, size_t n) {
        const HashSeeds &seeds = hash_seeds();
        uint64_t hash = seeds.s[0] ^ n;
        for (; n > 8; p += 8, n -= 8) hash = mix(hash ^ load_word(p), seeds.s[1]);
        return hash ^ (load_word(p) << (64 - 8 * n));  // a key has its header: n is not 0
    }

    void grow() {
        std::vector<Slot> larger(slots_.size() * 2);
        const size_t mask = larger.size() - 1;
        for (const Slot &slot : slots_) {
            if (slot.object < first_object_) continue;
            size_t i = slot.hash & mask;
            while (larger[i].object >= first_object_) i = (i + 1) & mask;
            larger[i] = slot;
        }
        slots_.swap(larger);
    }

    std::vector<Slot> slots_;
    size_t used_ = 0;
    uint64_t first_object_ = 1;
    uint64_t next_object_ = 1;
};

}  // namespace flowd
