# What becomes of a line under rules that only count what they would drop, or let a share of it go; and when rules end.

cdef Decision settle(Context self, Decision decision, const Line* line, uint64_t line_bytes) noexcept nogil:
    """The decision for one line whose values lead to a gentle one; counts the shadow rules on its way."""
    cdef const Turn* turn = &self.turns.turns[decision.rule]
    cdef uint32_t i
    while True:
        if line_bytes:
            for i in range(turn.n_shadows):
                count_hit(self, self.turns.shadows[turn.shadows + i], line_bytes)
        if turn.sample == 0 or not is_in_sample(line.p, line.n, turn.seed, turn.sample):
            return plain_decision(turn.rule, turn.verdict, turn.errors)
        turn = &self.turns.turns[turn.next]


cdef void look_at_clock(Context self) noexcept nogil:
    """Once a batch: where a step has ended since the decisions were made, or the clock was set back, they are void."""
    cdef timespec now
    cdef uint32_t ended = 0
    if self.program.n_untils == 0:
        return
    clock_gettime(CLOCK_REALTIME, &now)
    self.now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec
    while ended < self.program.n_untils and self.program.untils[ended] <= self.now_ns:
        ended += 1
    if ended != self.n_ended:
        forget_decisions(self)
        self.n_ended = ended
