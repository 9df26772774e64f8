// Many words at once: which of thousands of exact words, prefixes and suffixes fit a text. One look-up for each length
// that words have, however many words there are. Built once, then read by any number of threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "caches/value_table.hpp"

namespace flowd {

enum Anchoring : uint32_t { ANCHOR_PREFIX = 0, ANCHOR_SUFFIX = 1, ANCHOR_EXACT = 2 };

class LiteralIndex {
  public:
    // `p` is borrowed: whoever builds the index keeps it alive. False where memory runs out.
    bool add(uint32_t anchoring, const uint8_t *p, size_t n, uint32_t predicate) {
        try {
            words_.push_back(Word{p, n, predicate, anchoring, NONE});
            return true;
        } catch (const std::bad_alloc &) {
            return false;
        }
    }

    bool finish() {
        try {
            size_t room = 16;
            while (room < words_.size() * 2) room *= 2;
            heads_.assign(room, NONE);
            for (size_t i = 0; i < words_.size(); i++) {
                Word &word = words_[i];
                uint32_t &head = heads_[hash(word.p, word.n, word.anchoring) & (room - 1)];
                word.next = head;
                head = static_cast<uint32_t>(i);
                add_shape(word);
            }
            return true;
        } catch (const std::bad_alloc &) {
            return false;
        }
    }

    size_t size() const { return words_.size(); }

    // Sets the state of every predicate that has a word which fits.
    void mark(const uint8_t *text, size_t n, uint8_t *states, uint8_t state) const {
        for (const Shape &shape : shapes_) {
            if (shape.n > n || (shape.anchoring == ANCHOR_EXACT && shape.n != n)) continue;
            const uint8_t *p = shape.anchoring == ANCHOR_SUFFIX ? text + n - shape.n : text;
            uint32_t at = heads_[hash(p, shape.n, shape.anchoring) & (heads_.size() - 1)];
            for (; at != NONE; at = words_[at].next) {
                const Word &word = words_[at];
                if (word.n == shape.n && word.anchoring == shape.anchoring && std::memcmp(word.p, p, word.n) == 0)
                    states[word.predicate] = state;
            }
        }
    }

  private:
    static constexpr uint32_t NONE = 0xFFFFFFFFu;

    struct Word {
        const uint8_t *p;
        size_t n;
        uint32_t predicate;
        uint32_t anchoring;
        uint32_t next;
    };
    struct Shape {
        size_t n;
        uint32_t anchoring;
    };

    static uint64_t hash(const uint8_t *p, size_t n, uint32_t anchoring) {
        uint64_t h = n + anchoring;
        for (; n >= 8; p += 8, n -= 8) h = mix(h ^ load_word(p), hash_seeds().s[1]);
        uint64_t rest = 0;
        std::memcpy(&rest, p, n);
        return mix(h ^ rest, hash_seeds().s[2]);
    }

    void add_shape(const Word &word) {
        for (const Shape &shape : shapes_)
            if (shape.n == word.n && shape.anchoring == word.anchoring) return;
        shapes_.push_back(Shape{word.n, word.anchoring});
    }

    std::vector<Word> words_;
    std::vector<Shape> shapes_;
    std::vector<uint32_t> heads_;
};

}  // namespace flowd
