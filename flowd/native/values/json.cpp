#include "values/json.hpp"

#include "values/utf8.hpp"

namespace flowd {

namespace {

int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Behind the closing quote of the valid string at p (which points at its opening quote), or null.
const uint8_t *check_string(const uint8_t *p, const uint8_t *end, Strictness strictness) {
    bool strict = strictness == Strictness::ruby;
    for (p++; p < end;) {
        uint8_t c = *p;
        if (c == '"') return p + 1;
        if (c < 0x20 && strict) return nullptr;
        if (c != '\\') {
            p++;
            continue;
        }
        if (end - p < 2) return nullptr;
        switch (p[1]) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            p += 2;
            break;
        case 'u': {
            int32_t unit = read_hex4(p + 2, end);
            if (unit < 0) return nullptr;
            p += 6;
            if (!strict) break;
            if (is_low_surrogate(unit)) return nullptr;
            if (is_high_surrogate(unit)) {
                if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return nullptr;
                if (!is_low_surrogate(read_hex4(p + 2, end))) return nullptr;
                p += 6;
            }
            break;
        }
        default:
            return nullptr;
        }
    }
    return nullptr;
}

bool is_digit(const uint8_t *p, const uint8_t *end) { return p < end && *p >= '0' && *p <= '9'; }

const uint8_t *check_number(const uint8_t *p, const uint8_t *end) {
    if (p < end && *p == '-') p++;
    if (!is_digit(p, end)) return nullptr;
    if (*p == '0')
        p++;
    else
        while (is_digit(p, end)) p++;
    if (p < end && *p == '.') {
        p++;
        if (!is_digit(p, end)) return nullptr;
        while (is_digit(p, end)) p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (!is_digit(p, end)) return nullptr;
        while (is_digit(p, end)) p++;
    }
    return p;
}

const uint8_t *check_word(const uint8_t *p, const uint8_t *end, const char *word, size_t n) {
    return static_cast<size_t>(end - p) >= n && std::memcmp(p, word, n) == 0 ? p + n : nullptr;
}

const uint8_t *check_scalar(const uint8_t *p, const uint8_t *end, Strictness strictness) {
    switch (*p) {
    case '"':
        return check_string(p, end, strictness);
    case 't':
        return check_word(p, end, "true", 4);
    case 'f':
        return check_word(p, end, "false", 5);
    case 'n':
        return check_word(p, end, "null", 4);
    default:
        return check_number(p, end);
    }
}

// Behind the end of an unread value at p: the comma or the brace at its own level. Only brackets and strings are
// looked at. Null where they do not balance or a colon stands where none may.
const uint8_t *find_value_end(const uint8_t *p, const uint8_t *end, Bytes &stack) {
    stack.clear();
    while (p < end) {
        uint8_t c = *p;
        switch (c) {
        case '"':
            p = skip_string(p, end);
            if (p == nullptr) return nullptr;
            continue;
        case '{':
        case '[':
            stack.push(static_cast<uint8_t>(c + 2));  // the bracket that closes it
            if (stack.failed()) return nullptr;
            break;
        case '}':
        case ']':
            if (stack.size() == 0) return c == '}' ? p : nullptr;
            if (stack.back() != c) return nullptr;
            stack.pop();
            break;
        case ',':
            if (stack.size() == 0) return p;
            break;
        case ':':
            if (stack.size() == 0) return nullptr;
            break;
        default:
            break;
        }
        p++;
    }
    return nullptr;
}

}  // namespace

int find_wanted(const Plan &plan, const uint8_t *key, size_t n) {
    for (uint32_t k = 0; k < plan.n_keys; k++)
        if (plan.keys[k].n == n + 1 && (n == 0 || std::memcmp(plan.keys[k].quoted, key, n) == 0))
            return static_cast<int>(plan.keys[k].field);
    return -1;
}

int32_t read_hex4(const uint8_t *p, const uint8_t *end) {
    if (end - p < 4) return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

const uint8_t *skip_string(const uint8_t *p, const uint8_t *end) {
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\' && ++p == end) return nullptr;
    }
    return nullptr;
}

const uint8_t *skip_value(const uint8_t *p, const uint8_t *end) {
    size_t depth = 0;
    while (p < end) {
        uint8_t c = *p;
        if (c == '"') {
            p = skip_string(p, end);
            if (p == nullptr) return end;
        } else if (c == '{' || c == '[') {
            depth++;
            p++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) return p;
            depth--;
            p++;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
            return p;
        } else {
            p++;
            continue;
        }
        if (depth == 0) return p;
    }
    return p;
}

bool unescape(const uint8_t *p, const uint8_t *end, Bytes &out) {
    while (p < end) {
        if (*p != '\\') {
            const uint8_t *from = p;
            while (p < end && *p != '\\') p++;
            out.append(from, static_cast<size_t>(p - from));
            continue;
        }
        if (end - p < 2) return false;
        uint8_t c = p[1];
        p += 2;
        switch (c) {
        case '"': case '\\': case '/': out.push(c); break;
        case 'b': out.push('\b'); break;
        case 'f': out.push('\f'); break;
        case 'n': out.push('\n'); break;
        case 'r': out.push('\r'); break;
        case 't': out.push('\t'); break;
        case 'u': {
            int32_t unit = read_hex4(p, end);
            if (unit < 0) return false;
            p += 4;
            uint32_t point = static_cast<uint32_t>(unit);
            if (is_high_surrogate(unit) && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
                int32_t low = read_hex4(p + 2, end);
                if (is_low_surrogate(low)) {
                    point = join_surrogates(unit, low);
                    p += 6;
                }
            }
            push_character(point, out);
            break;
        }
        default:
            return false;
        }
    }
    return true;
}

bool is_valid_value(const uint8_t *p, size_t n, Strictness strictness, Bytes &stack) {
    const uint8_t *end = p + n;
    enum { value, value_or_close, key, key_or_close, after } expect = value;
    stack.clear();
    for (;;) {
        p = skip_blanks(p, end);
        if (p == end) return false;
        uint8_t c = *p;
        if (expect == key || expect == key_or_close) {
            if (c == '}' && expect == key_or_close) {
                stack.pop();
                p++;
                expect = after;
            } else {
                if (c != '"' || (p = check_string(p, end, strictness)) == nullptr) return false;
                p = skip_blanks(p, end);
                if (p == end || *p != ':') return false;
                p++;
                expect = value;
                continue;
            }
        } else if (expect == value || expect == value_or_close) {
            if (c == '{' || c == '[') {
                stack.push(c);
                if (stack.failed()) return false;
                p++;
                expect = c == '{' ? key_or_close : value_or_close;
                continue;
            }
            if (c == ']' && expect == value_or_close) {
                stack.pop();
                p++;
            } else {
                p = check_scalar(p, end, strictness);
                if (p == nullptr) return false;
            }
            expect = after;
        } else {
            uint8_t open = stack.back();
            if (c == ',') {
                expect = open == '{' ? key : value;
            } else if (c == (open == '{' ? '}' : ']')) {
                stack.pop();
            } else {
                return false;
            }
            p++;
        }
        if (expect == after && stack.size() == 0) return p == end;
    }
}

bool walk_object(const Plan &plan, const uint8_t *p, size_t n, Strictness strictness, Span *values, Bytes &stack,
                 Bytes &key) {
    const uint8_t *end = p + n;
    for (uint32_t f = 0; f < plan.n_fields; f++) values[f] = Span{nullptr, SPAN_MISSING};
    p = skip_blanks(p, end);
    if (p == end || *p != '{') return false;
    p = skip_blanks(p + 1, end);
    if (p < end && *p == '}') return skip_blanks(p + 1, end) == end;
    for (;;) {
        p = skip_blanks(p, end);
        if (p == end || *p != '"') return false;
        const uint8_t *key_end = skip_string(p, end);
        if (key_end == nullptr) return false;
        key.clear();
        if (!unescape(p + 1, key_end - 1, key) || key.failed()) return false;
        p = skip_blanks(key_end, end);
        if (p == end || *p != ':') return false;
        const uint8_t *value = skip_blanks(p + 1, end);
        p = find_value_end(value, end, stack);
        if (p == nullptr) return false;
        const uint8_t *value_end = p;
        while (value_end > value && skip_blanks(value_end - 1, value_end) == value_end) value_end--;
        if (value_end == value) return false;
        int field = find_wanted(plan, key.data(), key.size());
        if (field >= 0) {
            size_t length = static_cast<size_t>(value_end - value);
            if (!is_valid_value(value, length, strictness, stack)) return false;
            values[field] = Span{value, span_key(length, TAG_JSON)};
        }
        if (*p == '}') return skip_blanks(p + 1, end) == end;
        p++;
    }
}

}  // namespace flowd
