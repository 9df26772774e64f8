// Kubernetes labels as the logs write them, and label selectors on them. Runs on misses of the value table only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.hpp"

namespace flowd {

struct Word {
    const uint8_t *p;
    uint64_t n;
};

enum LabelOperator : uint32_t { LABEL_IN = 0, LABEL_NOT_IN = 1, LABEL_EXISTS = 2, LABEL_ABSENT = 3 };

// One part of a selector, as Kubernetes means it: `notin` holds where the label is absent, too.
struct Requirement {
    Word label;
    uint32_t op;
    const Word *values;
    uint64_t n_values;
};

// The labels of one value at a time; keeps its working space from one to the next. Not for two threads at once.
class Labels {
  public:
    // Takes the labels of the valid JSON value at p: {"labels":["k=v"]}, ["k=v"] or {"k":"v"}; anything else, and
    // null for p, has none. False where memory ran out.
    bool read(const uint8_t *p, size_t n);

    // Do they fulfil all of the requirements?
    bool fulfil(const Requirement *requirements, size_t n) const;

  private:
    struct Label {
        size_t at;  // in text_
        size_t key_n;
        size_t value_n;
    };

    bool read_list(const uint8_t *p, const uint8_t *end);
    bool read_map(const uint8_t *p, const uint8_t *end);
    bool append_text(const uint8_t *p, const uint8_t *end);
    const Label *find(const Word &label) const;

    std::vector<Label> labels_;
    Bytes text_;
};

}  // namespace flowd
