// Values → classes for a block of lines, once for every SIMD level. Included by scan_<level>.cpp after it has defined
// `Short`: a value of at most 32 bytes in registers, with load(p, n), equals(words) and hash(n_tag).
//
// Goes field by field, so that what a table needs stays in registers and the look-ups of many lines overlap. Looks
// through the slots of a bucket; what is not there, what is long, and now and then a value that does not stand in the
// first slot, is ValueTable::find's, which moves values forward.

// Of so many lines, one moves its values forward.
constexpr size_t MOVES_A_BLOCK = 16;

static void find_classes_of_field(ValueTable &table, uint32_t missing, const Span *values, size_t n_lines,
                                  uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    const ValueTable::Slot *slots = table.slots();
    const size_t mask = table.bucket_mask();
    if (slots == nullptr) {
        for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields)
            *classes = values->n_tag == SPAN_MISSING ? missing : ValueTable::NONE;
        return;
    }
    for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields) {
        const Span value = *values;
        uint64_t n = value.n_tag & SPAN_BYTES;
        if (__builtin_expect(n > ValueTable::SHORT || value.n_tag == SPAN_MISSING || !Short::can_load(value.p, end), 0)) {
            *classes = value.n_tag == SPAN_MISSING ? missing : table.find(value, end);
            continue;
        }
        Short key = Short::load(value.p, n);
        const ValueTable::Slot *slot = slots + (key.hash(value.n_tag) & mask) * ValueTable::WAYS;
        if (__builtin_expect(slot->n_tag == value.n_tag && key.equals(slot->words), 1)) {
            *classes = slot->value_class;
            continue;
        }
        int way = 1;
        while (way < ValueTable::WAYS && !(slot[way].n_tag == value.n_tag && key.equals(slot[way].words))) way++;
        if (way == ValueTable::WAYS || i % MOVES_A_BLOCK == 0)
            *classes = table.find(value, end);
        else
            *classes = slot[way].value_class;
    }
}

static void find_classes(ValueTable *tables, const uint32_t *missing, const Span *values, size_t n_lines,
                         uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    for (uint32_t f = 0; f < n_fields; f++)
        find_classes_of_field(tables[f], missing[f], values + f, n_lines, n_fields, end, classes + f);
}

static uint64_t hash_short(const uint64_t *words, uint64_t n_tag) { return Short::of_words(words).hash(n_tag); }
