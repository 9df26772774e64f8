// The way into nested values: Ruby's dig, Fluent Bit's record accessor, and flowd's own.
#include "values/record.hpp"

namespace flowd {

namespace {

bool key_equals(const uint8_t *quoted, const uint8_t *quoted_end, const PathPart &part, Bytes &key) {
    const uint8_t *inside = quoted + 1;
    size_t n = static_cast<size_t>(quoted_end - 1 - inside);
    if (n == 0 || std::memchr(inside, '\\', n) == nullptr) return n == part.n && std::memcmp(inside, part.key, n) == 0;
    key.clear();
    return unescape(inside, quoted_end - 1, key) && key.size() == part.n &&
           std::memcmp(key.data(), part.key, part.n) == 0;
}

struct View {
    const uint8_t *p;
    size_t n;
};

// The value under a key of the object at `object`; the last of equal keys counts. False where there is none.
bool find_member(View object, const PathPart &part, View *found, Bytes &key) {
    const uint8_t *end = object.p + object.n;
    const uint8_t *p = skip_blanks(object.p + 1, end);
    bool is_found = false;
    while (p < end && *p == '"') {
        const uint8_t *key_end = skip_string(p, end);
        const uint8_t *value = skip_blanks(skip_blanks(key_end, end) + 1, end);
        const uint8_t *value_end = skip_value(value, end);
        if (key_equals(p, key_end, part, key)) {
            *found = View{value, static_cast<size_t>(value_end - value)};
            is_found = true;
        }
        p = skip_blanks(value_end, end);
        if (p == end || *p != ',') break;
        p = skip_blanks(p + 1, end);
    }
    return is_found;
}

// The n-th value of the list; negative counts from the end.
bool find_element(View list, int64_t index, View *found) {
    const uint8_t *end = list.p + list.n;
    int64_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t wanted = pass == 0 ? index : count + index;
        if (pass == 1 && wanted < 0) return false;
        int64_t i = 0;
        const uint8_t *p = skip_blanks(list.p + 1, end);
        while (p < end && *p != ']') {
            const uint8_t *value_end = skip_value(p, end);
            if (i == wanted && wanted >= 0) {
                *found = View{p, static_cast<size_t>(value_end - p)};
                return true;
            }
            i++;
            p = skip_blanks(value_end, end);
            if (p == end || *p != ',') break;
            p = skip_blanks(p + 1, end);
        }
        if (index >= 0) return false;
        count = i;
    }
    return false;
}

bool is_null(View value) { return value.n == 4 && value.p[0] == 'n'; }

}  // namespace

Reached dig(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key) {
    View value{*p, *n};
    for (size_t i = 0; i < parts; i++) {
        if (is_null(value)) return REACHED_NOTHING;
        View found{nullptr, 0};
        if (value.p[0] == '{') {
            if (path[i].key == nullptr || !find_member(value, path[i], &found, key)) return REACHED_NOTHING;
        } else if (value.p[0] == '[') {
            if (path[i].key != nullptr) return REACHED_ERROR;
            if (!find_element(value, path[i].index, &found)) return REACHED_NOTHING;
        } else {
            return REACHED_ERROR;
        }
        value = found;
    }
    if (is_null(value)) return REACHED_NOTHING;
    *p = value.p;
    *n = value.n;
    return REACHED_VALUE;
}

Reached descend(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key) {
    View value{*p, *n};
    if (value.p[0] == '"') return REACHED_VALUE;
    for (size_t i = 0; i < parts; i++) {
        View found{nullptr, 0};
        if (value.p[0] == '{' && path[i].key != nullptr) {
            if (!find_member(value, path[i], &found, key)) return REACHED_NOTHING;
        } else if (value.p[0] == '[' && path[i].key == nullptr && path[i].index >= 0) {
            if (!find_element(value, path[i].index, &found)) return REACHED_NOTHING;
        } else {
            return REACHED_NOTHING;
        }
        value = found;
    }
    *p = value.p;
    *n = value.n;
    return REACHED_VALUE;
}

Reached follow(const uint8_t **p, size_t *n, const PathPart *path, size_t parts, Bytes &key) {
    View value{*p, *n};
    for (size_t i = 0; i < parts; i++) {
        View found{nullptr, 0};
        if (value.p[0] == '{' && path[i].key != nullptr) {
            if (!find_member(value, path[i], &found, key)) return REACHED_NOTHING;
        } else if (value.p[0] == '[' && path[i].key == nullptr) {
            if (!find_element(value, path[i].index, &found)) return REACHED_NOTHING;
        } else {
            return REACHED_NOTHING;
        }
        value = found;
    }
    *p = value.p;
    *n = value.n;
    return REACHED_VALUE;
}

}  // namespace flowd
