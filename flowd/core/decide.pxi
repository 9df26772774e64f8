# From the classes of a line's fields to its decision: the filters' sections in their order, each step with its short
# circuits and errors, exactly as the dialect says. Runs on misses of the decision table only.

cdef uint32_t DEFAULT_RULE = 0

cdef enum Outcome:
    OUTCOME_PASS = 0     # the section goes on, or keeps the line
    OUTCOME_DROP = 1
    OUTCOME_ERROR = 2    # the section ends, the line goes on to the next one
    OUTCOME_KEEP = 3     # the section ends at once, keeping the line


cdef void spread_states(Context self) noexcept nogil:
    """Sets the state of every predicate for the line, whose classes list those that say yes or error."""
    cdef uint32_t f, i
    cdef const uint32_t* words
    memset(self.states, STATE_NO, self.program.n_predicates)
    for f in range(self.program.n_fields):
        words = self.classes.words(self.tuple_[f])
        for i in range(self.classes.count(self.tuple_[f])):
            self.states[words[i] >> 1] = STATE_ERROR if words[i] & 1 else STATE_YES


cdef uint8_t first_not_no(Context self, const Step* step, uint32_t number, uint32_t* place) noexcept nogil:
    """The first rule of the step whose predicate does not say no: its state and place; STATE_NO where there is none.

    Goes through what the classes list, which is short, instead of through the step's rules where they are many.
    """
    cdef uint32_t f, i, u, value_class, predicate
    cdef uint32_t best = step.n_rules
    cdef uint8_t state = STATE_NO
    cdef const uint32_t* words
    cdef const Use* use
    if best <= FEW_RULES:
        for i in range(best):
            state = self.states[step.rules[i].predicate]
            if state != STATE_NO:
                place[0] = i
                return state
        place[0] = best
        return STATE_NO
    for f in range(self.program.n_fields):
        value_class = self.tuple_[f]
        words = self.classes.words(value_class)
        for i in range(self.classes.count(value_class)):
            predicate = words[i] >> 1
            for u in range(self.program.n_uses[predicate]):
                use = &self.program.uses[predicate][u]
                if use.step == number and use.place < best:
                    best = use.place
                    state = STATE_ERROR if words[i] & 1 else STATE_YES
    place[0] = best
    return state


cdef Outcome run_expression(Context self, const Step* step, uint32_t* rule) noexcept nogil:
    cdef const ExpressionTest* test
    cdef uint32_t at = 0
    cdef uint8_t state
    if step.until_ns and step.until_ns <= self.now_ns:
        return OUTCOME_PASS
    while at < step.n_tests:
        test = &step.tests[at]
        state = self.states[test.predicate]
        if state == STATE_ERROR:
            # A rule that may drop nothing must not end its section either.
            return OUTCOME_PASS if step.is_shadow else OUTCOME_ERROR
        at = test.yes if state == STATE_YES else test.no
    if (at == HOLDS) != (step.kind == STEP_WHEN):
        return OUTCOME_PASS
    rule[0] = step.group
    return OUTCOME_DROP


cdef Outcome run_step(Context self, const Step* step, uint32_t number, uint32_t* rule) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t state
    if step.kind == STEP_ALL:
        for i in range(step.n_rules):
            state = self.states[step.rules[i].predicate]
            if state == STATE_ERROR:
                return OUTCOME_ERROR
            if state == STATE_NO:
                rule[0] = step.rules[i].rule
                return OUTCOME_DROP
        return OUTCOME_PASS
    if step.kind == STEP_ANY:
        state = first_not_no(self, step, number, &i)
        if state == STATE_NO:
            rule[0] = step.group
            return OUTCOME_DROP
        return OUTCOME_ERROR if state == STATE_ERROR else OUTCOME_PASS
    if step.kind == STEP_NOT_ALL:
        for i in range(step.n_rules):
            state = self.states[step.rules[i].predicate]
            if state == STATE_ERROR:
                return OUTCOME_ERROR
            if state == STATE_NO:
                return OUTCOME_PASS
        rule[0] = step.group
        return OUTCOME_DROP
    if step.kind == STEP_NOT_ANY:
        state = first_not_no(self, step, number, &i)
        if state == STATE_YES:
            rule[0] = step.rules[i].rule
            return OUTCOME_DROP
        return OUTCOME_ERROR if state == STATE_ERROR else OUTCOME_PASS
    if step.kind == STEP_WHEN or step.kind == STEP_UNLESS:
        return run_expression(self, step, rule)
    for i in range(step.n_rules):
        state = self.states[step.rules[i].predicate]
        if state == STATE_ERROR:
            return OUTCOME_ERROR
        if step.rules[i].is_exclude:
            if state == STATE_YES:
                rule[0] = step.rules[i].rule
                return OUTCOME_DROP
        else:
            rule[0] = step.rules[i].rule
            return OUTCOME_KEEP if state == STATE_YES else OUTCOME_DROP
    return OUTCOME_PASS


cdef inline Decision plain_decision(uint32_t rule, uint8_t verdict, uint16_t errors) noexcept nogil:
    cdef Decision decision
    decision.rule = rule
    decision.errors = errors
    decision.verdict = verdict
    decision.kind = DECISION_PLAIN
    return decision


cdef bint add_sampling_turn(Context self, const Step* step, uint16_t errors) noexcept nogil:
    """The line is dropped by this step unless it is in the step's sample, and then goes on. False without memory."""
    cdef Turn* turn = self.turns.add()
    if turn == NULL:
        return False
    turn.rule = step.group
    turn.errors = errors
    turn.verdict = c"D"
    turn.sample = step.sample
    turn.seed = step.seed
    turn.next = self.turns.n
    return True


cdef Decision end_turns(Context self, Decision decision, uint32_t first_turn) noexcept nogil:
    """The decision itself where no gentle rule has a say, else where its turns begin. What finds no memory drops out:
    then a sample lets no line go, and shadow rules count none."""
    cdef uint32_t shadows = 0
    cdef Turn* turn
    if self.turns.n:
        shadows = self.turns.turns[self.turns.n - 1].shadows + self.turns.turns[self.turns.n - 1].n_shadows
    if self.turns.n == first_turn and self.turns.n_shadows == shadows:
        return decision
    turn = self.turns.add()
    if turn == NULL:
        self.turns.n = first_turn
        self.turns.n_shadows = shadows
        return decision
    turn.rule = decision.rule
    turn.errors = decision.errors
    turn.verdict = decision.verdict
    decision.rule = first_turn
    decision.kind = DECISION_GENTLE
    return decision


cdef inline bint is_invalid(Context self, uint32_t value_class) noexcept nogil:
    """Is this the class of values that are not valid JSON?"""
    return self.classes.count(value_class) > 0 and self.classes.words(value_class)[0] == INVALID_VALUE


cdef Decision decide(Context self) noexcept nogil:
    """The decision for the classes in self.tuple_."""
    cdef uint32_t f
    for f in range(self.program.n_fields):
        if is_invalid(self, self.tuple_[f]):
            return plain_decision(DEFAULT_RULE, c"M", 0)
    spread_states(self)
    return run_sections(self, 0, self.program.n_sections)


cdef Decision run_sections(Context self, uint32_t first, uint32_t end) noexcept nogil:
    """What these sections decide, given the states of all predicates."""
    cdef Decision decision = plain_decision(DEFAULT_RULE, c"K", 0)
    cdef const Step* step
    cdef Outcome outcome
    cdef uint32_t s, t, rule
    cdef uint32_t kept_by = DEFAULT_RULE     # the last rule that may let the line go
    cdef uint32_t first_turn
    if self.turns.is_full():
        forget_decisions(self)
    first_turn = self.turns.n
    for s in range(first, end):
        for t in range(self.program.sections[s].n_steps):
            step = &self.program.sections[s].steps[t]
            rule = DEFAULT_RULE
            outcome = run_step(self, step, self.program.sections[s].first_step + t, &rule)
            if outcome == OUTCOME_DROP:
                if step.is_shadow and self.turns.note_shadow(rule):
                    continue
                if step.sample and add_sampling_turn(self, step, decision.errors):
                    kept_by = step.sampled
                    continue
                decision.rule = rule
                decision.verdict = c"D"
                return end_turns(self, decision, first_turn)
            if outcome == OUTCOME_ERROR:
                decision.errors += 1
                decision.verdict = c"E"
                break
            if outcome == OUTCOME_KEEP:
                decision.rule = rule
                break
    if decision.verdict == c"K" and kept_by != DEFAULT_RULE:
        decision.rule = kept_by
    return end_turns(self, decision, first_turn)


cdef bint find_tuple(Context self, const Span* values, const uint8_t* end) noexcept nogil:
    """Fills self.tuple_ with the classes of a line's values. False where the classes' bound was met on the way."""
    cdef uint32_t f
    for f in range(self.program.n_fields):
        self.tuple_[f] = class_of(self, f, &values[f], end)
        if self.tuple_[f] == NO_CLASS:
            return False
    return True


cdef Decision decide_uncached(Context self, const Span* values, const uint8_t* end) noexcept nogil:
    """The decision after everything was forgotten; a line too large for the classes' bound is kept as an error."""
    forget_classes(self)
    if find_tuple(self, values, end):
        return decide(self)
    forget_classes(self)
    return plain_decision(DEFAULT_RULE, c"E", 1)


cdef Decision decide_values(Context self, const Span* values, const uint8_t* end) noexcept nogil:
    """The decision for a line's values, some of which the tables may not know yet."""
    cdef Decision decision
    cdef const Decision* known
    if not find_tuple(self, values, end):
        return decide_uncached(self, values, end)
    if self.program.n_fields:
        known = self.decisions.find(self.tuple_)
        if known != NULL:
            return known[0]
    decision = decide(self)
    if self.program.n_fields:
        self.decisions.insert(self.tuple_, decision)
    return decision


cdef Decision decide_odd_line(Context self, const Line* line, Span* values, const Plan* plan,
                              const uint8_t* end) noexcept nogil:
    """The decision for a line that the walk could not vouch for: the exact way finds its values, or none."""
    if read_odd_line(self, line, values, plan):
        return decide_values(self, values, end)
    return plain_decision(DEFAULT_RULE, c"M", 0)


cdef inline const Decision* find_decision(Context self, const uint32_t* classes) noexcept nogil:
    """The decision for these classes where all are known and so is it; NULL sends the line to decide_values."""
    cdef uint32_t f
    for f in range(self.program.n_fields):
        if classes[f] == NO_CLASS:
            return NULL
    return self.decisions.find(classes) if self.program.n_fields else NULL


cdef bint read_odd_line(Context self, const Line* line, Span* values, const Plan* plan) noexcept nogil:
    """Finds the values of a line the exact way; False where it is malformed."""
    cdef Strictness strictness = Strictness.ruby if self.program.strict else Strictness.lenient
    cdef const uint8_t* p = line.p
    cdef const uint8_t* end = line.p + line.n
    cdef bint is_json = line.form == FORM_JSON_ODD
    if line.form == FORM_TEXT_ODD and plan.format == FORMAT_AUTO:
        while p < end and (p[0] == c" " or p[0] == c"\t" or p[0] == c"\r"):
            p += 1
        is_json = p < end and p[0] == c"{"
    if is_json:
        return walk_object(plan[0], line.p, line.n, strictness, values, self.stack, self.key)
    return walk_columns(plan[0], line.p, line.n, values) != FORM_MALFORMED
