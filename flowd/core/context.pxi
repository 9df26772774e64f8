# What one thread needs to run a program: the caches, scratch for misses, room for a block of lines, and counters.
# A context is used by one call at a time; nothing in it is shared.

cdef struct Run:                     # kept lines that follow each other in the input
    const uint8_t* p
    const uint8_t* end


cdef class Context:
    cdef Program program
    cdef ValueTable* tables          # one for each field
    cdef ClassStore classes
    cdef DecisionTable decisions
    cdef uint32_t* missing           # for each field the class of a line without it, or NO_CLASS
    cdef uint32_t* tuple_            # the classes of the line's fields
    cdef uint32_t* block_classes     # the same for a block of lines, as far as the tables know them
    cdef Decision* block_decisions   # and what follows from them; DECISION_NONE where it is not known
    cdef uint32_t* words             # a class being made
    cdef uint8_t* states             # for each predicate what it says of the value
    cdef uint8_t* gathered           # the same over the elements of a list
    cdef Turns turns                 # the gentle decisions
    cdef int64_t now_ns              # at the batch's start, where steps can end
    cdef uint32_t n_ended            # steps that had ended when the decisions were made
    cdef Labels labels
    cdef uint32_t* linear_ids
    cdef Line* lines
    cdef Span* spans
    cdef size_t lines_a_block
    cdef Bytes mapped, text, scrubbed, key, stack
    cdef Bytes record_lines          # a block of records, written as lines
    cdef LineWriter record_writer    # which knows the keys of those before
    cdef RubyPrinter printer
    cdef OnigMatchParam* match_param
    cdef OnigMatchParam* small_match_param
    cdef LinearScratch* scratch
    cdef Run* runs                   # the kept lines of a batch
    cdef size_t runs_room
    cdef uint64_t* hit_lines         # for each rule, what it decided in the batch under way
    cdef uint64_t* hit_bytes
    cdef uint32_t* hit_rules         # the rules that decided anything in it
    cdef uint32_t n_hit_rules
    cdef uint64_t* total_lines       # for each rule, in all batches that are done
    cdef uint64_t* total_bytes
    cdef uint64_t resets             # how often classes were forgotten
    cdef uint64_t forgettings        # how often decisions were

    def __cinit__(self, Program program not None):
        cdef uint32_t f, s, part
        cdef size_t n_fields = program.n_fields
        cdef size_t share
        self.program = program
        self.tables = make_tables(n_fields + 1)
        self.missing = <uint32_t*> calloc(n_fields + 1, sizeof(uint32_t))
        self.tuple_ = <uint32_t*> calloc(n_fields + 1, sizeof(uint32_t))
        self.words = <uint32_t*> calloc(program.n_predicates + 1, sizeof(uint32_t))
        self.states = <uint8_t*> calloc(program.n_predicates + 1, 1)
        self.gathered = <uint8_t*> calloc(program.n_predicates + 1, 1)
        self.turns = Turns()
        self.linear_ids = <uint32_t*> calloc(program.n_predicates + 1, sizeof(uint32_t))
        self.lines_a_block = min(LINES_A_BLOCK, SPANS_A_BLOCK // (n_fields + 1))
        if self.lines_a_block == 0:
            self.lines_a_block = 1
        self.lines = <Line*> calloc(self.lines_a_block, sizeof(Line))
        self.spans = <Span*> calloc(self.lines_a_block * (n_fields + 1), sizeof(Span))
        self.block_classes = <uint32_t*> calloc(self.lines_a_block * (n_fields + 1), sizeof(uint32_t))
        self.block_decisions = <Decision*> calloc(self.lines_a_block, sizeof(Decision))
        self.hit_lines = <uint64_t*> calloc(program.n_rules + 1, sizeof(uint64_t))
        self.hit_bytes = <uint64_t*> calloc(program.n_rules + 1, sizeof(uint64_t))
        self.hit_rules = <uint32_t*> calloc(program.n_rules + 1, sizeof(uint32_t))
        self.total_lines = <uint64_t*> calloc(program.n_rules + 1, sizeof(uint64_t))
        self.total_bytes = <uint64_t*> calloc(program.n_rules + 1, sizeof(uint64_t))
        if (self.tables == NULL or self.missing == NULL or self.tuple_ == NULL or self.words == NULL
                or self.block_classes == NULL or self.block_decisions == NULL or self.states == NULL
                or self.gathered == NULL or self.linear_ids == NULL or self.lines == NULL or self.spans == NULL
                or self.hit_lines == NULL or self.hit_bytes == NULL or self.hit_rules == NULL
                or self.total_lines == NULL or self.total_bytes == NULL):
            raise MemoryError()
        self.match_param = new_match_param(STEP_LIMIT)
        self.small_match_param = new_match_param(SMALL_STEP_LIMIT)
        for s in range(program.n_subjects):
            for part in range(program.subjects[s].n_linear):
                if not linear_grow_scratch(program.subjects[s].linear[part].database, &self.scratch):
                    raise MemoryError()
        share = max(LEAST_VALUE_TABLE_BYTES, VALUE_TABLE_BYTES // (n_fields + 1) // 2)
        for f in range(n_fields):
            self.tables[f].set_bound(share)
            self.missing[f] = NO_CLASS
        self.classes.set_bound(CLASS_BYTES)
        self.decisions.start(n_fields, DECISION_BYTES)

    def __dealloc__(self):
        delete_tables(self.tables)
        free(self.missing)
        free(self.tuple_)
        free(self.block_classes)
        free(self.block_decisions)
        free(self.words)
        free(self.states)
        free(self.gathered)
        free(self.linear_ids)
        free(self.lines)
        free(self.spans)
        free(self.runs)
        free(self.hit_lines)
        free(self.hit_bytes)
        free(self.hit_rules)
        free(self.total_lines)
        free(self.total_bytes)
        if self.match_param != NULL:
            onig_free_match_param(self.match_param)
        if self.small_match_param != NULL:
            onig_free_match_param(self.small_match_param)
        if self.scratch != NULL:
            linear_free_scratch(self.scratch)

    cdef size_t cache_bytes(self) noexcept:
        """Bytes that the caches hold now."""
        cdef size_t total = self.classes.bytes() + self.decisions.bytes()
        cdef uint32_t f
        for f in range(self.program.n_fields):
            total += self.tables[f].bytes()
        return total


cdef inline void count_hit(Context self, uint32_t rule, uint64_t line_bytes) noexcept nogil:
    if self.hit_lines[rule] == 0:
        self.hit_rules[self.n_hit_rules] = rule
        self.n_hit_rules += 1
    self.hit_lines[rule] += 1
    self.hit_bytes[rule] += line_bytes


cdef void add_up_hits(Context self) noexcept nogil:
    """The batch is done: its counts join the totals, in time that goes by the rules it met."""
    cdef uint32_t i, rule
    for i in range(self.n_hit_rules):
        rule = self.hit_rules[i]
        self.total_lines[rule] += self.hit_lines[rule]
        self.total_bytes[rule] += self.hit_bytes[rule]
        self.hit_lines[rule] = 0
        self.hit_bytes[rule] = 0
    self.n_hit_rules = 0


cdef void forget_hits(Context self) noexcept nogil:
    """The batch was for nothing: its counts are no part of the totals."""
    cdef uint32_t i
    for i in range(self.n_hit_rules):
        self.hit_lines[self.hit_rules[i]] = 0
        self.hit_bytes[self.hit_rules[i]] = 0
    self.n_hit_rules = 0


cdef uint32_t NO_CLASS = 0xFFFFFFFF
cdef uint32_t INVALID_VALUE = 0xFFFFFFFF   # the only word of the class of what is not valid JSON
cdef const uint8_t* EMPTY = <const uint8_t*> b""


cdef void forget_decisions(Context self) noexcept nogil:
    self.decisions.clear()
    self.turns.clear()
    self.forgettings += 1


cdef void forget_classes(Context self) noexcept nogil:
    """Classes and everything that names one are forgotten together: ids are given anew."""
    cdef uint32_t f
    for f in range(self.program.n_fields):
        self.tables[f].clear()
        self.missing[f] = NO_CLASS
    self.classes.clear()
    forget_decisions(self)
    self.resets += 1
