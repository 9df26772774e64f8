# Two filter sets over the same lines: each line is walked once, its values are looked up once, and both sets decide.
#
# A joint program holds the predicates of both sets and their sections one after the other. Where the two could read a
# line differently (one that only the exact way can read, or with a value that is not valid JSON) each set looks at it
# with its own program.

cdef struct Pair:                    # what both sets decided, and of how much
    uint32_t old_rule
    uint32_t new_rule
    uint8_t old_verdict
    uint8_t new_verdict
    uint64_t lines
    uint64_t bytes
    uint32_t examples

cdef struct Example:
    uint32_t pair
    const uint8_t* p
    size_t n


cdef class Comparer:
    """Compares what two filter sets decide: `Comparer(joint, old, new, old_sections, examples)`, for one thread.

    Without a joint program, which takes as long to compile as both, each set looks at every line by itself.
    The rules of `joint` are those of `old` and of `new` behind each other, the default rule of both being rule 0.
    """
    cdef Program program
    cdef Context joint
    cdef Context old
    cdef Context new
    cdef uint32_t old_sections
    cdef uint32_t old_rules
    cdef uint32_t examples_a_pair
    cdef bint is_joint
    cdef ClassStore ids              # of pairs: their rules and verdicts, interned
    cdef Pair* pairs
    cdef uint32_t n_pairs
    cdef uint32_t pairs_room
    cdef Example* found
    cdef size_t n_found
    cdef size_t found_room
    cdef list examples               # (pair's number, line without its newline)

    def __cinit__(self, Program joint, Program old not None, Program new not None, uint32_t old_sections,
                  uint32_t examples):
        self.is_joint = joint is not None
        self.program = joint if self.is_joint else old
        self.joint = Context(self.program)
        self.old = Context(old)
        self.new = Context(new)
        self.old_sections = old_sections
        self.old_rules = old.n_rules
        self.examples_a_pair = examples
        self.ids.set_bound(PAIR_BYTES)
        self.examples = []

    def __dealloc__(self):
        free(self.pairs)
        free(self.found)

    def add(self, lines, form="auto"):
        """Both sets decide these lines; what came of it is added up."""
        cdef Py_buffer view
        cdef size_t i
        cdef uint32_t number = format_number(form)
        PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
        try:
            self.n_found = 0
            with nogil:
                self.run(<const uint8_t*> view.buf, <const uint8_t*> view.buf + view.len, number)
            for i in range(self.n_found):
                self.examples.append((self.found[i].pair, (<const char*> self.found[i].p)[:self.found[i].n]))
        finally:
            PyBuffer_Release(&view)

    def take(self):
        """What was counted since the last time: for each pair of decisions that occurred (old rule, old verdict, new
        rule, new verdict, lines, bytes, examples), rules as numbers."""
        cdef uint32_t i
        examples = {}
        for pair, line in self.examples:
            examples.setdefault(pair, []).append(line)
        self.examples = []
        found = []
        for i in range(self.n_pairs):
            if self.pairs[i].lines:
                found.append((self.pairs[i].old_rule, chr(self.pairs[i].old_verdict), self.pairs[i].new_rule,
                              chr(self.pairs[i].new_verdict), self.pairs[i].lines, self.pairs[i].bytes,
                              examples.get(i, [])))
            self.pairs[i].lines = self.pairs[i].bytes = self.pairs[i].examples = 0
        return found

    cdef int run(self, const uint8_t* p, const uint8_t* end, uint32_t form) except -1 nogil:
        cdef Plan plan = self.program.plan
        cdef uint32_t n_fields = self.program.n_fields
        cdef const Line* line
        cdef const Decision* known
        cdef uint64_t resets, line_bytes
        cdef size_t n, i
        cdef uint32_t pair
        plan.format = form
        look_at_clock(self.joint)
        look_at_clock(self.old)
        look_at_clock(self.new)
        while p < end:
            n = simd_level().scan_lines(plan, &p, end, self.joint.lines, self.joint.spans, self.joint.lines_a_block)
            self.find_block_classes(0, n, end)
            for i in range(n):
                line = &self.joint.lines[i]
                known = NULL
                if line.form <= FORM_TEXT27:
                    known = find_decision(self.joint, self.joint.block_classes + i * n_fields)
                if known != NULL:
                    pair = known.rule
                else:
                    resets = self.joint.resets
                    pair = self.decide_pair(line, self.joint.spans + i * n_fields, end, form)
                    if self.joint.resets != resets:
                        # Class ids were given anew: those of the lines behind this one are to be found again.
                        self.find_block_classes(i, n, end)
                line_bytes = line.n + line.newlines
                self.pairs[pair].lines += 1
                self.pairs[pair].bytes += line_bytes
                if self.pairs[pair].examples < self.examples_a_pair:
                    self.note_example(pair, line)
        return 0

    cdef void find_block_classes(self, size_t first, size_t n, const uint8_t* end) noexcept nogil:
        """The joint classes of a block's lines from this one on, as far as the tables know them."""
        cdef size_t at = first * self.program.n_fields
        simd_level().find_classes(self.joint.tables, self.joint.missing, self.joint.spans + at, n - first,
                                  self.program.n_fields, end, self.joint.block_classes + at)

    cdef uint32_t decide_pair(self, const Line* line, const Span* values, const uint8_t* end,
                              uint32_t form) except? 0xFFFFFFFF nogil:
        """The pair of a line that the table does not know."""
        cdef Decision old, new
        cdef bint is_plain
        cdef uint32_t pair
        if (not self.is_joint or line.form > FORM_TEXT27 or not self.find_classes_of(values, end)
                or has_invalid(self.joint)):
            return self.find_pair(decide_alone(self.old, line, form), decide_alone(self.new, line, form))
        spread_states(self.joint)
        old = run_sections(self.joint, 0, self.old_sections)
        is_plain = old.kind == DECISION_PLAIN
        if not is_plain:
            old = settle(self.joint, old, line, 0)
        new = run_sections(self.joint, self.old_sections, self.program.n_sections)
        if new.kind != DECISION_PLAIN:
            is_plain = False
            new = settle(self.joint, new, line, 0)
        if new.rule != DEFAULT_RULE:
            new.rule -= self.old_rules - 1
        pair = self.find_pair(old, new)
        if is_plain and self.program.n_fields:
            old.rule = pair
            self.joint.decisions.insert(self.joint.tuple_, old)
        return pair

    cdef bint find_classes_of(self, const Span* values, const uint8_t* end) noexcept nogil:
        """Fills the joint tuple. False for a line that is too large for the classes' bound."""
        if find_tuple(self.joint, values, end):
            return True
        forget_classes(self.joint)
        if find_tuple(self.joint, values, end):
            return True
        forget_classes(self.joint)
        return False

    cdef uint32_t find_pair(self, Decision old, Decision new) except? 0xFFFFFFFF nogil:
        cdef uint32_t words[3]
        cdef uint32_t pair
        cdef Pair* more
        words[0] = old.rule
        words[1] = new.rule
        words[2] = old.verdict << 8 | new.verdict
        pair = self.ids.intern(words, 3)
        if pair == NO_CLASS:
            with gil:
                raise MemoryError("the filters disagree in more ways than can be counted")
        if pair == self.n_pairs:
            if pair == self.pairs_room:
                more = <Pair*> realloc(self.pairs, (self.pairs_room * 2 + 64) * sizeof(Pair))
                if more == NULL:
                    with gil:
                        raise MemoryError()
                self.pairs = more
                self.pairs_room = self.pairs_room * 2 + 64
            memset(&self.pairs[pair], 0, sizeof(Pair))
            self.pairs[pair].old_rule = old.rule
            self.pairs[pair].new_rule = new.rule
            self.pairs[pair].old_verdict = old.verdict
            self.pairs[pair].new_verdict = new.verdict
            self.n_pairs += 1
        return pair

    cdef int note_example(self, uint32_t pair, const Line* line) except -1 nogil:
        cdef Example* more
        if self.n_found == self.found_room:
            more = <Example*> realloc(self.found, (self.found_room * 2 + 64) * sizeof(Example))
            if more == NULL:
                with gil:
                    raise MemoryError()
            self.found = more
            self.found_room = self.found_room * 2 + 64
        self.found[self.n_found].pair = pair
        self.found[self.n_found].p = line.p
        self.found[self.n_found].n = line.n
        self.n_found += 1
        self.pairs[pair].examples += 1
        return 0


cdef bint has_invalid(Context self) noexcept nogil:
    cdef uint32_t f
    for f in range(self.program.n_fields):
        if is_invalid(self, self.tuple_[f]):
            return True
    return False


cdef Decision decide_alone(Context self, const Line* line, uint32_t form) noexcept nogil:
    """What one set decides of a line by itself, its own way of reading it included."""
    cdef Plan plan = self.program.plan
    cdef const uint8_t* p = line.p
    cdef Decision decision
    plan.format = form
    if line.n == 0:
        return plain_decision(DEFAULT_RULE, c"M", 0)
    simd_level().scan_lines(plan, &p, line.p + line.n + line.newlines, self.lines, self.spans, 1)
    if self.lines[0].form <= FORM_TEXT27:
        decision = decide_values(self, self.spans, line.p + line.n + line.newlines)
    else:
        decision = decide_odd_line(self, &self.lines[0], self.spans, &plan, line.p + line.n + line.newlines)
    return settle(self, decision, line, 0) if decision.kind == DECISION_GENTLE else decision
