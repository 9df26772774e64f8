# Records in msgpack → JSON lines: all of them, or those that a filter set keeps. No Python object is made for a record.
#
# A record is decided as the line that it becomes, by the values that stand in that line: what a rule means for a record
# is what it means for that line, and a line's bytes are what is counted and sampled by. Where they stand is noted as
# they are written, so that the line is not walked.

# Why an entry gives no line, in the order of the core's `Entry`. Behind the first two the rest of the run is lost.
ENTRY_PROBLEMS = ("truncated", "invalid", "shape", "time", "record", "key", "depth")

# Room for a block of lines that a context keeps from one call to the next: one line may have been huge.
cdef size_t KEPT_LINES_BYTES = 1 << 20

# Room for kept lines at first, at most: more is taken as it is needed.
cdef size_t FIRST_KEPT_BYTES = 4 << 20


cdef class EntryRun:
    """A run of entries that is read once, and what has come of it."""
    cdef Py_buffer view
    cdef bint is_open
    cdef bytes time_key              # as JSON
    cdef EntryForm form
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef LineWriter* writer
    cdef LineWriter* own_writer      # where no context has one
    cdef Bytes own                   # lines that no context has room for
    cdef Bytes* lines
    cdef PyObject* kept              # bytes, with room behind those that are kept
    cdef size_t kept_n
    cdef uint64_t problems[16]       # by Entry
    cdef uint64_t records
    cdef int64_t first_ns
    cdef int64_t last_ns
    cdef uint64_t lines_bytes        # of all records, kept or not
    cdef uint64_t most_bytes         # of them; 0: as many as there are
    cdef bint is_full                # one line more would be too many
    cdef bint is_lost                # nobody knows where the next entry begins

    def __cinit__(self, time_key, bint is_bare, uint64_t most_bytes):
        self.lines = &self.own
        self.form.is_bare = is_bare
        self.most_bytes = most_bytes
        if time_key is not None:
            self.set_time_key(time_key)

    cdef int set_time_key(self, bytes time_key) except -1:
        cdef Bytes text
        append_json_string(<const uint8_t*> <const char*> time_key, len(time_key), text)
        if text.failed():
            raise MemoryError()
        self.time_key = (<const char*> text.data())[:text.size()]
        self.form.time_key = <const uint8_t*> <const char*> self.time_key
        self.form.time_key_n = len(self.time_key)
        return 0

    cdef int open(self, entries) except -1:
        cdef timespec now
        PyObject_GetBuffer(entries, &self.view, PyBUF_SIMPLE)
        self.is_open = True
        self.p = <const uint8_t*> self.view.buf
        self.end = self.p + self.view.len
        clock_gettime(CLOCK_REALTIME, &now)
        self.form.now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec
        return 0

    cdef void close(self) noexcept:
        if self.is_open:
            self.is_open = False
            PyBuffer_Release(&self.view)

    def __dealloc__(self):
        self.close()
        del self.own_writer
        Py_XDECREF(self.kept)

    cdef int begin_kept(self) except -1:
        """Makes room for kept lines: as much as they usually have."""
        cdef size_t room = self.view.len + self.view.len // 2
        if self.most_bytes:
            room = min(room, self.most_bytes)
        self.kept = PyBytes_FromStringAndSize_(NULL, min(room, FIRST_KEPT_BYTES))
        if self.kept == NULL:
            raise MemoryError()
        self.kept_n = 0
        return 0

    cdef int grow_kept(self, size_t n) except -1:
        """Room for so many bytes more."""
        _PyBytes_Resize(&self.kept, self.kept_n + max(n, self.kept_n))
        return 0

    cdef take_kept(self):
        _PyBytes_Resize(&self.kept, self.kept_n)
        kept = <object> self.kept
        Py_CLEAR(self.kept)
        return kept

    cdef figures(self):
        """(records, by ENTRY_PROBLEMS entries that gave none, Fluent Bit's group markers, bytes that were not read,
        earliest and latest time in ns, 0 where there is no record)."""
        cdef int i
        problems = tuple([self.problems[<int> Entry.truncated + i] for i in range(len(ENTRY_PROBLEMS))])
        markers = self.problems[<int> Entry.marker]
        return self.records, problems, markers, self.end - self.p, self.first_ns, self.last_ns


cdef bint write_entry(EntryRun self, const Plan& plan, Line* line, Span* values) except -1 nogil:
    """Reads the next entry. True where a line was written, of which `line` and `values` tell; else it is counted, or
    one line more would be too many."""
    cdef const uint8_t* entry_p = self.p
    cdef size_t size = self.lines.size()
    cdef uint64_t line_bytes
    cdef Entry entry = self.writer.write(self.form, plan, &self.p, self.end, self.lines[0], line, values)
    cdef Entry skipped
    if entry == Entry.written:
        line_bytes = self.lines.size() - size
        if self.most_bytes and self.records and self.lines_bytes + line_bytes > self.most_bytes:
            self.p = entry_p
            self.lines.shrink(size)
            self.is_full = True
            return False
        self.lines_bytes += line_bytes
        if self.records == 0 or self.writer.time_ns() < self.first_ns:
            self.first_ns = self.writer.time_ns()
        if self.records == 0 or self.writer.time_ns() > self.last_ns:
            self.last_ns = self.writer.time_ns()
        self.records += 1
        return True
    if entry == Entry.no_memory:
        with gil:
            raise MemoryError()
    if entry > Entry.invalid:
        skipped = skip_entry(self.form.is_bare, &self.p, self.end)
        if skipped != Entry.written:
            entry = skipped
    self.problems[<int> entry] += 1
    self.is_lost = entry <= Entry.invalid
    return False


cdef inline bint is_read(EntryRun self) noexcept nogil:
    return self.p == self.end or self.is_lost or self.is_full


cdef size_t write_block(EntryRun self, Context context, const Plan& plan) except? 0 nogil:
    """Writes the next entries as lines; returns how many became any."""
    cdef uint32_t n_fields = context.program.n_fields
    cdef size_t n = 0
    self.lines.clear()
    while n < context.lines_a_block and self.lines.size() < LINES_BYTES_A_BLOCK and not is_read(self):
        n += write_entry(self, plan, &context.lines[n], context.spans + n * n_fields)
    settle_block(self.lines.data(), n, n_fields, context.lines, context.spans)
    return n


cdef int filter_entries(EntryRun self, Context context, Batch* batch) except -1 nogil:
    """Writes the entries as lines, block by block, and keeps those that are to be kept."""
    cdef Plan plan
    cdef size_t n, room = Py_SIZE(self.kept)
    cdef const uint8_t* end
    self.lines = &context.record_lines
    self.writer = &context.record_writer
    begin_batch(context, FORMAT_JSON, &plan, batch)
    while not is_read(self):
        n = write_block(self, context, plan)
        end = self.lines.data() + self.lines.size()
        batch.kept_bytes = 0
        decide_block(context, n, end, &plan, batch)
        end_runs(context, end, batch)
        if batch.kept_bytes > room - self.kept_n:
            with gil:
                self.grow_kept(batch.kept_bytes)
            room = Py_SIZE(self.kept)
        copy_runs(context, batch, <uint8_t*> PyBytes_AS_STRING_(self.kept) + self.kept_n)
        self.kept_n += batch.kept_bytes
    self.lines.give_back(KEPT_LINES_BYTES)
    return 0


cdef run_entries(Evaluator self, entries, EntryRun run, bint invert):
    """What `Evaluator.apply_records` returns."""
    cdef Batch batch
    cdef Context context
    memset(&batch, 0, sizeof(Batch))
    batch.invert = invert
    run.open(entries)
    try:
        run.begin_kept()
        context = self.take_context()
        try:
            with nogil:
                filter_entries(run, context, &batch)
            kept = run.take_kept()
        finally:
            self.give_back(context)
        return kept, batch.kept_lines, batch.errors, run.figures()
    finally:
        run.close()


def write_records(entries, time_key=None, bint is_bare=False, uint64_t most_bytes=0):
    """(lines, figures): every record of a run of entries as a JSON line. `figures` are those of `apply_records`."""
    cdef EntryRun run = EntryRun(time_key, is_bare, most_bytes)
    cdef Plan plan                   # no field is wanted
    cdef Line line
    memset(&plan, 0, sizeof(Plan))
    run.writer = run.own_writer = new LineWriter()
    run.open(entries)
    try:
        with nogil:
            while not is_read(run):
                write_entry(run, plan, &line, NULL)
        return PyBytes_FromStringAndSize(<const char*> run.own.data(), run.own.size()), run.figures()
    finally:
        run.close()
