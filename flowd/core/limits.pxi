# What the core may use, each bound with its reason.

# Oniguruma counts a step each time it goes back to try another way. A search of a sane pattern on a long value stays
# far below; an exponential one meets the bound within some 10 to 50 ms and the value gets an error verdict.
cdef unsigned long STEP_LIMIT = 1_000_000

# Entries of Oniguruma's own backtrack stack (about 40 bytes each): it would else grow to the process's memory.
cdef unsigned int MATCH_STACK_LIMIT = 1_000_000
