# The batch: walk a block of lines, decide each, note the kept ones as runs that borrow from the input.

cdef struct Batch:                   # what a call asks for and what came of it
    bint drop_malformed
    bint invert
    uint8_t* letters                 # for each line its verdict, or NULL: those of the lines to come
    Decision unfiltered              # of every line that is not malformed, where no rule reads anything
    size_t n_edges                   # of runs, beginnings and ends; the last one may still go on
    bint was_kept                    # the line before the next one
    size_t n_runs                    # in the context's runs, when they are at their end
    size_t kept_bytes
    uint64_t n_lines
    uint64_t kept_lines
    uint64_t malformed
    uint64_t errors


cdef int make_room_for_runs(Context self, size_t n) except -1 nogil:
    """Room for so many runs in all."""
    cdef Run* more
    if n > self.runs_room:
        more = <Run*> realloc(self.runs, (n + self.runs_room) * sizeof(Run))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.runs = more
        self.runs_room += n
    return 0


cdef void find_block(Context self, size_t first, size_t n, const uint8_t* end) noexcept nogil:
    """The classes, and from them the decisions, of a block's lines from this one on, as far as the tables know them."""
    cdef size_t at = first * self.program.n_fields
    simd_level().find_classes(self.tables, self.missing, self.spans + at, n - first, self.program.n_fields, end,
                              self.block_classes + at)
    self.decisions.find_block(self.block_classes + at, n - first, self.block_decisions + first)


cdef void begin_batch(Context self, uint32_t form, Plan* plan, Batch* batch) noexcept nogil:
    plan[0] = self.program.plan
    plan.format = form
    batch.n_edges = 0
    batch.was_kept = False
    look_at_clock(self)
    if self.program.n_fields == 0:
        batch.unfiltered = decide(self)


cdef inline int decide_block(Context self, size_t n, const uint8_t* end, const Plan* plan,
                             Batch* batch) except -1 nogil:
    """Decides the lines of a block, whose values were found; the kept ones become runs.

    The runs are written without a branch: each line sets the edge that it would be, and only where its verdict differs
    from that of the line before does the next line set another one.
    """
    cdef uint32_t n_fields = self.program.n_fields
    cdef const uint8_t** edges       # of the runs: each one's beginning and end
    cdef const Line* line
    cdef Span* values
    cdef Decision decision
    cdef size_t i, n_edges = batch.n_edges
    cdef uint64_t line_bytes, forgettings
    # What is added to for each line stays in registers.
    cdef uint64_t kept_lines = 0, kept_bytes = 0, errors = 0
    cdef uint8_t* letters = batch.letters
    cdef bint invert = batch.invert
    cdef bint is_kept, was_kept = batch.was_kept
    make_room_for_runs(self, (n_edges + n) // 2 + 2)
    edges = <const uint8_t**> self.runs
    if n_fields:
        find_block(self, 0, n, end)
    else:
        for i in range(n):
            self.block_decisions[i] = batch.unfiltered
    for i in range(n):
        line = &self.lines[i]
        decision = self.block_decisions[i]
        line_bytes = line.n + line.newlines
        if seldom(decision.kind != DECISION_PLAIN or line.form > FORM_TEXT27):
            values = self.spans + i * n_fields
            forgettings = self.forgettings
            if line.form > FORM_TEXT27:
                decision = decide_odd_line(self, line, values, plan, end)
            elif decision.kind == DECISION_NONE:
                decision = decide_values(self, values, end)
            if decision.kind == DECISION_GENTLE:
                decision = settle(self, decision, line, line_bytes)
            if self.forgettings != forgettings and i + 1 < n and n_fields:
                # What was found for the lines behind this one names classes and turns that are no more.
                find_block(self, i + 1, n, end)
        count_hit(self, decision.rule, line_bytes)
        errors += decision.errors
        if seldom(decision.verdict == c"M"):
            batch.malformed += 1
            is_kept = not batch.drop_malformed
        else:
            is_kept = (decision.verdict != c"D") != invert
        if letters != NULL:
            letters[i] = decision.verdict
        kept_lines += is_kept
        kept_bytes += line_bytes & -<uint64_t> is_kept
        edges[n_edges] = line.p
        n_edges += is_kept != was_kept
        was_kept = is_kept
    batch.n_lines += n
    batch.kept_lines += kept_lines
    batch.kept_bytes += kept_bytes
    batch.errors += errors
    batch.n_edges = n_edges
    batch.was_kept = was_kept
    if letters != NULL:
        batch.letters = letters + n
    return 0


cdef void end_runs(Context self, const uint8_t* end, Batch* batch) noexcept nogil:
    """The last run ends here, where it has not; the next block's are others."""
    if batch.was_kept:
        (<const uint8_t**> self.runs)[batch.n_edges] = end
        batch.n_edges += 1
    batch.n_runs = batch.n_edges // 2
    batch.n_edges = 0
    batch.was_kept = False


cdef int run_batch(Context self, const uint8_t* p, const uint8_t* end, uint32_t form, Batch* batch) except -1 nogil:
    """Decides every line; the kept ones become runs, which borrow from the input."""
    cdef Plan plan
    cdef ScanLines scan_lines = simd_level().scan_lines
    cdef size_t n
    begin_batch(self, form, &plan, batch)
    while p < end:
        n = scan_lines(plan, &p, end, self.lines, self.spans, self.lines_a_block)
        decide_block(self, n, end, &plan, batch)
    end_runs(self, end, batch)
    return 0


cdef void copy_runs(Context self, const Batch* batch, uint8_t* out) noexcept nogil:
    cdef size_t i
    for i in range(batch.n_runs):
        memcpy(out, self.runs[i].p, self.runs[i].end - self.runs[i].p)
        out += self.runs[i].end - self.runs[i].p


cdef size_t write_runs(Context self, const Batch* batch, int fd) noexcept nogil:
    """Writes the kept lines from where they lie, up to the first short or failed write; returns how many bytes went."""
    cdef iovec pieces[PIECES_A_WRITE]
    cdef size_t done = 0, i = 0
    cdef ssize_t written, wanted
    cdef int n
    while i < batch.n_runs:
        n = 0
        wanted = 0
        while n < PIECES_A_WRITE and i + n < batch.n_runs:
            pieces[n].iov_base = <void*> self.runs[i + n].p
            pieces[n].iov_len = self.runs[i + n].end - self.runs[i + n].p
            wanted += pieces[n].iov_len
            n += 1
        written = writev(fd, pieces, n)
        if written > 0:
            done += written
        if written != wanted:
            break
        i += n
    return done


cdef size_t count_lines(const uint8_t* p, const uint8_t* end) noexcept nogil:
    cdef size_t n = 0
    while p < end:
        n += 1
        p = <const uint8_t*> memchr(p, c"\n", end - p)
        if p == NULL:
            break
        p += 1
    return n
