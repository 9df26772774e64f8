// The text of a value as Ruby's to_s prints it: fluentd matches a pattern against that.
#include "values/ruby_print.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>

#include "values/float_text.hpp"
#include "values/json.hpp"
#include "values/utf8.hpp"
#include "caches/value_table.hpp"

namespace flowd {

namespace {

// Is a number that no double holds too large, rather than too small? By the place of its first digit that is not 0,
// since strtod would read the dot as the process's locale does.
bool is_too_large(const uint8_t *p, const uint8_t *end) {
    int64_t places = 0, power = 0;
    bool is_begun = false, is_fraction = false;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') is_fraction = true;
        if (*p < '0' || *p > '9') continue;
        is_begun |= *p != '0';
        if (is_begun && !is_fraction) places++;
        if (!is_begun && is_fraction) places--;
    }
    bool is_negative = end - p > 1 && p[1] == '-';
    for (; p < end; p++)
        if (*p >= '0' && *p <= '9' && power < int64_t(1) << 56) power = power * 10 + (*p - '0');
    return places + (is_negative ? -power : power) > 0;
}

void print_float(const uint8_t *p, size_t n, Bytes &out) {
    const char *text = reinterpret_cast<const char *>(p);
    double value = 0;
    auto read = std::from_chars(text, text + n, value);
    if (read.ec == std::errc::result_out_of_range) {
        value = is_too_large(p, p + n) ? std::numeric_limits<double>::infinity() : 0;
        if (p[0] == '-') value = -value;
    }
    char digits[LONGEST_FLOAT];
    out.append(digits, static_cast<size_t>(write_float(value, digits) - digits));
}

void print_number(const uint8_t *p, size_t n, Bytes &out) {
    for (size_t i = 0; i < n; i++)
        if (p[i] == '.' || p[i] == 'e' || p[i] == 'E') return print_float(p, n, out);
    if (n == 2 && p[0] == '-' && p[1] == '0')
        out.push('0');
    else
        out.append(p, n);
}

// A string as Ruby's inspect prints it inside a list or a map, where the process's encoding is ASCII-8BIT as
// fluentd's is: everything outside ASCII is escaped.
void inspect_string(const uint8_t *p, const uint8_t *end, Bytes &out) {
    char code[16];
    out.push('"');
    while (p < end) {
        uint32_t point = 0;
        unsigned n = read_character(p, end, &point);
        if (n == 0) {
            std::snprintf(code, sizeof code, "\\x%02X", *p);
            out.append(code);
            p++;
            continue;
        }
        const char *known = nullptr;
        switch (point) {
        case '\n': known = "\\n"; break;
        case '\r': known = "\\r"; break;
        case '\t': known = "\\t"; break;
        case '\f': known = "\\f"; break;
        case '\v': known = "\\v"; break;
        case '\b': known = "\\b"; break;
        case '\a': known = "\\a"; break;
        case 0x1B: known = "\\e"; break;
        case '"': known = "\\\""; break;
        case '\\': known = "\\\\"; break;
        case '#':
            known = p + 1 < end && (p[1] == '{' || p[1] == '$' || p[1] == '@') ? "\\#" : "#";
            break;
        default: break;
        }
        if (known != nullptr) {
            out.append(known);
        } else if (point >= 0x20 && point < 0x7F) {
            out.push(static_cast<uint8_t>(point));
        } else {
            std::snprintf(code, sizeof code, point > 0xFFFF ? "\\u{%X}" : "\\u%04X", point);
            out.append(code);
        }
        p += n;
    }
    out.push('"');
}

uint64_t hash_bytes(const uint8_t *p, size_t n) {
    uint64_t hash = 0xCBF29CE484222325u ^ hash_seeds().s[0];  // keys are the sender's: they must not collide at will
    for (size_t i = 0; i < n; i++) hash = mix(hash ^ p[i], hash_seeds().s[1]);
    return hash;
}

}  // namespace

void RubyPrinter::print(const uint8_t *p, size_t n, Bytes &out) {
    switch (p[0]) {
    case '"':
        unescape(p + 1, p + n - 1, out);
        break;
    case 'n':
        break;
    case '{':
    case '[':
        failed_ = false;
        try {
            if (n > LONGEST) throw std::bad_alloc();
            start_ = p;
            read_nodes(n);
            print_nodes(out);
            if (nodes_.capacity() > KEPT_NODES) give_back();
        } catch (const std::bad_alloc &) {
            failed_ = true;
            give_back();
        }
        if (failed_) out.fail();
        break;
    case 't':
    case 'f':
        out.append(p, n);
        break;
    default:
        print_number(p, n, out);
    }
}

void RubyPrinter::give_back() {
    std::vector<Node>().swap(nodes_);
    std::vector<uint32_t>().swap(open_);
    std::vector<Key>().swap(keys_);
    std::vector<Level>().swap(levels_);
}

// The text of a string's node.
void RubyPrinter::decode(const Node &node, Bytes &out) {
    const uint8_t *p = start_ + node.at;
    out.clear();
    unescape(p + 1, p + node.n - 1, out);
    if (out.failed()) failed_ = true;
}

// One pass over the text: every key, value and container becomes a node that knows where its subtree ends.
void RubyPrinter::read_nodes(size_t n) {
    const uint8_t *p = start_;
    const uint8_t *end = p + n;
    nodes_.clear();
    open_.clear();
    while ((p = skip_blanks(p, end)) < end) {
        uint8_t c = *p;
        if (c == ',' || c == ':') {
            p++;
            continue;
        }
        if (c == '}' || c == ']') {
            uint32_t container = open_.back();
            open_.pop_back();
            nodes_[container].next = static_cast<uint32_t>(nodes_.size());
            if (c == '}') merge_equal_keys(container);
            p++;
            continue;
        }
        const uint8_t *from = p;
        uint32_t node = static_cast<uint32_t>(nodes_.size());
        if (c == '{' || c == '[') {
            open_.push_back(node);
            p++;
        } else {
            p = skip_value(p, end);
            // skip_value stops at a blank, a comma or a bracket; a key's string ends at its quote.
        }
        nodes_.push_back(
            Node{static_cast<uint32_t>(from - start_), static_cast<uint32_t>(p - from), node + 1, 0, false});
    }
}

// Equal keys: the first keeps its place and takes the last one's value, as in a Ruby Hash.
void RubyPrinter::merge_equal_keys(uint32_t container) {
    keys_.clear();
    for (uint32_t key = container + 1; key < nodes_[container].next; key = nodes_[key + 1].next) {
        nodes_[key].value = key + 1;
        decode(nodes_[key], text_);
        keys_.push_back(Key{hash_bytes(text_.data(), text_.size()), key});
    }
    if (keys_.size() < 2) return;
    std::sort(keys_.begin(), keys_.end(), [](const Key &a, const Key &b) {
        return a.hash != b.hash ? a.hash < b.hash : a.node < b.node;
    });
    for (size_t i = 0; i < keys_.size(); i++) {
        Node &first = nodes_[keys_[i].node];
        if (first.is_repeated) continue;
        for (size_t j = i + 1; j < keys_.size() && keys_[j].hash == keys_[i].hash; j++) {
            Node &later = nodes_[keys_[j].node];
            if (later.is_repeated || !equal_keys(first, later)) continue;
            first.value = keys_[j].node + 1;
            later.is_repeated = true;
        }
    }
}

bool RubyPrinter::equal_keys(const Node &a, const Node &b) {
    decode(a, text_);
    decode(b, other_);
    if (text_.size() != other_.size()) return false;
    return text_.size() == 0 || std::memcmp(text_.data(), other_.data(), text_.size()) == 0;
}

void RubyPrinter::print_string(const Node &node, Bytes &out) {
    decode(node, text_);
    inspect_string(text_.data(), text_.data() + text_.size(), out);
}

void RubyPrinter::print_nodes(Bytes &out) {
    levels_.clear();
    uint32_t node = 0;
    for (;;) {
        const Node &value = nodes_[node];
        const uint8_t *p = start_ + value.at;
        switch (p[0]) {
        case '{':
        case '[':
            out.push(p[0]);
            levels_.push_back(Level{node, node + 1, true});
            break;
        case '"':
            print_string(value, out);
            break;
        case 'n':
            out.append("nil");
            break;
        case 't':
        case 'f':
            out.append(p, value.n);
            break;
        default:
            print_number(p, value.n, out);
        }
        // On to the next value, closing what has ended.
        for (;;) {
            if (levels_.empty()) return;
            Level &level = levels_.back();
            const Node &container = nodes_[level.container];
            bool is_map = start_[container.at] == '{';
            while (is_map && level.child < container.next && nodes_[level.child].is_repeated)
                level.child = nodes_[level.child + 1].next;
            if (level.child >= container.next) {
                out.push(is_map ? '}' : ']');
                levels_.pop_back();
                continue;
            }
            if (!level.is_first) out.append(", ");
            level.is_first = false;
            if (is_map) {
                const Node &key = nodes_[level.child];
                print_string(key, out);
                out.append("=>");
                node = key.value;
                level.child = nodes_[level.child + 1].next;
            } else {
                node = level.child;
                level.child = nodes_[node].next;
            }
            break;
        }
    }
}

}  // namespace flowd
