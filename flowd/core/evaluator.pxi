# Batches in, kept lines and verdicts out: what Python holds. The GIL is released once a batch.

def scan_newlines(lines):
    """How many lines there are, by memchr alone: the least that any filter must do, and what speed is measured by."""
    cdef Py_buffer view
    cdef size_t n
    PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
    with nogil:
        n = count_lines(<const uint8_t*> view.buf, <const uint8_t*> view.buf + view.len)
    PyBuffer_Release(&view)
    return n


FORMATS = {"auto": FORMAT_AUTO, "json": FORMAT_JSON, "text24": FORMAT_TEXT24, "text27": FORMAT_TEXT27}


cdef uint32_t format_number(form) except? 99:
    try:
        return FORMATS[form]
    except (KeyError, TypeError):
        raise ValueError(f"format is {form!r}; it must be one of {', '.join(FORMATS)}") from None


cdef class Evaluator:
    """Runs a Program over batches from any number of threads: `Evaluator(program, contexts)`.

    A call takes a context (caches, scratch, counters) and gives it back; at most `contexts` calls run at once, more
    wait without the GIL. So memory is bounded by contexts times a context's bounds.
    """
    cdef readonly Program program
    cdef readonly int contexts
    cdef list idle
    cdef list made
    cdef dict shares                 # the fan-outs that decide for it, too: each with its number there
    cdef list earlier                # what others decided, by rule
    cdef object slots
    cdef object lock

    def __cinit__(self, Program program not None, int contexts):
        self.program = program
        self.contexts = contexts
        self.idle = []
        self.made = []
        self.shares = {}
        self.earlier = [(0, 0)] * program.n_rules
        self.slots = threading.BoundedSemaphore(contexts)
        self.lock = threading.Lock()

    cdef Context take_context(self):
        cdef Context context
        self.slots.acquire()
        try:
            with self.lock:
                if self.idle:
                    return self.idle.pop()
            context = Context(self.program)
            with self.lock:
                self.made.append(context)
        except BaseException:
            self.slots.release()
            raise
        return context

    cdef int give_back(self, Context context) except -1:
        with self.lock:
            add_up_hits(context)
            self.idle.append(context)
        self.slots.release()
        return 0

    def verdicts(self, lines, form="auto"):
        """One letter for each line: K, D, M or E."""
        cdef Py_buffer view
        cdef const uint8_t* p
        cdef const uint8_t* end
        cdef Batch batch
        cdef size_t n
        cdef uint32_t number = format_number(form)
        cdef Context context
        PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
        try:
            p = <const uint8_t*> view.buf
            end = p + view.len
            with nogil:
                n = count_lines(p, end)
            letters = PyBytes_FromStringAndSize(NULL, n)
            memset(&batch, 0, sizeof(Batch))
            batch.letters = <uint8_t*> PyBytes_AS_STRING(letters)
            context = self.take_context()
            try:
                with nogil:
                    run_batch(context, p, end, number, &batch)
            finally:
                self.give_back(context)
            return letters
        finally:
            PyBuffer_Release(&view)

    def apply(self, lines, form="auto", bint drop_malformed=False, bint invert=False, bint borrow=False):
        """(kept lines, lines, kept lines' number, malformed lines, errors while matching).

        With `borrow` the kept lines are `lines` itself where all of it is kept.
        """
        cdef Py_buffer view
        cdef const uint8_t* p
        cdef uint8_t* out
        cdef Batch batch
        cdef uint32_t number = format_number(form)
        cdef Context context
        PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
        try:
            p = <const uint8_t*> view.buf
            memset(&batch, 0, sizeof(Batch))
            batch.drop_malformed = drop_malformed
            batch.invert = invert
            context = self.take_context()
            try:
                with nogil:
                    run_batch(context, p, p + view.len, number, &batch)
                if borrow and batch.kept_bytes == <size_t> view.len:
                    kept = lines
                else:
                    # Exactly as large as what is kept: shrinking a large block would give its pages back each time.
                    kept = PyBytes_FromStringAndSize(NULL, batch.kept_bytes)
                    out = <uint8_t*> PyBytes_AS_STRING(kept)
                    with nogil:
                        copy_runs(context, &batch, out)
            finally:
                self.give_back(context)
            return kept, batch.n_lines, batch.kept_lines, batch.malformed, batch.errors
        finally:
            PyBuffer_Release(&view)

    def write(self, int fd, lines, form="auto", bint drop_malformed=False, bint invert=False):
        """Filters like `apply`, but writes the kept lines to a descriptor from where they lie in the input.

        Returns (rest, kept bytes, is the last kept line unfinished, lines, kept lines' number, malformed lines,
        errors): `rest` is what the descriptor did not take at once, for whatever reason, to be written by the caller,
        who then sees that reason.
        """
        cdef Py_buffer view
        cdef const uint8_t* p
        cdef uint8_t* out
        cdef Batch batch
        cdef size_t written, gone, i, n
        cdef uint32_t number = format_number(form)
        cdef Context context
        PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
        try:
            p = <const uint8_t*> view.buf
            memset(&batch, 0, sizeof(Batch))
            batch.drop_malformed = drop_malformed
            batch.invert = invert
            context = self.take_context()
            try:
                with nogil:
                    run_batch(context, p, p + view.len, number, &batch)
                    written = write_runs(context, &batch, fd)
                is_open = False
                if batch.n_runs:
                    is_open = (context.runs[batch.n_runs - 1].end - 1)[0] != c"\n"
                rest = b""
                if written < batch.kept_bytes:
                    rest = PyBytes_FromStringAndSize(NULL, batch.kept_bytes - written)
                    out = <uint8_t*> PyBytes_AS_STRING(rest)
                    for i in range(batch.n_runs):
                        n = context.runs[i].end - context.runs[i].p
                        gone = min(written, n)
                        written -= gone
                        memcpy(out, context.runs[i].p + gone, n - gone)
                        out += n - gone
            finally:
                self.give_back(context)
            return rest, batch.kept_bytes, is_open, batch.n_lines, batch.kept_lines, batch.malformed, batch.errors
        finally:
            PyBuffer_Release(&view)

    def apply_records(self, entries, time_key=None, bint is_bare=False, bint invert=False, uint64_t most_bytes=0):
        """(kept lines, kept lines' number, errors while matching, figures): the records of a run of entries in msgpack,
        each filtered as the JSON line that it becomes; up to so many bytes of lines, kept or not, but one at least.
        Figures: see EntryRun.
        """
        return run_entries(self, entries, EntryRun(time_key, is_bare, most_bytes), invert)

    def counters(self):
        """For each rule (lines, bytes) decided so far, by all threads, in batches that are done."""
        cdef Context context
        cdef uint32_t r
        with self.lock:
            lines = [count for count, _ in self.earlier]
            sizes = [size for _, size in self.earlier]
            for fan_out, number in self.shares.items():
                for r, (count, size) in enumerate(fan_out.hits(number)):
                    lines[r] += count
                    sizes[r] += size
            for context in self.made:
                for r in range(self.program.n_rules):
                    lines[r] += context.total_lines[r]
                    sizes[r] += context.total_bytes[r]
        return list(zip(lines, sizes))

    def join(self, fan_out, uint32_t number):
        """From now on this output of a FanOut decides for this set, too, and counts for it."""
        with self.lock:
            self.shares[fan_out] = number

    def leave(self, fan_out):
        """It decides no more; what it has counted stays."""
        with self.lock:
            hits = fan_out.hits(self.shares.pop(fan_out))
            self.earlier = [(lines + more, size + most) for (lines, size), (more, most) in zip(self.earlier, hits)]

    def cache_stat(self):
        """What the caches hold now: contexts, bytes, and how often everything was forgotten."""
        cdef Context context
        cdef size_t total = 0
        cdef uint64_t resets = 0
        with self.lock:
            made = list(self.made)
        for context in made:
            total += context.cache_bytes()
            resets += context.resets
        return {"contexts": len(made), "bytes": total, "resets": resets}

    def trace(self, bytes line not None, form="auto"):
        """What the core sees in one line (without its newline), for explanations; counts nothing.

        (verdict, rule, errors, form of the line, subjects, states): for each subject its field's raw bytes (None
        where missing), what was reached ("value", "nothing", "error") and the text that is matched; for each
        predicate "no", "yes" or "error". Subjects and states are None where the line is malformed.
        """
        cdef const uint8_t* start = <const uint8_t*> <const char*> line
        cdef const uint8_t* p = start
        cdef const uint8_t* end = start + len(line)
        cdef Context context
        cdef Plan plan
        cdef Line* walked
        cdef Decision decision
        cdef uint32_t s, f, i
        cdef const uint8_t* value
        cdef const uint8_t* text
        cdef size_t n, text_n
        cdef int reached
        cdef Span span
        if b"\n" in line:
            raise ValueError("explain takes one line, without its newline")
        context = Context(self.program)
        plan = self.program.plan
        plan.format = format_number(form)
        if p == end:
            return "M", 0, 0, "malformed", None, None
        look_at_clock(context)
        simd_level().scan_lines(plan, &p, end, context.lines, context.spans, 1)
        walked = &context.lines[0]
        if walked.form <= FORM_TEXT27:
            decision = decide_values(context, context.spans, end)
        else:
            decision = decide_odd_line(context, walked, context.spans, &plan, end)
        if decision.kind == DECISION_GENTLE:
            decision = settle(context, decision, walked, 0)
        verdict = chr(decision.verdict)
        if verdict == "M":
            return verdict, decision.rule, 0, "malformed", None, None
        is_json = walked.form == FORM_JSON or line.lstrip().startswith(b"{")
        subjects = []
        states = [None] * self.program.n_predicates
        for s in range(self.program.n_subjects):
            f = self.program.subjects[s].field
            span = context.spans[f]
            raw = None if span.n_tag == SPAN_MISSING else (<const char*> span.p)[:span.n_tag & SPAN_BYTES]
            json_of(context, f, &span, &value, &n)
            reached = read_subject(context, &self.program.subjects[s], value, n, &text, &text_n)
            shown = (<const char*> text)[:text_n]
            subjects.append((raw, ("value", "nothing", "error")[reached], shown))
            set_field_states(context, f, &span)
            for i in range(self.program.subjects[s].first,
                           self.program.subjects[s].first + self.program.subjects[s].n_predicates):
                states[i] = ("no", "yes", "error")[context.states[i]]
        return verdict, decision.rule, decision.errors, "json" if is_json else "text", subjects, states


def simd():
    """The name of the SIMD level in use (FLOWD_SIMD forces one), and of all that this machine runs."""
    cdef const SimdLevel* level = simd_levels()
    names = []
    while level.name != NULL:
        names.append(level.name.decode())
        level += 1
    return simd_level().name.decode(), tuple(names)
