# A compiled filter set as plain C arrays: what the line walk looks for, what is matched, and in which order the
# filters' steps decide. Built once from plain Python values, then read only, by any number of threads.

class RefusedByLinearEngine(ValueError):
    """The linear engine will not take some predicates' expressions: `args[1]` lists the predicates."""


# Unknown to the garbage collector, which would take `memory` from a program in a cycle before it lets the program go:
# what is freed last of all is found through it. No cycle leads through what a program holds.
@cython.no_gc
cdef class Program:
    """A filter set for the core: `Program(fields, subjects, predicates, sections, rules, strict)`, all plain values.

    fields      (key or None, column24 or None, column27 or None); a column is (index, kind index or -1, mapping)
    subjects    (field, path below the field: bytes and ints, reading: 0 ruby, 1 string, 2 value)
    predicates  (subject, kind name, literals, any_value, (expression, flags) or None, Regex), the linear expression
                only where the linear engine shall evaluate it; of what looks at the value itself
                (subject, kind name, arguments): see build_value_test. By subject, and these last
    sections    lists of steps (kind name, group rule, [(predicate, rule, is_exclude), …], gentle), where gentle is
                None or ([(predicate, yes, no), …], is_shadow, sample, sampled rule, seed, until in ns): the step's
                expression as tests, each with the number of the test that follows, or -1 where it holds then, or -2
    rules       how many rules there are; their counters have these indexes, rule 0 is `default`
    strict      a raw control character or a lone surrogate in a value that is read makes the line malformed
    """
    cdef Memory memory
    cdef Plan plan
    cdef Field* fields
    cdef Subject* subjects
    cdef Predicate* predicates
    cdef Section* sections
    cdef Use** uses
    cdef uint32_t* n_uses
    cdef LiteralIndex** indexes         # owned
    cdef uint32_t n_indexes
    cdef AddressIndex** address_indexes  # owned
    cdef uint32_t n_address_indexes
    cdef int64_t* untils                # when steps end, ascending
    cdef uint32_t n_untils
    cdef readonly uint32_t n_fields, n_subjects, n_predicates, n_sections, n_rules
    cdef readonly bint strict

    def __cinit__(self, fields, subjects, predicates, sections, rules, strict):
        self.memory = Memory()
        self.n_rules = rules
        self.strict = strict
        self.build_fields(fields)
        self.build_subjects(subjects)
        self.build_predicates(predicates)
        self.build_sections(sections)

    cdef int build_fields(self, fields) except -1:
        cdef uint32_t f = 0
        cdef size_t n = len(fields)
        cdef WantedKey* keys = <WantedKey*> self.memory.take(n * sizeof(WantedKey))
        cdef bytes quoted
        cdef uint8_t head[8]
        cdef uint8_t mask[8]
        self.n_fields = n
        self.fields = <Field*> self.memory.take(n * sizeof(Field))
        self.plan.n_fields = n
        self.plan.keys = keys
        self.plan.n_keys = 0
        for f, (key, column24, column27) in enumerate(fields):
            self.fields[f].mapping24 = column24[2] if column24 else 0
            self.fields[f].mapping27 = column27[2] if column27 else 0
            if key is None:
                continue
            quoted = key + b'"'
            memset(head, 0, 8)
            memset(mask, 0, 8)
            memcpy(head, <const char*> quoted, min(8, len(quoted)))
            memset(mask, 255, min(8, len(quoted)))
            if b'"' in key:
                # Lines write such a key with a backslash, so the exact way alone finds it: the quick look must not take
                # `"a":1,"b"` for one key. No byte is looked at, and none equals 1.
                memset(mask, 0, 8)
                memset(head, 1, 8)
            memcpy(&keys[self.plan.n_keys].head, head, 8)
            memcpy(&keys[self.plan.n_keys].head_mask, mask, 8)
            keys[self.plan.n_keys].quoted = self.memory.keep(quoted)
            keys[self.plan.n_keys].n = len(quoted)
            keys[self.plan.n_keys].field = f
            self.plan.n_keys += 1
        self.build_text(&self.plan.text24, [(i, field[1]) for i, field in enumerate(fields)], TEXT24_SEPARATORS)
        self.build_text(&self.plan.text27, [(i, field[2]) for i, field in enumerate(fields)], TEXT27_SEPARATORS)
        return 0

    cdef int build_text(self, TextPlan* plan, fields, uint32_t separators) except -1:
        wanted = [(f, column) for f, column in fields if column is not None]
        cdef WantedColumn* columns = <WantedColumn*> self.memory.take(len(wanted) * sizeof(WantedColumn))
        cdef uint16_t* places
        cdef uint32_t i
        needed = set()
        for i, (f, (index, kind, _)) in enumerate(wanted):
            columns[i].column = index
            columns[i].kind_column = kind if kind >= 0 else NO_COLUMN
            columns[i].field = f
            for column in (index, kind):
                needed.update(place for place in (column - 1, column) if column >= 0 and 0 <= place < separators)
        places = <uint16_t*> self.memory.take(len(needed) * sizeof(uint16_t))
        for i, place in enumerate(sorted(needed)):
            places[i] = place
        plan.columns = columns
        plan.n_columns = len(wanted)
        plan.separators = places
        plan.n_separators = len(needed)
        plan.separators_in_line = separators
        return 0

    cdef int build_subjects(self, subjects) except -1:
        cdef uint32_t s, i
        cdef Subject* subject
        cdef PathPart* parts
        self.n_subjects = len(subjects)
        self.subjects = <Subject*> self.memory.take(self.n_subjects * sizeof(Subject))
        of_field = [[] for _ in range(self.n_fields)]
        for s, (field, path, reading) in enumerate(subjects):
            subject = &self.subjects[s]
            subject.field = field
            subject.reading = reading
            subject.n_path = len(path)
            parts = <PathPart*> self.memory.take(len(path) * sizeof(PathPart))
            for i, part in enumerate(path):
                if isinstance(part, bytes):
                    parts[i].key = self.memory.keep(part)
                    parts[i].n = len(part)
                else:
                    parts[i].index = part
            subject.path = parts
            of_field[field].append(s)
        for i in range(self.n_fields):
            self.fields[i].subjects = self.memory.keep_ids(of_field[i])
            self.fields[i].n_subjects = len(of_field[i])
            self.fields[i].are_texts = True
            for s in of_field[i]:
                if self.subjects[s].n_path or self.subjects[s].reading == READ_VALUE:
                    self.fields[i].are_texts = False
        return 0

    cdef int build_predicates(self, predicates) except -1:
        kinds = {"any": KIND_ANY, "contains": KIND_CONTAINS, "prefix": KIND_PREFIX, "suffix": KIND_SUFFIX,
                 "exact": KIND_EXACT}
        cdef uint32_t p, i
        cdef Predicate* predicate
        cdef Regex reference
        self.n_predicates = len(predicates)
        self.predicates = <Predicate*> self.memory.take(self.n_predicates * sizeof(Predicate))
        texts_of_subject = [[] for _ in range(self.n_subjects)]
        values_of_subject = [[] for _ in range(self.n_subjects)]
        linear_of_subject = [[] for _ in range(self.n_subjects)]
        for p, (subject, kind, *rest) in enumerate(predicates):
            predicate = &self.predicates[p]
            predicate.subject = subject
            if kind in VALUE_TESTS:
                predicate.kind = VALUE_TESTS[kind]
                build_value_test(self.memory, predicate, rest[0])
                values_of_subject[subject].append(p)
                continue
            texts_of_subject[subject].append(p)
            literals, any_value, linear, reference_object = rest
            reference = reference_object
            self.memory.kept.append(reference)
            predicate.kind = kinds.get(kind, KIND_PATTERN)
            predicate.any_value = any_value
            predicate.reference = reference.regex
            predicate.n_literals = len(literals)
            predicate.literals = <Literal*> self.memory.take(len(literals) * sizeof(Literal))
            for i, literal in enumerate(literals):
                predicate.literals[i].p = self.memory.keep(literal)
                predicate.literals[i].n = len(literal)
            predicate.is_linear = linear is not None
            if linear is not None:
                linear_of_subject[subject].append((p, linear))
        self.indexes = <LiteralIndex**> self.memory.take(self.n_subjects * sizeof(LiteralIndex*))
        self.address_indexes = <AddressIndex**> self.memory.take(self.n_subjects * sizeof(AddressIndex*))
        for i in range(self.n_subjects):
            ids = texts_of_subject[i] + values_of_subject[i]
            if ids != list(range(ids[0], ids[0] + len(ids))):
                raise ValueError("a subject's predicates must follow each other, those that a text answers first")
            self.subjects[i].first = ids[0]
            self.subjects[i].n_predicates = len(ids)
            self.subjects[i].n_texts = len(texts_of_subject[i])
            one_by_one = [p for p in values_of_subject[i] if self.predicates[p].kind != KIND_CIDR]
            self.subjects[i].values = self.memory.keep_ids(one_by_one)
            self.subjects[i].n_values = len(one_by_one)
            networks = [(p, *network) for p in values_of_subject[i] if predicates[p][1] == "cidr"
                        for network in predicates[p][2]]
            if networks:
                self.build_addresses(&self.subjects[i], networks)
            self.build_index(&self.subjects[i])
            self.build_linear(&self.subjects[i], linear_of_subject[i])
            singles = [p for p in texts_of_subject[i]
                       if not self.predicates[p].is_linear and not self.predicates[p].is_indexed]
            self.subjects[i].singles = self.memory.keep_ids(singles)
            self.subjects[i].n_singles = len(singles)
        return 0

    cdef int build_index(self, Subject* subject) except -1:
        """Words that are anchored alike go into an index where there are many; few are compared one by one."""
        cdef uint32_t p, j, words = 0
        cdef uint32_t anchoring
        cdef Predicate* predicate
        for p in range(subject.first, subject.first + subject.n_texts):
            predicate = &self.predicates[p]
            if KIND_PREFIX <= predicate.kind <= KIND_EXACT and not predicate.is_linear:
                words += predicate.n_literals
        if words <= FEW_WORDS:
            return 0
        subject.index = new LiteralIndex()
        self.indexes[self.n_indexes] = subject.index
        self.n_indexes += 1
        for p in range(subject.first, subject.first + subject.n_texts):
            predicate = &self.predicates[p]
            if not KIND_PREFIX <= predicate.kind <= KIND_EXACT or predicate.is_linear:
                continue
            predicate.is_indexed = True
            anchoring = (ANCHOR_PREFIX if predicate.kind == KIND_PREFIX
                         else ANCHOR_SUFFIX if predicate.kind == KIND_SUFFIX else ANCHOR_EXACT)
            for j in range(predicate.n_literals):
                if not subject.index.add(anchoring, predicate.literals[j].p, predicate.literals[j].n, p):
                    raise MemoryError()
        if not subject.index.finish():
            raise MemoryError()
        return 0

    cdef int build_addresses(self, Subject* subject, networks) except -1:
        subject.addresses = new AddressIndex()
        self.address_indexes[self.n_address_indexes] = subject.addresses
        self.n_address_indexes += 1
        for predicate, address, prefix in networks:
            if not subject.addresses.add(<const uint8_t*> <const char*> (<bytes> address), prefix, predicate):
                raise MemoryError()
        if not subject.addresses.finish():
            raise MemoryError()
        return 0

    cdef int build_linear(self, Subject* subject, wanted) except -1:
        """The linear sets of a subject: several, since the time to compile one grows faster than its expressions."""
        cdef LinearSet linear_set
        cdef uint32_t part
        parts = [wanted[at:at + EXPRESSIONS_A_SET] for at in range(0, len(wanted), EXPRESSIONS_A_SET)]
        subject.linear = <LinearPart*> self.memory.take(len(parts) * sizeof(LinearPart))
        for part, members in enumerate(parts):
            try:
                linear_set = LinearSet([linear for _, linear in members])
            except RegexError as error:
                raise RefusedByLinearEngine(str(error.args[0]), [
                    p for at, (p, _) in enumerate(members) if error.args[1] in (at, -1)]) from None
            self.memory.kept.append(linear_set)
            subject.linear[part].database = linear_set.database
            subject.linear[part].predicates = self.memory.keep_ids([p for p, _ in members])
            subject.linear[part].n = len(members)
        subject.n_linear = len(parts)
        return 0

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.n_indexes):
            del self.indexes[i]
        for i in range(self.n_address_indexes):
            del self.address_indexes[i]

    cdef int build_sections(self, sections) except -1:
        kinds = {"all": STEP_ALL, "any": STEP_ANY, "not_all": STEP_NOT_ALL, "not_any": STEP_NOT_ANY,
                 "first": STEP_FIRST, "when": STEP_WHEN, "unless": STEP_UNLESS}
        cdef uint32_t s, t, r, number = 0
        cdef Step* step
        self.n_sections = len(sections)
        self.sections = <Section*> self.memory.take(self.n_sections * sizeof(Section))
        uses = [[] for _ in range(self.n_predicates)]
        untils = []
        for s, steps in enumerate(sections):
            self.sections[s].n_steps = len(steps)
            self.sections[s].first_step = number
            self.sections[s].steps = <Step*> self.memory.take(len(steps) * sizeof(Step))
            for t, (kind, group, rules, gentle) in enumerate(steps):
                step = &self.sections[s].steps[t]
                step.kind = kinds[kind]
                step.group = group
                step.n_rules = len(rules)
                step.rules = <StepRule*> self.memory.take(len(rules) * sizeof(StepRule))
                for r, (predicate, rule, is_exclude) in enumerate(rules):
                    step.rules[r].predicate = predicate
                    step.rules[r].rule = rule
                    step.rules[r].is_exclude = is_exclude
                    uses[predicate].append((number, r))
                number += 1
                if gentle is not None:
                    build_gentle_step(self.memory, step, gentle)
                    if step.until_ns:
                        untils.append(step.until_ns)
        self.untils = <int64_t*> self.memory.take(len(untils) * sizeof(int64_t))
        self.n_untils = len(untils)
        for s, until_ns in enumerate(sorted(untils)):
            self.untils[s] = until_ns
        self.uses = <Use**> self.memory.take(self.n_predicates * sizeof(Use*))
        self.n_uses = <uint32_t*> self.memory.take(self.n_predicates * sizeof(uint32_t))
        for s in range(self.n_predicates):
            self.n_uses[s] = len(uses[s])
            self.uses[s] = <Use*> self.memory.take(len(uses[s]) * sizeof(Use))
            for t, (step_number, place) in enumerate(uses[s]):
                self.uses[s][t].step = step_number
                self.uses[s][t].place = place
        return 0
