#include "line_writer.hpp"

#include <charconv>
#include <cmath>
#include <limits>

#include "copy_plain.hpp"
#include "float_text.hpp"
#include "msgpack.hpp"
#include "utf8.hpp"

namespace flowd {

namespace {

// What a number or a word needs at most, with quotes, a colon or a comma; and what a copy may write beyond its end.
constexpr size_t SCALAR_ROOM = 96;
static_assert(SCALAR_ROOM >= LONGEST_FLOAT + PLAIN_BLOCK + 8, "a float has room, and a copy behind it");
// What is read and written for a short key and a short value without another look.
constexpr size_t USUAL_BYTES = 2 * (1 + 32);
constexpr size_t USUAL_ROOM = 2 * SCALAR_ROOM;
constexpr uint8_t NIL = 0xC0;
// A byte becomes at most six: \u001f.
constexpr size_t LONGEST_ESCAPE = 6;

constexpr int64_t NS_A_SECOND = 1000000000;
constexpr int64_t MOST_SECONDS = std::numeric_limits<int64_t>::max() / NS_A_SECOND - 1;  // that fit as nanoseconds
constexpr double MOST_FLOAT_SECONDS = 9.2e18;

// Seconds of Fluent Bit's group markers, of 32 bits with a sign, as an EventTime has them without one: -1 and -2.
constexpr int64_t GROUP_END = 0xFFFFFFFE;

constexpr int8_t EVENT_TIME = 0;
constexpr uint64_t EVENT_TIME_BYTES = 8;

template <size_t N> uint8_t *put(uint8_t *w, const char (&text)[N]) {
    std::memcpy(w, text, N - 1);
    return w + N - 1;
}

template <typename Number> uint8_t *put_integer(uint8_t *w, Number value) {
    char *out = reinterpret_cast<char *>(w);
    return reinterpret_cast<uint8_t *>(std::to_chars(out, out + 24, value).ptr);
}

double float_of(const PackHeader &header) {
    if (header.kind == Pack::float64) {
        double value;
        std::memcpy(&value, &header.value, 8);
        return value;
    }
    float value;
    const uint32_t bits = static_cast<uint32_t>(header.value);
    std::memcpy(&value, &bits, 4);
    return static_cast<double>(value);
}

// What is no number of JSON is a string, so that a rule sees the text that fluentd's grep sees.
uint8_t *put_float(uint8_t *w, double value, bool is_quoted) {
    const bool is_text = !std::isfinite(value) && !is_quoted;
    if (is_text) *w++ = '"';
    w = reinterpret_cast<uint8_t *>(write_float(value, reinterpret_cast<char *>(w)));
    if (is_text) *w++ = '"';
    return w;
}

bool is_group_marker(int64_t seconds) { return seconds == -1 || seconds == -2 || (seconds >> 1) == (GROUP_END >> 1); }

bool is_event_time(const PackHeader &header) {
    return header.kind == Pack::ext && header.ext_type == EVENT_TIME && header.value == EVENT_TIME_BYTES;
}

// An extension that nobody knows: its type and its bytes in base64. There is room for it.
uint8_t *put_extension(uint8_t *w, int8_t type, const uint8_t *p, size_t n) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    w = put_integer(put(w, "{\"type\":"), static_cast<int>(type));
    w = put(w, ",\"data\":\"");
    for (; n; p += 3) {
        const size_t m = n < 3 ? n : 3;
        const uint32_t bits = static_cast<uint32_t>(load_big(p, static_cast<unsigned>(m)) << (8 * (3 - m)));
        for (unsigned i = 0; i < 4; i++) *w++ = static_cast<uint8_t>(i <= m ? DIGITS[bits >> (18 - 6 * i) & 63] : '=');
        n -= m;
    }
    return put(w, "\"}");
}

uint8_t *put_escape(uint8_t *w, uint8_t c) {
    switch (c) {
    case '"': return put(w, "\\\"");
    case '\\': return put(w, "\\\\");
    case '\b': return put(w, "\\b");
    case '\f': return put(w, "\\f");
    case '\n': return put(w, "\\n");
    case '\r': return put(w, "\\r");
    case '\t': return put(w, "\\t");
    default: break;
    }
    w = put(w, "\\u00");
    *w++ = static_cast<uint8_t>('0' + (c >> 4));
    *w++ = static_cast<uint8_t>("0123456789abcdef"[c & 15]);
    return w;
}

// A text of which something must be written otherwise. There is room for LONGEST_ESCAPE times its bytes and a block.
uint8_t *put_escaped(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        const size_t plain = copy_plain(p, static_cast<size_t>(end - p), end, w);
        w += plain;
        p += plain;
        while (p < end && *p >= 0x80) {
            bool is_valid;
            const unsigned n = read_subpart(p, end, &is_valid);
            if (is_valid) {
                std::memcpy(w, p, n);
                w += n;
            } else {
                *w++ = '?';  // what fluentd's grep sees in its place
            }
            p += n;
        }
        for (; p < end && (*p < 0x20 || *p == '"' || *p == '\\'); p++) w = put_escape(w, *p);
    }
    return w;
}

// A number, a word or an extension; of a key, without the quotes around it.
uint8_t *put_scalar(uint8_t *w, const PackHeader &header, const uint8_t *p, bool is_key) {
    switch (header.kind) {
    case Pack::unsigned_: return put_integer(w, header.value);
    case Pack::signed_: return put_integer(w, static_cast<int64_t>(header.value));
    case Pack::true_: return put(w, "true");
    case Pack::false_: return put(w, "false");
    case Pack::float32:
    case Pack::float64: return put_float(w, float_of(header), is_key);
    case Pack::ext:
        if (is_event_time(header)) return put_integer(w, static_cast<uint32_t>(load_big(p, 4)));
        return put_extension(w, header.ext_type, p, static_cast<size_t>(header.value));
    default: return put(w, "null");
    }
}

bool is_time_key(const EntryForm &form, const uint8_t *key, const uint8_t *end) {
    const size_t n = static_cast<size_t>(end - key);
    return n == form.time_key_n && std::memcmp(key, form.time_key, n) == 0;
}

struct SmallNumbers {
    char text[128][4];
    uint8_t n[128];
};

constexpr SmallNumbers make_small_numbers() {
    SmallNumbers made{};
    for (unsigned i = 0; i < 128; i++) {
        unsigned n = 0;
        if (i >= 100) made.text[i][n++] = '1';
        if (i >= 10) made.text[i][n++] = static_cast<char>('0' + i / 10 % 10);
        made.text[i][n++] = static_cast<char>('0' + i % 10);
        made.n[i] = static_cast<uint8_t>(n);
    }
    return made;
}
constexpr SmallNumbers SMALL_NUMBERS = make_small_numbers();

// What nearly every object of a record is: a short string, a small number, or nil. Copied without asking for its length;
// null where it is something else, or a string in which something must be written otherwise. There must be USUAL_BYTES to
// read and SCALAR_ROOM to write.
inline uint8_t *put_short_text(uint8_t *w, const uint8_t **p) {
    const unsigned n = **p & 0x1Fu;
    *w = '"';
    const uint32_t odd = copy_plain_pair(*p + 1, w + 1);
    if (__builtin_expect((odd & ((uint32_t(1) << n) - 1)) != 0, 0)) return nullptr;
    *p += 1 + n;
    w[1 + n] = '"';
    return w + 2 + n;
}
inline bool is_short_text(uint8_t first) { return (first & 0xE0) == 0xA0; }
inline bool is_small_number(uint8_t first) { return first < 0x80; }

inline uint8_t *put_small_number(uint8_t *w, uint8_t value) {
    std::memcpy(w, SMALL_NUMBERS.text[value], 4);
    return w + SMALL_NUMBERS.n[value];
}

}  // namespace

uint8_t *LineWriter::grow(uint8_t *w, size_t n) {
    lines_->shrink(static_cast<size_t>(w - lines_->data()));
    if (!lines_->make_room(n)) return nullptr;
    limit_ = lines_->data() + lines_->room();
    return lines_->data() + lines_->size();
}

uint8_t *LineWriter::put_odd(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    const size_t room = LONGEST_ESCAPE * static_cast<size_t>(end - p) + SCALAR_ROOM;
    if (static_cast<size_t>(limit_ - w) < room) w = grow(w, room);
    return w == nullptr ? nullptr : put_escaped(w, p, end);
}

Entry LineWriter::read_time(const EntryForm &form, const uint8_t **p, const uint8_t *end) {
    const PackHeader header = read_pack_header(*p, end);
    if (header.n == 0) return Entry::truncated;
    time_ = Time{};
    switch (header.kind) {
    case Pack::nil:
        break;
    case Pack::unsigned_:
        if (header.value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return Entry::time;
        time_.s = static_cast<int64_t>(header.value);
        break;
    case Pack::signed_:
        time_.s = static_cast<int64_t>(header.value);
        break;
    case Pack::float32:
    case Pack::float64: {
        time_.is_float = true;
        time_.number = float_of(header);
        if (!(std::fabs(time_.number) < MOST_FLOAT_SECONDS)) return Entry::time;
        const double whole = std::floor(time_.number);
        time_.s = static_cast<int64_t>(whole);
        time_.ns = static_cast<uint32_t>((time_.number - whole) * double(NS_A_SECOND));
        break;
    }
    case Pack::ext:
        if (!is_event_time(header)) return Entry::time;
        if (static_cast<uint64_t>(end - *p) < header.n + EVENT_TIME_BYTES) return Entry::truncated;
        time_.s = static_cast<int64_t>(load_big(*p + header.n, 4));
        time_.ns = static_cast<uint32_t>(load_big(*p + header.n + 4, 4));
        if (time_.ns >= NS_A_SECOND) return Entry::time;
        *p += EVENT_TIME_BYTES;
        break;
    default:
        return Entry::time;
    }
    *p += header.n;
    if (time_.s == 0) {  // as fluentd takes it: no time was given
        time_.is_float = false;
        time_.s = form.now_ns / NS_A_SECOND;
        time_.ns = static_cast<uint32_t>(form.now_ns % NS_A_SECOND);
    }
    const int64_t s = time_.s > MOST_SECONDS ? MOST_SECONDS : time_.s < -MOST_SECONDS ? -MOST_SECONDS : time_.s;
    time_ns_ = s * NS_A_SECOND + time_.ns;
    return Entry::written;
}

uint8_t *LineWriter::write_time(uint8_t *w) const {
    if (time_.is_float) return put_float(w, time_.number, false);
    w = put_integer(w, time_.s);
    *w++ = '.';
    uint32_t rest = time_.ns, digit = NS_A_SECOND / 10;
    do {
        *w++ = static_cast<uint8_t>('0' + rest / digit);
        rest %= digit;
        digit /= 10;
    } while (rest);
    return w;
}

Entry LineWriter::write_map(const EntryForm &form, const uint8_t **from, const uint8_t *end) {
    struct Level {
        uint64_t left;  // objects to come: of a map keys and values
        bool is_map;
    };
    Level around[MOST_LEVELS];
    unsigned depth = 1;
    const uint8_t *p = *from;
    const PackHeader record = read_pack_header(p, end);
    p += record.n;
    if (objects_behind(record) > static_cast<size_t>(end - p)) return Entry::truncated;
    Level level{objects_behind(record), true};
    bool is_key = true, has_time = form.time_key == nullptr;
    uint8_t *w = grow(lines_->data() + lines_->size(), SCALAR_ROOM);
    if (w == nullptr) return Entry::no_memory;
    *w++ = '{';
    for (;;) {
        while (level.left && static_cast<size_t>(end - p) >= USUAL_BYTES && static_cast<size_t>(limit_ - w) >= USUAL_ROOM) {
            if (is_key) {
                if (!is_short_text(*p)) break;
                uint8_t *const key_end = put_short_text(w, &p);
                if (key_end == nullptr) break;
                if (!has_time && depth == 1) has_time = is_time_key(form, w, key_end);
                w = key_end;
                *w++ = ':';
                level.left--;
                is_key = false;
            }
            if (is_small_number(*p)) {
                w = put_small_number(w, *p++);
            } else if (is_short_text(*p)) {
                uint8_t *const text_end = put_short_text(w, &p);
                if (text_end == nullptr) break;
                w = text_end;
            } else if (*p == NIL) {
                p++;
                w = put(w, "null");
            } else {
                break;
            }
            *w++ = ',';
            level.left--;
            is_key = level.is_map;
        }
        if (level.left == 0) {
            if (depth == 1 && !has_time) {
                if ((w = grow(w, form.time_key_n + SCALAR_ROOM)) == nullptr) return Entry::no_memory;
                std::memcpy(w, form.time_key, form.time_key_n);
                w += form.time_key_n;
                *w++ = ':';
                w = write_time(w);
                *w++ = ',';
            }
            if (w[-1] == ',') w--;
            *w++ = level.is_map ? '}' : ']';
            if (--depth == 0) break;
            level = around[depth];
            level.left--;
            is_key = level.is_map;
            if (static_cast<size_t>(limit_ - w) < SCALAR_ROOM && (w = grow(w, SCALAR_ROOM)) == nullptr)
                return Entry::no_memory;
            *w++ = ',';
            continue;
        }
        const PackHeader header = read_pack_header(p, end);
        if (header.n == 0) return Entry::truncated;
        p += header.n;
        const size_t n = static_cast<size_t>(bytes_behind(header));
        if (n > static_cast<size_t>(end - p)) return Entry::truncated;
        const size_t room = header.kind == Pack::ext ? 2 * n + SCALAR_ROOM : n + SCALAR_ROOM;
        if (static_cast<size_t>(limit_ - w) < room && (w = grow(w, room)) == nullptr) return Entry::no_memory;
        if (header.kind == Pack::array || header.kind == Pack::map) {
            if (is_key) return Entry::key;
            if (objects_behind(header) > static_cast<size_t>(end - p)) return Entry::truncated;
            if (depth == MOST_LEVELS) return Entry::depth;
            around[depth++] = level;
            level = Level{objects_behind(header), header.kind == Pack::map};
            *w++ = level.is_map ? '{' : '[';
            is_key = level.is_map;
            continue;
        }
        const size_t key_at = static_cast<size_t>(w - lines_->data());
        if (header.kind == Pack::str || header.kind == Pack::bin) {
            *w++ = '"';
            const size_t plain = n ? copy_plain(p, n, end, w) : 0;
            w += plain;
            if (plain < n && (w = put_odd(w, p + plain, p + n)) == nullptr) return Entry::no_memory;
            *w++ = '"';
        } else if (header.kind == Pack::invalid) {
            return Entry::invalid;
        } else if (is_key) {
            if (header.kind == Pack::ext && !is_event_time(header)) return Entry::key;
            *w++ = '"';
            w = put_scalar(w, header, p, true);
            *w++ = '"';
        } else {
            w = put_scalar(w, header, p, false);
        }
        p += n;
        level.left--;
        if (is_key) {
            if (!has_time && depth == 1) has_time = is_time_key(form, lines_->data() + key_at, w);
            *w++ = ':';
            is_key = false;
        } else {
            *w++ = ',';
            is_key = level.is_map;
        }
    }
    *w++ = '\n';
    lines_->shrink(static_cast<size_t>(w - lines_->data()));
    *from = p;
    return Entry::written;
}

Entry LineWriter::write(const EntryForm &form, const uint8_t **from, const uint8_t *end, Bytes &lines) {
    const size_t before = lines.size();
    const uint8_t *p = *from;
    Entry entry = Entry::written;
    lines_ = &lines;
    limit_ = lines.data() + lines.room();
    if (!form.is_bare) {
        const PackHeader pair = read_pack_header(p, end);
        if (pair.n == 0) return Entry::truncated;
        if (pair.kind == Pack::invalid) return Entry::invalid;
        if (pair.kind != Pack::array || pair.value != 2) return Entry::shape;
        p += pair.n;
    }
    // Fluent Bit since 2.1 writes [[time, metadata], record].
    const PackHeader header = read_pack_header(p, end);
    const bool has_metadata = header.kind == Pack::array && header.n;
    if (has_metadata) {
        if (header.value != 2) return Entry::shape;
        p += header.n;
    }
    entry = read_time(form, &p, end);
    if (entry != Entry::written) return entry;
    if (has_metadata) {
        if (is_group_marker(time_.s)) return Entry::marker;
        if ((entry = skip_entry(false, &p, end)) != Entry::written) return entry;
    }
    const PackHeader record = read_pack_header(p, end);
    if (record.n == 0) return Entry::truncated;
    if (record.kind != Pack::map) return Entry::record;
    entry = write_map(form, &p, end);
    if (entry == Entry::written)
        *from = p;
    else
        lines.shrink(before);
    return entry;
}

Entry skip_entry(bool is_bare, const uint8_t **p, const uint8_t *end) {
    uint64_t at = 0, left = is_bare ? 2 : 1;
    const size_t n = static_cast<size_t>(end - *p);
    const Skipped skipped = skip_objects(*p, n, n, &at, &left);
    if (skipped == Skipped::done) *p += at;
    return skipped == Skipped::done ? Entry::written : skipped == Skipped::invalid ? Entry::invalid : Entry::truncated;
}

void append_json_string(const uint8_t *p, size_t n, Bytes &out) {
    if (!out.make_room(LONGEST_ESCAPE * n + SCALAR_ROOM)) return;
    out.push('"');
    uint8_t *w = out.data() + out.size();
    out.shrink(static_cast<size_t>(put_escaped(w, p, p + n) - out.data()));
    out.push('"');
}

}  // namespace flowd
