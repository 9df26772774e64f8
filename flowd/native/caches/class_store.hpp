// Value classes, interned: what every predicate on a field says of a value, as an ascending list of those that say yes
// or error. Equal lists are one class. Bounded: at the bound nothing more is taken until everything is cleared.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "caches/value_table.hpp"

namespace flowd {

class ClassStore {
  public:
    static constexpr uint32_t NONE = 0xFFFFFFFFu;
    // The first word of a class whose value is not valid JSON.
    static constexpr uint32_t INVALID_VALUE = 0xFFFFFFFFu;

    void set_bound(size_t bytes) { bound_ = bytes; }
    size_t bytes() const {
        return words_.capacity() * 4 + starts_.capacity() * 4 + slots_.capacity() * 4;
    }

    const uint32_t *words(uint32_t id) const { return words_.data() + starts_[id]; }
    uint32_t count(uint32_t id) const { return starts_[id + 1] - starts_[id]; }
    uint32_t size() const { return starts_.empty() ? 0 : static_cast<uint32_t>(starts_.size() - 1); }

    // The id of the class with these words, or NONE at the bound.
    uint32_t intern(const uint32_t *words, uint32_t n) {
        try {
            if (starts_.empty()) starts_.push_back(0);
            if (slots_.empty()) slots_.assign(256, NONE);
            size_t at = hash(words, n) & (slots_.size() - 1);
            for (; slots_[at] != NONE; at = (at + 1) & (slots_.size() - 1)) {
                uint32_t id = slots_[at];
                if (count(id) == n && (n == 0 || std::memcmp(this->words(id), words, n * 4) == 0)) return id;
            }
            if ((words_.size() + n + starts_.size() + slots_.size()) * 4 > bound_) return NONE;
            words_.insert(words_.end(), words, words + n);
            starts_.push_back(static_cast<uint32_t>(words_.size()));
            uint32_t id = size() - 1;
            slots_[at] = id;
            if (size() * 2 > slots_.size()) rehash();
            return id;
        } catch (const std::bad_alloc &) {
            if (!starts_.empty()) words_.resize(starts_.back());  // no class's words may be left at the end
            return NONE;
        }
    }

    void clear() {
        words_.clear();
        starts_.clear();
        slots_.clear();
    }

  private:
    static size_t hash(const uint32_t *words, uint32_t n) {
        const HashSeeds &seeds = hash_seeds();  // which predicates say yes is the sender's choice
        uint64_t h = seeds.s[0] + n;
        for (uint32_t i = 0; i < n; i++) h = mix(h ^ words[i], seeds.s[1]);
        return h;
    }

    void rehash() {
        std::vector<uint32_t> fresh(slots_.size() * 2, NONE);
        for (uint32_t id = 0; id < size(); id++) {
            size_t at = hash(words(id), count(id)) & (fresh.size() - 1);
            while (fresh[at] != NONE) at = (at + 1) & (fresh.size() - 1);
            fresh[at] = id;
        }
        slots_.swap(fresh);
    }

    std::vector<uint32_t> words_, starts_, slots_;
    size_t bound_ = size_t(8) << 20;
};

}  // namespace flowd
