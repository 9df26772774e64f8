# What a program is made of, as plain C structs: predicates on subjects of fields, and the steps that use them.

cdef enum StepKind:
    STEP_ALL = 0
    STEP_ANY = 1
    STEP_NOT_ALL = 2
    STEP_NOT_ANY = 3
    STEP_FIRST = 4
    STEP_WHEN = 5
    STEP_UNLESS = 6

cdef enum PredicateKind:
    KIND_ANY = 0
    KIND_CONTAINS = 1
    KIND_PREFIX = 2
    KIND_SUFFIX = 3
    KIND_EXACT = 4
    KIND_PATTERN = 5
    # What follows looks at the value, not at a text: match_value answers it.
    KIND_CIDR = 6
    KIND_NUMBER = 7
    KIND_LABELS = 8
    KIND_EXISTS = 9
    KIND_NULL = 10

cdef enum Reading:
    READ_RUBY = 0
    READ_STRING = 1
    READ_VALUE = 2

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
    Bound* bounds           # of a number: all must hold
    uint32_t n_bounds
    Requirement* requirements  # of labels: all must be fulfilled
    uint32_t n_requirements

cdef struct LinearPart:     # one linear set, and which predicates its expressions are
    LinearDatabase* database
    uint32_t* predicates
    uint32_t n

cdef struct Subject:        # what some predicates look at: a field, or a value inside of it
    uint32_t field
    uint32_t reading
    PathPart* path
    uint32_t n_path
    uint32_t first          # its predicates' ids follow each other: those that a text answers, then the others
    uint32_t n_predicates
    uint32_t n_texts
    uint32_t* singles       # of the texts' those that neither the linear sets nor the index of words answer
    uint32_t n_singles
    uint32_t* values        # of the others those that are looked at one by one
    uint32_t n_values
    AddressIndex* addresses  # of its networks, or NULL
    LiteralIndex* index     # of its many anchored words, or NULL
    LinearPart* linear
    uint32_t n_linear

cdef struct Field:
    uint32_t* subjects
    uint32_t n_subjects
    bint are_texts                   # no subject has a path or looks at the value itself
    uint32_t mapping24
    uint32_t mapping27

cdef struct StepRule:
    uint32_t predicate
    uint32_t rule
    bint is_exclude

cdef enum Target:           # where a test of an expression leads, beside another test
    HOLDS = 0xFFFFFFFF
    FAILS = 0xFFFFFFFE

cdef struct ExpressionTest:  # one condition of an expression: what comes next where its predicate says yes, and no
    uint32_t predicate
    uint32_t yes
    uint32_t no

cdef struct Step:
    uint32_t kind
    uint32_t group
    StepRule* rules
    uint32_t n_rules
    ExpressionTest* tests
    uint32_t n_tests
    bint is_shadow          # what it would drop is counted and goes on
    uint32_t sample         # one in so many of what it would drop goes on; 0: none
    uint32_t sampled        # the counter of those
    uint64_t seed
    int64_t until_ns        # from then on it does nothing; 0: never

cdef struct Section:
    Step* steps
    uint32_t n_steps
    uint32_t first_step     # its number, counted through all sections

cdef struct Use:            # where a predicate stands: its step (counted through all sections) and its place in it
    uint32_t step
    uint32_t place

cdef struct Turn:           # a part of a gentle decision, which a line goes through from one to the next
    uint32_t rule
    uint16_t errors
    uint8_t verdict
    uint32_t shadows        # the shadow rules that would have dropped it on the way here: a run of the context's list
    uint32_t n_shadows
    uint32_t sample         # one in so many lines goes on to `next`
    uint64_t seed
    uint32_t next
