// Values → classes for a block of lines, once for every SIMD level. Included by scan_<level>.cpp after it has defined
// `Short`: a value of at most 32 bytes in registers, with load(p, n, end), equals(words) and hash(n_tag).
//
// Looks at the first slot of a bucket only, where values that recur come to stand; all else is ValueTable::find's.

static void find_classes(ValueTable *tables, const uint32_t *missing, const Span *values, size_t n_lines,
                         uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields) {
        for (uint32_t f = 0; f < n_fields; f++) {
            const Span &value = values[f];
            uint64_t n = value.n_tag & SPAN_BYTES;
            if (value.n_tag == SPAN_MISSING) {
                classes[f] = missing[f];
            } else if (__builtin_expect(n > ValueTable::SHORT || !Short::can_load(value.p, end), 0)) {
                classes[f] = tables[f].find(value, end);
            } else {
                Short key = Short::load(value.p, n);
                const ValueTable::Slot *slot = tables[f].first_slot(key.hash(value.n_tag));
                if (__builtin_expect(slot != nullptr && slot->n_tag == value.n_tag && key.equals(slot->words), 1))
                    classes[f] = slot->value_class;
                else
                    classes[f] = tables[f].find(value, end);
            }
        }
    }
}

static uint64_t hash_short(const uint64_t *words, uint64_t n_tag) { return Short::of_words(words).hash(n_tag); }
