// The skeleton of one message of the Fluent Forward protocol (v1): which kind it is, and where its tag, its entries and
// its option lie. Walked as the bytes come, each byte once. It never looks into records: record_walk.hpp does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forward/msgpack.hpp"

namespace flowd {

enum class MessageKind : uint8_t {
    other,       // not a message of log records: a heartbeat, a part of the handshake, or anything else
    message,     // [tag, time, record, option?]
    forward,     // [tag, [[time, record], ...], option?]
    packed,      // [tag, entries one after the other in a str or a bin, option?]
    compressed,  // the same, with option's `compressed` saying how
};

enum class Walked : uint8_t { done, truncated, invalid, too_large };

// Where a walk is. All places are counted from the message's first byte. Zeroed, it is at the beginning.
struct MessageWalk {
    enum Stage : uint8_t { begin, tag, second, entries, option, other, end };
    uint64_t at;
    uint64_t left;    // objects that are still to be passed in this stage
    uint64_t count;   // entries of forward mode, as its header says
    uint64_t tag_begin, tag_end, entries_begin, entries_end, option_begin, option_end;
    uint32_t items;   // of the message's array
    Stage stage;
    MessageKind kind;
};

// Walks on, given the message's first n bytes. Where it is truncated, at least *missing bytes more are needed.
Walked walk_message(MessageWalk &walk, const uint8_t *p, size_t n, uint64_t most, uint64_t *missing);

}  // namespace flowd
