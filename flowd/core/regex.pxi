# The two engines, each as an object that owns what the C library gave it. Compiled objects are shared by threads and
# read only; what a match needs to write (step counters, scratch) belongs to the caller.

HAS_LINEAR = bool(has_linear)


class RegexError(ValueError):
    """An engine refused a pattern. The text is the engine's own: patterns are judged before they come here."""


cdef bint oniguruma_ready = False

cdef int start_oniguruma() except -1:
    global oniguruma_ready
    cdef OnigEncoding encoding = &OnigEncodingUTF8
    if not oniguruma_ready:
        if onig_initialize(&encoding, 1) != ONIG_NORMAL:
            raise MemoryError("Oniguruma could not be initialised")
        oniguruma_ready = True
    return 0


cdef OnigMatchParam* new_match_param(unsigned long step_limit) except NULL:
    """Oniguruma's per-thread settings: the step limit. The caller frees it with onig_free_match_param."""
    cdef OnigMatchParam* param = onig_new_match_param()
    if param == NULL:
        raise MemoryError()
    onig_initialize_match_param(param)
    onig_set_retry_limit_in_match_of_match_param(param, step_limit)
    onig_set_retry_limit_in_search_of_match_param(param, step_limit)
    onig_set_match_stack_limit_size_of_match_param(param, MATCH_STACK_LIMIT)
    return param


cdef int reference_search(OnigRegex regex, const uint8_t* text, size_t n, OnigMatchParam* param) noexcept nogil:
    """1 where the pattern is found anywhere in the text, 0 where not, -1 at the step limit (or any engine error)."""
    cdef int rc
    if n > MOST_SEARCHED_BYTES:
        return -1
    rc = onig_search_with_param(regex, text, text + n, text, text + n, NULL, ONIG_OPTION_NONE, param)
    if rc >= 0:
        return 1
    return 0 if rc == ONIG_MISMATCH else -1


cdef class Regex:
    """One pattern in the reference engine: `Regex(source, options)`.

    `source` is UTF-8 in Ruby's syntax as `flowd.patterns` rewrote it; options are Oniguruma's bits (1 ignore case,
    2 extended, 4 the dot takes newlines). Immutable; may be used from many threads at once.
    """
    cdef OnigRegex regex
    cdef readonly bytes source
    cdef readonly unsigned int options

    def __cinit__(self, bytes source not None, unsigned int options=0):
        cdef OnigErrorInfo info
        cdef OnigUChar text[256]
        cdef const OnigUChar* p = <const OnigUChar*> <const char*> source
        cdef int rc
        self.regex = NULL
        start_oniguruma()
        rc = onig_new(&self.regex, p, p + len(source), options, &OnigEncodingUTF8, &OnigSyntaxRuby, &info)
        if rc != ONIG_NORMAL:
            self.regex = NULL
            rc = onig_error_code_to_str(text, rc, &info)
            raise RegexError((<const char*> text)[:max(rc, 0)].decode("utf-8", "replace"))
        self.source = source
        self.options = options

    def __dealloc__(self):
        if self.regex != NULL:
            onig_free(self.regex)

    def __reduce__(self):
        return Regex, (self.source, self.options)

    def search(self, bytes value not None, unsigned long step_limit=STEP_LIMIT):
        """True where the pattern is found in the value (UTF-8), False where not, None at the step limit."""
        cdef OnigMatchParam* param = new_match_param(step_limit)
        cdef const uint8_t* text = <const uint8_t*> <const char*> value
        cdef size_t n = len(value)
        cdef int rc
        with nogil:
            rc = reference_search(self.regex, text, n, param)
            onig_free_match_param(param)
        return None if rc < 0 else rc == 1


cdef class LinearSet:
    """Many patterns in the linear engine, searched for in one pass: `LinearSet([(expression, flags), …])`.

    Expressions and flags are those of libhs, as `flowd.patterns` made them. Raises RegexError with the index of the bad
    one in `args[1]`. Immutable and shared; every thread brings a scratch of its own.
    """
    cdef LinearDatabase* database
    cdef readonly unsigned int count

    def __cinit__(self, expressions):
        cdef unsigned int i
        cdef int bad = -1
        cdef char message[512]
        cdef const char** texts = NULL
        cdef unsigned int* flags = NULL
        cdef bint done
        self.database = NULL
        if not has_linear:
            raise RegexError("flowd was built without a linear engine", -1)
        kept = list(expressions)
        self.count = len(kept)
        texts = <const char**> malloc((self.count + 1) * sizeof(char*))
        flags = <unsigned int*> malloc((self.count + 1) * sizeof(unsigned int))
        try:
            if texts == NULL or flags == NULL:
                raise MemoryError()
            for i in range(self.count):
                texts[i] = <const char*> (<bytes> kept[i][0])
                flags[i] = kept[i][1]
            message[0] = 0
            with nogil:
                done = linear_compile(texts, flags, self.count, &self.database, &bad, message, sizeof(message))
            if not done:
                raise RegexError((<const char*> message).decode("utf-8", "replace"), bad)
        finally:
            free(texts)
            free(flags)

    def __dealloc__(self):
        if self.database != NULL:
            linear_free(self.database)

    def scan(self, bytes value not None):
        """The indexes, in ascending order, of the expressions that are found in the value."""
        cdef LinearScratch* scratch = NULL
        cdef unsigned int* ids = <unsigned int*> malloc((self.count + 1) * sizeof(unsigned int))
        cdef int n
        try:
            if ids == NULL or not linear_grow_scratch(self.database, &scratch):
                raise MemoryError()
            n = linear_scan(self.database, scratch, <const char*> value, len(value), ids, self.count)
            if n < 0:
                raise RegexError("the linear engine could not scan the value", -1)
            return sorted(ids[i] for i in range(n))
        finally:
            free(ids)
            if scratch != NULL:
                linear_free_scratch(scratch)


def engine_versions():
    """The engines that are built in, by name, with their libraries' versions."""
    versions = {"oniguruma": onig_version().decode()}
    if has_linear:
        versions[linear_name().decode()] = linear_version().decode().split(" ")[0]
    return versions


def find_linear_fault():
    """Why the linear engine is not used, also where it is built in; "" where it is. Looked for once a process."""
    cdef const char* fault
    with nogil:
        fault = linear_fault()
    return fault.decode()
