# What a program is made of, as plain C structs: predicates on subjects of fields, and the steps that use them.

cdef enum StepKind:
    STEP_ALL = 0
    STEP_ANY = 1
    STEP_NOT_ALL = 2
    STEP_NOT_ANY = 3
    STEP_FIRST = 4

cdef enum PredicateKind:
    KIND_ANY = 0
    KIND_CONTAINS = 1
    KIND_PREFIX = 2
    KIND_SUFFIX = 3
    KIND_EXACT = 4
    KIND_PATTERN = 5

cdef enum Reading:
    READ_RUBY = 0
    READ_STRING = 1

cdef struct Literal:
    const uint8_t* p
    size_t n

cdef struct Predicate:
    uint32_t subject
    uint32_t kind           # PredicateKind: how it is matched where a literal does
    bint any_value          # the literal is right for values with a newline too
    bint is_linear          # the subject's linear sets answer where they may
    bint is_indexed         # the subject's index of words answers where literals may
    Literal* literals
    uint32_t n_literals
    OnigRegex reference

cdef struct LinearPart:     # one linear set, and which predicates its expressions are
    LinearDatabase* database
    uint32_t* predicates
    uint32_t n

cdef struct Subject:        # what some predicates look at: a field, or a value inside of it
    uint32_t field
    uint32_t reading
    PathPart* path
    uint32_t n_path
    uint32_t* predicates    # ids, ascending
    uint32_t n_predicates
    LiteralIndex* index     # of its many anchored words, or NULL
    LinearPart* linear
    uint32_t n_linear

cdef struct Field:
    uint32_t* subjects
    uint32_t n_subjects
    uint32_t mapping24
    uint32_t mapping27

cdef struct StepRule:
    uint32_t predicate
    uint32_t rule
    bint is_exclude

cdef struct Step:
    uint32_t kind
    uint32_t group
    StepRule* rules
    uint32_t n_rules

cdef struct Section:
    Step* steps
    uint32_t n_steps

cdef struct Use:            # where a predicate stands: its step (counted through all sections) and its place in it
    uint32_t step
    uint32_t place
