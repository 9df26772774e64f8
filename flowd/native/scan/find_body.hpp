// Values → classes for a block of lines, once for every SIMD level. Included by scan_<level>.cpp after it has defined
// `Short`: a value of at most 32 bytes in registers, with load(p, n), equals(words) and hash(n_tag).
//
// Goes field by field, so that what a table needs stays in registers and the look-ups of many lines overlap. Looks
// through the slots of a bucket; what is not there, what is long, and now and then a value that does not stand in the
// first slot, is ValueTable::find's, which moves values forward.

// Of so many lines, one moves its values forward.
constexpr size_t MOVES_A_BLOCK = 16;

// Tables with more buckets do not stay in the second-level cache: all that so many lines need is asked for at once.
constexpr size_t PREFETCHED_BUCKETS = 4096;
constexpr size_t PREFETCHED_LINES = 64;

static inline bool is_short(const Span &value, const uint8_t *end) {
    return (value.n_tag & SPAN_BYTES) <= ValueTable::SHORT && value.n_tag != SPAN_MISSING && Short::can_load(value.p, end);
}

static void prefetch_buckets(const ValueTable::Slot *slots, size_t mask, const Span *values, size_t n_lines,
                             uint32_t n_fields, const uint8_t *end, uint64_t *hashes) {
    for (size_t i = 0; i < n_lines; i++, values += n_fields) {
        const Span value = *values;
        if (!is_short(value, end)) continue;
        hashes[i] = Short::load(value.p, value.n_tag & SPAN_BYTES).hash(value.n_tag);
        const ValueTable::Slot *bucket = slots + (hashes[i] & mask) * ValueTable::WAYS;
        __builtin_prefetch(bucket);
        __builtin_prefetch(reinterpret_cast<const uint8_t *>(bucket) + 64);
        __builtin_prefetch(reinterpret_cast<const uint8_t *>(bucket) + 128);
    }
}

template <bool PREFETCHED>
static inline void find_classes_of_lines(ValueTable &table, uint32_t missing, const Span *values, size_t n_lines,
                                         uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    const ValueTable::Slot *slots = table.slots();
    const size_t mask = table.bucket_mask();
    uint64_t hashes[PREFETCHED ? PREFETCHED_LINES : 1];
    if (PREFETCHED) prefetch_buckets(slots, mask, values, n_lines, n_fields, end, hashes);
    for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields) {
        const Span value = *values;
        if (__builtin_expect(!is_short(value, end), 0)) {
            *classes = value.n_tag == SPAN_MISSING ? missing : table.find(value, end);
            continue;
        }
        Short key = Short::load(value.p, value.n_tag & SPAN_BYTES);
        const uint64_t hash = PREFETCHED ? hashes[i] : key.hash(value.n_tag);
        const ValueTable::Slot *slot = slots + (hash & mask) * ValueTable::WAYS;
        if (__builtin_expect(slot->n_tag == value.n_tag && key.equals(slot->words), !PREFETCHED)) {
            *classes = slot->value_class;
            continue;
        }
        int way = 1;
        while (way < ValueTable::WAYS && !(slot[way].n_tag == value.n_tag && key.equals(slot[way].words))) way++;
        if (way == ValueTable::WAYS)
            *classes = ValueTable::NONE;
        else
            *classes = i % MOVES_A_BLOCK == 0 ? table.find(value, end) : slot[way].value_class;
    }
}

static void find_classes_of_field(ValueTable &table, uint32_t missing, const Span *values, size_t n_lines,
                                  uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    if (table.slots() == nullptr) {
        for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields)
            *classes = values->n_tag == SPAN_MISSING ? missing : ValueTable::NONE;
    } else if (table.bucket_mask() < PREFETCHED_BUCKETS) {
        find_classes_of_lines<false>(table, missing, values, n_lines, n_fields, end, classes);
    } else {
        for (size_t i = 0; i < n_lines; i += PREFETCHED_LINES) {
            const size_t n = n_lines - i < PREFETCHED_LINES ? n_lines - i : PREFETCHED_LINES;
            find_classes_of_lines<true>(table, missing, values + i * n_fields, n, n_fields, end, classes + i * n_fields);
        }
    }
}

static void find_classes(ValueTable *tables, const uint32_t *missing, const Span *values, size_t n_lines,
                         uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    for (uint32_t f = 0; f < n_fields; f++)
        find_classes_of_field(tables[f], missing[f], values + f, n_lines, n_fields, end, classes + f);
}

static uint64_t hash_short(const uint64_t *words, uint64_t n_tag) { return Short::of_words(words).hash(n_tag); }

static uint64_t read_short(const uint8_t *p, uint64_t n_tag, uint64_t *words) {
    Short value = Short::load(p, n_tag & SPAN_BYTES);
    value.store(words);
    return value.hash(n_tag);
}
