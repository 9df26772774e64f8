# What the predicates of a subject say: of a text, and of a value that is looked at itself.

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
    """Sets the state of every predicate of the subject that a text answers. 0, or -1 where memory ran out."""
    cdef TextTraits traits = read_traits(text, n)
    cdef const Predicate* predicate
    cdef bint by_linear, by_index
    cdef uint32_t i, p
    cdef int costly = 0
    if not traits.is_valid:
        self.scrubbed.clear()
        if subject.reading == READ_STRING:
            mark_stray_bytes(text, n, self.scrubbed)
        else:
            scrub(text, n, self.scrubbed)
        if self.scrubbed.failed():
            return -1
        text = self.scrubbed.data()
        n = self.scrubbed.size()
        traits = read_traits(text, n)
    memset(self.states + subject.first, STATE_NO, subject.n_texts)
    by_linear = subject.n_linear > 0 and traits.is_ascii and not traits.has_newline
    if by_linear:
        by_linear = scan_linear(self, subject, text, n)
    by_index = subject.index != NULL and not traits.has_newline
    if by_index:
        subject.index.mark(text, n, self.states, STATE_YES)
    if by_linear >= (subject.n_linear > 0) and by_index >= (subject.index != NULL):
        for i in range(subject.n_singles):
            match_one(self, subject.singles[i], text, n, traits.has_newline, &costly)
        return 0
    for p in range(subject.first, subject.first + subject.n_texts):
        predicate = &self.program.predicates[p]
        if not (by_linear and predicate.is_linear or by_index and predicate.is_indexed):
            match_one(self, p, text, n, traits.has_newline, &costly)
    return 0


cdef inline void match_one(Context self, uint32_t p, const uint8_t* text, size_t n, bint has_newline,
                           int* costly) noexcept nogil:
    """Sets the state of one predicate; `costly` counts the patterns that met the step limit on this text."""
    cdef const Predicate* predicate = &self.program.predicates[p]
    cdef int found
    if predicate.kind != KIND_PATTERN and (predicate.any_value or not has_newline):
        self.states[p] = STATE_YES if matches_literal(predicate, text, n) else STATE_NO
        return
    found = reference_search(predicate.reference, text, n,
                             self.match_param if costly[0] < COSTLY_PATTERNS else self.small_match_param)
    if found < 0:
        costly[0] += 1
    self.states[p] = STATE_ERROR if found < 0 else <uint8_t> found


cdef bint scan_linear(Context self, const Subject* subject, const uint8_t* text, size_t n) noexcept nogil:
    """Says yes for the predicates that the linear engine finds, of states that all say no; False where it failed."""
    cdef const LinearPart* part
    cdef uint32_t i, j
    cdef int found
    for i in range(subject.n_linear):
        part = &subject.linear[i]
        found = linear_scan(part.database, self.scratch, <const char*> (text if n else EMPTY), n, self.linear_ids,
                            part.n)
        if found < 0:
            return False
        for j in range(<uint32_t> found):
            self.states[part.predicates[self.linear_ids[j]]] = STATE_YES
    return True


cdef inline void set_states(const Subject* subject, uint8_t* states, uint8_t state) noexcept nogil:
    memset(states + subject.first, state, subject.n_predicates)


cdef int text_of(Context self, const uint8_t* p, size_t n, const uint8_t** text, size_t* text_n) noexcept nogil:
    """The text of a valid JSON value, as Ruby prints it. 0, or -1 where memory ran out."""
    text[0] = EMPTY
    text_n[0] = 0
    self.text.clear()
    if p[0] == c'"' and memchr(p, c'\\', n) == NULL:
        text[0] = p + 1
        text_n[0] = n - 2
        return 0
    self.printer.print_value(p, n, self.text)
    if self.text.size():
        text[0] = self.text.data()
        text_n[0] = self.text.size()
    return -1 if self.text.failed() else 0


cdef inline bint is_null_value(const uint8_t* p, size_t n) noexcept nogil:
    return n == 4 and p[0] == c"n"


cdef inline void raise_state(uint8_t* states, uint32_t predicate, uint8_t state) noexcept nogil:
    """Of several elements one that says yes suffices, and else an error stays."""
    if state == STATE_YES or states[predicate] == STATE_NO:
        states[predicate] = state


cdef int match_scalar(Context self, const Subject* subject, const uint8_t* p, size_t n) noexcept nogil:
    """Sets the states of the predicates for one value, which is no null. 0, or -1 where memory ran out."""
    cdef const uint8_t* text
    cdef const Predicate* predicate
    cdef size_t text_n
    cdef Number number
    cdef uint32_t i, j
    cdef bint is_number
    if text_of(self, p, n, &text, &text_n) < 0:
        return -1
    if subject.addresses != NULL:
        subject.addresses.mark(text, text_n, self.states, STATE_YES)
    # A number's own text, not the one that Ruby prints; a string that holds a number is one.
    is_number = parse_number(text, text_n, &number) if p[0] == c'"' else parse_number(p, n, &number)
    if is_number:
        for i in range(subject.n_values):
            predicate = &self.program.predicates[subject.values[i]]
            if predicate.kind != KIND_NUMBER:
                continue
            for j in range(predicate.n_bounds):
                if not holds(number, predicate.bounds[j]):
                    break
            else:
                self.states[subject.values[i]] = STATE_YES
    return match_text(self, subject, text, text_n) if subject.n_texts else 0


cdef int match_list(Context self, const Subject* subject, const uint8_t* p, size_t n) noexcept nogil:
    """Sets the states of the predicates for a list: what one element says yes to, the list does."""
    cdef const uint8_t* end = p + n
    cdef const uint8_t* value_end
    cdef uint32_t i
    memset(self.gathered + subject.first, STATE_NO, subject.n_texts)
    p = skip_blanks(p + 1, end)
    while p < end and p[0] != c"]":
        value_end = skip_value(p, end)
        if not is_null_value(p, value_end - p):
            if match_scalar(self, subject, p, value_end - p) < 0:
                return -1
            for i in range(subject.first, subject.first + subject.n_texts):
                raise_state(self.gathered, i, self.states[i])
        p = skip_blanks(value_end, end)
        if p == end or p[0] != c",":
            break
        p = skip_blanks(p + 1, end)
    memcpy(self.states + subject.first, self.gathered + subject.first, subject.n_texts)
    return 0


cdef int match_value(Context self, const Subject* subject, const uint8_t* p, size_t n) noexcept nogil:
    """Sets the states of the predicates that look at the value itself: p is NULL where it is missing.

    Nothing and null are what `exists`, `null` and `labels` may speak of; all else says no to them. 0, or -1 where
    memory ran out.
    """
    cdef const Predicate* predicate
    cdef uint32_t i
    cdef bint is_null
    if p != NULL and follow(&p, &n, subject.path, subject.n_path, self.key) != REACHED_VALUE:
        p = NULL
    is_null = p != NULL and is_null_value(p, n)
    set_states(subject, self.states, STATE_NO)
    for i in range(subject.n_values):
        predicate = &self.program.predicates[subject.values[i]]
        if predicate.kind == KIND_EXISTS and p != NULL or predicate.kind == KIND_NULL and is_null:
            self.states[subject.values[i]] = STATE_YES
        elif predicate.kind == KIND_LABELS:
            if not self.labels.read(p, 0 if is_null else n):
                return -1
            if self.labels.fulfil(predicate.requirements, predicate.n_requirements):
                self.states[subject.values[i]] = STATE_YES
    if p == NULL or is_null:
        return 0
    return match_list(self, subject, p, n) if p[0] == c"[" else match_scalar(self, subject, p, n)
