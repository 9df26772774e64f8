# The batch: walk a block of lines, decide each, note the kept ones as runs that borrow from the input.

cdef struct Batch:                   # what a call asks for and what came of it
    bint drop_malformed
    bint invert
    uint8_t* letters                 # for each line its verdict, or NULL
    size_t n_runs                    # in the context's runs
    size_t kept_bytes
    uint64_t n_lines
    uint64_t kept_lines
    uint64_t malformed
    uint64_t errors


cdef int add_run(Context self, const uint8_t* p, size_t n, Batch* batch) except -1 nogil:
    cdef Run* more
    if batch.n_runs == self.runs_room:
        more = <Run*> realloc(self.runs, (self.runs_room * 2 + 1024) * sizeof(Run))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.runs = more
        self.runs_room = self.runs_room * 2 + 1024
    self.runs[batch.n_runs].p = p
    self.runs[batch.n_runs].n = n
    batch.n_runs += 1
    batch.kept_bytes += n
    return 0


cdef int run_batch(Context self, const uint8_t* p, const uint8_t* end, uint32_t form, Batch* batch) except -1 nogil:
    """Decides every line; the kept ones become runs, which borrow from the input."""
    cdef Plan plan = self.program.plan
    cdef ScanLines scan_lines = simd_level().scan_lines
    cdef FindClasses find_classes = simd_level().find_classes
    cdef uint32_t n_fields = self.program.n_fields
    cdef const uint8_t* kept_from = NULL
    cdef const Line* line
    cdef Span* values
    cdef const Decision* known
    cdef Decision decision
    cdef size_t n, i
    cdef Decision unfiltered         # of every line that is not malformed, where no rule reads anything
    cdef uint64_t line_bytes, resets
    cdef bint is_kept
    plan.format = form
    look_at_clock(self)
    if n_fields == 0:
        unfiltered = decide(self)
    while p < end:
        n = scan_lines(plan, &p, end, self.lines, self.spans, self.lines_a_block)
        find_classes(self.tables, self.missing, self.spans, n, n_fields, end, self.block_classes)
        for i in range(n):
            line = &self.lines[i]
            known = NULL
            if line.form <= FORM_TEXT27:
                known = find_decision(self, self.block_classes + i * n_fields) if n_fields else &unfiltered
            if known != NULL:
                decision = known[0]
            else:
                resets = self.resets
                values = self.spans + i * n_fields
                if line.form <= FORM_TEXT27:
                    decision = decide_values(self, values, end)
                else:
                    decision = decide_odd_line(self, line, values, &plan, end)
                if self.resets != resets:
                    # Class ids were given anew: those of the lines behind this one are to be found again.
                    find_classes(self.tables, self.missing, values, n - i, n_fields, end,
                                 self.block_classes + i * n_fields)
            line_bytes = line.n + line.newlines
            if decision.kind == DECISION_GENTLE:
                decision = settle(self, decision, line, line_bytes)
            count_hit(self, decision.rule, line_bytes)
            batch.errors += decision.errors
            if decision.verdict == c"M":
                batch.malformed += 1
                is_kept = not batch.drop_malformed
            else:
                is_kept = (decision.verdict != c"D") != batch.invert
            if batch.letters != NULL:
                batch.letters[batch.n_lines + i] = decision.verdict
            batch.kept_lines += is_kept
            if is_kept != (kept_from != NULL):
                if is_kept:
                    kept_from = line.p
                else:
                    add_run(self, kept_from, line.p - kept_from, batch)
                    kept_from = NULL
        batch.n_lines += n
    if kept_from != NULL:
        add_run(self, kept_from, end - kept_from, batch)
    return 0


cdef void copy_runs(Context self, const Batch* batch, uint8_t* out) noexcept nogil:
    cdef size_t i
    for i in range(batch.n_runs):
        memcpy(out, self.runs[i].p, self.runs[i].n)
        out += self.runs[i].n


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
            pieces[n].iov_len = self.runs[i + n].n
            wanted += self.runs[i + n].n
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
