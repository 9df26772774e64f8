// A bounded cache: the classes of a line's fields → the number of its outcome, for a block of lines at once. The slots of
// a block are asked for before the first is looked at, so that memory answers for many lines at a time. When it is full
// it forgets everything at once.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "caches/value_table.hpp"

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
        if (slots_ == nullptr) {
            for (size_t i = 0; i < n; i++) outcomes[i] = NONE;
            return;
        }
        switch (fields_) {  // a known number of fields is a walk without loops
            case 1: return find_all<1>(classes, n, outcomes);
            case 2: return find_all<2>(classes, n, outcomes);
            case 3: return find_all<3>(classes, n, outcomes);
            case 4: return find_all<4>(classes, n, outcomes);
            case 5: return find_all<5>(classes, n, outcomes);
            case 6: return find_all<6>(classes, n, outcomes);
            case 7: return find_all<7>(classes, n, outcomes);
            default: return find_all<0>(classes, n, outcomes);
        }
    }
    uint32_t find_one(const uint32_t *classes) const {
        return slots_ == nullptr ? NONE : look_up<0>(place_of<0>(classes), classes);
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

    // FIELDS is how many there are, or 0 where that is not known while compiling.
    template <uint32_t FIELDS>
    void find_all(const uint32_t *classes, size_t n, uint32_t *outcomes) const {
        const uint32_t fields = FIELDS ? FIELDS : fields_;
        uint32_t places[BLOCK];
        for (size_t i = 0; i < n; i++) {
            places[i] = place_of<FIELDS>(classes + i * fields);
            __builtin_prefetch(slots_ + size_t(places[i]) * stride_of<FIELDS>());
        }
        for (size_t i = 0; i < n; i++) outcomes[i] = look_up<FIELDS>(places[i], classes + i * fields);
    }

    template <uint32_t FIELDS>
    size_t stride_of() const {
        return FIELDS ? 8 : stride_;
    }

    template <uint32_t FIELDS>
    uint32_t place_of(const uint32_t *classes) const {
        const uint32_t fields = FIELDS ? FIELDS : fields_;
        const uint64_t *factors = factors_.data();
        uint64_t hash = 0;
        for (uint32_t f = 0; f < fields; f++) hash += (classes[f] + uint64_t(1)) * factors[f];
        return static_cast<uint32_t>(hash >> 32) & mask_;
    }

    // Only known classes are in the table, so a line with an unknown one is found nowhere.
    template <uint32_t FIELDS>
    uint32_t look_up(uint32_t place, const uint32_t *classes) const {
        const uint32_t fields = FIELDS ? FIELDS : fields_;
        for (;; place = (place + 1) & mask_) {
            const uint32_t *slot = slots_ + size_t(place) * stride_of<FIELDS>();
            if (slot[0] == NONE) return NONE;
            uint32_t differs = 0;
            for (uint32_t f = 0; f < fields; f++) differs |= slot[f + 1] ^ classes[f];
            if (differs == 0) return slot[0];
        }
    }

    void put(const uint32_t *classes, uint32_t outcome) {
        uint32_t place = place_of<0>(classes);
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
