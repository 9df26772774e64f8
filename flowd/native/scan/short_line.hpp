// A text line of less than 192 bytes, or if need be of a block more, for levels that cannot pack places in a register: only
// the wanted separators are located, each by its number. Included by scan_<level>.cpp after it has defined `Needle`,
// `Block`, `lowest_or_64` and `select_bit`.

struct ShortLine {
    unsigned n;           // bytes; as many as were looked at where the line is longer
    unsigned separators;  // how many there are
    uint8_t starts[40];   // where columns begin: that of the wanted ones, and of those behind them

    inline bool has_separators(unsigned count) const { return separators == count; }
    // The last column ends with the line, or before its carriage return.
    inline void end_columns(unsigned count, bool has_return) { starts[count + 1] = static_cast<uint8_t>(n + 1 - has_return); }

    inline void walk(const Plan &plan, const Needle &newline, const Needle &space, const uint8_t *line) {
        walk_blocks<3>(plan, newline, space, line);
    }
    // Once more, for a line that does not end within three blocks.
    inline void extend(const Plan &plan, const Needle &newline, const Needle &space, const uint8_t *line) {
        walk_blocks<4>(plan, newline, space, line);
    }

  private:
    template <unsigned BLOCKS>
    inline void walk_blocks(const Plan &plan, const Needle &newline, const Needle &space, const uint8_t *line) {
        uint64_t spaces[BLOCKS];
        unsigned below[BLOCKS];         // separators before the block
        uint64_t open = ~uint64_t(0);   // none behind the block that has the line's end
        n = separators = 0;
        for (unsigned b = 0; b < BLOCKS; b++) {
            const Block block = Block::load(line + 64 * b);
            const uint64_t newlines = block.eq(newline);
            // Of the block with the line's end what stands before it, of one without an end all.
            spaces[b] = block.eq(space) & ~newlines & (newlines - 1) & open;
            // Which block has the end is not to be predicted: a sum of what is 64 where there is none.
            n += lowest_or_64(newlines) & static_cast<unsigned>(open);
            open = newlines ? 0 : open;
            below[b] = separators;
            separators += static_cast<unsigned>(__builtin_popcountll(spaces[b]));
        }
        starts[0] = 0;
        const TextPlan &text = separators == TEXT27_SEPARATORS ? plan.text27 : plan.text24;
        for (uint32_t i = 0; i < text.n_separators; i++) {
            const unsigned k = text.separators[i];
            unsigned at = 0;
            for (unsigned b = 1; b < BLOCKS; b++) at += k >= below[b];
            // Where there are fewer separators the place is nonsense, and nobody looks.
            starts[k + 1] = static_cast<uint8_t>(64 * at + select_bit(spaces[at], k - below[at]) + 1);
        }
    }
};
