#include "forward/forward_message.hpp"

#include <cstring>

namespace flowd {

namespace {

using Walk = MessageWalk;

// What is no message of records is passed as one object, whatever it is.
void take_as_other(Walk &walk) {
    walk = Walk{};
    walk.left = 1;
    walk.stage = Walk::other;
}

bool is_text(const PackHeader &header) { return header.kind == Pack::str || header.kind == Pack::bin; }

bool equals(const uint8_t *p, uint64_t n, const char *word) {
    return n == std::strlen(word) && std::memcmp(p, word, n) == 0;
}

// Does the option, which is whole, say that the entries are compressed? The last of equal keys counts, and `text` says
// that they are not.
bool is_compressed(const uint8_t *p, const uint8_t *end) {
    const PackHeader map = read_pack_header(p, end);
    bool is_so = false;
    if (map.kind != Pack::map) return false;
    uint64_t at = map.n;
    const size_t n = static_cast<size_t>(end - p);
    for (uint64_t pair = 0; pair < map.value; pair++) {
        const PackHeader key = read_pack_header(p + at, end);
        const bool is_wanted = is_text(key) && equals(p + at + key.n, key.value, "compressed");
        uint64_t left = 1;
        if (skip_objects(p, n, n, &at, &left) != Skipped::done) return false;
        const PackHeader value = read_pack_header(p + at, end);
        if (is_wanted) is_so = is_text(value) && !equals(p + at + value.n, value.value, "text");
        left = 1;
        if (skip_objects(p, n, n, &at, &left) != Skipped::done) return false;
    }
    return is_so;
}

void begin_second(Walk &walk, const PackHeader &header) {
    const bool may_be_short = walk.items == 2 || walk.items == 3;
    switch (header.kind) {
    case Pack::array:
        if (!may_be_short) return take_as_other(walk);
        walk.kind = MessageKind::forward;
        walk.at += header.n;
        walk.entries_begin = walk.at;
        walk.left = walk.count = header.value;
        break;
    case Pack::str:
    case Pack::bin:
        if (!may_be_short) return take_as_other(walk);
        walk.kind = MessageKind::packed;
        walk.entries_begin = walk.at + header.n;
        walk.left = 1;
        break;
    case Pack::unsigned_:
    case Pack::signed_:
    case Pack::float32:
    case Pack::float64:
    case Pack::ext:
    case Pack::nil:
        if (walk.items < 3) return take_as_other(walk);
        walk.kind = MessageKind::message;
        walk.entries_begin = walk.at;
        walk.left = 2;
        walk.count = 1;
        break;
    default:
        return take_as_other(walk);
    }
    walk.stage = Walk::entries;
}

}  // namespace

Walked walk_message(MessageWalk &walk, const uint8_t *p, size_t n, uint64_t most, uint64_t *missing) {
    *missing = 1;
    for (;;) {
        if (walk.stage == Walk::begin || walk.stage == Walk::tag || walk.stage == Walk::second) {
            if (walk.at > most) return Walked::too_large;
            if (walk.at >= n) {
                *missing = walk.at - n + 1;
                return Walked::truncated;
            }
            const PackHeader header = read_pack_header(p + walk.at, p + n);
            if (header.n == 0) return Walked::truncated;
            if (walk.stage == Walk::begin) {
                walk.items = static_cast<uint32_t>(header.value);
                walk.at = header.n;
                walk.stage = Walk::tag;
                if (header.kind != Pack::array || header.value < 2 || header.value > 4) take_as_other(walk);
            } else if (walk.stage == Walk::tag) {
                walk.tag_begin = walk.at + header.n;
                walk.tag_end = walk.at = walk.tag_begin + header.value;
                walk.stage = Walk::second;
                if (!is_text(header)) take_as_other(walk);
            } else {
                begin_second(walk, header);
            }
            continue;
        }
        if (walk.stage == Walk::end) return Walked::done;
        const Skipped skipped = skip_objects(p, n, most, &walk.at, &walk.left);
        if (skipped == Skipped::truncated) {
            const uint64_t least = walk.at + walk.left;  // no object is shorter than a byte
            *missing = least > n ? least - n : 1;
            return Walked::truncated;
        }
        if (skipped != Skipped::done) return skipped == Skipped::invalid ? Walked::invalid : Walked::too_large;
        if (walk.stage == Walk::entries) {
            walk.entries_end = walk.option_begin = walk.option_end = walk.at;
            walk.stage = Walk::end;
            if (walk.items > (walk.kind == MessageKind::message ? 3u : 2u)) {
                walk.stage = Walk::option;
                walk.left = 1;
            }
        } else {
            if (walk.stage == Walk::option) {
                walk.option_end = walk.at;
                if (walk.kind == MessageKind::packed && is_compressed(p + walk.option_begin, p + walk.option_end))
                    walk.kind = MessageKind::compressed;
            }
            walk.stage = Walk::end;
        }
    }
}

}  // namespace flowd
