#include "values/labels.hpp"

#include <new>

#include "values/json.hpp"

namespace flowd {

namespace {

bool equals(const Word &word, const uint8_t *p, size_t n) { return word.n == n && std::memcmp(word.p, p, n) == 0; }

}  // namespace

// Appends the decoded text of the string at p, or of anything else its own text.
bool Labels::append_text(const uint8_t *p, const uint8_t *end) {
    if (*p == '"') return unescape(p + 1, end - 1, text_) && !text_.failed();
    text_.append(p, static_cast<size_t>(end - p));
    return !text_.failed();
}

bool Labels::read(const uint8_t *p, size_t n) {
    labels_.clear();
    text_.clear();
    if (p == nullptr || n == 0) return true;
    try {
        if (*p == '[') return read_list(p, p + n);
        if (*p == '{') return read_map(p, p + n);
    } catch (const std::bad_alloc &) {
        return false;
    }
    return true;
}

bool Labels::read_list(const uint8_t *p, const uint8_t *end) {
    p = skip_blanks(p + 1, end);
    while (p < end && *p != ']') {
        const uint8_t *value_end = skip_value(p, end);
        if (*p == '"') {
            size_t at = text_.size();
            if (!append_text(p, value_end)) return !text_.failed();
            size_t n = text_.size() - at;
            const uint8_t *text = text_.data() + at;
            const void *equal_sign = n ? std::memchr(text, '=', n) : nullptr;
            size_t key_n = equal_sign ? static_cast<size_t>(static_cast<const uint8_t *>(equal_sign) - text) : n;
            labels_.push_back(Label{at, key_n, equal_sign ? n - key_n - 1 : 0});
        }
        p = skip_blanks(value_end, end);
        if (p == end || *p != ',') break;
        p = skip_blanks(p + 1, end);
    }
    return true;
}

bool Labels::read_map(const uint8_t *p, const uint8_t *end) {
    p = skip_blanks(p + 1, end);
    while (p < end && *p == '"') {
        const uint8_t *key_end = skip_string(p, end);
        const uint8_t *value = skip_blanks(skip_blanks(key_end, end) + 1, end);
        const uint8_t *value_end = skip_value(value, end);
        static const uint8_t list_key[] = "\"labels\"";
        if (*value == '[' && equals(Word{list_key, sizeof list_key - 1}, p, static_cast<size_t>(key_end - p))) {
            if (!read_list(value, value_end)) return false;
        } else {
            size_t at = text_.size();
            if (!append_text(p, key_end)) return !text_.failed();
            size_t key_n = text_.size() - at;
            text_.push('=');
            if (!append_text(value, value_end)) return !text_.failed();
            labels_.push_back(Label{at, key_n, text_.size() - at - key_n - 1});
        }
        p = skip_blanks(value_end, end);
        if (p == end || *p != ',') break;
        p = skip_blanks(p + 1, end);
    }
    return true;
}

// The last of equal labels counts.
const Labels::Label *Labels::find(const Word &label) const {
    for (size_t i = labels_.size(); i > 0; i--)
        if (equals(label, text_.data() + labels_[i - 1].at, labels_[i - 1].key_n)) return &labels_[i - 1];
    return nullptr;
}

bool Labels::fulfil(const Requirement *requirements, size_t n) const {
    for (size_t i = 0; i < n; i++) {
        const Requirement &wanted = requirements[i];
        const Label *label = find(wanted.label);
        bool is_listed = false;
        if (label != nullptr)
            for (size_t k = 0; k < wanted.n_values && !is_listed; k++)
                is_listed = equals(wanted.values[k], text_.data() + label->at + label->key_n + 1, label->value_n);
        bool is_fulfilled = wanted.op == LABEL_IN       ? is_listed
                            : wanted.op == LABEL_NOT_IN ? !is_listed
                                                        : (label != nullptr) == (wanted.op == LABEL_EXISTS);
        if (!is_fulfilled) return false;
    }
    return true;
}

}  // namespace flowd
