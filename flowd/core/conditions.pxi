# What flowd's own dialect adds to a program: tests of the value itself, and expressions of several conditions.

VALUE_TESTS = {"cidr": KIND_CIDR, "number": KIND_NUMBER, "labels": KIND_LABELS, "exists": KIND_EXISTS,
               "null": KIND_NULL}

cdef dict COMPARISONS = {"<": LESS, "<=": LESS_OR_EQUAL, ">": GREATER, ">=": GREATER_OR_EQUAL}
cdef dict LABEL_OPERATORS = {"in": LABEL_IN, "notin": LABEL_NOT_IN, "exists": LABEL_EXISTS, "absent": LABEL_ABSENT}


cdef int build_value_test(Memory memory, Predicate* predicate, arguments) except -1:
    """Takes a test's arguments.

    cidr     (16 bytes, prefix length of the 128 bits), … : the subject's index has them all, nothing is left here
    number   (comparison, the number's text), … : all must hold
    labels   (label, operator, values), … : all must be fulfilled
    exists, null   nothing
    """
    cdef uint32_t i
    if predicate.kind == KIND_NUMBER:
        predicate.n_bounds = len(arguments)
        predicate.bounds = <Bound*> memory.take(len(arguments) * sizeof(Bound))
        for i, (comparison, text) in enumerate(arguments):
            predicate.bounds[i].comparison = COMPARISONS[comparison]
            if not parse_number(<const uint8_t*> <const char*> (<bytes> text), len(text),
                                &predicate.bounds[i].number):
                raise ValueError(f"{text!r} is no number")
    elif predicate.kind == KIND_LABELS:
        predicate.n_requirements = len(arguments)
        predicate.requirements = <Requirement*> memory.take(len(arguments) * sizeof(Requirement))
        for i, (label, operation, values) in enumerate(arguments):
            keep_word(memory, &predicate.requirements[i].label, label)
            predicate.requirements[i].op = LABEL_OPERATORS[operation]
            predicate.requirements[i].values = keep_words(memory, values)
            predicate.requirements[i].n_values = len(values)
    return 0


cdef int keep_word(Memory memory, Word* word, bytes text) except -1:
    word.p = memory.keep(text)
    word.n = len(text)
    return 0


cdef Word* keep_words(Memory memory, texts) except NULL:
    cdef Word* words = <Word*> memory.take(len(texts) * sizeof(Word))
    cdef uint32_t i
    for i, text in enumerate(texts):
        keep_word(memory, &words[i], text)
    return words


cdef int build_gentle_step(Memory memory, Step* step, gentle) except -1:
    cdef uint32_t i
    tests, step.is_shadow, step.sample, step.sampled, step.seed, step.until_ns = gentle
    step.n_tests = len(tests)
    step.tests = <ExpressionTest*> memory.take(len(tests) * sizeof(ExpressionTest))
    for i, (predicate, yes, no) in enumerate(tests):
        step.tests[i].predicate = predicate
        step.tests[i].yes = yes & 0xFFFFFFFF  # -1 and -2 are HOLDS and FAILS
        step.tests[i].no = no & 0xFFFFFFFF
    return 0
