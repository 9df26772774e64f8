# The gentle decisions of one context: those in which a rule only counts what it would drop, or lets a share of it go.
# A line goes through such a decision turn by turn; the decision table holds where it begins.

cdef class Turns:
    """Two growing arrays, cleared together: the turns, and the shadow rules that they name by runs."""
    cdef Turn* turns
    cdef uint32_t n
    cdef uint32_t room
    cdef uint32_t* shadows
    cdef uint32_t n_shadows
    cdef uint32_t shadows_room

    def __dealloc__(self):
        free(self.turns)
        free(self.shadows)

    cdef void clear(self) noexcept nogil:
        self.n = 0
        self.n_shadows = 0

    cdef bint is_full(self) noexcept nogil:
        """Is it time to forget all decisions, so that this stays bounded?"""
        return self.n >= MOST_TURNS or self.n_shadows >= MOST_TURNS

    cdef Turn* add(self) noexcept nogil:
        """A turn more, all zero but for the shadow rules that were noted since the last one; NULL without memory."""
        cdef Turn* more
        cdef Turn* turn
        if self.n == self.room:
            more = <Turn*> realloc(self.turns, (self.room * 2 + 64) * sizeof(Turn))
            if more == NULL:
                return NULL
            self.turns = more
            self.room = self.room * 2 + 64
        turn = &self.turns[self.n]
        memset(turn, 0, sizeof(Turn))
        if self.n:
            turn.shadows = self.turns[self.n - 1].shadows + self.turns[self.n - 1].n_shadows
        turn.n_shadows = self.n_shadows - turn.shadows
        self.n += 1
        return turn

    cdef bint note_shadow(self, uint32_t rule) noexcept nogil:
        """A shadow rule would have dropped the line before the turn that comes next. False without memory."""
        cdef uint32_t* more
        if self.n_shadows == self.shadows_room:
            more = <uint32_t*> realloc(self.shadows, (self.shadows_room * 2 + 64) * sizeof(uint32_t))
            if more == NULL:
                return False
            self.shadows = more
            self.shadows_room = self.shadows_room * 2 + 64
        self.shadows[self.n_shadows] = rule
        self.n_shadows += 1
        return True
