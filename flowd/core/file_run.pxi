# A file filtered to a descriptor by any number of threads: each reads its own stretch, filters it, and writes when all
# before it is written. No Python object is made for a stretch, and no line is copied.

cdef class FileRun:
    """One pass over a file: `FileRun(evaluator, source, sink, begin, ...)`; `work` does it, in each of the threads.

    Both descriptors are borrowed. `sink` -1 writes nothing. `begin` is the offset of the first line. `is_line_open`
    says that what was written before lacks its newline, which is put in if anything is kept; afterwards it says so of
    what this run has written. Read the figures when all threads are done.
    """
    cdef Evaluator evaluator
    cdef StretchedFile* file
    cdef int sink
    cdef uint32_t form
    cdef bint drop_malformed
    cdef bint invert
    cdef readonly bint is_line_open
    cdef readonly uint64_t end           # behind the last line, in the file
    cdef readonly uint64_t lines
    cdef readonly uint64_t bytes
    cdef readonly uint64_t kept_lines
    cdef readonly uint64_t kept_bytes
    cdef readonly uint64_t malformed
    cdef readonly uint64_t errors
    cdef readonly int read_error         # an errno: of the file
    cdef readonly int write_error        # of the sink

    def __cinit__(self, Evaluator evaluator not None, int source, int sink, uint64_t begin=0, form="auto",
                  bint drop_malformed=False, bint invert=False, bint is_line_open=False, size_t stretch_bytes=1 << 20):
        if stretch_bytes == 0:
            raise ValueError("stretch_bytes is 0; a stretch has at least a byte")
        self.form = format_number(form)
        self.evaluator = evaluator
        self.sink = sink
        self.drop_malformed = drop_malformed
        self.invert = invert
        self.is_line_open = is_line_open
        self.end = begin
        self.file = new StretchedFile(source, begin, stretch_bytes)

    def __dealloc__(self):
        del self.file

    def work(self, uint64_t most):
        """Filters up to so many stretches; whether there may be more. Raises what a signal's handler does."""
        cdef Stretch stretch
        cdef bint has_more = False
        cdef Context context = self.evaluator.take_context()
        try:
            with nogil:
                has_more = run_stretches(self, context, &stretch, most)
        except BaseException:
            self.file.stop()  # or the others would wait for this turn for ever
            raise
        finally:
            forget_hits(context)  # of a stretch that was not written
            free_room(&stretch)
            self.evaluator.give_back(context)
        return has_more

    def stop(self):
        """Ends the run early: threads at work return after what they are writing."""
        self.file.stop()


cdef int run_stretches(FileRun self, Context context, Stretch* stretch, uint64_t most) except -1 nogil:
    cdef Batch batch
    cdef int rc
    while most:
        most -= 1
        rc = self.file.take(stretch)
        if rc < 0:
            with gil:
                raise MemoryError()
        if rc:
            return 0
        memset(&batch, 0, sizeof(Batch))
        batch.drop_malformed = self.drop_malformed
        batch.invert = self.invert
        run_batch(context, stretch.lines, stretch.lines + stretch.n, self.form, &batch)
        if not self.file.wait_for_turn(stretch[0]):
            return 0
        if batch.kept_bytes and self.sink >= 0 and not write_kept(self, context, &batch):
            self.file.stop()
            return 0
        add_up_hits(context)
        add_up(self, stretch, &batch)
        self.file.finish(stretch[0])
    return 1


cdef void add_up(FileRun self, const Stretch* stretch, const Batch* batch) noexcept nogil:
    if stretch.n:
        self.end = stretch.end
    self.bytes += stretch.n
    self.lines += batch.n_lines
    self.kept_lines += batch.kept_lines
    self.kept_bytes += batch.kept_bytes
    self.malformed += batch.malformed
    self.errors += batch.errors
    self.read_error = stretch.error


cdef int write_kept(FileRun self, Context context, const Batch* batch) except -1 nogil:
    """Writes all that is kept; 0 where the sink failed, with `write_error` set."""
    cdef const Run* last = &context.runs[batch.n_runs - 1]
    cdef size_t done, n, i
    if self.is_line_open and not write_all(self, <const uint8_t*> b"\n", 1):
        return 0
    done = write_runs(context, batch, self.sink)
    if done < batch.kept_bytes:  # a full pipe, a signal, an error: what is left goes run by run, and says why
        for i in range(batch.n_runs):
            n = context.runs[i].end - context.runs[i].p
            if done >= n:
                done -= n
                continue
            if not write_all(self, context.runs[i].p + done, n - done):
                return 0
            done = 0
    self.is_line_open = (last.end - 1)[0] != c"\n"
    return 1


cdef int write_all(FileRun self, const uint8_t* p, size_t n) except -1 nogil:
    """Writes n bytes, waiting where the sink would not; 0 where it failed."""
    cdef ssize_t written
    cdef pollfd watched
    while n:
        written = write(self.sink, p, n)
        if written >= 0:
            p += written
            n -= written
            if not n:
                return 1
        elif errno == EAGAIN:  # somebody else made the descriptor non-blocking: it is shared
            watched.fd = self.sink
            watched.events = POLLOUT
            poll(&watched, 1, -1)
        elif errno != EINTR:
            self.write_error = errno
            return 0
        with gil:
            PyErr_CheckSignals()
    return 1
