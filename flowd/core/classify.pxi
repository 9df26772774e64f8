# The miss path: from a field's raw bytes to its value class, that is, to what every predicate on the field says.

cdef int read_subject(Context self, const Subject* subject, const uint8_t* p, size_t n,
                      const uint8_t** text, size_t* text_n) noexcept nogil:
    """What the subject's predicates see of a field's valid JSON value: REACHED_VALUE with a text, or why there is none.

    `p` NULL is a missing field. In Ruby's reading nothing is the empty text; `text` then points to it.
    """
    cdef int reached
    text[0] = EMPTY
    text_n[0] = 0
    self.text.clear()
    if p == NULL:
        return REACHED_NOTHING
    if subject.reading == READ_STRING:
        reached = descend(&p, &n, subject.path, subject.n_path, self.key)
        if reached != REACHED_VALUE or p[0] != c'"':
            return REACHED_NOTHING
    elif subject.reading == READ_VALUE:
        reached = follow(&p, &n, subject.path, subject.n_path, self.key)
        if reached != REACHED_VALUE or is_null_value(p, n):
            return REACHED_NOTHING
    else:
        reached = dig(&p, &n, subject.path, subject.n_path, self.key)
        if reached != REACHED_VALUE:
            return reached
    text_of(self, p, n, text, text_n)
    return REACHED_VALUE


cdef inline uint32_t column_mapping(Context self, uint32_t field, uint64_t tag) noexcept nogil:
    return self.program.fields[field].mapping27 if tag == TAG_COLUMN27 else self.program.fields[field].mapping24


cdef bint json_of(Context self, uint32_t field, const Span* value, const uint8_t** p, size_t* n) noexcept nogil:
    """The JSON value that a span stands for; NULL for a missing field. False where it is not valid JSON."""
    cdef uint64_t tag = value.n_tag >> 56
    cdef Strictness strictness = Strictness.ruby if self.program.strict else Strictness.lenient
    p[0] = value.p
    n[0] = value.n_tag & SPAN_BYTES
    if value.n_tag == SPAN_MISSING:
        p[0] = NULL
        return True
    if tag == TAG_JSON:
        return is_valid_value(p[0], n[0], strictness, self.stack)
    self.mapped.clear()
    map_column(column_mapping(self, field, tag), tag, p[0], n[0], self.mapped)
    p[0] = self.mapped.data()
    n[0] = self.mapped.size()
    return not self.mapped.failed()


cdef int set_field_states(Context self, uint32_t field, const Span* value) noexcept nogil:
    """Sets the states of all predicates on a field: 1, or 0 where the value is not valid JSON, or -1 without memory."""
    cdef const Field* f = &self.program.fields[field]
    cdef const Subject* subject
    cdef const uint8_t* p
    cdef const uint8_t* text
    cdef size_t n, text_n
    cdef uint32_t i
    cdef int reached
    cdef uint64_t tag = value.n_tag >> 56
    if f.are_texts and tag != TAG_JSON and value.n_tag != SPAN_MISSING:
        # Nobody looks at more than the text of a column that is a string: no JSON is made of it to be read again.
        if find_column_text(column_mapping(self, field, tag), tag, value.p, value.n_tag & SPAN_BYTES, &text, &text_n):
            for i in range(f.n_subjects):
                if match_text(self, &self.program.subjects[f.subjects[i]], text, text_n) < 0:
                    return -1
            return 1
    if not json_of(self, field, value, &p, &n):
        return 0
    for i in range(f.n_subjects):
        subject = &self.program.subjects[f.subjects[i]]
        if subject.reading == READ_VALUE:
            if match_value(self, subject, p, n) < 0:
                return -1
            continue
        reached = read_subject(self, subject, p, n, &text, &text_n)
        if self.text.failed():
            return -1
        if reached == REACHED_ERROR:
            set_states(subject, self.states, STATE_ERROR)
        elif reached == REACHED_NOTHING and subject.reading == READ_STRING:
            set_states(subject, self.states, STATE_NO)
        elif match_text(self, subject, text, text_n) < 0:
            return -1
    return 1


cdef uint32_t gather_words(const uint8_t* states, uint32_t first, uint32_t n, uint32_t* words) noexcept nogil:
    """Writes the words of a class for the predicates of a subject that say yes or error; returns how many."""
    cdef uint32_t i = 0, n_words = 0
    cdef uint64_t eight
    states += first
    while i < n:
        if n - i >= 8:
            memcpy(&eight, states + i, 8)
            if eight == 0:  # STATE_NO throughout, which is the rule
                i += 8
                continue
        if states[i] != STATE_NO:
            words[n_words] = (first + i) << 1 | (states[i] == STATE_ERROR)
            n_words += 1
        i += 1
    return n_words


cdef uint32_t classify(Context self, uint32_t field, const Span* value) noexcept nogil:
    """The class of a value that no table knows, made or found; NO_CLASS where the classes' bound is reached."""
    cdef const Field* f = &self.program.fields[field]
    cdef const Subject* subject
    cdef uint32_t i, n = 0
    cdef int done = set_field_states(self, field, value)
    if done == 0:
        return self.classes.intern(&INVALID_VALUE, 1)
    for i in range(f.n_subjects):
        subject = &self.program.subjects[f.subjects[i]]
        if done < 0:
            set_states(subject, self.states, STATE_ERROR)
        n += gather_words(self.states, subject.first, subject.n_predicates, self.words + n)
    return self.classes.intern(self.words, n)


cdef inline uint32_t class_of(Context self, uint32_t field, const Span* value, const uint8_t* end) noexcept nogil:
    """The class of a field's value, from the table or made. NO_CLASS where everything must be forgotten first."""
    cdef uint32_t found
    cdef ValueKey key
    if value.n_tag == SPAN_MISSING:
        if self.missing[field] == NO_CLASS:
            self.missing[field] = classify(self, field, value)
        return self.missing[field]
    key = make_value_key(value[0], end)
    found = self.tables[field].find(key, value[0])
    if found == NO_CLASS:
        found = classify(self, field, value)
        if found != NO_CLASS:
            self.tables[field].insert(key, value[0], found)
    return found
