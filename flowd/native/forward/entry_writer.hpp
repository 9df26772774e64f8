// Lines → entries of the Forward protocol: [time, record] in msgpack, its keys in the line's order. What becomes of each kind
// of line and value stands in docs/forward-sink.md. Linear in the input, no recursion, no allocation but for the entries
// and, where a line has very many keys or repeats them, for what is known of those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.hpp"
#include "forward/key_table.hpp"
#include "forward/packed_text.hpp"
#include "scan/scan.hpp"

namespace flowd {

// A record that is nested deeper goes as a message: msgpack-c, and so Fluent Bit, gives up at 32 with the entry's own array,
// Ruby's at 128. They would take none of the chunk, and it would be sent for ever.
constexpr unsigned MOST_RECORD_LEVELS = 24;

// What a call has written: entries, and those of them that are messages, since their lines were no records.
struct PackedLines {
    uint64_t entries;
    uint64_t messages;
};

class EntryWriter {
  public:
    // Fields of text lines have at most so many bytes in their names, and there are at most so many in a form.
    static constexpr size_t MOST_NAME_BYTES = 31;
    static constexpr size_t MOST_COLUMNS = 32;

    // The next field that records of a text form have (FORM_TEXT24 or FORM_TEXT27). False where there is no room for it.
    bool add_column(uint32_t form, const uint8_t *name, size_t n, const WantedColumn &column, uint32_t mapping);

    // Entries' times are found under this key. False where memory ran out.
    bool set_time_key(const uint8_t *key, size_t n);

    // Appends an entry for each line; `time_ns` is that of entries for which no other is found. The lines have fewer than
    // 2^30 bytes. False where memory ran out: the entries are then of no use.
    bool write(const uint8_t *lines, size_t n, int64_t time_ns, Bytes &entries, PackedLines *packed);

    // What was needed for unusual lines goes back to the system.
    void give_back();

  private:
    struct Level {
        size_t header_at;  // of its header, all places being those of bytes in the entries
        size_t begin;      // of what is in it
        size_t repeats;    // how many were known when it began
        uint64_t object;   // its number in `keys_`
        uint64_t count;    // of objects, or of pairs
        bool is_map;
    };
    struct Repeat {
        size_t first;  // place of the key that an object has had before
        size_t again;  // and of the same key's next one
    };
    struct FieldColumn {
        uint8_t name[1 + MOST_NAME_BYTES];  // packed
        uint8_t name_n;
        uint32_t mapping;
    };
    struct Layout {
        FieldColumn fields[MOST_COLUMNS];
        WantedColumn columns[MOST_COLUMNS];
        uint32_t n;
        size_t names_bytes;
    };

    bool write_line(const uint8_t *p, const uint8_t *end, Bytes &entries, PackedLines *packed);
    uint8_t *pack_object(uint8_t *w, const uint8_t *p, const uint8_t *end);
    uint8_t *pack_columns(uint8_t *w, const uint8_t *p, const uint8_t *end);
    uint8_t *close(const Level &level, uint8_t *w);
    uint8_t *settle_repeats(Level &level, uint8_t *w);
    bool is_time_key(const uint8_t *key, const uint8_t *key_end) const;
    void read_time(const uint8_t *value, const uint8_t *value_end);

    Layout layouts_[2] = {};
    std::vector<uint8_t> time_key_;  // packed
    uint8_t *base_ = nullptr;        // of the entries, while a line is written
    uint32_t seconds_ = 0, ns_ = 0;  // the entry's time
    uint32_t lines_seconds_ = 0, lines_ns_ = 0;
    unsigned usual_header_ = 3;      // of a line's own map: nearly every line has that of the line before
    KeyTable keys_;
    std::vector<Repeat> repeats_, by_first_;
    std::vector<uint8_t> pairs_;
    Bytes last_line_;
};

}  // namespace flowd
