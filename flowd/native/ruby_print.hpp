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
    // inspect shows them. Linear in the value's length, at any depth.
    void print(const uint8_t *p, size_t n, Bytes &out);
    bool failed() const { return failed_; }

  private:
    struct Node {
        const uint8_t *p;
        size_t n;
        size_t next;       // the node behind this one's subtree
        size_t value;      // of a key: the node of the value that it has in the end
        bool is_repeated;  // of a key: an equal one stood before it
    };
    struct Key {
        uint64_t hash;
        size_t node;
    };
    struct Level {
        size_t container;
        size_t child;
        bool is_first;
    };

    void read_nodes(const uint8_t *p, size_t n);
    void merge_equal_keys(size_t container);
    bool equal_keys(const Node &a, const Node &b);
    void print_string(const Node &node, Bytes &out);
    void print_nodes(Bytes &out);

    std::vector<Node> nodes_;
    std::vector<size_t> open_;
    std::vector<Key> keys_;
    std::vector<Level> levels_;
    Bytes text_, other_;
    bool failed_ = false;
};

}  // namespace flowd
