// Values → classes for a block of lines, once for every SIMD level. Included by scan_<level>.cpp after it has defined
// `Short`: a value of at most 32 bytes in registers, with load(p, n, end), equals(words) and hash(n_tag).
//
// Looks through the slots of a bucket; what is not there, what is long, and now and then a value that does not stand in
// the first slot, is ValueTable::find's, which moves values forward.

// Of so many lines, one moves its values forward.
constexpr size_t MOVES_A_BLOCK = 16;

static void find_classes(ValueTable *tables, const uint32_t *missing, const Span *values, size_t n_lines,
                         uint32_t n_fields, const uint8_t *end, uint32_t *classes) {
    for (size_t i = 0; i < n_lines; i++, values += n_fields, classes += n_fields) {
        for (uint32_t f = 0; f < n_fields; f++) {
            const Span &value = values[f];
            uint64_t n = value.n_tag & SPAN_BYTES;
            if (value.n_tag == SPAN_MISSING) {
                classes[f] = missing[f];
            } else if (__builtin_expect(n > ValueTable::SHORT || !Short::can_load(value.p, end) || tables[f].is_empty(), 0)) {
                classes[f] = tables[f].find(value, end);
            } else {
                Short key = Short::load(value.p, n);
                const ValueTable::Slot *slot = tables[f].first_slot(key.hash(value.n_tag));
                int way = 0;
                while (way < ValueTable::WAYS && !(slot[way].n_tag == value.n_tag && key.equals(slot[way].words))) way++;
                if (__builtin_expect(way == ValueTable::WAYS || (way > 0 && i % MOVES_A_BLOCK == 0), 0))
                    classes[f] = tables[f].find(value, end);
                else
                    classes[f] = slot[way].value_class;
            }
        }
    }
}

static uint64_t hash_short(const uint64_t *words, uint64_t n_tag) { return Short::of_words(words).hash(n_tag); }
