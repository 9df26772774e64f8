// A bounded cache: the classes of a line's fields → the decision. When it is full it forgets everything at once: the
// classes repeat even more than the values do.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "caches/value_table.hpp"

namespace flowd {

// A gentle decision is one in which rules that only count, or that let a share of lines go, have a say.
enum DecisionKind : uint8_t { DECISION_NONE = 0, DECISION_PLAIN = 1, DECISION_GENTLE = 2 };

struct Decision {
    uint32_t rule;    // the rule that decided; of a gentle decision: its first turn in the context
    uint16_t errors;  // how many sections ended in an error
    uint8_t verdict;  // K, D, M or E
    uint8_t kind;     // DecisionKind
};

class DecisionTable {
  public:
    void start(uint32_t fields, size_t bytes) {
        fields_ = fields;
        bound_ = bytes;
    }
    size_t bytes() const { return slots_.capacity() * sizeof(Slot) + tuples_.capacity() * 4; }

    // The decision for these classes, or null.
    inline const Decision *find(const uint32_t *classes) const {
        if (slots_.empty()) return nullptr;
        uint64_t key = make_key(classes);
        for (size_t at = place(key);; at = (at + 1) & (slots_.size() - 1)) {
            const Slot &slot = slots_[at];
            if (slot.decision.kind == DECISION_NONE) return nullptr;
            if (slot.key == key && equals(slot, classes)) return &slot.decision;
        }
    }

    // The same for the classes of a block of lines; kind DECISION_NONE where there is none.
    void find_block(const uint32_t *classes, size_t n, Decision *decisions) const {
        const Slot *slots = slots_.data();
        size_t mask = slots_.size() - 1;
        if (slots_.empty() || fields_ > 2) {
            for (size_t i = 0; i < n; i++, classes += fields_) {
                const Decision *known = find(classes);
                decisions[i] = known != nullptr ? *known : Decision{0, 0, 0, DECISION_NONE};
            }
            return;
        }
        const uint64_t seed = hash_seeds().s[0], factor = hash_seeds().s[1];
        for (size_t i = 0; i < n; i++, classes += fields_) {
            uint64_t key = make_key(classes);
            size_t at = mix(key ^ seed, factor) & mask;
            while (__builtin_expect(slots[at].key != key, 0) && slots[at].decision.kind != DECISION_NONE)
                at = (at + 1) & mask;
            decisions[i] = slots[at].decision;  // a free slot's kind says that there is none
        }
    }

    void insert(const uint32_t *classes, const Decision &decision) {
        try {
            if (slots_.empty()) slots_.assign(FIRST_SLOTS, Slot{});
            if (used_ * 2 >= slots_.size()) {
                if ((slots_.size() * sizeof(Slot) + tuples_.size() * 4) * 2 > bound_)
                    clear();
                else
                    rehash();
            }
            Slot slot{make_key(classes), 0, decision};
            if (fields_ > 2) {
                slot.tuple = static_cast<uint32_t>(tuples_.size());
                tuples_.insert(tuples_.end(), classes, classes + fields_);
            }
            put(slots_, slot);
            used_++;
        } catch (const std::bad_alloc &) {
        }
    }

    void clear() {
        for (Slot &slot : slots_) slot.decision.kind = DECISION_NONE;
        tuples_.clear();
        used_ = 0;
    }

  private:
    static constexpr size_t FIRST_SLOTS = 1024;  // few enough share a place that a look seldom goes on

    struct Slot {
        uint64_t key;  // of one or two fields: their classes; of more: a hash
        uint32_t tuple;
        Decision decision;
    };

    uint64_t make_key(const uint32_t *classes) const {
        if (fields_ <= 2) return classes[0] | (fields_ == 2 ? static_cast<uint64_t>(classes[1]) << 32 : 0);
        const HashSeeds &seeds = hash_seeds();
        uint64_t hash = seeds.s[2];
        for (uint32_t i = 0; i < fields_; i++) hash = mix(hash ^ classes[i], seeds.s[3]);
        return hash;
    }
    size_t place(uint64_t key) const { return mix(key ^ hash_seeds().s[0], hash_seeds().s[1]) & (slots_.size() - 1); }
    bool equals(const Slot &slot, const uint32_t *classes) const {
        return fields_ <= 2 || std::memcmp(&tuples_[slot.tuple], classes, fields_ * 4) == 0;
    }
    void put(std::vector<Slot> &slots, const Slot &slot) const {
        size_t at = mix(slot.key ^ hash_seeds().s[0], hash_seeds().s[1]) & (slots.size() - 1);
        while (slots[at].decision.kind != DECISION_NONE) at = (at + 1) & (slots.size() - 1);
        slots[at] = slot;
    }
    void rehash() {
        std::vector<Slot> fresh(slots_.size() * 2, Slot{});
        for (const Slot &slot : slots_)
            if (slot.decision.kind != DECISION_NONE) put(fresh, slot);
        slots_.swap(fresh);
    }

    std::vector<Slot> slots_;
    std::vector<uint32_t> tuples_;
    size_t used_ = 0;
    size_t bound_ = size_t(4) << 20;
    uint32_t fields_ = 0;
};

}  // namespace flowd
