"""The door to flowd's own kernels under flowd/native."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    static inline bool flowd_seldom(bool is_so) { return __builtin_expect(is_so, 0); }
    """
    bint seldom "flowd_seldom"(bint is_so) noexcept nogil    # tells the compiler which way to lay out straight

cdef extern from "scan/scan.hpp" namespace "flowd" nogil:
    enum Form "flowd::Form":
        FORM_JSON "flowd::FORM_JSON"
        FORM_TEXT24 "flowd::FORM_TEXT24"
        FORM_TEXT27 "flowd::FORM_TEXT27"
        FORM_JSON_ODD "flowd::FORM_JSON_ODD"
        FORM_TEXT_ODD "flowd::FORM_TEXT_ODD"
        FORM_MALFORMED "flowd::FORM_MALFORMED"
    enum Tag "flowd::Tag":
        TAG_JSON "flowd::TAG_JSON"
        TAG_COLUMN27 "flowd::TAG_COLUMN27"
    const uint64_t SPAN_MISSING
    const uint64_t SPAN_BYTES
    const uint16_t NO_COLUMN
    const uint32_t TEXT24_SEPARATORS
    const uint32_t TEXT27_SEPARATORS
    const uint32_t FORMAT_AUTO
    const uint32_t FORMAT_JSON
    const uint32_t FORMAT_TEXT24
    const uint32_t FORMAT_TEXT27
    struct Span:
        const uint8_t* p
        uint64_t n_tag
    struct Line:
        const uint8_t* p
        uint64_t n
        uint32_t form
        uint32_t newlines
    struct WantedKey:
        uint64_t head
        uint64_t head_mask
        const uint8_t* quoted
        uint32_t n
        uint32_t field
    struct WantedColumn:
        uint16_t column
        uint16_t kind_column
        uint32_t field
    struct TextPlan:
        const WantedColumn* columns
        uint32_t n_columns
        const uint16_t* separators
        uint32_t n_separators
        uint32_t separators_in_line
    struct Plan:
        const WantedKey* keys
        uint32_t n_keys
        uint32_t n_fields
        TextPlan text24
        TextPlan text27
        uint32_t format
    ctypedef size_t (*ScanLines)(const Plan& plan, const uint8_t** cursor, const uint8_t* end, Line* lines,
                                 Span* values, size_t room) noexcept nogil
    cdef cppclass ValueTable
    ctypedef void (*FindClasses)(ValueTable* tables, const uint32_t* missing, const Span* values, size_t n_lines,
                                 uint32_t n_fields, const uint8_t* end, uint32_t* classes) noexcept nogil
    struct SimdLevel:
        const char* name
        ScanLines scan_lines
        FindClasses find_classes
    const SimdLevel& simd_level()
    const SimdLevel* simd_levels()

cdef extern from "bytes.hpp" namespace "flowd" nogil:
    cdef cppclass Bytes:
        Bytes() except +
        void clear()
        const uint8_t* data()
        size_t size()
        bint failed()
        void append(const void* start, size_t n)
        void shrink(size_t n)
        void give_back(size_t most)
        uint8_t* bytes "data"()
        size_t room()

cdef extern from "values/utf8.hpp" namespace "flowd" nogil:
    struct TextTraits:
        bint is_ascii
        bint is_valid
        bint has_newline
    TextTraits read_traits(const uint8_t* p, size_t n)
    void scrub(const uint8_t* p, size_t n, Bytes& out)
    void mark_stray_bytes(const uint8_t* p, size_t n, Bytes& out)

cdef extern from "values/json.hpp" namespace "flowd" nogil:
    enum class Strictness:
        ruby
        lenient
    bint walk_object(const Plan& plan, const uint8_t* p, size_t n, Strictness strictness, Span* values, Bytes& stack,
                     Bytes& key)
    bint is_valid_value(const uint8_t* p, size_t n, Strictness strictness, Bytes& stack)
    const uint8_t* skip_value(const uint8_t* p, const uint8_t* end)
    const uint8_t* skip_blanks(const uint8_t* p, const uint8_t* end)

cdef extern from "values/columns.hpp" namespace "flowd" nogil:
    ctypedef uint32_t Mapping "flowd::Mapping"
    bint find_column_text(uint32_t mapping, uint64_t tag, const uint8_t* p, size_t n, const uint8_t** text,
                          size_t* text_n)
    void map_column(uint32_t mapping, uint64_t tag, const uint8_t* p, size_t n, Bytes& out)
    uint32_t walk_columns(const Plan& plan, const uint8_t* p, size_t n, Span* values)

cdef extern from "values/record.hpp" namespace "flowd" nogil:
    struct PathPart:
        const uint8_t* key
        uint64_t n
        int64_t index
    int REACHED_VALUE
    int REACHED_NOTHING
    int REACHED_ERROR
    int dig(const uint8_t** p, size_t* n, const PathPart* path, size_t parts, Bytes& key)
    int descend(const uint8_t** p, size_t* n, const PathPart* path, size_t parts, Bytes& key)
    int follow(const uint8_t** p, size_t* n, const PathPart* path, size_t parts, Bytes& key)

cdef extern from "values/ruby_print.hpp" namespace "flowd" nogil:
    cdef cppclass RubyPrinter:
        RubyPrinter() except +
        void print_value "print"(const uint8_t* p, size_t n, Bytes& out)

cdef extern from "caches/value_table.hpp" namespace "flowd" nogil:
    cdef cppclass ValueKey "flowd::ValueTable::Key":
        pass
    ValueKey make_value_key "flowd::ValueTable::make_key"(const Span& value, const uint8_t* end)
    cdef cppclass ValueTable:
        ValueTable() except +
        void set_bound(size_t n)
        size_t bytes()
        uint32_t find(const ValueKey& key, const Span& value)
        void insert(const ValueKey& key, const Span& value, uint32_t value_class)
        void clear()
    ValueTable* make_tables(size_t n)
    void delete_tables(ValueTable* tables)

cdef extern from "caches/class_store.hpp" namespace "flowd" nogil:
    cdef cppclass ClassStore:
        ClassStore() except +
        void set_bound(size_t n)
        size_t bytes()
        const uint32_t* words(uint32_t id)
        uint32_t count(uint32_t id)
        uint32_t size()
        uint32_t intern(const uint32_t* words, uint32_t n)
        void clear()

cdef extern from "caches/decision_table.hpp" namespace "flowd" nogil:
    enum DecisionKind "flowd::DecisionKind":
        DECISION_NONE "flowd::DECISION_NONE"
        DECISION_PLAIN "flowd::DECISION_PLAIN"
        DECISION_GENTLE "flowd::DECISION_GENTLE"
    struct Decision:
        uint32_t rule
        uint16_t errors
        uint8_t verdict
        uint8_t kind
    cdef cppclass DecisionTable:
        DecisionTable() except +
        void start(uint32_t fields, size_t n)
        size_t bytes()
        const Decision* find(const uint32_t* classes)
        void find_block(const uint32_t* classes, size_t n, Decision* decisions)
        void insert(const uint32_t* classes, const Decision& decision)
        void clear()

cdef extern from "caches/outcome_table.hpp" namespace "flowd" nogil:
    cdef cppclass OutcomeTable:
        OutcomeTable() except +
        bint start(uint32_t fields, size_t n)
        size_t bytes()
        void find(const uint32_t* classes, size_t n, uint32_t* outcomes)
        uint32_t find_one(const uint32_t* classes)
        void insert(const uint32_t* classes, uint32_t outcome)
        void clear()

cdef extern from "matching/literal_index.hpp" namespace "flowd" nogil:
    cdef cppclass LiteralIndex:
        LiteralIndex() except +
        bint add(uint32_t anchoring, const uint8_t* p, size_t n, uint32_t predicate)
        bint finish()
        size_t size()
        void mark(const uint8_t* text, size_t n, uint8_t* states, uint8_t state)
    uint32_t ANCHOR_PREFIX
    uint32_t ANCHOR_SUFFIX
    uint32_t ANCHOR_EXACT

cdef extern from "matching/address_index.hpp" namespace "flowd" nogil:
    cdef cppclass AddressIndex:
        AddressIndex() except +
        bint add(const uint8_t* address, uint32_t prefix, uint32_t predicate)
        bint finish()
        void mark(const uint8_t* text, size_t n, uint8_t* states, uint8_t state)

cdef extern from "values/number.hpp" namespace "flowd" nogil:
    struct Number:
        bint is_integer
    struct Bound:
        Number number
        uint32_t comparison
    uint32_t LESS
    uint32_t LESS_OR_EQUAL
    uint32_t GREATER
    uint32_t GREATER_OR_EQUAL
    bint parse_number(const uint8_t* p, size_t n, Number* number)
    bint holds(const Number& value, const Bound& bound)

cdef extern from "values/labels.hpp" namespace "flowd" nogil:
    struct Word:
        const uint8_t* p
        uint64_t n
    struct Requirement:
        Word label
        uint32_t op
        const Word* values
        uint64_t n_values
    uint32_t LABEL_IN
    uint32_t LABEL_NOT_IN
    uint32_t LABEL_EXISTS
    uint32_t LABEL_ABSENT
    cdef cppclass Labels:
        Labels() except +
        bint read(const uint8_t* p, size_t n)
        bint fulfil(const Requirement* requirements, size_t n)

cdef extern from "sampling.hpp" namespace "flowd" nogil:
    bint is_in_sample(const uint8_t* p, size_t n, uint64_t seed, uint32_t one_in)

cdef extern from "stretches.hpp" namespace "flowd" nogil:
    struct Stretch:
        const uint8_t* lines
        size_t n
        uint64_t end
        int error
    cppclass StretchedFile:
        StretchedFile(int fd, uint64_t begin, size_t stretch_bytes)
        int take(Stretch* stretch)
        bint wait_for_turn(const Stretch& stretch)
        void finish(const Stretch& stretch)
        void stop()
    void free_room(Stretch* stretch)

cdef extern from "forward/line_writer.hpp" namespace "flowd" nogil:
    enum class Entry:
        written
        no_memory
        truncated
        invalid
        shape
        time
        record
        key
        depth
        marker
    struct EntryForm:
        bint is_bare
        const uint8_t* time_key
        size_t time_key_n
        int64_t now_ns
    cdef cppclass LineWriter:
        LineWriter() except +
        Entry write(const EntryForm& form, const Plan& plan, const uint8_t** p, const uint8_t* end, Bytes& lines,
                    Line* line, Span* values)
        int64_t time_ns()
    void settle_block(const uint8_t* lines, size_t n_lines, uint32_t n_fields, Line* block, Span* values)
    Entry skip_entry(bint is_bare, const uint8_t** p, const uint8_t* end)

cdef extern from "forward/json_text.hpp" namespace "flowd" nogil:
    void append_json_string(const uint8_t* p, size_t n, Bytes& out)

cdef extern from "forward/entry_writer.hpp" namespace "flowd" nogil:
    struct PackedLines:
        uint64_t entries
        uint64_t messages
    cdef cppclass EntryWriter:
        EntryWriter() except +
        bint add_column(uint32_t form, const uint8_t* name, size_t n, const WantedColumn& column, uint32_t mapping)
        bint set_time_key(const uint8_t* key, size_t n)
        bint write(const uint8_t* lines, size_t n, int64_t time_ns, Bytes& entries, PackedLines* packed)
        void give_back()

cdef extern from "forward/forward_message.hpp" namespace "flowd" nogil:
    enum class MessageKind:
        other
        message
        forward
        packed
        compressed
    enum class Walked:
        done
        truncated
        invalid
        too_large
    struct MessageWalk "flowd::MessageWalk":
        uint64_t at
        uint64_t count
        uint64_t tag_begin, tag_end, entries_begin, entries_end, option_begin, option_end
        MessageKind kind
    Walked walk_message(MessageWalk& walk, const uint8_t* p, size_t n, uint64_t most, uint64_t* missing)
