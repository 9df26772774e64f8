# What the core may use, each bound with its reason.

# Oniguruma counts a step each time it goes back to try another way. A search of a sane pattern on a long value stays
# far below; an exponential one meets the bound within some 10 to 50 ms and the value gets an error verdict.
cdef unsigned long STEP_LIMIT = 1_000_000

# A value on which so many patterns met the bound gives the rest of its patterns the small one only: the time for a
# value stays bounded however many bad patterns there are.
cdef int COSTLY_PATTERNS = 4
cdef unsigned long SMALL_STEP_LIMIT = 10_000

# Entries of Oniguruma's own backtrack stack (about 40 bytes each): it would else grow to the process's memory.
cdef unsigned int MATCH_STACK_LIMIT = 1_000_000

# Oniguruma gives places in a text as an int; a longer value gets an error verdict.
cdef size_t MOST_SEARCHED_BYTES = 0x7FFFFFFF

# Lines that are walked before they are decided: their spans stay in the first-level cache.
cdef size_t LINES_A_BLOCK = 128
# Spans a block holds at most; with many fields it holds fewer lines.
cdef size_t SPANS_A_BLOCK = 4096

# Bytes for the caches of one context, of which there is one for each thread at work: the value tables of all fields
# together, the classes, the decisions. A flood of new values costs time, never more memory than this.
cdef size_t VALUE_TABLE_BYTES = 16 << 20
# A field's table gets at least this, so that thousands of fields stay within some ten megabytes more.
cdef size_t LEAST_VALUE_TABLE_BYTES = 16 << 10
cdef size_t CLASS_BYTES = 8 << 20
cdef size_t DECISION_BYTES = 8 << 20

# Turns of gentle decisions, some 48 bytes each: beyond them all decisions are forgotten at once.
cdef uint32_t MOST_TURNS = 100_000

# Pairs of decisions of two filter sets that are compared, 12 bytes each and as much again.
cdef size_t PAIR_BYTES = 64 << 20

# Outcomes of many filter sets that decide together, 8 bytes for each set; at half of it all are forgotten before the
# next batch.
cdef size_t OUTCOME_BYTES = 16 << 20

# Anchored words on one subject: more are found by an index, fewer are compared one after the other.
cdef uint32_t FEW_WORDS = 8

# Rules of one step: so few are looked at one by one. A predicate may be used by a hundred filter sets, and finding the
# step among its uses would take longer.
cdef uint32_t FEW_RULES = 8

# Expressions in one set of the linear engine: its compile time grows faster than their number, and a scan of a short
# value costs some 50 ns a set.
cdef uint32_t EXPRESSIONS_A_SET = 1000

# Pieces that one writev takes: IOV_MAX of Linux.
cdef enum:
    PIECES_A_WRITE = 1024

# Lines that are made of records before they are decided: they stay in the second-level cache.
cdef size_t LINES_BYTES_A_BLOCK = 64 << 10
