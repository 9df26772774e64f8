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
    uint32_t n_rules
    uint32_t first_hit               # where its rules' counters begin
    uint32_t* fields                 # which it reads
    uint32_t n_fields
    const WantedKey* keys            # those of the joint plan that are its own
    uint32_t n_keys
    bint is_wanted

cdef struct Tally:                   # of one output, over the batch under way
    uint64_t kept_lines
    uint64_t kept_bytes
    uint64_t likeness                # equal for outputs that keep the same lines
    uint64_t malformed
    uint64_t errors

cdef struct LineOutcome:             # what was decided like this in the batch under way: all that each line touches
    uint64_t lines
    uint64_t bytes
    uint32_t keep_set
    bint is_odd                      # some output found it malformed, or met an error

cdef struct Sums:                    # of an outcome over all batches since the hits were last added up
    uint64_t lines
    uint64_t bytes

cdef struct KeepSum:                 # of all outcomes with a keep set, in the batch under way
    uint64_t lines
    uint64_t bytes
    uint32_t first_copied            # where those of it that lines are copied to stand, in the list of them
    uint32_t n_copied

cdef struct Piece:                   # lines that follow each other in the input and are kept by the same outputs
    const uint8_t* p
    size_t n
    uint32_t keep_set

cdef uint32_t NOT_WANTED = 0xFFFFFFFF    # instead of errors and verdict, where an output is not asked
cdef uint32_t KEPT_BY_NONE = 0           # the id of the empty keep set
cdef uint64_t LIKENESS_FACTOR = 0x9E3779B97F4A7C15

cdef extern from *:
    """
    static inline void fetch_to_write(const void *p) { __builtin_prefetch(p, 1, 2); }
    """
    void fetch_to_write(const void* p) nogil
    uint32_t lowest_bit "__builtin_ctz"(uint32_t bits) nogil
    uint32_t count_bits "__builtin_popcount"(uint32_t bits) nogil


cdef class FanOut:
    """Decides lines for many filter sets at once: `FanOut(program, outputs)`, for one thread.

    program  the joint one; no step in it is a shadow or a sample
    outputs  for each set (its sections' number, its rules' number, the joint numbers of the fields it reads), in order

    `choose` says which outputs are wanted, `decide` decides a batch for them, `gather` makes what each keeps. Only
    `hits` may be called by other threads meanwhile.
    """
    cdef Program program
    cdef Memory memory
    cdef Context context
    cdef Output* outputs
    cdef Tally* tallies              # of each output
    cdef uint8_t** places            # where the next line of each output is copied to
    cdef readonly uint32_t n_outputs
    cdef uint32_t set_words          # of a keep set, as a row of bits
    cdef uint32_t* words             # a keep set or an outcome being made
    cdef uint32_t* real_tuple        # a line's classes, while those of invalid values are covered
    cdef bint has_invalid            # some are
    cdef uint32_t* wanted
    cdef uint32_t* wanted_set        # the same as a row of bits
    cdef uint32_t n_wanted
    cdef OutcomeTable known          # a line's classes → its outcome
    cdef uint32_t* block_ids         # the outcomes of a block of lines, as far as that knows them
    cdef ClassStore ids              # of outcomes: for each output its rule, and its errors with its verdict
    cdef LineOutcome* outcomes
    cdef Sums* sums
    cdef uint32_t* met               # the outcomes of the batch under way
    cdef uint32_t outcomes_room      # in these three
    cdef uint32_t n_met
    cdef ClassStore keep_sets
    cdef KeepSum* keep_sums
    cdef uint32_t* met_sets          # the keep sets of the batch under way, but for the empty one
    cdef uint32_t n_met_sets
    cdef uint32_t sets_room          # in these two
    cdef uint32_t* copied            # the outputs that lines are copied to, keep set by keep set
    cdef size_t n_copied
    cdef size_t copied_room
    cdef Piece* pieces
    cdef size_t n_pieces
    cdef size_t pieces_room
    cdef uint64_t n_lines
    cdef uint64_t* hit_lines         # for each rule of each output, added up from outcomes that were forgotten
    cdef uint64_t* hit_bytes
    cdef object lock
    cdef uint32_t malformed_id       # the outcome of lines that are malformed for all, or NO_CLASS
    cdef object lines                # the batch that the pieces borrow from
    cdef Py_buffer view
    cdef bint is_held                # the view holds its buffer

    def __cinit__(self, Program program not None, outputs):
        cdef uint32_t i, k, n, sections = 0, rules = 0, n_hits = 0
        cdef Output* output
        cdef WantedKey* keys
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
            output.n_rules = n_rules
            output.rules_before = rules
            rules += n_rules - 1
            output.first_hit = n_hits
            n_hits += n_rules
            output.fields = self.memory.keep_ids(fields)
            output.n_fields = len(fields)
            keys = <WantedKey*> self.memory.take(program.plan.n_keys * sizeof(WantedKey))
            n = 0
            for k in range(program.plan.n_keys):
                if program.plan.keys[k].field in fields:
                    keys[n] = program.plan.keys[k]
                    n += 1
            output.keys = keys
            output.n_keys = n
        if sections != program.n_sections or rules + 1 != program.n_rules:
            raise ValueError("the outputs are not what the joint program was made of")
        self.tallies = <Tally*> self.memory.take(self.n_outputs * sizeof(Tally))
        self.places = <uint8_t**> self.memory.take(self.n_outputs * sizeof(uint8_t*))
        self.set_words = (self.n_outputs + 31) // 32
        self.words = <uint32_t*> self.memory.take((2 * self.n_outputs + self.set_words) * sizeof(uint32_t))
        self.real_tuple = <uint32_t*> self.memory.take(program.n_fields * sizeof(uint32_t))
        self.wanted = <uint32_t*> self.memory.take(self.n_outputs * sizeof(uint32_t))
        self.wanted_set = <uint32_t*> self.memory.take(self.set_words * sizeof(uint32_t))
        self.hit_lines = <uint64_t*> self.memory.take(n_hits * sizeof(uint64_t))
        self.hit_bytes = <uint64_t*> self.memory.take(n_hits * sizeof(uint64_t))
        self.block_ids = <uint32_t*> self.memory.take(self.context.lines_a_block * sizeof(uint32_t))
        if not self.known.start(program.n_fields, DECISION_BYTES):
            raise MemoryError()
        self.ids.set_bound(OUTCOME_BYTES)
        self.keep_sets.set_bound(OUTCOME_BYTES)
        self.forget_outcomes()
        self.lock = threading.Lock()

    def __dealloc__(self):
        free(self.outcomes)
        free(self.sums)
        free(self.met)
        free(self.keep_sums)
        free(self.met_sets)
        free(self.copied)
        free(self.pieces)
        if self.is_held:
            PyBuffer_Release(&self.view)

    def choose(self, wanted):
        """From the next batch on these outputs, by number, are decided and counted, in this order, and no others."""
        cdef uint32_t i
        cdef uint32_t number
        self.let_go()  # a batch that was decided and not gathered: it names outcomes
        with self.lock:
            self.add_up_hits()
            self.forget_outcomes()
            for i in range(self.n_outputs):
                self.outputs[i].is_wanted = False
            self.n_wanted = 0
            memset(self.wanted_set, 0, self.set_words * sizeof(uint32_t))
            for number in wanted:
                if number >= self.n_outputs or self.outputs[number].is_wanted:
                    raise ValueError(f"output {number} is none, or was named before")
                self.outputs[number].is_wanted = True
                self.wanted_set[number >> 5] |= <uint32_t> 1 << (number & 31)
                self.wanted[self.n_wanted] = number
                self.n_wanted += 1

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
            if self.is_crowded():
                self.add_up_hits()
                self.forget_outcomes()
            try:
                with nogil:
                    self.begin_batch()
                    self.run(<const uint8_t*> self.view.buf, <const uint8_t*> self.view.buf + self.view.len, number)
                    self.end_batch()
            except BaseException:
                self.add_up_hits()
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
        memset(self.places, 0, self.n_outputs * sizeof(uint8_t*))
        kept = []
        kept_lines = []
        malformed = []
        errors = []
        made = {}
        for i in range(self.n_wanted):
            at = self.wanted[i]
            tally = &self.tallies[at]
            if tally.kept_bytes == size:
                mine = self.lines
            elif tally.kept_bytes == 0:
                mine = b""
            else:
                mine = self.find_alike(made, at)
                if mine is None:
                    mine = PyBytes_FromStringAndSize(NULL, tally.kept_bytes)
                    self.places[at] = <uint8_t*> PyBytes_AS_STRING(mine)
                    made.setdefault(tally.likeness, []).append((at, mine))
            kept.append(mine)
            kept_lines.append(tally.kept_lines)
            malformed.append(tally.malformed)
            errors.append(tally.errors)
        if made:
            with nogil:
                self.list_copied()
                copy_pieces(self)
        self.let_go()
        return kept, kept_lines, malformed, errors

    def hits(self, uint32_t number):
        """For each rule of an output (lines, bytes) decided so far, in batches that are done."""
        cdef uint32_t i, at
        if number >= self.n_outputs:
            raise ValueError(f"output {number} is none")
        with self.lock:
            self.add_up_hits()
            at = self.outputs[number].first_hit
            return [(self.hit_lines[at + i], self.hit_bytes[at + i]) for i in range(self.outputs[number].n_rules)]

    def cache_stat(self):
        """What the caches hold now: bytes, how often all classes were forgotten, and outcomes."""
        with self.lock:
            total = self.context.cache_bytes() + self.known.bytes() + self.ids.bytes() + self.keep_sets.bytes()
            total += self.outcomes_room * (sizeof(LineOutcome) + sizeof(Sums) + sizeof(uint32_t))
            return {"bytes": total, "resets": self.context.resets, "outcomes": self.ids.size()}

    cdef object find_alike(self, made, uint32_t at):
        """What was made for an output that keeps the same lines as this one, or None."""
        for other, kept in made.get(self.tallies[at].likeness, ()):
            if self.keep_the_same(at, other):
                return kept
        return None

    cdef bint keep_the_same(self, uint32_t one, uint32_t other) noexcept:
        cdef uint32_t i
        cdef const uint32_t* keep_set
        for i in range(self.n_met_sets):
            keep_set = self.keep_sets.words(self.met_sets[i])
            if (keep_set[one >> 5] >> (one & 31) ^ keep_set[other >> 5] >> (other & 31)) & 1:
                return False
        return True

    cdef int let_go(self) except -1:
        """Gives the batch back; what was noted of it is void."""
        if self.is_held:
            self.is_held = False
            self.lines = None
            PyBuffer_Release(&self.view)
        return 0

    cdef bint is_crowded(self) noexcept nogil:
        """Is it time to forget all outcomes, so that the next batch finds room? What is asked is not how much is
        allocated, which stays, but how much is in use."""
        cdef size_t outcome_bytes = 8 * <size_t> self.n_outputs + sizeof(LineOutcome) + sizeof(Sums) + 16
        cdef size_t set_bytes = 4 * <size_t> self.set_words + sizeof(KeepSum) + 16
        return (self.ids.size() * outcome_bytes > OUTCOME_BYTES // 2
                or self.keep_sets.size() * set_bytes > OUTCOME_BYTES // 2)

    cdef int forget_outcomes(self) except -1:
        """Forgets them all, and what names one; their hits must have been added up."""
        self.known.clear()
        self.ids.clear()
        self.keep_sets.clear()
        self.n_met = 0
        self.n_met_sets = 0
        self.malformed_id = NO_CLASS
        memset(self.words, 0, self.set_words * sizeof(uint32_t))
        if self.keep_sets.intern(self.words, self.set_words) != KEPT_BY_NONE:
            raise MemoryError()
        return 0

    cdef void add_up_hits(self) noexcept nogil:
        """The counts of outcomes become counts of rules: in time that goes by outcomes and outputs, not by lines."""
        cdef Sums* sums
        cdef const uint32_t* words
        cdef uint32_t id, i, at
        for id in range(self.ids.size()):
            sums = &self.sums[id]
            if sums.lines == 0:
                continue
            words = self.ids.words(id)
            for i in range(self.n_outputs):
                if words[2 * i + 1] != NOT_WANTED:
                    at = self.outputs[i].first_hit + words[2 * i]
                    self.hit_lines[at] += sums.lines
                    self.hit_bytes[at] += sums.bytes
            sums.lines = 0
            sums.bytes = 0

    cdef void begin_batch(self) noexcept nogil:
        self.n_met = 0
        self.n_met_sets = 0
        self.n_pieces = 0
        self.n_lines = 0
        memset(self.tallies, 0, self.n_outputs * sizeof(Tally))

    cdef void end_batch(self) noexcept nogil:
        """What each outcome met becomes what each keep set, and then what each output kept.

        What most outputs keep is added to all, and taken from the others: numbers wrap around.
        """
        cdef LineOutcome* outcome
        cdef KeepSum* sum_
        cdef Tally one, everyone
        cdef uint32_t i
        for i in range(self.n_met):
            outcome = &self.outcomes[self.met[i]]
            if outcome.is_odd:
                self.count_odd(self.met[i])
            if outcome.keep_set != KEPT_BY_NONE:
                sum_ = &self.keep_sums[outcome.keep_set]
                if sum_.lines == 0:
                    self.met_sets[self.n_met_sets] = outcome.keep_set
                    self.n_met_sets += 1
                sum_.lines += outcome.lines
                sum_.bytes += outcome.bytes
            self.sums[self.met[i]].lines += outcome.lines
            self.sums[self.met[i]].bytes += outcome.bytes
            outcome.lines = 0
            outcome.bytes = 0
        memset(&everyone, 0, sizeof(Tally))
        for i in range(self.n_met_sets):
            sum_ = &self.keep_sums[self.met_sets[i]]
            one.kept_lines = sum_.lines
            one.kept_bytes = sum_.bytes
            one.likeness = (<uint64_t> self.met_sets[i] + 1) * LIKENESS_FACTOR
            one.likeness ^= one.likeness >> 29
            if self.is_kept_by_most(self.met_sets[i]):
                add_tally(&everyone, &one)
                one.kept_lines = -one.kept_lines
                one.kept_bytes = -one.kept_bytes
                one.likeness = -one.likeness
                self.tally_each(self.met_sets[i], &one, False)
            else:
                self.tally_each(self.met_sets[i], &one, True)
            sum_.lines = 0
            sum_.bytes = 0
        for i in range(self.n_wanted):
            add_tally(&self.tallies[self.wanted[i]], &everyone)

    cdef bint is_kept_by_most(self, uint32_t id) noexcept nogil:
        cdef const uint32_t* keep_set = self.keep_sets.words(id)
        cdef uint32_t w, n = 0
        for w in range(self.set_words):
            n += count_bits(keep_set[w])
        return n > self.n_wanted // 2

    cdef void tally_each(self, uint32_t id, const Tally* one, bint keeps) noexcept nogil:
        """Adds to the tallies of the wanted outputs that keep the lines, or of those that do not."""
        cdef const uint32_t* keep_set = self.keep_sets.words(id)
        cdef uint32_t w, bits
        for w in range(self.set_words):
            bits = keep_set[w] if keeps else self.wanted_set[w] & ~keep_set[w]
            while bits:
                add_tally(&self.tallies[w * 32 + lowest_bit(bits)], one)
                bits &= bits - 1

    cdef int list_copied(self) except -1 nogil:
        """For each keep set of the batch the outputs that have a place to copy to."""
        cdef KeepSum* sum_
        cdef const uint32_t* keep_set
        cdef uint32_t i, w, bits, at
        cdef void* more
        self.n_copied = 0
        for i in range(self.n_met_sets):
            if self.n_copied + self.n_outputs > self.copied_room:
                more = realloc(self.copied, (self.copied_room * 2 + 16 * self.n_outputs) * sizeof(uint32_t))
                if more == NULL:
                    with gil:
                        raise MemoryError()
                self.copied = <uint32_t*> more
                self.copied_room = self.copied_room * 2 + 16 * self.n_outputs
            sum_ = &self.keep_sums[self.met_sets[i]]
            keep_set = self.keep_sets.words(self.met_sets[i])
            sum_.first_copied = self.n_copied
            for w in range(self.set_words):
                bits = keep_set[w]
                while bits:
                    at = w * 32 + lowest_bit(bits)
                    bits &= bits - 1
                    if self.places[at] != NULL:
                        self.copied[self.n_copied] = at
                        self.n_copied += 1
            sum_.n_copied = self.n_copied - sum_.first_copied
        return 0

    cdef void count_odd(self, uint32_t id) noexcept nogil:
        cdef const uint32_t* words = self.ids.words(id)
        cdef uint64_t lines = self.outcomes[id].lines
        cdef uint32_t i
        for i in range(self.n_outputs):
            if words[2 * i + 1] != NOT_WANTED:
                self.tallies[i].errors += lines * (words[2 * i + 1] >> 8)
                if (words[2 * i + 1] & 0xFF) == c"M":
                    self.tallies[i].malformed += lines

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
        cdef LineOutcome* outcomes = self.outcomes
        cdef uint32_t id, keep_set = KEPT_BY_NONE
        cdef size_t n, i
        plan.format = form
        self.look_at_ends()
        while p < end:
            n = simd_level().scan_lines(plan, &p, end, self.context.lines, self.context.spans,
                                        self.context.lines_a_block)
            self.find_block(0, n, end)
            self.make_room_for_pieces(n + 1)
            for i in range(n):
                line = &lines[i]
                id = ids[i] if line.form <= FORM_TEXT27 else NO_CLASS
                if id == NO_CLASS:
                    resets = self.context.resets
                    id = self.decide_line(line, self.context.spans + i * n_fields, end, &plan)
                    outcomes = self.outcomes
                    if self.context.resets != resets:
                        # Class ids were given anew: those of the lines behind this one are to be found again.
                        self.find_block(i, n, end)
                outcome = &outcomes[id]
                if outcome.lines == 0:
                    self.met[self.n_met] = id
                    self.n_met += 1
                outcome.lines += 1
                outcome.bytes += line.n + line.newlines
                if outcome.keep_set != keep_set:
                    if keep_set != KEPT_BY_NONE:
                        self.add_piece(from_, line.p, keep_set)
                    keep_set = outcome.keep_set
                    from_ = line.p
            self.n_lines += n
        if keep_set != KEPT_BY_NONE:
            self.add_piece(from_, end, keep_set)
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

    cdef void add_piece(self, const uint8_t* p, const uint8_t* end, uint32_t keep_set) noexcept nogil:
        cdef Piece* piece = &self.pieces[self.n_pieces]
        piece.p = p
        piece.n = end - p
        piece.keep_set = keep_set
        self.n_pieces += 1

    cdef int make_room_for_pieces(self, size_t n) except -1 nogil:
        cdef Piece* more
        if self.n_pieces + n <= self.pieces_room:
            return 0
        more = <Piece*> realloc(self.pieces, (self.pieces_room * 2 + 1024 + n) * sizeof(Piece))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.pieces = more
        self.pieces_room = self.pieces_room * 2 + 1024 + n
        return 0

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
            self.note(i, self.decide_output(&self.outputs[i]))
        id = self.find_outcome()
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
                self.malformed_id = self.find_outcome()
            return self.malformed_id
        for i in range(self.n_outputs):
            own.keys = self.outputs[i].keys
            own.n_keys = self.outputs[i].n_keys
            if self.outputs[i].is_wanted and read_odd_line(self.context, line, values, &own):
                self.find_classes_of(values, end)
                spread_states(self.context)
                self.note(i, self.decide_output(&self.outputs[i]))
            else:
                self.note(i, malformed)
        return self.find_outcome()

    cdef int find_classes_of(self, const Span* values, const uint8_t* end) except -1 nogil:
        """Fills the tuple with a line's classes, `real_tuple` too: in the tuple itself the class of all invalid values
        is covered by that in which every predicate says no."""
        cdef uint32_t f, nothing
        cdef uint32_t tries
        for tries in range(2):
            nothing = self.context.classes.intern(self.words, 0)
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
        """What a wanted output says of the line whose states are spread."""
        if not output.is_wanted or (self.has_invalid and self.reads_invalid(output)):
            return plain_decision(DEFAULT_RULE, c"M", 0)
        return run_sections(self.context, output.first_section, output.end_section)

    cdef bint reads_invalid(self, const Output* output) noexcept nogil:
        cdef uint32_t f
        for f in range(output.n_fields):
            if is_invalid(self.context, self.real_tuple[output.fields[f]]):
                return True
        return False

    cdef void note(self, uint32_t i, Decision decision) noexcept nogil:
        """Writes an output's part of the outcome that is being made."""
        cdef uint32_t* words = self.words + self.set_words + 2 * i
        if not self.outputs[i].is_wanted:
            words[0] = DEFAULT_RULE
            words[1] = NOT_WANTED
            return
        words[0] = decision.rule - self.outputs[i].rules_before if decision.rule != DEFAULT_RULE else DEFAULT_RULE
        words[1] = <uint32_t> decision.errors << 8 | decision.verdict

    cdef uint32_t find_outcome(self) except? 0xFFFFFFFF nogil:
        """The number of the outcome that was noted, made where it is new."""
        cdef const uint32_t* words = self.words + self.set_words
        cdef LineOutcome* outcome
        cdef uint32_t known = self.ids.size()
        cdef uint32_t id, i, said
        self.make_room(known)
        id = self.ids.intern(words, 2 * self.n_outputs)
        if id == NO_CLASS:
            with gil:
                raise MemoryError("the filters decide in more ways than can be kept")
        if id < known:
            return id
        outcome = &self.outcomes[id]
        memset(outcome, 0, sizeof(LineOutcome))
        memset(&self.sums[id], 0, sizeof(Sums))
        memset(self.words, 0, self.set_words * sizeof(uint32_t))
        for i in range(self.n_outputs):
            said = words[2 * i + 1]
            if said == NOT_WANTED:
                continue
            if (said & 0xFF) != c"D":
                self.words[i >> 5] |= <uint32_t> 1 << (i & 31)
            if said >> 8 or (said & 0xFF) == c"M":
                outcome.is_odd = True
        self.make_room_for_set(self.keep_sets.size())
        known = self.keep_sets.size()
        outcome.keep_set = self.keep_sets.intern(self.words, self.set_words)
        if outcome.keep_set == known:
            memset(&self.keep_sums[known], 0, sizeof(KeepSum))
        if outcome.keep_set == NO_CLASS:
            with gil:
                raise MemoryError("the filters keep in more ways than can be kept")
        return id

    cdef int make_room(self, uint32_t id) except -1 nogil:
        """Room for this outcome, and to note that it was met."""
        cdef uint32_t room = self.outcomes_room
        cdef void* more
        if id < room:
            return 0
        room = room * 2 + 256
        more = realloc(self.outcomes, room * sizeof(LineOutcome))
        if more != NULL:
            self.outcomes = <LineOutcome*> more
            more = realloc(self.sums, room * sizeof(Sums))
        if more != NULL:
            self.sums = <Sums*> more
            more = realloc(self.met, room * sizeof(uint32_t))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.met = <uint32_t*> more
        self.outcomes_room = room
        return 0

    cdef int make_room_for_set(self, uint32_t id) except -1 nogil:
        """Room for this keep set, and to note that it was met."""
        cdef uint32_t room = self.sets_room
        cdef void* more
        if id < room:
            return 0
        room = room * 2 + 256
        more = realloc(self.keep_sums, room * sizeof(KeepSum))
        if more != NULL:
            self.keep_sums = <KeepSum*> more
            more = realloc(self.met_sets, room * sizeof(uint32_t))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.met_sets = <uint32_t*> more
        self.sets_room = room
        return 0


cdef inline void add_tally(Tally* tally, const Tally* more) noexcept nogil:
    tally.kept_lines += more.kept_lines
    tally.kept_bytes += more.kept_bytes
    tally.likeness += more.likeness


cdef void copy_pieces(FanOut self) noexcept nogil:
    """Copies each piece to the outputs that keep it and have a place: it is read while it is in the nearest cache."""
    cdef const Piece* piece
    cdef const KeepSum* sum_
    cdef const uint32_t* at
    cdef const uint32_t* end
    cdef uint8_t* place
    cdef size_t i
    for i in range(self.n_pieces):
        piece = &self.pieces[i]
        sum_ = &self.keep_sums[piece.keep_set]
        at = self.copied + sum_.first_copied
        end = at + sum_.n_copied
        while at < end:
            place = self.places[at[0]]
            memcpy(place, piece.p, piece.n)
            place += piece.n
            self.places[at[0]] = place
            # Nobody foresees a hundred places that are written in turns, but whoever writes them.
            fetch_to_write(place + 64)
            fetch_to_write(place + 128)
            at += 1
