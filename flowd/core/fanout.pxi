# One input, many outputs: the lines of a batch are walked once, and every one of many filter sets decides them.
#
# A joint program holds the predicates of all sets, each once, and their sections one after the other. What all sets say
# of a line is its *outcome*, interned: a table of its own gives a line's outcome for the classes of its values. Each
# outcome names the set of outputs that keep its lines. So a line costs the same for one output and for a hundred; what
# grows with the outputs is done once for each outcome that a batch meets, and for what is kept, which is copied.

cdef struct Output:                  # one filter set of the joint program
    uint32_t first_section
    uint32_t end_section
    uint32_t rules_before            # its rules are counted from here in the joint program, but for the default one
    uint32_t* fields                 # which it reads
    uint32_t n_fields
    const WantedKey* keys            # those of the joint plan that are its own
    uint32_t n_keys


cdef class FanOut:
    """Decides lines for many filter sets at once: `FanOut(program, outputs)`, for one thread.

    program  the joint one; no step in it is a shadow or a sample
    outputs  for each set (its sections' number, its rules' number, the joint numbers of the fields it reads), in order

    `choose` says which outputs are wanted, `decide` decides a batch for them, `gather` makes what each keeps. Only
    `hits` and `cache_stat` may be called by other threads meanwhile.
    """
    cdef Program program
    cdef Memory memory
    cdef Context context
    cdef Output* outputs
    cdef readonly uint32_t n_outputs
    cdef Outcomes outcomes
    cdef OutcomeTable known          # a line's classes → its outcome
    cdef uint32_t* block_ids         # the outcomes of a block of lines, as far as that knows them
    cdef uint32_t malformed_id       # the outcome of lines that are malformed for all, or NO_CLASS
    cdef uint32_t* real_tuple        # a line's classes, while those of invalid values are covered
    cdef bint has_invalid            # some are
    cdef Pieces pieces
    cdef uint64_t n_lines
    cdef object lines                # the batch that the pieces borrow from
    cdef Py_buffer view
    cdef bint is_held                # the view holds its buffer
    cdef object lock                 # on the outcomes

    def __cinit__(self, Program program not None, outputs):
        cdef uint32_t i, sections = 0, rules = 0
        cdef Output* output
        self.program = program
        self.memory = Memory()
        self.context = Context(program)
        self.n_outputs = len(outputs)
        self.outputs = <Output*> self.memory.take(self.n_outputs * sizeof(Output))
        for i, (n_sections, n_rules, fields) in enumerate(outputs):
            output = &self.outputs[i]
            output.first_section = sections
            sections += n_sections
            output.end_section = sections
            output.rules_before = rules
            rules += n_rules - 1
            output.fields = self.memory.keep_ids(fields)
            output.n_fields = len(fields)
            self.take_keys(output, fields)
        if sections != program.n_sections or rules + 1 != program.n_rules:
            raise ValueError("the outputs are not what the joint program was made of")
        self.outcomes = Outcomes([n_rules for _, n_rules, _ in outputs])
        self.malformed_id = NO_CLASS
        self.pieces = Pieces(self.n_outputs)
        self.real_tuple = <uint32_t*> self.memory.take(program.n_fields * sizeof(uint32_t))
        self.block_ids = <uint32_t*> self.memory.take(self.context.lines_a_block * sizeof(uint32_t))
        if not self.known.start(program.n_fields, DECISION_BYTES):
            raise MemoryError()
        self.lock = threading.Lock()

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.view)

    cdef int take_keys(self, Output* output, fields) except -1:
        """The joint plan's keys without those of the others."""
        cdef const Plan* plan = &self.program.plan
        cdef WantedKey* keys = <WantedKey*> self.memory.take(plan.n_keys * sizeof(WantedKey))
        cdef uint32_t k
        for k in range(plan.n_keys):
            if plan.keys[k].field in fields:
                keys[output.n_keys] = plan.keys[k]
                output.n_keys += 1
        output.keys = keys
        return 0

    def choose(self, wanted):
        """From the next batch on these outputs, by number, are decided and counted, in this order, and no others."""
        self.let_go()  # a batch that was decided and not gathered: it names outcomes
        with self.lock:
            self.forget_outcomes()
            self.outcomes.choose(wanted)

    def decide(self, lines, form="auto"):
        """Decides the lines, which are held until `gather`; returns how many they are.

        Raises MemoryError where they need more than may be used: nothing is counted then.
        """
        cdef uint32_t number = format_number(form)
        self.let_go()
        PyObject_GetBuffer(lines, &self.view, PyBUF_SIMPLE)
        self.is_held = True
        self.lines = lines
        with self.lock:
            if self.outcomes.is_crowded():
                self.forget_outcomes()
            try:
                with nogil:
                    self.outcomes.begin_batch()
                    self.run(<const uint8_t*> self.view.buf, <const uint8_t*> self.view.buf + self.view.len, number)
                    self.outcomes.end_batch()
            except BaseException:
                self.forget_outcomes()
                self.let_go()
                raise
        return self.n_lines

    def gather(self):
        """What the wanted outputs keep of the lines that were decided: (kept lines, their numbers, malformed lines,
        errors), each a list over the outputs.

        Outputs that keep the same lines share one object; one that keeps all of them has what was given.
        """
        cdef const Tally* tally
        cdef uint32_t i, at
        cdef size_t size = self.view.len
        if not self.is_held:
            raise ValueError("there is no batch to gather from: decide comes before")
        memset(self.pieces.places, 0, self.n_outputs * sizeof(uint8_t*))
        kept = []
        kept_lines = []
        malformed = []
        errors = []
        made = {}
        for i in range(self.outcomes.n_wanted):
            at = self.outcomes.wanted[i]
            tally = &self.outcomes.tallies[at]
            if tally.kept_bytes == size:
                mine = self.lines
            elif tally.kept_bytes == 0:
                mine = b""
            else:
                mine = self.find_alike(made, at)
                if mine is None:
                    mine = PyBytes_FromStringAndSize(NULL, tally.kept_bytes)
                    self.pieces.places[at] = <uint8_t*> PyBytes_AS_STRING(mine)
                    made.setdefault(tally.likeness, []).append((at, mine))
            kept.append(mine)
            kept_lines.append(tally.kept_lines)
            malformed.append(tally.malformed)
            errors.append(tally.errors)
        if made:
            with nogil:
                self.pieces.copy(self.outcomes)
        self.let_go()
        return kept, kept_lines, malformed, errors

    def hits(self, uint32_t number):
        """For each rule of an output (lines, bytes) decided so far, in batches that are done."""
        if number >= self.n_outputs:
            raise ValueError(f"output {number} is none")
        with self.lock:
            return self.outcomes.hits_of(number)

    def cache_stat(self):
        """What the caches hold now: bytes, how often all classes were forgotten, and outcomes."""
        with self.lock:
            total = self.context.cache_bytes() + self.known.bytes() + self.outcomes.cache_bytes()
            return {"bytes": total, "resets": self.context.resets, "outcomes": self.outcomes.ids.size()}

    cdef object find_alike(self, made, uint32_t at):
        """What was made for an output that keeps the same lines as this one, or None."""
        for other, kept in made.get(self.outcomes.tallies[at].likeness, ()):
            if self.outcomes.keep_the_same(at, other):
                return kept
        return None

    cdef int let_go(self) except -1:
        """Gives the batch back; what was noted of it is void."""
        if self.is_held:
            self.is_held = False
            self.lines = None
            PyBuffer_Release(&self.view)
        return 0

    cdef int forget_outcomes(self) except -1:
        """Forgets them all, and what names one; what they have counted stays."""
        self.outcomes.add_up_hits()
        self.outcomes.forget()
        self.known.clear()
        self.malformed_id = NO_CLASS
        return 0

    cdef int run(self, const uint8_t* p, const uint8_t* end, uint32_t form) except -1 nogil:
        """Decides every line; those that any output keeps become pieces."""
        cdef Plan plan = self.program.plan
        cdef uint32_t n_fields = self.program.n_fields
        cdef const Line* line
        cdef LineOutcome* outcome
        cdef const uint8_t* from_ = NULL
        cdef uint64_t resets
        cdef const Line* lines = self.context.lines
        cdef const uint32_t* ids = self.block_ids
        cdef LineOutcome* outcomes = self.outcomes.outcomes
        cdef uint32_t id, keep_set = KEPT_BY_NONE
        cdef size_t n, i
        plan.format = form
        self.pieces.n = 0
        self.n_lines = 0
        self.look_at_ends()
        while p < end:
            n = simd_level().scan_lines(plan, &p, end, self.context.lines, self.context.spans,
                                        self.context.lines_a_block)
            self.find_block(0, n, end)
            self.pieces.make_room(n + 1)
            for i in range(n):
                line = &lines[i]
                id = ids[i] if line.form <= FORM_TEXT27 else NO_CLASS
                if id == NO_CLASS:
                    resets = self.context.resets
                    id = self.decide_line(line, self.context.spans + i * n_fields, end, &plan)
                    outcomes = self.outcomes.outcomes
                    if self.context.resets != resets:
                        # Class ids were given anew: those of the lines behind this one are to be found again.
                        self.find_block(i, n, end)
                outcome = &outcomes[id]
                if outcome.lines == 0:
                    self.outcomes.met[self.outcomes.n_met] = id
                    self.outcomes.n_met += 1
                outcome.lines += 1
                outcome.bytes += line.n + line.newlines
                if outcome.keep_set != keep_set:
                    if keep_set != KEPT_BY_NONE:
                        add_piece(self.pieces, from_, line.p, keep_set)
                    keep_set = outcome.keep_set
                    from_ = line.p
            self.n_lines += n
        if keep_set != KEPT_BY_NONE:
            add_piece(self.pieces, from_, end, keep_set)
        return 0

    cdef void look_at_ends(self) noexcept nogil:
        """Once a batch: where a rule has ended since, what was decided is void."""
        cdef uint32_t ended = self.context.n_ended
        look_at_clock(self.context)
        if self.context.n_ended != ended:
            self.known.clear()

    cdef void find_block(self, size_t first, size_t n, const uint8_t* end) noexcept nogil:
        """The outcomes of a block's lines from this one on, as far as the tables know values and classes."""
        cdef size_t at = first * self.program.n_fields
        simd_level().find_classes(self.context.tables, self.context.missing, self.context.spans + at, n - first,
                                  self.program.n_fields, end, self.context.block_classes + at)
        self.known.find(self.context.block_classes + at, n - first, self.block_ids + first)

    cdef uint32_t decide_line(self, const Line* line, Span* values, const uint8_t* end,
                              const Plan* plan) except? 0xFFFFFFFF nogil:
        """The outcome of a line that the table does not know."""
        cdef uint32_t id, i
        if line.form > FORM_TEXT27 and not read_odd_line(self.context, line, values, plan):
            return self.decide_doubtful_line(line, values, end, plan)
        self.find_classes_of(values, end)
        id = self.known.find_one(self.real_tuple)
        if id != NO_CLASS:
            return id
        spread_states(self.context)
        for i in range(self.n_outputs):
            if self.outcomes.is_wanted(i):
                self.note(i, self.decide_output(&self.outputs[i]))
            else:
                self.note(i, plain_decision(DEFAULT_RULE, c"M", 0))
        id = self.outcomes.find()
        self.known.insert(self.real_tuple, id)
        return id

    cdef uint32_t decide_doubtful_line(self, const Line* line, Span* values, const uint8_t* end,
                                       const Plan* plan) except? 0xFFFFFFFF nogil:
        """The outcome of a line that is malformed for some output: for all, or for those that read what is wrong in
        it. Then each reads it by itself."""
        cdef Plan own = plan[0]
        cdef Decision malformed = plain_decision(DEFAULT_RULE, c"M", 0)
        cdef uint32_t i
        own.n_keys = 0
        if not read_odd_line(self.context, line, values, &own):
            if self.malformed_id == NO_CLASS:
                for i in range(self.n_outputs):
                    self.note(i, malformed)
                self.malformed_id = self.outcomes.find()
            return self.malformed_id
        for i in range(self.n_outputs):
            own.keys = self.outputs[i].keys
            own.n_keys = self.outputs[i].n_keys
            if self.outcomes.is_wanted(i) and read_odd_line(self.context, line, values, &own):
                self.find_classes_of(values, end)
                spread_states(self.context)
                self.note(i, self.decide_output(&self.outputs[i]))
            else:
                self.note(i, malformed)
        return self.outcomes.find()

    cdef int find_classes_of(self, const Span* values, const uint8_t* end) except -1 nogil:
        """Fills the tuple with a line's classes, `real_tuple` too: in the tuple itself the class of all invalid values
        is covered by that in which every predicate says no."""
        cdef uint32_t f, nothing
        cdef uint32_t tries
        for tries in range(2):
            nothing = self.context.classes.intern(self.real_tuple, 0)
            if nothing != NO_CLASS and find_tuple(self.context, values, end):
                self.has_invalid = False
                for f in range(self.program.n_fields):
                    self.real_tuple[f] = self.context.tuple_[f]
                    if is_invalid(self.context, self.context.tuple_[f]):
                        self.context.tuple_[f] = nothing
                        self.has_invalid = True
                return 0
            forget_classes(self.context)
            self.known.clear()
        with gil:
            raise MemoryError("a line's values find no room among the classes")

    cdef Decision decide_output(self, const Output* output) noexcept nogil:
        """What an output says of the line whose states are spread."""
        if self.has_invalid and self.reads_invalid(output):
            return plain_decision(DEFAULT_RULE, c"M", 0)
        return run_sections(self.context, output.first_section, output.end_section)

    cdef bint reads_invalid(self, const Output* output) noexcept nogil:
        cdef uint32_t f
        for f in range(output.n_fields):
            if is_invalid(self.context, self.real_tuple[output.fields[f]]):
                return True
        return False

    cdef void note(self, uint32_t i, Decision decision) noexcept nogil:
        """Writes what an output says into the outcome that is being made."""
        if decision.rule != DEFAULT_RULE:
            decision.rule -= self.outputs[i].rules_before
        self.outcomes.note(i, decision.rule, decision.errors, decision.verdict)
