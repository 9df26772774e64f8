# What many filter sets say of a line, all together: *outcomes*, interned, and the *keep sets* that they lead to.
#
# A line adds to the counts of its outcome, and to nothing else. When the batch is done these are added up by keep sets
# and so by outputs: in time that goes by the outcomes met, not by lines. Each rule's hits are made of them when
# somebody asks.

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

cdef struct Tally:                   # of one output, over the batch under way
    uint64_t kept_lines
    uint64_t kept_bytes
    uint64_t likeness                # equal for outputs that keep the same lines
    uint64_t malformed
    uint64_t errors

cdef struct Hits:                    # where the counters of an output's rules are
    uint32_t first
    uint32_t n_rules

cdef uint32_t NOT_WANTED = 0xFFFFFFFF    # instead of errors and verdict, where an output is not asked
cdef uint32_t KEPT_BY_NONE = 0           # the id of the empty keep set
cdef uint64_t LIKENESS_FACTOR = 0x9E3779B97F4A7C15

cdef extern from *:
    uint32_t lowest_bit "__builtin_ctz"(uint32_t bits) nogil
    uint32_t count_bits "__builtin_popcount"(uint32_t bits) nogil


cdef class Outcomes:
    """The outcomes of some outputs, of which some are wanted: `Outcomes(rules)`, with the number of each one's rules.

    1. Ids of outcomes and of keep sets are good until `forget`, and `forget` follows `add_up_hits`, always.
    2. Between two batches the counts of `outcomes` and of `keep_sums` are 0; `met` and `met_sets` name the last one's.
    3. An id has its place in the arrays before it is given.
    """
    cdef Memory memory
    cdef uint32_t n_outputs
    cdef uint32_t set_words          # of a keep set, as a row of bits
    cdef uint32_t* set_              # a keep set being made
    cdef uint32_t* words             # an outcome being made: for each output its rule, and its errors with its verdict
    cdef uint32_t* wanted            # in the order in which they are
    cdef uint32_t* wanted_set        # the same as a row of bits
    cdef uint32_t n_wanted
    cdef Tally* tallies              # of each output
    cdef ClassStore ids              # of outcomes
    cdef LineOutcome* outcomes
    cdef Sums* sums
    cdef uint32_t* met               # the outcomes of the batch under way
    cdef uint32_t room               # in these three
    cdef uint32_t n_met
    cdef ClassStore keep_sets
    cdef KeepSum* keep_sums
    cdef uint32_t* met_sets          # the keep sets of the batch under way, but for the empty one
    cdef uint32_t sets_room          # in these two
    cdef uint32_t n_met_sets
    cdef Hits* hits                  # of each output
    cdef uint64_t* hit_lines         # for each rule of each output, added up from outcomes
    cdef uint64_t* hit_bytes

    def __cinit__(self, rules):
        cdef uint32_t i, n = 0
        self.memory = Memory()
        self.n_outputs = len(rules)
        self.set_words = (self.n_outputs + 31) // 32
        self.set_ = <uint32_t*> self.memory.take(self.set_words * sizeof(uint32_t))
        self.words = <uint32_t*> self.memory.take(2 * self.n_outputs * sizeof(uint32_t))
        self.wanted = <uint32_t*> self.memory.take(self.n_outputs * sizeof(uint32_t))
        self.wanted_set = <uint32_t*> self.memory.take(self.set_words * sizeof(uint32_t))
        self.tallies = <Tally*> self.memory.take(self.n_outputs * sizeof(Tally))
        self.hits = <Hits*> self.memory.take(self.n_outputs * sizeof(Hits))
        for i in range(self.n_outputs):
            self.hits[i].first = n
            self.hits[i].n_rules = rules[i]
            n += self.hits[i].n_rules
        self.hit_lines = <uint64_t*> self.memory.take(n * sizeof(uint64_t))
        self.hit_bytes = <uint64_t*> self.memory.take(n * sizeof(uint64_t))
        self.ids.set_bound(OUTCOME_BYTES)
        self.keep_sets.set_bound(OUTCOME_BYTES)
        self.forget()

    def __dealloc__(self):
        free(self.outcomes)
        free(self.sums)
        free(self.met)
        free(self.keep_sums)
        free(self.met_sets)

    cdef int choose(self, wanted) except -1:
        """These outputs are wanted from now on, by number, and no others. Forgets what is known."""
        cdef uint32_t number
        self.add_up_hits()
        self.forget()
        self.n_wanted = 0
        memset(self.wanted_set, 0, self.set_words * sizeof(uint32_t))
        for number in wanted:
            if number >= self.n_outputs or self.is_wanted(number):
                raise ValueError(f"output {number} is none, or was named before")
            self.wanted_set[number >> 5] |= <uint32_t> 1 << (number & 31)
            self.wanted[self.n_wanted] = number
            self.n_wanted += 1
        return 0

    cdef inline bint is_wanted(self, uint32_t number) noexcept nogil:
        return self.wanted_set[number >> 5] >> (number & 31) & 1

    cdef list hits_of(self, uint32_t number):
        """For each rule of an output (lines, bytes) decided so far, in batches that are done."""
        cdef uint32_t i, at = self.hits[number].first
        self.add_up_hits()
        return [(self.hit_lines[at + i], self.hit_bytes[at + i]) for i in range(self.hits[number].n_rules)]

    cdef size_t cache_bytes(self) noexcept:
        return (self.ids.bytes() + self.keep_sets.bytes() + self.sets_room * (sizeof(KeepSum) + sizeof(uint32_t))
                + self.room * (sizeof(LineOutcome) + sizeof(Sums) + sizeof(uint32_t)))

    cdef bint is_crowded(self) noexcept nogil:
        """Is it time to forget all outcomes, so that the next batch finds room? What is asked is not how much is
        allocated, which stays, but how much is in use."""
        cdef size_t outcome_bytes = 8 * <size_t> self.n_outputs + sizeof(LineOutcome) + sizeof(Sums) + 16
        cdef size_t set_bytes = 4 * <size_t> self.set_words + sizeof(KeepSum) + 16
        return (self.ids.size() * outcome_bytes > OUTCOME_BYTES // 2
                or self.keep_sets.size() * set_bytes > OUTCOME_BYTES // 2)

    cdef int forget(self) except -1:
        """Forgets them all, and what names one; their hits must have been added up."""
        self.ids.clear()
        self.keep_sets.clear()
        self.n_met = 0
        self.n_met_sets = 0
        memset(self.set_, 0, self.set_words * sizeof(uint32_t))
        if self.keep_sets.intern(self.set_, self.set_words) != KEPT_BY_NONE:
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
                    at = self.hits[i].first + words[2 * i]
                    self.hit_lines[at] += sums.lines
                    self.hit_bytes[at] += sums.bytes
            sums.lines = 0
            sums.bytes = 0

    cdef void begin_batch(self) noexcept nogil:
        self.n_met = 0
        self.n_met_sets = 0
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

    cdef void count_odd(self, uint32_t id) noexcept nogil:
        cdef const uint32_t* words = self.ids.words(id)
        cdef uint64_t lines = self.outcomes[id].lines
        cdef uint32_t i
        for i in range(self.n_outputs):
            if words[2 * i + 1] != NOT_WANTED:
                self.tallies[i].errors += lines * (words[2 * i + 1] >> 8)
                if (words[2 * i + 1] & 0xFF) == c"M":
                    self.tallies[i].malformed += lines

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

    cdef bint keep_the_same(self, uint32_t one, uint32_t other) noexcept:
        cdef uint32_t i
        cdef const uint32_t* keep_set
        for i in range(self.n_met_sets):
            keep_set = self.keep_sets.words(self.met_sets[i])
            if (keep_set[one >> 5] >> (one & 31) ^ keep_set[other >> 5] >> (other & 31)) & 1:
                return False
        return True

    cdef void note(self, uint32_t i, uint32_t rule, uint16_t errors, uint8_t verdict) noexcept nogil:
        """Writes an output's part of the outcome that is being made: the rule by its number in the output's own set."""
        if self.is_wanted(i):
            self.words[2 * i] = rule
            self.words[2 * i + 1] = <uint32_t> errors << 8 | verdict
        else:
            self.words[2 * i] = DEFAULT_RULE
            self.words[2 * i + 1] = NOT_WANTED

    cdef uint32_t find(self) except? 0xFFFFFFFF nogil:
        """The number of the outcome that was noted, made where it is new."""
        cdef LineOutcome* outcome
        cdef uint32_t known = self.ids.size()
        cdef uint32_t id, i, said
        self.make_room(known)
        id = self.ids.intern(self.words, 2 * self.n_outputs)
        if id == NO_CLASS:
            with gil:
                raise MemoryError("the filters decide in more ways than can be kept")
        if id < known:
            return id
        outcome = &self.outcomes[id]
        memset(outcome, 0, sizeof(LineOutcome))
        memset(&self.sums[id], 0, sizeof(Sums))
        memset(self.set_, 0, self.set_words * sizeof(uint32_t))
        for i in range(self.n_outputs):
            said = self.words[2 * i + 1]
            if said == NOT_WANTED:
                continue
            if (said & 0xFF) != c"D":
                self.set_[i >> 5] |= <uint32_t> 1 << (i & 31)
            if said >> 8 or (said & 0xFF) == c"M":
                outcome.is_odd = True
        self.make_room_for_set(self.keep_sets.size())
        known = self.keep_sets.size()
        outcome.keep_set = self.keep_sets.intern(self.set_, self.set_words)
        if outcome.keep_set == known:
            memset(&self.keep_sums[known], 0, sizeof(KeepSum))
        if outcome.keep_set == NO_CLASS:
            with gil:
                raise MemoryError("the filters keep in more ways than can be kept")
        return id

    cdef int make_room(self, uint32_t id) except -1 nogil:
        """Room for this outcome, and to note that it was met."""
        cdef uint32_t room = self.room
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
        self.room = room
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
