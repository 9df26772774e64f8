#include "line_writer.hpp"

#include <cmath>
#include <limits>

#include "json_text.hpp"
#include "msgpack.hpp"
#include "short_values.hpp"

namespace flowd {

namespace {

// What is read and written for a short key and a short value without another look.
constexpr size_t USUAL_BYTES = 2 * SHORT_BYTES;
constexpr size_t USUAL_ROOM = 2 * SHORT_ROOM;
constexpr uint8_t NIL = 0xC0;

constexpr int64_t NS_A_SECOND = 1000000000;
constexpr int64_t MOST_SECONDS = std::numeric_limits<int64_t>::max() / NS_A_SECOND - 1;  // that fit as nanoseconds
constexpr double MOST_FLOAT_SECONDS = 9.2e18;

// Seconds of Fluent Bit's group markers, of 32 bits with a sign, as an EventTime has them without one: -1 and -2.
constexpr int64_t GROUP_END = 0xFFFFFFFE;

bool is_group_marker(int64_t seconds) { return seconds == -1 || seconds == -2 || (seconds >> 1) == (GROUP_END >> 1); }

bool is_time_key(const EntryForm &form, const uint8_t *key, const uint8_t *end) {
    const size_t n = static_cast<size_t>(end - key);
    return n == form.time_key_n && std::memcmp(key, form.time_key, n) == 0;
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
        time_.number = read_pack_float(header);
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
    if (time_.is_float)
        return reinterpret_cast<uint8_t *>(write_float(time_.number, reinterpret_cast<char *>(w)));
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

}  // namespace flowd
