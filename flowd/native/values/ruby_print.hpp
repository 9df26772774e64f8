// The text of a JSON value as Ruby's to_s prints it (Ruby 3.3, the process's encoding ASCII-8BIT as fluentd's is).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.hpp"

namespace flowd {

// Keeps its working space from one value to the next. Not for two threads at once.
class RubyPrinter {
  public:
    // Appends the text of the valid JSON value at p: a string decoded, null as nothing, lists and maps as Ruby's
    // inspect shows them. Linear in the value's length, at any depth. `out` has failed where memory ran out or the value
    // is too long.
    void print(const uint8_t *p, size_t n, Bytes &out);

  private:
    // Numbers of 32 bits: a list of commas has a node for every second byte.
    static constexpr size_t LONGEST = 0xFFFFFFFFu;
    // Working space that is kept for the next value; what a huge one took is given back.
    static constexpr size_t KEPT_NODES = size_t(64) << 10;

    struct Node {
        uint32_t at;  // the place in the text, and the length there
        uint32_t n;
        uint32_t next;     // the node behind this one's subtree
        uint32_t value;    // of a key: the node of the value that it has in the end
        bool is_repeated;  // of a key: an equal one stood before it
    };
    struct Key {
        uint64_t hash;
        uint32_t node;
    };
    struct Level {
        uint32_t container;
        uint32_t child;
        bool is_first;
    };

    void read_nodes(size_t n);
    void merge_equal_keys(uint32_t container);
    bool equal_keys(const Node &a, const Node &b);
    void decode(const Node &node, Bytes &out);
    void print_string(const Node &node, Bytes &out);
    void print_nodes(Bytes &out);
    void give_back();

    const uint8_t *start_ = nullptr;  // of the text being printed
    std::vector<Node> nodes_;
    std::vector<uint32_t> open_;
    std::vector<Key> keys_;
    std::vector<Level> levels_;
    Bytes text_, other_;
    bool failed_ = false;
};

}  // namespace flowd
