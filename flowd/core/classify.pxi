# The miss path: from a field's raw bytes to its value class, that is, to what every predicate on the field says.

cdef enum State:
    STATE_NO = 0
    STATE_YES = 1
    STATE_ERROR = 2


cdef inline bint ends_with(const uint8_t* text, size_t n, const Literal* literal) noexcept nogil:
    return n >= literal.n and memcmp(text + n - literal.n, literal.p, literal.n) == 0


cdef inline bint starts_with(const uint8_t* text, size_t n, const Literal* literal) noexcept nogil:
    return n >= literal.n and memcmp(text, literal.p, literal.n) == 0


cdef bint matches_literal(const Predicate* predicate, const uint8_t* text, size_t n) noexcept nogil:
    cdef const Literal* literal
    cdef uint32_t i
    if predicate.kind == KIND_ANY:
        return True
    for i in range(predicate.n_literals):
        literal = &predicate.literals[i]
        if predicate.kind == KIND_CONTAINS:
            if memmem(text, n, literal.p, literal.n) != NULL:
                return True
        elif predicate.kind == KIND_PREFIX:
            if starts_with(text, n, literal):
                return True
        elif predicate.kind == KIND_SUFFIX:
            if ends_with(text, n, literal):
                return True
        elif n == literal.n and memcmp(text, literal.p, n) == 0:
            return True
    return False


cdef int match_text(Context self, const Subject* subject, const uint8_t* text, size_t n) noexcept nogil:
    """Sets the state of every predicate of the subject for a text. 0, or -1 where memory ran out."""
    cdef TextTraits traits = read_traits(text, n)
    cdef const Predicate* predicate
    cdef bint by_linear
    cdef int found, costly = 0
    cdef uint32_t i, p
    if not traits.is_valid:
        self.scrubbed.clear()
        scrub(text, n, self.scrubbed)
        if self.scrubbed.failed():
            return -1
        text = self.scrubbed.data()
        n = self.scrubbed.size()
        traits = read_traits(text, n)
    by_linear = subject.n_linear > 0 and traits.is_ascii and not traits.has_newline
    if by_linear:
        by_linear = scan_linear(self, subject, text, n)
    if subject.index != NULL and not traits.has_newline:
        for i in range(subject.n_predicates):
            if self.program.predicates[subject.predicates[i]].is_indexed:
                self.states[subject.predicates[i]] = STATE_NO
        subject.index.mark(text, n, self.states, STATE_YES)
    for i in range(subject.n_predicates):
        p = subject.predicates[i]
        predicate = &self.program.predicates[p]
        if by_linear and predicate.is_linear or predicate.is_indexed and not traits.has_newline:
            continue
        if predicate.kind != KIND_PATTERN and (predicate.any_value or not traits.has_newline):
            self.states[p] = STATE_YES if matches_literal(predicate, text, n) else STATE_NO
            continue
        found = reference_search(predicate.reference, text, n,
                                 self.match_param if costly < COSTLY_PATTERNS else self.small_match_param)
        if found < 0:
            costly += 1
        self.states[p] = STATE_ERROR if found < 0 else <uint8_t> found
    return 0


cdef bint scan_linear(Context self, const Subject* subject, const uint8_t* text, size_t n) noexcept nogil:
    """Sets the states of the predicates that the linear engine answers; False where it failed."""
    cdef const LinearPart* part
    cdef uint32_t i, j
    cdef int found
    for i in range(subject.n_linear):
        part = &subject.linear[i]
        found = linear_scan(part.database, self.scratch, <const char*> (text if n else EMPTY), n, self.linear_ids,
                            part.n)
        if found < 0:
            return False
        for j in range(part.n):
            self.states[part.predicates[j]] = STATE_NO
        for j in range(<uint32_t> found):
            self.states[part.predicates[self.linear_ids[j]]] = STATE_YES
    return True


cdef void set_states(const Subject* subject, uint8_t* states, uint8_t state) noexcept nogil:
    cdef uint32_t i
    for i in range(subject.n_predicates):
        states[subject.predicates[i]] = state


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
    else:
        reached = dig(&p, &n, subject.path, subject.n_path, self.key)
        if reached != REACHED_VALUE:
            return reached
    if p[0] == c'"' and memchr(p, c'\\', n) == NULL:
        text[0] = p + 1
        text_n[0] = n - 2
        return REACHED_VALUE
    self.printer.print_value(p, n, self.text)
    if self.text.size():
        text[0] = self.text.data()
        text_n[0] = self.text.size()
    return REACHED_VALUE


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
    map_column(self.program.fields[field].mapping27 if tag == TAG_COLUMN27 else self.program.fields[field].mapping24,
               tag, p[0], n[0], self.mapped)
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
    if not json_of(self, field, value, &p, &n):
        return 0
    for i in range(f.n_subjects):
        subject = &self.program.subjects[f.subjects[i]]
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


cdef uint32_t classify(Context self, uint32_t field, const Span* value) noexcept nogil:
    """The class of a value that no table knows, made or found; NO_CLASS where the classes' bound is reached."""
    cdef const Field* f = &self.program.fields[field]
    cdef const Subject* subject
    cdef uint32_t i, j, p, n = 0
    cdef int done = set_field_states(self, field, value)
    if done == 0:
        return self.classes.intern(&INVALID_VALUE, 1)
    # Subjects of a field hold their predicates in ascending order, but among subjects ids may interleave: words are
    # gathered in the order of subjects and looked up by a scan, so that no sorting is needed on a miss.
    for i in range(f.n_subjects):
        subject = &self.program.subjects[f.subjects[i]]
        for j in range(subject.n_predicates):
            p = subject.predicates[j]
            if done < 0:
                self.words[n] = (p << 1) | 1
                n += 1
            elif self.states[p] != STATE_NO:
                self.words[n] = (p << 1) | (1 if self.states[p] == STATE_ERROR else 0)
                n += 1
    return self.classes.intern(self.words, n)


cdef inline uint32_t class_of(Context self, uint32_t field, const Span* value, const uint8_t* end) noexcept nogil:
    """The class of a field's value, from the table or made. NO_CLASS where everything must be forgotten first."""
    cdef uint32_t found
    if value.n_tag == SPAN_MISSING:
        if self.missing[field] == NO_CLASS:
            self.missing[field] = classify(self, field, value)
        return self.missing[field]
    found = self.tables[field].find(value[0], end)
    if found == NO_CLASS:
        found = classify(self, field, value)
        if found != NO_CLASS:
            self.tables[field].insert(value[0], end, found)
    return found
