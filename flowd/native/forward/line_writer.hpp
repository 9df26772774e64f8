// A record in msgpack → one compact JSON line, its keys in the record's order. What becomes of each kind of value stands
// in docs/forward.md. Linear in the input, no recursion, no allocation but for the lines themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"
#include "forward/json_text.hpp"
#include "forward/known_keys.hpp"
#include "scan/scan.hpp"

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

// An entry's time: seconds and what is beyond them, or the float that it was.
struct EntryTime {
    double number;
    int64_t s;
    uint32_t ns;
    bool is_float;

    uint8_t *write(uint8_t *w) const;  // as JSON; there is SCALAR_ROOM
};

// The lines, to which one is being added from w on: up to `limit` there is room.
struct LineRoom {
    Bytes &lines;
    const uint8_t *limit;

    // Room for n bytes behind w, which may move; null without memory.
    uint8_t *grow(uint8_t *w, size_t n);
    // The rest of a text of which something must be written otherwise.
    uint8_t *put_odd(uint8_t *w, const uint8_t *p, const uint8_t *end);
};

// What a SIMD level's write_map works with. `values` are those of the plan's fields, as they stand in the line, with places
// from the first byte of all lines on.
struct MapWork {
    const EntryForm &form;
    const EntryTime &time;
    const Plan &plan;
    KnownKeys &keys;
    LineRoom room;
    Span *values;
    bool is_odd;  // a key is written with an escape: the line's values are for the exact way to find

    void note(int32_t field, const uint8_t *value, const uint8_t *value_end) {  // the last one counts
        const size_t at = static_cast<size_t>(value - room.lines.data());
        const size_t n = static_cast<size_t>(value_end - value);
        values[field] = Span{reinterpret_cast<const uint8_t *>(at), span_key(n, TAG_JSON)};
    }
};

inline bool is_short_text(uint8_t first) { return (first & 0xE0) == 0xA0; }

inline bool is_time_key(const EntryForm &form, const uint8_t *key, const uint8_t *end) {
    const size_t n = static_cast<size_t>(end - key);
    return n == form.time_key_n && std::memcmp(key, form.time_key, n) == 0;
}

// For one thread, and always the same plan.
class LineWriter {
  public:
    LineWriter() : level_(simd_level()) {}
    explicit LineWriter(const SimdLevel &level) : level_(level) {}

    // Writes the entry at *p as a line behind what `lines` holds, with its newline, and moves *p behind it. Where the entry
    // cannot be written, *p and `lines` stay as they are. Fills `line` and the values of the plan's fields, as the line walk
    // would find them in it; until `settle_block` their places are counted from the first byte of `lines`.
    Entry write(const EntryForm &form, const Plan &plan, const uint8_t **p, const uint8_t *end, Bytes &lines, Line *line,
                Span *values);

    int64_t time_ns() const { return time_ns_; }  // of the entry written last

  private:
    Entry read_time(const EntryForm &form, const uint8_t **p, const uint8_t *end);

    const SimdLevel &level_;
    KnownKeys keys_;
    EntryTime time_{};
    int64_t time_ns_ = 0;
};

// Makes places of lines and their values from what `write` has counted: `lines` do not move any more.
void settle_block(const uint8_t *lines, size_t n_lines, uint32_t n_fields, Line *block, Span *values);

// Moves *p past the next entry, whatever it is: `written`, or `truncated` or `invalid`.
Entry skip_entry(bool is_bare, const uint8_t **p, const uint8_t *end);

}  // namespace flowd
