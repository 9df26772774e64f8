// A bounded cache: the classes of a line's fields → the number of its outcome, for a block of lines at once. The slots of
// a block are asked for before the first is looked at, so that memory answers for many lines at a time. When it is full
// it forgets everything at once.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "value_table.hpp"

namespace flowd {

class OutcomeTable {
  public:
    static constexpr uint32_t NONE = 0xFFFFFFFFu;  // as a class: it is not known; as an outcome: neither is it

    OutcomeTable() = default;
    OutcomeTable(const OutcomeTable &) = delete;
    OutcomeTable &operator=(const OutcomeTable &) = delete;
    ~OutcomeTable() { std::free(slots_); }

    // False without memory.
    bool start(uint32_t fields, size_t bytes) {
        fields_ = fields;
        bound_ = bytes;
        stride_ = 8;  // a slot is half a cache line, one, or several: its outcome and the classes
        while (stride_ < fields + 1) stride_ *= 2;
        try {
            factors_.resize(fields);
        } catch (const std::bad_alloc &) {
            return false;
        }
        const HashSeeds &seeds = hash_seeds();
        uint64_t factor = seeds.s[0];
        for (uint64_t &next : factors_) next = (factor = mix(factor + seeds.s[1], seeds.s[2])) | 1;
        return true;
    }
    size_t bytes() const { return slots_ == nullptr ? 0 : (mask_ + 1) * stride_ * 4; }

    // The outcomes of n lines, at most BLOCK: NONE where one is not known.
    static constexpr size_t BLOCK = 128;
    void find(const uint32_t *classes, size_t n, uint32_t *outcomes) const {
        uint32_t places[BLOCK];
        if (slots_ == nullptr) {
            for (size_t i = 0; i < n; i++) outcomes[i] = NONE;
            return;
        }
        for (size_t i = 0; i < n; i++) {
            places[i] = place_of(classes + i * fields_);
            __builtin_prefetch(slots_ + places[i] * stride_);
        }
        for (size_t i = 0; i < n; i++) outcomes[i] = look_up(places[i], classes + i * fields_);
    }
    uint32_t find_one(const uint32_t *classes) const {
        return slots_ == nullptr ? NONE : look_up(place_of(classes), classes);
    }

    // The classes must all be known, and not be in the table.
    void insert(const uint32_t *classes, uint32_t outcome) {
        if (slots_ == nullptr && !resize(FIRST_SLOTS)) return;
        if (used_ * 2 > mask_) {
            if (bytes() * 2 > bound_)
                clear();
            else if (!resize((mask_ + 1) * 2))
                return;
        }
        put(classes, outcome);
        used_++;
    }

    void clear() {
        for (size_t i = 0; slots_ != nullptr && i <= mask_; i++) slots_[i * stride_] = NONE;
        used_ = 0;
    }

  private:
    static constexpr size_t FIRST_SLOTS = 256;

    uint32_t place_of(const uint32_t *classes) const {
        uint64_t hash = 0;
        for (uint32_t f = 0; f < fields_; f++) hash += (classes[f] + uint64_t(1)) * factors_[f];
        return static_cast<uint32_t>(hash >> 32) & mask_;
    }

    // Only known classes are in the table, so a line with an unknown one is found nowhere.
    uint32_t look_up(uint32_t place, const uint32_t *classes) const {
        for (;; place = (place + 1) & mask_) {
            const uint32_t *slot = slots_ + size_t(place) * stride_;
            if (slot[0] == NONE) return NONE;
            uint32_t differs = 0;
            for (uint32_t f = 0; f < fields_; f++) differs |= slot[f + 1] ^ classes[f];
            if (differs == 0) return slot[0];
        }
    }

    void put(const uint32_t *classes, uint32_t outcome) {
        uint32_t place = place_of(classes);
        while (slots_[size_t(place) * stride_] != NONE) place = (place + 1) & mask_;
        uint32_t *slot = slots_ + size_t(place) * stride_;
        slot[0] = outcome;
        if (fields_ != 0) std::memcpy(slot + 1, classes, fields_ * 4);
    }

    bool resize(size_t slots) {
        uint32_t *before = slots_;
        size_t n = before == nullptr ? 0 : size_t(mask_) + 1;
        void *fresh = std::aligned_alloc(64, slots * stride_ * 4);  // both are powers of two
        if (fresh == nullptr) return false;
        slots_ = static_cast<uint32_t *>(fresh);
        mask_ = static_cast<uint32_t>(slots - 1);
        for (size_t i = 0; i < slots; i++) slots_[i * stride_] = NONE;
        for (size_t i = 0; i < n; i++)
            if (before[i * stride_] != NONE) put(before + i * stride_ + 1, before[i * stride_]);
        std::free(before);
        return true;
    }

    uint32_t *slots_ = nullptr;
    std::vector<uint64_t> factors_;
    size_t used_ = 0;
    size_t stride_ = 8;
    size_t bound_ = size_t(8) << 20;
    uint32_t mask_ = 0;
    uint32_t fields_ = 0;
};

}  // namespace flowd
