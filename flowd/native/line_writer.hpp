// A record in msgpack → one compact JSON line, its keys in the record's order. What becomes of each kind of value stands
// in docs/forward.md. Linear in the input, no recursion, no allocation but for the lines themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"

namespace flowd {

// What an entry is: written, or why not. After `truncated` and `invalid` nobody knows where the next entry begins.
enum class Entry : uint8_t {
    written,
    no_memory,
    truncated,  // the input ends within it
    invalid,    // no msgpack: the byte that begins nothing
    shape,      // not a list of a time and a record
    time,       // the time is neither a number nor an EventTime
    record,     // the record is not a map
    key,        // a key is a list, a map, or an extension other than EventTime
    depth,      // nested deeper than MOST_LEVELS
    marker,     // no record: Fluent Bit's beginning or end of a group, [[-1 or -2, metadata], body]
};

// Deeper than any log; the writer's memory for it lies on the stack.
constexpr unsigned MOST_LEVELS = 128;

// How entries lie in the input, and what is added to a line.
struct EntryForm {
    bool is_bare;          // one entry without its list's header: a time, a record
    const uint8_t *time_key;  // as JSON, with its quotes; null where no time is added
    size_t time_key_n;
    int64_t now_ns;        // the time of an entry that has none
};

class LineWriter {
  public:
    // Writes the entry at *p as a line behind what `lines` holds, with its newline, and moves *p behind it. Where the entry
    // cannot be written, *p and `lines` stay as they are.
    Entry write(const EntryForm &form, const uint8_t **p, const uint8_t *end, Bytes &lines);

    int64_t time_ns() const { return time_ns_; }  // of the entry written last

  private:
    struct Time {
        double number;
        int64_t s;
        uint32_t ns;
        bool is_float;
    };

    Entry read_time(const EntryForm &form, const uint8_t **p, const uint8_t *end);
    Entry write_map(const EntryForm &form, const uint8_t **p, const uint8_t *end);
    uint8_t *write_time(uint8_t *w) const;
    uint8_t *grow(uint8_t *w, size_t n);
    uint8_t *put_odd(uint8_t *w, const uint8_t *p, const uint8_t *end);

    Bytes *lines_ = nullptr;
    const uint8_t *limit_ = nullptr;  // of the room that `lines_` has
    Time time_{};
    int64_t time_ns_ = 0;
};

// Moves *p past the next entry, whatever it is: `written`, or `truncated` or `invalid`.
Entry skip_entry(bool is_bare, const uint8_t **p, const uint8_t *end);

}  // namespace flowd
