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
constexpr uint8_t NIL = 0xC0;
constexpr uint8_t UINT8 = 0xCC, UINT32 = 0xCE;
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

// Where the writing stands: behind what was written, and behind what was read. In two registers.
struct Places {
    uint8_t *w;
    const uint8_t *p;
};

// A number of more than seven bits, a word, or a string with a header of two bytes; w is null where *p is none of these.
static __attribute__((noinline)) Places put_longer(uint8_t *w, const uint8_t *p) {
    const uint8_t first = *p;
    if (first >= UINT8 && first <= UINT32) {  // of one, two or four bytes, without asking for their number
        const unsigned n = 1u << (first - UINT8);
        uint64_t value;
        std::memcpy(&value, p + 1, 8);
        return {put_number(w, static_cast<uint32_t>(__builtin_bswap64(value) >> (64 - 8 * n))), p + 1 + n};
    }
    if (first == 0xC3) return {put(w, "true"), p + 1};
    if (first == 0xC2) return {put(w, "false"), p + 1};
    return put_usual_text(w, p) ? Places{w, p} : Places{nullptr, p};
}

// The same, and a small number, a short string or nothing, which most are. False where it is none: nothing has moved then.
static inline __attribute__((always_inline)) bool put_usual(uint8_t *&w, const uint8_t *&p) {
    const uint8_t first = *p;
    if (first < 0x80) {
        w = put_small_number(w, first);
        p++;
        return true;
    }
    if (is_short_text(first)) {
        const unsigned n = first & 0x1Fu;
        const Wide bytes = Wide::load(p);
        bytes.store(w);
        if (__builtin_expect((bytes.odd() >> 1 & ((1u << n) - 1)) != 0, 0)) return false;
        w[0] = w[n + 1] = '"';
        w += n + 2;
        p += n + 1;
        return true;
    }
    if (first == NIL) {
        w = put(w, "null");
        p++;
        return true;
    }
    const Places behind = put_longer(w, p);
    if (behind.w == nullptr) return false;
    w = behind.w;
    p = behind.p;
    return true;
}

// The last place from which so many bytes can be read, or written, without another look; null where there is none.
static inline const uint8_t *last_safe(const uint8_t *p, const uint8_t *end, size_t n) {
    return static_cast<size_t>(end - p) >= n ? end - n : nullptr;
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
    const uint8_t *const safe_p = last_safe(p, end, USUAL_BYTES);
    for (;;) {
        const uint8_t *const safe_w = last_safe(w, room.limit, USUAL_ROOM);
        while (level.left && p <= safe_p && w <= safe_w) {
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

// The record's members, each with a comma, from w on; w becomes their end.
template <bool ADDS_TIME>
static inline __attribute__((always_inline)) Entry write_members(MapWork &work, uint64_t left, uint8_t *&to,
                                                                 const uint8_t *&from, const uint8_t *end, bool &has_time) {
    LineRoom &room = work.room;
    const uint8_t *p = from;
    uint8_t *w = to;
    KnownKey *known = work.keys.root();
    const uint8_t *const safe_p = last_safe(p, end, USUAL_BYTES);
    const uint8_t *safe_w = last_safe(w, room.limit, USUAL_ROOM);
    for (; left; left--) {
        bool is_usual = p <= safe_p && w <= safe_w;
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
                w[0] = '"';
                std::memcpy(w + n, "\":", 2);
                if (ADDS_TIME && !has_time) has_time = is_time_key(work.form, w, w + n + 1);
                w += n + 2;
                p += n;
            }
        }
        // What is called for the unusual gets copies: w and p stay in registers.
        if (__builtin_expect(!is_usual, 0)) {
            const size_t key_at = static_cast<size_t>(w - room.lines.data());
            uint8_t *behind = w;
            const uint8_t *next = p;
            const Entry entry = write_scalar(room, true, behind, next, end);
            if (entry != Entry::written) return entry;
            w = behind;
            p = next;
            const uint8_t *const key = room.lines.data() + key_at;
            field = find_field(work, key, w);
            if (ADDS_TIME && !has_time) has_time = is_time_key(work.form, key, w);
            *w++ = ':';
        }
        const uint8_t *value = w;
        if (__builtin_expect(is_usual && put_usual(w, p), 1)) {
            *w++ = ',';
        } else {
            const size_t value_at = static_cast<size_t>(w - room.lines.data());
            uint8_t *behind = w;
            const uint8_t *next = p;
            const Entry entry = write_value(room, behind, next, end);
            if (entry != Entry::written) return entry;
            w = behind;
            p = next;
            value = room.lines.data() + value_at;
            safe_w = last_safe(w, room.limit, USUAL_ROOM);
        }
        if (__builtin_expect(field >= 0, 0)) work.note(field, value, w - 1);
    }
    to = w;
    from = p;
    return Entry::written;
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
    *w++ = '{';
    bool has_time = form.time_key == nullptr;
    const Entry entry = has_time ? write_members<false>(work, record.value, w, p, end, has_time)
                                 : write_members<true>(work, record.value, w, p, end, has_time);
    if (entry != Entry::written) return entry;
    if (!has_time) {
        if ((w = room.grow(w, form.time_key_n + SCALAR_ROOM)) == nullptr) return Entry::no_memory;
        std::memcpy(w, form.time_key, form.time_key_n);
        w += form.time_key_n;
        *w++ = ':';
        const uint8_t *const value = w;
        w = work.time.write(w);
        const int32_t field = find_field(work, form.time_key, form.time_key + form.time_key_n);
        if (field >= 0) work.note(field, value, w);
        *w++ = ',';
    }
    if (w[-1] == ',') w--;
    *w++ = '}';
    *w++ = '\n';
    room.lines.shrink(static_cast<size_t>(w - room.lines.data()));
    *from = p;
    return Entry::written;
}
