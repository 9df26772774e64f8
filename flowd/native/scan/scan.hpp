// The line walk: from a run of lines to the spans of the fields that rules read. Plain data in, plain data out.
// It never copies, never allocates, never decides what a value means: a line that is not exactly as collectors write
// it is handed on (FORM_JSON_ODD, FORM_TEXT_ODD) to the exact way, which alone may call it malformed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flowd {

enum Form : uint32_t {
    FORM_JSON = 0,      // a JSON object written compactly, no key with a backslash: values are filled in
    FORM_TEXT24 = 1,    // 24 columns: values are filled in
    FORM_TEXT27 = 2,    // 27 columns: values are filled in
    FORM_JSON_ODD = 3,  // begins like JSON: the exact way decides
    FORM_TEXT_ODD = 4,  // neither 23 nor 26 separators: the exact way decides
    FORM_MALFORMED = 5,
};

// What lines may be: any (recognised line by line), or fixed by the caller.
enum Format : uint32_t { FORMAT_AUTO = 0, FORMAT_JSON = 1, FORMAT_TEXT24 = 2, FORMAT_TEXT27 = 3 };

// A value as it stands in the line. The tag says how it is to be read, so that equal bytes that mean different values
// are different keys of the value table.
struct Span {
    const uint8_t *p;
    uint64_t n_tag;  // bytes in the low 56 bits, the tag above them
};

enum Tag : uint64_t {
    TAG_JSON = 0,          // JSON text, a string's quotes included
    TAG_COLUMN24 = 1,      // a column of the 24-column form
    TAG_NAME_OTHER = 2,    // a name of the 24-column form, by the type of its endpoint
    TAG_NAME_NET = 3,
    TAG_NAME_PUB = 4,
    TAG_NAME_PVT = 5,
    TAG_COLUMN27 = 6,      // a column of the 27-column form
    TAG_MISSING = 255,     // the line has no such field
};

constexpr uint64_t SPAN_MISSING = TAG_MISSING << 56;
constexpr uint64_t SPAN_BYTES = (uint64_t(1) << 56) - 1;
constexpr uint64_t span_key(uint64_t n, uint64_t tag) { return n | (tag << 56); }

struct Line {
    const uint8_t *p;
    uint64_t n;         // bytes, without the newline
    uint32_t form;      // Form
    uint32_t newlines;  // 1 where a newline follows the line, 0 at an unfinished end
};

// A top-level key to be found: its bytes with the closing quote, and the first eight of them for a quick look.
struct WantedKey {
    uint64_t head;
    uint64_t head_mask;
    const uint8_t *quoted;
    uint32_t n;
    uint32_t field;
};

// A column to be found. `kind_column` is the endpoint's type where the field's meaning depends on it.
struct WantedColumn {
    uint16_t column;
    uint16_t kind_column;
    uint32_t field;
};

constexpr uint16_t NO_COLUMN = 0xFFFF;
constexpr uint32_t TEXT24_SEPARATORS = 23;
constexpr uint32_t TEXT27_SEPARATORS = 26;

struct TextPlan {
    const WantedColumn *columns;
    uint32_t n_columns;
    const uint16_t *separators;  // indexes of the separators whose places are needed, ascending
    uint32_t n_separators;
    uint32_t separators_in_line;
};

struct Plan {
    const WantedKey *keys;
    uint32_t n_keys;
    uint32_t n_fields;
    TextPlan text24;
    TextPlan text27;
    uint32_t format;  // Format
};

// Walks at most `room` lines from *cursor on, moves *cursor past them, fills lines[i] and values[i * n_fields + field].
using ScanLines = size_t (*)(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                             size_t room);

// The classes of a block's values, one table for each field: NO_CLASS where a table does not know the value. `missing`
// holds the class of a field that is not there.
class ValueTable;
using FindClasses = void (*)(ValueTable *tables, const uint32_t *missing, const Span *values, size_t n_lines,
                             uint32_t n_fields, const uint8_t *end, uint32_t *classes);

// The hash of a value of at most 32 bytes, padded with zeros: each level has one that it computes fast.
using HashShort = uint64_t (*)(const uint64_t *words, uint64_t n_tag);

// The same for a value at p, where 32 bytes can be read; writes it into `words`, padded.
using ReadShort = uint64_t (*)(const uint8_t *p, uint64_t n_tag, uint64_t *words);

// A record's map in msgpack → a line: see line_writer.hpp.
enum class Entry : uint8_t;
struct MapWork;
using WriteMap = Entry (*)(MapWork &work, const uint8_t **p, const uint8_t *end);

// The best level that this machine runs, or the one that FLOWD_SIMD names where the machine has it.
struct SimdLevel {
    const char *name;
    ScanLines scan_lines;
    FindClasses find_classes;
    HashShort hash_short;
    ReadShort read_short;
    WriteMap write_map;
};
const SimdLevel &simd_level();
// The levels that this machine runs, best first; a null name ends the list.
const SimdLevel *simd_levels();

}  // namespace flowd
