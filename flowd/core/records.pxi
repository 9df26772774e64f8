# Records in msgpack → JSON lines: all of them, or those that a filter set keeps. No Python object is made for a record.
#
# A record is decided as the line that it becomes, by the same walk as any line: what a rule means for a record is what
# it means for that line, and a line's bytes are what is counted and sampled by.

# Why an entry gives no line, in the order of the core's `Entry`. Behind the first two the rest of the run is lost.
ENTRY_PROBLEMS = ("truncated", "invalid", "shape", "time", "record", "key", "depth")

# Lines' room that a context keeps from one call to the next.
cdef size_t KEPT_LINES_BYTES = 16 << 20


cdef class EntryRun:
    """A run of entries that is read once, and what has come of it."""
    cdef Py_buffer view
    cdef bint is_open
    cdef bytes time_key              # as JSON
    cdef EntryForm form
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef LineWriter writer
    cdef Bytes own                   # lines that no context has room for
    cdef Bytes* lines
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

    cdef take_lines(self):
        """The lines, whose room may be used for others from now on."""
        lines = PyBytes_FromStringAndSize(<const char*> self.lines.data(), self.lines.size())
        self.lines.give_back(KEPT_LINES_BYTES)
        return lines

    cdef figures(self):
        """(records, by ENTRY_PROBLEMS entries that gave none, Fluent Bit's group markers, bytes that were not read,
        earliest and latest time in ns, 0 where there is no record)."""
        cdef int i
        problems = tuple([self.problems[<int> Entry.truncated + i] for i in range(len(ENTRY_PROBLEMS))])
        markers = self.problems[<int> Entry.marker]
        return self.records, problems, markers, self.end - self.p, self.first_ns, self.last_ns


cdef int write_block(EntryRun self, size_t most) except -1 nogil:
    """Writes the next entries as lines, until there are so many bytes of lines or no entry is to be read."""
    cdef Entry entry, skipped
    cdef const uint8_t* entry_p
    cdef size_t size
    while self.p < self.end and self.lines.size() < most:
        entry_p = self.p
        size = self.lines.size()
        entry = self.writer.write(self.form, &self.p, self.end, self.lines[0])
        if entry == Entry.written:
            if self.most_bytes and self.records and self.lines_bytes + self.lines.size() - size > self.most_bytes:
                self.p = entry_p
                self.lines.shrink(size)
                self.is_full = True
                return 0
            self.lines_bytes += self.lines.size() - size
            if self.records == 0 or self.writer.time_ns() < self.first_ns:
                self.first_ns = self.writer.time_ns()
            if self.records == 0 or self.writer.time_ns() > self.last_ns:
                self.last_ns = self.writer.time_ns()
            self.records += 1
            continue
        if entry == Entry.no_memory:
            with gil:
                raise MemoryError()
        if entry > Entry.invalid:
            skipped = skip_entry(self.form.is_bare, &self.p, self.end)
            if skipped != Entry.written:
                entry = skipped
        self.problems[<int> entry] += 1
        if entry <= Entry.invalid:
            self.is_lost = True
            return 0
    return 0


cdef inline bint is_read(EntryRun self) noexcept nogil:
    return self.p == self.end or self.is_lost or self.is_full


cdef int filter_entries(EntryRun self, Context context, Batch* batch) except -1 nogil:
    """Writes the entries as lines into the context's room for them, and leaves there those that are kept."""
    cdef size_t kept = 0, i, n
    cdef uint8_t* lines
    self.lines = &context.record_lines
    self.lines.clear()
    while not is_read(self):
        write_block(self, kept + LINES_BYTES_A_BLOCK)
        lines = self.lines.bytes()
        run_batch(context, lines + kept, lines + self.lines.size(), FORMAT_JSON, batch)
        for i in range(batch.n_runs):
            n = context.runs[i].end - context.runs[i].p
            if lines + kept != context.runs[i].p:
                memmove(lines + kept, context.runs[i].p, n)
            kept += n
        self.lines.shrink(kept)
    return 0


cdef run_entries(Evaluator self, entries, EntryRun run, bint invert):
    """What `Evaluator.apply_records` returns."""
    cdef Batch batch
    cdef Context context
    memset(&batch, 0, sizeof(Batch))
    batch.invert = invert
    run.open(entries)
    try:
        context = self.take_context()
        try:
            with nogil:
                filter_entries(run, context, &batch)
            kept = run.take_lines()
        finally:
            self.give_back(context)
        return kept, batch.kept_lines, batch.errors, run.figures()
    finally:
        run.close()


def write_records(entries, time_key=None, bint is_bare=False, uint64_t most_bytes=0):
    """(lines, figures): every record of a run of entries as a JSON line. `figures` are those of `apply_records`."""
    cdef EntryRun run = EntryRun(time_key, is_bare, most_bytes)
    run.open(entries)
    try:
        with nogil:
            while not is_read(run):
                write_block(run, <size_t> -1)
        return run.take_lines(), run.figures()
    finally:
        run.close()
