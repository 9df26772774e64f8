"""The door to libhs through flowd/native/matching/linear_engine.hpp, which also answers where it is not built in."""

cdef extern from "matching/linear_check.hpp" namespace "flowd" nogil:
    const char* linear_name()
    const char* linear_fault()

cdef extern from "matching/linear_engine.hpp" namespace "flowd" nogil:
    const bint has_linear
    ctypedef struct LinearDatabase:
        pass
    ctypedef struct LinearScratch:
        pass
    const char* linear_version()
    bint linear_compile(const char* const* expressions, const unsigned* flags, unsigned count,
                        LinearDatabase** database, int* bad, char* message, size_t message_size)
    void linear_free(LinearDatabase* database)
    bint linear_grow_scratch(const LinearDatabase* database, LinearScratch** scratch)
    void linear_free_scratch(LinearScratch* scratch)
    int linear_scan(const LinearDatabase* database, LinearScratch* scratch, const char* text, size_t n,
                    unsigned* ids, unsigned room)
