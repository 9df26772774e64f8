# What a program allocated and holds on to, freed with it.

# Unknown to the garbage collector: it keeps bytes, `Regex` and `LinearSet` alone, none of which can lead back to it.
@cython.no_gc
cdef class Memory:
    """Owns blocks of plain data and the Python objects that they borrow from."""
    cdef void** blocks
    cdef size_t n
    cdef size_t room
    cdef list kept

    def __cinit__(self):
        self.kept = []

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.n):
            free(self.blocks[i])
        free(self.blocks)

    cdef void* take(self, size_t n) except NULL:
        """A block of n bytes, all zero."""
        cdef void** more
        cdef void* block
        if self.n == self.room:
            more = <void**> realloc(self.blocks, (self.room * 2 + 16) * sizeof(void*))
            if more == NULL:
                raise MemoryError()
            self.blocks = more
            self.room = self.room * 2 + 16
        block = calloc(1, n if n else 1)
        if block == NULL:
            raise MemoryError()
        self.blocks[self.n] = block
        self.n += 1
        return block

    cdef const uint8_t* keep(self, bytes text) except NULL:
        """The bytes of a text, which stay where they are."""
        self.kept.append(text)
        return <const uint8_t*> <const char*> text

    cdef uint32_t* keep_ids(self, ids) except NULL:
        """A list of numbers as an array."""
        cdef uint32_t* kept = <uint32_t*> self.take(len(ids) * sizeof(uint32_t))
        cdef uint32_t i
        for i, number in enumerate(ids):
            kept[i] = number
        return kept
