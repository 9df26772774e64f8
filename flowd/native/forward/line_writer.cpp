#include "forward/line_writer.hpp"

#include <cmath>
#include <limits>

#include "forward/msgpack.hpp"

namespace flowd {

namespace {

constexpr int64_t NS_A_SECOND = 1000000000;
constexpr int64_t MOST_SECONDS = std::numeric_limits<int64_t>::max() / NS_A_SECOND - 1;  // that fit as nanoseconds
constexpr double MOST_FLOAT_SECONDS = 9.2e18;

// Seconds of Fluent Bit's group markers, of 32 bits with a sign, as an EventTime has them without one: -1 and -2.
constexpr int64_t GROUP_END = 0xFFFFFFFE;

bool is_group_marker(int64_t seconds) { return seconds == -1 || seconds == -2 || (seconds >> 1) == (GROUP_END >> 1); }

}  // namespace

uint8_t *LineRoom::grow(uint8_t *w, size_t n) {
    lines.shrink(static_cast<size_t>(w - lines.data()));
    if (!lines.make_room(n)) return nullptr;
    limit = lines.data() + lines.room();
    return lines.data() + lines.size();
}

uint8_t *LineRoom::put_odd(uint8_t *w, const uint8_t *p, const uint8_t *end) {
    const size_t room = LONGEST_ESCAPE * static_cast<size_t>(end - p) + SCALAR_ROOM;
    if (static_cast<size_t>(limit - w) < room) w = grow(w, room);
    return w == nullptr ? nullptr : put_escaped(w, p, end);
}

Entry LineWriter::read_time(const EntryForm &form, const uint8_t **p, const uint8_t *end) {
    const PackHeader header = read_pack_header(*p, end);
    if (header.n == 0) return Entry::truncated;
    time_ = EntryTime{};
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

uint8_t *EntryTime::write(uint8_t *w) const {
    if (is_float)
        return reinterpret_cast<uint8_t *>(write_float(number, reinterpret_cast<char *>(w)));
    w = put_integer(w, s);
    *w++ = '.';
    uint32_t rest = ns, digit = NS_A_SECOND / 10;
    do {
        *w++ = static_cast<uint8_t>('0' + rest / digit);
        rest %= digit;
        digit /= 10;
    } while (rest);
    return w;
}

Entry LineWriter::write(const EntryForm &form, const Plan &plan, const uint8_t **from, const uint8_t *end, Bytes &lines,
                        Line *line, Span *values) {
    const size_t before = lines.size();
    const uint8_t *p = *from;
    Entry entry = Entry::written;
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
    for (uint32_t f = 0; f < plan.n_fields; f++) values[f] = Span{nullptr, SPAN_MISSING};
    MapWork work{form, time_, plan, keys_, LineRoom{lines, lines.data() + lines.room()}, values, false};
    entry = level_.write_map(work, &p, end);
    if (entry != Entry::written) {
        lines.shrink(before);
        return entry;
    }
    *from = p;
    const Form line_form = work.is_odd ? FORM_JSON_ODD : FORM_JSON;
    *line = Line{reinterpret_cast<const uint8_t *>(before), lines.size() - before - 1, line_form, 1};
    return entry;
}

void settle_block(const uint8_t *lines, size_t n_lines, uint32_t n_fields, Line *block, Span *values) {
    for (size_t i = 0; i < n_lines; i++) block[i].p = lines + reinterpret_cast<uintptr_t>(block[i].p);
    for (size_t i = 0; i < n_lines * n_fields; i++) values[i].p = lines + reinterpret_cast<uintptr_t>(values[i].p);
}

Entry skip_entry(bool is_bare, const uint8_t **p, const uint8_t *end) {
    uint64_t at = 0, left = is_bare ? 2 : 1;
    const size_t n = static_cast<size_t>(end - *p);
    const Skipped skipped = skip_objects(*p, n, n, &at, &left);
    if (skipped == Skipped::done) *p += at;
    return skipped == Skipped::done ? Entry::written : skipped == Skipped::invalid ? Entry::invalid : Entry::truncated;
}

}  // namespace flowd
