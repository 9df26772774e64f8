// A record's map in msgpack → the members of its line, once for every SIMD level. Included by scan_<level>.cpp, each of
// which defines, in its own namespace and compiled for its own instructions:
//
//   Wide               32 bytes, with load(p), store(w), is(known key), and odd(): a bit for each that cannot stand in a
//                      JSON string as it is, and for each outside ASCII, which has to be looked at
//
// What is usual is written here, where there is room to read and write more than it has; the rest is for write_value.

// What is read and written for a key and a usual value without another look.
constexpr size_t USUAL_BYTES = 32 + 2 + 64;
constexpr size_t USUAL_ROOM = 34 + 2 + 64 + 2;
constexpr unsigned MOST_USUAL_TEXT = 63;
constexpr uint8_t STR8 = 0xD9;
constexpr uint8_t SHORT_CONTAINERS = 0x80;  // maps and lists of less than 16, by a byte's high three bits

// A string of less than 64 bytes in which nothing must be written otherwise. False where *p is none: nothing has moved then.
static inline __attribute__((always_inline)) bool put_usual_text(uint8_t *&w, const uint8_t *&p) {
    unsigned n;
    if (is_short_text(*p)) {
        n = *p & 0x1Fu;
        const Wide bytes = Wide::load(p);
        bytes.store(w);
        if (__builtin_expect((bytes.odd() >> 1 & ((1u << n) - 1)) != 0, 0)) return false;
        p += n + 1;
    } else {
        n = p[1];
        if (*p != STR8 || n > MOST_USUAL_TEXT) return false;
        const Wide low = Wide::load(p + 2), high = Wide::load(p + 34);
        low.store(w + 1);
        high.store(w + 33);
        const uint64_t odd = low.odd() | uint64_t(high.odd()) << 32;
        if (__builtin_expect((odd & ((uint64_t(1) << n) - 1)) != 0, 0)) return false;
        p += n + 2;
    }
    w[0] = w[n + 1] = '"';
    w += n + 2;
    return true;
}

// The same of a number or a word, too.
static inline __attribute__((always_inline)) bool put_usual(uint8_t *&w, const uint8_t *&p) {
    const uint8_t first = *p;
    if (first < 0x80) {
        w = put_small_number(w, first);
        p++;
        return true;
    }
    if (is_short_text(first)) return put_usual_text(w, p);
    switch (first) {
    case 0xC0:
        w = put(w, "null");
        p++;
        return true;
    case 0xC2:
        w = put(w, "false");
        p++;
        return true;
    case 0xC3:
        w = put(w, "true");
        p++;
        return true;
    case 0xCC:
        w = put_number(w, p[1]);
        p += 2;
        return true;
    case 0xCD:
        w = put_number(w, static_cast<uint32_t>(load_big(p + 1, 2)));
        p += 3;
        return true;
    case 0xCE:
        w = put_number(w, static_cast<uint32_t>(load_big(p + 1, 4)));
        p += 5;
        return true;
    default:
        return put_usual_text(w, p);
    }
}

// Can a key and a usual value be read at p, and written at w?
static inline bool has_room(const LineRoom &room, const uint8_t *w, const uint8_t *p, const uint8_t *end) {
    return static_cast<size_t>(end - p) >= USUAL_BYTES && static_cast<size_t>(room.limit - w) >= USUAL_ROOM;
}

// One scalar of any kind at *p, a key with its quotes. There is room for some bytes more behind it.
static Entry write_scalar(LineRoom &room, bool is_key, uint8_t *&w, const uint8_t *&p, const uint8_t *end) {
    const PackHeader header = read_pack_header(p, end);
    if (header.n == 0) return Entry::truncated;
    p += header.n;
    const size_t n = static_cast<size_t>(bytes_behind(header));
    if (n > static_cast<size_t>(end - p)) return Entry::truncated;
    const size_t needed = header.kind == Pack::ext ? 2 * n + SCALAR_ROOM : n + SCALAR_ROOM;
    if (static_cast<size_t>(room.limit - w) < needed && (w = room.grow(w, needed)) == nullptr) return Entry::no_memory;
    switch (header.kind) {
    case Pack::invalid: return Entry::invalid;
    case Pack::array:
    case Pack::map: return Entry::key;
    case Pack::str:
    case Pack::bin: {
        *w++ = '"';
        const size_t plain = n ? copy_plain(p, n, end, w) : 0;
        w += plain;
        if (plain < n && (w = room.put_odd(w, p + plain, p + n)) == nullptr) return Entry::no_memory;
        *w++ = '"';
        break;
    }
    default:
        if (is_key && header.kind == Pack::ext && !is_event_time(header)) return Entry::key;
        if (is_key) *w++ = '"';
        w = put_scalar(w, header, p, is_key);
        if (is_key) *w++ = '"';
    }
    p += n;
    return Entry::written;
}

// One value of any kind at *p, with all that is in it and a comma.
static __attribute__((noinline)) Entry write_value(LineRoom &room, uint8_t *&to, const uint8_t *&from,
                                                   const uint8_t *end) {
    struct Level {
        uint64_t left;  // objects to come: of a map keys and values
        bool is_map;
    };
    Level around[MOST_LEVELS];
    unsigned depth = 1;
    const uint8_t *p = from;
    uint8_t *w = to;
    Level level{1, false};  // as if it stood in a list by itself
    bool is_key = false;
    for (;;) {
        while (level.left && has_room(room, w, p, end)) {
            if (is_key) {
                if (!put_usual_text(w, p)) break;
                *w++ = ':';
                is_key = false;
            } else if ((*p & 0xE0) == SHORT_CONTAINERS && depth < MOST_LEVELS) {
                around[depth++] = level;
                is_key = (*p & 0x10) == 0;
                level = Level{(*p & 0x0Fu) << is_key, is_key};
                *w++ = is_key ? '{' : '[';
                p++;
                continue;
            } else {
                if (!put_usual(w, p)) break;
                *w++ = ',';
                is_key = level.is_map;
            }
            level.left--;
        }
        if (level.left == 0) {
            if (depth == 1) break;
            if (w[-1] == ',') w--;
            *w++ = level.is_map ? '}' : ']';
            level = around[--depth];
            level.left--;
            is_key = level.is_map;
            if (static_cast<size_t>(room.limit - w) < SCALAR_ROOM && (w = room.grow(w, SCALAR_ROOM)) == nullptr)
                return Entry::no_memory;
            *w++ = ',';
            continue;
        }
        const PackHeader header = read_pack_header(p, end);
        if (!is_key && header.n && (header.kind == Pack::array || header.kind == Pack::map)) {
            p += header.n;
            if (objects_behind(header) > static_cast<size_t>(end - p)) return Entry::truncated;
            if (depth == MOST_LEVELS) return Entry::depth;
            if (static_cast<size_t>(room.limit - w) < SCALAR_ROOM && (w = room.grow(w, SCALAR_ROOM)) == nullptr)
                return Entry::no_memory;
            around[depth++] = level;
            is_key = header.kind == Pack::map;
            level = Level{objects_behind(header), is_key};
            *w++ = is_key ? '{' : '[';
            continue;
        }
        uint8_t *scalar_to = w;
        const uint8_t *scalar_from = p;
        const Entry entry = write_scalar(room, is_key, scalar_to, scalar_from, end);
        if (entry != Entry::written) return entry;
        w = scalar_to;
        p = scalar_from;
        *w++ = is_key ? ':' : ',';
        is_key = level.is_map && !is_key;
        level.left--;
    }
    to = w;
    from = p;
    return Entry::written;
}

// The field that a key of the record, as it is written with its quotes, names; -1 where it is none.
static int32_t find_field(MapWork &work, const uint8_t *key, const uint8_t *key_end) {
    const size_t n = static_cast<size_t>(key_end - key) - 2;
    if (work.plan.n_keys == 0) return -1;
    if (n && std::memchr(key + 1, '\\', n) != nullptr) {  // the exact way reads what it means
        work.is_odd = true;
        return -1;
    }
    return find_wanted(work.plan, key + 1, n);
}

static Entry write_map(MapWork &work, const uint8_t **from, const uint8_t *end) {
    const EntryForm &form = work.form;
    LineRoom &room = work.room;
    const uint8_t *p = *from;
    const PackHeader record = read_pack_header(p, end);
    p += record.n;
    if (objects_behind(record) > static_cast<size_t>(end - p)) return Entry::truncated;
    uint8_t *w = room.grow(room.lines.data() + room.lines.size(), SCALAR_ROOM);
    if (w == nullptr) return Entry::no_memory;
    // What is called for the unusual gets copies: these stay in registers.
    const uint8_t *base = room.lines.data(), *limit = room.limit;
    bool has_time = form.time_key == nullptr;
    KnownKey *known = work.keys.root();
    *w++ = '{';
    for (uint64_t pairs = record.value; pairs; pairs--) {
        const uint8_t *key_begin = w;
        bool is_usual = static_cast<size_t>(end - p) >= USUAL_BYTES && static_cast<size_t>(limit - w) >= USUAL_ROOM;
        int32_t field = -1;
        if (__builtin_expect(is_usual, 1)) {
            const Wide bytes = Wide::load(p);
            KnownKey *key = known->next;
            if (__builtin_expect(!bytes.is(*key), 0)) {
                key = is_short_text(*p) ? work.keys.meet(known, p, work.plan) : nullptr;
                is_usual = key != nullptr;
            }
            if (__builtin_expect(is_usual, 1)) {
                const unsigned n = key->n;
                field = key->field;
                known = key;
                bytes.store(w);
                w[0] = w[n] = '"';
                w[n + 1] = ':';
                w += n + 2;
                p += n;
            }
        }
        if (__builtin_expect(!is_usual, 0)) {
            const size_t key_at = static_cast<size_t>(w - base);
            uint8_t *to = w;
            const uint8_t *at = p;
            const Entry entry = write_scalar(room, true, to, at, end);
            if (entry != Entry::written) return entry;
            w = to;
            p = at;
            base = room.lines.data();
            limit = room.limit;
            key_begin = base + key_at;
            field = find_field(work, key_begin, w);
            *w++ = ':';
        }
        if (__builtin_expect(!has_time, 0)) has_time = is_time_key(form, key_begin, w - 1);
        const size_t value_at = static_cast<size_t>(w - base);
        if (__builtin_expect(is_usual && put_usual(w, p), 1)) {
            *w++ = ',';
        } else {
            uint8_t *to = w;
            const uint8_t *at = p;
            const Entry entry = write_value(room, to, at, end);
            if (entry != Entry::written) return entry;
            w = to;
            p = at;
            base = room.lines.data();
            limit = room.limit;
        }
        if (field >= 0) work.note(field, value_at, static_cast<size_t>(w - base) - 1);
    }
    if (!has_time) {
        if ((w = room.grow(w, form.time_key_n + SCALAR_ROOM)) == nullptr) return Entry::no_memory;
        std::memcpy(w, form.time_key, form.time_key_n);
        w += form.time_key_n;
        *w++ = ':';
        const size_t value_at = static_cast<size_t>(w - room.lines.data());
        w = work.time.write(w);
        const int32_t field = find_field(work, form.time_key, form.time_key + form.time_key_n);
        if (field >= 0) work.note(field, value_at, static_cast<size_t>(w - room.lines.data()));
        *w++ = ',';
    }
    if (w[-1] == ',') w--;
    *w++ = '}';
    *w++ = '\n';
    room.lines.shrink(static_cast<size_t>(w - room.lines.data()));
    *from = p;
    return Entry::written;
}
