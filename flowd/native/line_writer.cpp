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
// A byte becomes at most six: \u001f.
constexpr size_t LONGEST_ESCAPE = 6;

constexpr int64_t NS_A_SECOND = 1000000000;
constexpr int64_t MOST_SECONDS = std::numeric_limits<int64_t>::max() / NS_A_SECOND - 1;  // that fit as nanoseconds
constexpr double MOST_FLOAT_SECONDS = 9.2e18;

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
    Level levels[MOST_LEVELS];
    unsigned depth = 0;
    const uint8_t *p = *from;
    uint8_t *w = lines_->data() + lines_->size();
    bool has_time = form.time_key == nullptr;
    Level level{0, false};  // the one that is open; those around it are in `levels`
    bool is_key = false;
    for (;;) {
        // An object: the record itself, a key, or a value.
        const PackHeader header = read_pack_header(p, end);
        if (header.n == 0) return Entry::truncated;
        p += header.n;
        const size_t n = static_cast<size_t>(bytes_behind(header));
        if (n > static_cast<size_t>(end - p)) return Entry::truncated;
        const size_t room = header.kind == Pack::ext ? 2 * n + SCALAR_ROOM : n + SCALAR_ROOM;
        if (__builtin_expect(static_cast<size_t>(limit_ - w) < room, 0) && (w = grow(w, room)) == nullptr)
            return Entry::no_memory;
        const size_t key_at = static_cast<size_t>(w - lines_->data());
        const bool is_text = header.kind == Pack::str || header.kind == Pack::bin;
        if (is_text) {
            *w++ = '"';
            const size_t plain = n ? copy_plain(p, n, end, w) : 0;
            w += plain;
            if (__builtin_expect(plain < n, 0) && (w = put_odd(w, p + plain, p + n)) == nullptr)
                return Entry::no_memory;
            *w++ = '"';
            p += n;
        } else {
            if (is_key) *w++ = '"';
            switch (header.kind) {
            case Pack::unsigned_: w = put_integer(w, header.value); break;
            case Pack::signed_: w = put_integer(w, static_cast<int64_t>(header.value)); break;
            case Pack::nil: w = put(w, "null"); break;
            case Pack::true_: w = put(w, "true"); break;
            case Pack::false_: w = put(w, "false"); break;
            case Pack::float32:
            case Pack::float64: w = put_float(w, float_of(header), is_key); break;
            case Pack::ext:
                if (is_event_time(header)) {
                    w = put_integer(w, static_cast<uint32_t>(load_big(p, 4)));
                } else {
                    if (is_key) return Entry::key;
                    w = put_extension(w, header.ext_type, p, n);
                }
                p += n;
                break;
            case Pack::array:
            case Pack::map: {
                if (is_key) return Entry::key;
                const uint64_t objects = objects_behind(header);
                if (objects > static_cast<size_t>(end - p)) return Entry::truncated;
                if (depth == MOST_LEVELS) return Entry::depth;
                levels[depth++] = level;
                level = Level{objects, header.kind == Pack::map};
                *w++ = level.is_map ? '{' : '[';
                is_key = level.is_map;
                break;
            }
            default:
                return Entry::invalid;
            }
            if (is_key && header.kind != Pack::array && header.kind != Pack::map) *w++ = '"';
        }
        if (is_text || (header.kind != Pack::array && header.kind != Pack::map)) {
            if (is_key) {
                if (!has_time && depth == 1) {
                    const size_t length = static_cast<size_t>(w - lines_->data()) - key_at;
                    has_time = length == form.time_key_n &&
                               std::memcmp(lines_->data() + key_at, form.time_key, length) == 0;
                }
                *w++ = ':';
                level.left--;
                is_key = false;
                continue;
            }
            *w++ = ',';
            level.left--;
            is_key = level.is_map;
        }
        while (level.left == 0) {
            if (depth == 1 && !has_time) {
                if (static_cast<size_t>(limit_ - w) < form.time_key_n + SCALAR_ROOM &&
                    (w = grow(w, form.time_key_n + SCALAR_ROOM)) == nullptr)
                    return Entry::no_memory;
                std::memcpy(w, form.time_key, form.time_key_n);
                w += form.time_key_n;
                *w++ = ':';
                w = write_time(w);
                *w++ = ',';
            }
            if (w[-1] == ',') w--;
            *w++ = level.is_map ? '}' : ']';
            level = levels[--depth];
            if (depth == 0) {
                *w++ = '\n';
                lines_->shrink(static_cast<size_t>(w - lines_->data()));
                *from = p;
                return Entry::written;
            }
            *w++ = ',';
            level.left--;
            is_key = level.is_map;
            if (static_cast<size_t>(limit_ - w) < SCALAR_ROOM && (w = grow(w, SCALAR_ROOM)) == nullptr)
                return Entry::no_memory;
        }
    }
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
    if (has_metadata && (entry = skip_entry(false, &p, end)) != Entry::written) return entry;
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
