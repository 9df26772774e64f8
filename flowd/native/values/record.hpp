// The way into nested values, as each dialect goes it. Runs on misses of the value table only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"
#include "values/json.hpp"

namespace flowd {

// One step of a record accessor below the top level: a map's key or a list's index.
struct PathPart {
    const uint8_t *key;  // null for an index
    uint64_t n;
    int64_t index;
};

enum Reached : int { REACHED_VALUE = 0, REACHED_NOTHING = 1, REACHED_ERROR = 2 };

// Ruby's dig: follows the path into the valid value at p; *p and *n become the value that was reached.
// Nothing where a key or an index is absent or null is met; an error where Ruby raises TypeError.
Reached dig(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key);

// Fluent Bit's way: everything must resolve, except that a string at the top ignores the path.
Reached descend(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key);

// flowd's way: what does not lead anywhere is not there; null may be reached.
Reached follow(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key);

}  // namespace flowd
