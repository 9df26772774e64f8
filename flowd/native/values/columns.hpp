// Text columns, the exact way: which form a line has when a plain count of spaces does not say, and what JSON value a
// column stands for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bytes.hpp"
#include "scan/scan.hpp"

namespace flowd {

// How a text column becomes a JSON value.
enum Mapping : uint32_t {
    MAP_STRING = 0,          // as it is
    MAP_INTEGER = 1,         // a number
    MAP_NULLABLE_STRING = 2, // `-` is null
    MAP_NULLABLE_INTEGER = 3,
    MAP_LABELS = 4,          // `[k=v,k=v]` is {"labels":["k=v","k=v"]}, `-` is null
    MAP_PROTOCOL = 5,        // IANA's number by its name
    MAP_REPORTER = 6,        // `out` is src, `in` is dst
    MAP_TYPE = 7,            // `pub` and `pvt` are net
    MAP_NAME = 8,            // `-` where the name is an aggregate
    MAP_NAME_AGGR = 9,       // the aggregate, or the name
    MAP_POLICIES = 10,       // `[a b]` is {"all_policies":["a","b"]}, `-` is null
};

// A column whose JSON value is a string: its text, without making one. False where it is none of these.
bool find_column_text(uint32_t mapping, uint64_t tag, const uint8_t *p, size_t n, const uint8_t **text, size_t *text_n);

// Writes the JSON value of a column.
void map_column(uint32_t mapping, uint64_t tag, const uint8_t *p, size_t n, Bytes &out);

// Finds the wanted columns of a line that has neither 23 nor 26 spaces or begins with a blank: a list in brackets may
// hold spaces. Returns FORM_TEXT24, FORM_TEXT27 or FORM_MALFORMED, and fills values.
uint32_t walk_columns(const Plan &plan, const uint8_t *p, size_t n, Span *values);

}  // namespace flowd
