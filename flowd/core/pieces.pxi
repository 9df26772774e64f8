# The kept lines of a batch that many outputs share: pieces of the input, and their copies into each output's buffer.

cdef struct Piece:                   # lines that follow each other in the input and have one keep set
    const uint8_t* p
    size_t n
    uint32_t keep_set

cdef struct Goal:                    # to which outputs the lines of a keep set are copied: a run of `Pieces.outputs`
    size_t first
    size_t n

cdef extern from *:
    """
    static inline void fetch_to_write(const void *p) { __builtin_prefetch(p, 1, 2); }
    """
    void fetch_to_write(const void* p) nogil


cdef class Pieces:
    """The pieces of one batch, in the order of its lines; they borrow from it."""
    cdef Memory memory
    cdef Piece* pieces
    cdef size_t n
    cdef size_t room
    cdef uint8_t** places            # where the next line of each output is copied to; NULL where none is
    cdef uint32_t n_outputs
    cdef Goal* goals                 # by keep set
    cdef uint32_t goals_room
    cdef uint32_t* outputs           # keep set by keep set
    cdef size_t outputs_room

    def __cinit__(self, uint32_t n_outputs):
        self.memory = Memory()
        self.n_outputs = n_outputs
        self.places = <uint8_t**> self.memory.take(n_outputs * sizeof(uint8_t*))

    def __dealloc__(self):
        free(self.pieces)
        free(self.goals)
        free(self.outputs)

    cdef int make_room(self, size_t n) except -1 nogil:
        """Room for so many pieces more."""
        cdef Piece* more
        if self.n + n <= self.room:
            return 0
        more = <Piece*> realloc(self.pieces, (self.room * 2 + 1024 + n) * sizeof(Piece))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.pieces = more
        self.room = self.room * 2 + 1024 + n
        return 0

    cdef int copy(self, Outcomes outcomes) except -1 nogil:
        """Copies each piece to the outputs that keep it and have a place: it is read while it is in the nearest
        cache."""
        cdef const Piece* piece
        cdef const uint32_t* at
        cdef const uint32_t* end
        cdef uint8_t* place
        cdef size_t i
        self.set_goals(outcomes)
        for i in range(self.n):
            piece = &self.pieces[i]
            at = self.outputs + self.goals[piece.keep_set].first
            end = at + self.goals[piece.keep_set].n
            while at < end:
                place = self.places[at[0]]
                memcpy(place, piece.p, piece.n)
                place += piece.n
                self.places[at[0]] = place
                # Nobody foresees a hundred places that are written in turns, but whoever writes them.
                fetch_to_write(place + 64)
                fetch_to_write(place + 128)
                at += 1
        return 0

    cdef int set_goals(self, Outcomes outcomes) except -1 nogil:
        """For each keep set that was met the outputs that have a place."""
        cdef const uint32_t* keep_set
        cdef uint32_t i, w, bits, at
        cdef size_t n = 0
        self.make_room_for_goals(outcomes.keep_sets.size())
        for i in range(outcomes.n_met_sets):
            self.make_room_for_outputs(n)
            keep_set = outcomes.keep_sets.words(outcomes.met_sets[i])
            self.goals[outcomes.met_sets[i]].first = n
            for w in range(outcomes.set_words):
                bits = keep_set[w]
                while bits:
                    at = w * 32 + lowest_bit(bits)
                    bits &= bits - 1
                    if self.places[at] != NULL:
                        self.outputs[n] = at
                        n += 1
            self.goals[outcomes.met_sets[i]].n = n - self.goals[outcomes.met_sets[i]].first
        return 0

    cdef int make_room_for_goals(self, uint32_t n) except -1 nogil:
        cdef Goal* more
        if n <= self.goals_room:
            return 0
        more = <Goal*> realloc(self.goals, n * 2 * sizeof(Goal))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.goals = more
        self.goals_room = n * 2
        return 0

    cdef int make_room_for_outputs(self, size_t n) except -1 nogil:
        """Room for all outputs behind n of them."""
        cdef uint32_t* more
        cdef size_t room = (n + self.n_outputs) * 2
        if n + self.n_outputs <= self.outputs_room:
            return 0
        more = <uint32_t*> realloc(self.outputs, room * sizeof(uint32_t))
        if more == NULL:
            with gil:
                raise MemoryError()
        self.outputs = more
        self.outputs_room = room
        return 0


cdef inline void add_piece(Pieces self, const uint8_t* p, const uint8_t* end, uint32_t keep_set) noexcept nogil:
    """A piece more, for which there must be room."""
    cdef Piece* piece = &self.pieces[self.n]
    piece.p = p
    piece.n = end - p
    piece.keep_set = keep_set
    self.n += 1
