// A bounded cache: the raw bytes of a field's value → its value class. Four slots a bucket; a value that is met again
// moves one slot forward, a new one takes the last slot, so a flood of values that come once never drives out those
// that recur. Running out of memory only means that less is remembered.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "scan/scan.hpp"

namespace flowd {

// Odd constants that make hashes differ from run to run: a peer cannot choose values that collide.
struct HashSeeds {
    uint64_t s[4];
};
extern const HashSeeds drawn_seeds;
inline const HashSeeds &hash_seeds() { return drawn_seeds; }

inline uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t load_word(const uint8_t *p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

class ValueTable {
  public:
    static constexpr uint64_t SHORT = 32;          // bytes that fit into a slot; longer values lie in the arena
    static constexpr uint64_t LONGEST = 64 << 10;  // longer values are never remembered
    static constexpr uint32_t NONE = 0xFFFFFFFFu;

    ValueTable() = default;
    ValueTable(const ValueTable &) = delete;
    ValueTable &operator=(const ValueTable &) = delete;
    ~ValueTable() {
        std::free(slots_);
        std::free(arena_);
    }

    // `bytes` bounds the slots, and the arena once more.
    void set_bound(size_t bytes) { bound_ = bytes; }
    size_t bytes() const { return (slots_ ? (mask_ + 1) * WAYS * sizeof(Slot) : 0) + arena_room_; }

    // What a value is looked up by, and inserted by: made once for both.
    struct Key {
        uint64_t words[4];
        uint64_t hash;
        bool is_kept;  // values that are too long are not
    };

    // Reads whole words: `end` is the end of the readable buffer.
    static Key make_key(const Span &value, const uint8_t *end) {
        Key key;
        key.is_kept = make_key(value, end, &key);
        return key;
    }

    // The class of the value, or NONE.
    inline uint32_t find(const Span &value, const uint8_t *end) { return find(make_key(value, end), value); }
    inline uint32_t find(const Key &key, const Span &value) {
        if (slots_ == nullptr || !key.is_kept) return NONE;
        Slot *bucket = slots_ + (key.hash & mask_) * WAYS;
        if (matches(bucket[0], key, value)) return bucket[0].value_class;
        for (int i = 1; i < WAYS; i++) {
            if (!matches(bucket[i], key, value)) continue;
            uint32_t value_class = bucket[i].value_class;
            Slot before = bucket[i - 1];
            bucket[i - 1] = bucket[i];
            bucket[i] = before;
            return value_class;
        }
        return NONE;
    }

    void insert(const Key &key, const Span &value, uint32_t value_class) {
        if (!key.is_kept) return;
        if (slots_ == nullptr && !resize(FIRST_BUCKETS)) return;
        if (used_ > most_used() && (mask_ + 1) * 2 * WAYS * sizeof(Slot) <= bound_) resize((mask_ + 1) * 2);
        Slot slot;
        std::memcpy(slot.words, key.words, sizeof slot.words);
        slot.n_tag = value.n_tag;
        slot.value_class = value_class;
        uint64_t n = value.n_tag & SPAN_BYTES;
        if (n > SHORT) {
            if (arena_used_ + n > arena_room_ && !grow_arena(n)) return;
            std::memcpy(arena_ + arena_used_, value.p, n);
            slot.words[1] = arena_used_;
            arena_used_ += n;
        }
        Slot *bucket = slots_ + (key.hash & mask_) * WAYS;
        int i = 0;
        while (i < WAYS - 1 && bucket[i].n_tag != FREE) i++;
        if (bucket[i].n_tag == FREE) used_++;
        bucket[i] = slot;
    }

    void clear() {
        if (slots_ != nullptr)
            for (size_t i = 0; i < (mask_ + 1) * WAYS; i++) slots_[i].n_tag = FREE;
        used_ = 0;
        arena_used_ = 0;
    }

    struct Slot {
        uint64_t words[4];  // a short value padded with zeros; of a long one: its hash, its place in the arena
        uint64_t n_tag;
        uint32_t value_class;
    };

    static constexpr int WAYS = 4;

    // For a look of one's own before `find`: WAYS slots a bucket, whose number is the hash & bucket_mask(). Null while
    // empty; `find` moves slots, only `insert` and `clear` change where they are.
    const Slot *slots() const { return slots_; }
    size_t bucket_mask() const { return mask_; }

  private:
    static constexpr size_t FIRST_BUCKETS = 64;     // 12 KiB: the least bound has room for it
    static constexpr size_t SMALL_BUCKETS = 1024;   // 192 KiB
    static constexpr size_t SPARSE_BUCKETS = 2048;
    static constexpr uint64_t FREE = ~uint64_t(0);

    // A bucket's first slot should not be another value's, since then the look for it is mispredicted: the fewer values,
    // the sparser. But what does not stay in the second-level cache costs more than that.
    size_t most_used() const {
        const size_t buckets = mask_ + 1;
        return buckets < SMALL_BUCKETS ? buckets / 16 : buckets <= SPARSE_BUCKETS ? buckets / 2 : buckets * 2;
    }

    static bool make_key(const Span &value, const uint8_t *end, Key *key) {
        uint64_t n = value.n_tag & SPAN_BYTES;
        if (n > SHORT) return make_long_key(value, n, key);
        if (__builtin_expect(static_cast<size_t>(end - value.p) >= SHORT, 1)) {
            key->hash = simd_level().read_short(value.p, value.n_tag, key->words);
        } else {
            std::memset(key->words, 0, sizeof key->words);
            std::memcpy(key->words, value.p, n);
            key->hash = simd_level().hash_short(key->words, value.n_tag);
        }
        return true;
    }

    static bool make_long_key(const Span &value, uint64_t n, Key *key) {
        if (n > LONGEST) return false;
        const HashSeeds &seeds = hash_seeds();
        uint64_t hash = seeds.s[0] ^ value.n_tag;
        const uint8_t *p = value.p, *last = value.p + n - 16;
        for (; p < last; p += 16) hash = mix(load_word(p) ^ seeds.s[1] ^ hash, load_word(p + 8) ^ seeds.s[2]);
        hash = mix(load_word(last) ^ seeds.s[1] ^ hash, load_word(last + 8) ^ seeds.s[3]);
        key->words[0] = key->hash = hash;
        key->words[1] = key->words[2] = key->words[3] = 0;
        return true;
    }

    bool matches(const Slot &slot, const Key &key, const Span &value) const {
        if (slot.n_tag != value.n_tag || slot.words[0] != key.words[0]) return false;
        uint64_t n = value.n_tag & SPAN_BYTES;
        if (n > SHORT) return std::memcmp(arena_ + slot.words[1], value.p, n) == 0;
        return ((slot.words[1] ^ key.words[1]) | (slot.words[2] ^ key.words[2]) | (slot.words[3] ^ key.words[3])) == 0;
    }

    uint64_t hash_of(const Slot &slot) const {
        if ((slot.n_tag & SPAN_BYTES) > SHORT) return slot.words[0];
        return simd_level().hash_short(slot.words, slot.n_tag);
    }

    bool resize(size_t buckets) {
        Slot *fresh = static_cast<Slot *>(std::malloc(buckets * WAYS * sizeof(Slot)));
        if (fresh == nullptr) return false;
        for (size_t i = 0; i < buckets * WAYS; i++) fresh[i].n_tag = FREE;
        size_t used = 0;
        if (slots_ != nullptr) {
            for (size_t i = 0; i < (mask_ + 1) * WAYS; i++) {
                if (slots_[i].n_tag == FREE) continue;
                Slot *bucket = fresh + (hash_of(slots_[i]) & (buckets - 1)) * WAYS;
                int way = 0;
                while (way < WAYS - 1 && bucket[way].n_tag != FREE) way++;
                if (bucket[way].n_tag == FREE) used++;
                bucket[way] = slots_[i];
            }
            std::free(slots_);
        }
        slots_ = fresh;
        mask_ = buckets - 1;
        used_ = used;
        return true;
    }

    // Makes room for n more bytes; at the bound everything is forgotten at once, which is simple and rare.
    bool grow_arena(uint64_t n) {
        if (arena_used_ + n > bound_) {
            clear();
            return n <= arena_room_;
        }
        size_t room = arena_room_ ? arena_room_ * 2 : size_t(64) << 10;
        while (room < arena_used_ + n) room *= 2;
        if (room > bound_ && arena_used_ + n <= bound_) room = bound_;
        void *p = std::realloc(arena_, room);
        if (p == nullptr) return false;
        arena_ = static_cast<uint8_t *>(p);
        arena_room_ = room;
        return true;
    }

    Slot *slots_ = nullptr;
    uint8_t *arena_ = nullptr;
    size_t mask_ = 0;
    size_t used_ = 0;
    size_t arena_used_ = 0;
    size_t arena_room_ = 0;
    size_t bound_ = size_t(4) << 20;
};

inline ValueTable *make_tables(size_t n) { return new (std::nothrow) ValueTable[n]; }
inline void delete_tables(ValueTable *tables) { delete[] tables; }

}  // namespace flowd
