// A text line of less than 192 bytes, for levels that cannot pack places in a register: only the wanted separators are
// located, each by its number. Included by scan_<level>.cpp after it has defined `Needle`, `Block` and `select_bit`.

constexpr unsigned SHORT_LINE = 192;

struct ShortLine {
    unsigned n;           // bytes; SHORT_LINE or more where it is no short line
    unsigned separators;  // how many there are
    uint8_t starts[40];   // where columns begin: that of the wanted ones, and of those behind them

    inline bool has_separators(unsigned count) const { return separators == count; }
    // The last column ends with the line, or before its carriage return.
    inline void end_columns(unsigned count, bool has_return) { starts[count + 1] = static_cast<uint8_t>(n + 1 - has_return); }

    inline void walk(const Plan &plan, const Needle &newline, const Needle &space, const uint8_t *line) {
        const Block blocks[3] = {Block::load(line), Block::load(line + 64), Block::load(line + 128)};
        const uint64_t newlines[3] = {blocks[0].eq(newline), blocks[1].eq(newline), blocks[2].eq(newline)};
        unsigned last = newlines[0] ? 0 : newlines[1] ? 1 : 2;
        n = 64 * last + (newlines[last] ? static_cast<unsigned>(__builtin_ctzll(newlines[last])) : 64);
        uint64_t spaces[3] = {blocks[0].eq(space), blocks[1].eq(space), blocks[2].eq(space)};
        // All of a block before the line's last, none behind it, and of the last what stands before the newline.
        const uint64_t open1 = newlines[0] ? 0 : ~uint64_t(0), open2 = newlines[1] ? 0 : open1;
        spaces[0] &= ~newlines[0] & (newlines[0] - 1);
        spaces[1] &= ~newlines[1] & (newlines[1] - 1) & open1;
        spaces[2] &= ~newlines[2] & (newlines[2] - 1) & open2;
        const unsigned below1 = static_cast<unsigned>(__builtin_popcountll(spaces[0]));
        const unsigned below2 = below1 + static_cast<unsigned>(__builtin_popcountll(spaces[1]));
        const unsigned below[3] = {0, below1, below2};
        separators = below2 + static_cast<unsigned>(__builtin_popcountll(spaces[2]));
        starts[0] = 0;
        const TextPlan &text = separators == TEXT27_SEPARATORS ? plan.text27 : plan.text24;
        for (uint32_t i = 0; i < text.n_separators; i++) {
            unsigned k = text.separators[i];
            unsigned at = (k >= below1) + (k >= below2);
            // Where there are fewer separators the place is nonsense, and nobody looks.
            starts[k + 1] = static_cast<uint8_t>(64 * at + select_bit(spaces[at], k - below[at]) + 1);
        }
    }
};
