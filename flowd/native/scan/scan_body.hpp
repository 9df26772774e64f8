// The walk through a block of lines, once for every SIMD level. Included by scan_<level>.cpp, each of which defines, in its
// own namespace and compiled for its own instructions:
//
//   Needle             a byte to look for, in a register
//   MarkTable          what `eq_marks` needs to know { } [ ] , :
//   Block              64 bytes, with load(p), and as bit masks eq(needle), at_most(needle), eq_marks(needles), which also
//                      takes 0x0C and 0x1A, and eq_brackets(needles), for bytes of which all are marks; has_special(needles)
//   prefix_xor(mask)   each bit the parity of those up to it
//   select_bit(mask, k)    the place of the k-th set bit; anything up to 64 where there are fewer
//   lowest_or_64(mask)     the place of the lowest set bit, 64 where there is none
//   put_marks(block, bytes, mask, from, chars, places)     writes the block's bytes at these places, and from + the places;
//                      returns how many there are. It may write up to MOST_PUT of both, whatever their number
//   PlaceStep(n).find(places)     which of 64 places are n behind the one before
//   ShortLine          a line of less than SHORT_LINE bytes: see short_line.hpp
//
// All is static: nothing of a level may leak into another.

#include "scan/scan_common.hpp"
#include "scan/scan_text.hpp"
#include "scan/scan_json.hpp"

static size_t scan_lines(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines, Span *values,
                         size_t room) {
    const uint8_t *p = *cursor;
    size_t n = 0;
    const Needles needles;
    const bool has_texts = plan.format != FORMAT_JSON, has_json = plan.format <= FORMAT_JSON;
    // A text line's columns fill all values where every field has a column.
    const bool texts_fill_all = plan.text24.n_columns == plan.n_fields && plan.text27.n_columns == plan.n_fields;
    uint32_t text_form = plan.format == FORMAT_TEXT27 ? FORM_TEXT27 : FORM_TEXT24;
    while (p < end && n < room) {
        const bool is_json = *p == '{' && has_json;
        const bool is_text = !is_json && *p > ' ' && has_texts;
        if (is_json || (is_text && texts_fill_all)) {
            size_t walked = is_json ? scan_json_lines(plan, &p, end, lines + n, values, room - n)
                                    : scan_short_texts(plan, &p, end, lines + n, values, room - n);
            n += walked;
            values += walked * plan.n_fields;
            if (p == end || n == room) break;
            // Behind them stands a line of another kind, or one of this kind that is to be looked at otherwise.
            const bool goes_on = is_json ? *p == '{' : *p > ' ' && (*p != '{' || !has_json);
            if (!goes_on) continue;
        }
        // One line that is neither.
        Line *line = &lines[n];
        const uint8_t *line_end;
        if (!is_text || !texts_fill_all) forget_values(plan, values);
        if (is_text) {
            line_end = scan_text(needles, plan, p, end, values, &text_form, line);
        } else {
            line_end = find_line_end(needles, p, end);
            line->form = is_json || !has_texts ? FORM_JSON_ODD : FORM_TEXT_ODD;
        }
        line->p = p;
        line->n = static_cast<uint64_t>(line_end - p);
        line->newlines = line_end < end;
        p = line_end + line->newlines;
        n++;
        values += plan.n_fields;
    }
    *cursor = p;
    return n;
}
