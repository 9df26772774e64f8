// A float as Ruby's to_s writes it: its shortest digits, always with a dot. But for `Infinity`, `-Infinity` and `NaN` that
// is a number of JSON as well.
#pragma once

namespace flowd {

constexpr unsigned LONGEST_FLOAT = 48;  // a sign, 17 digits, a dot, and an exponent of at most 5, or some zeros

// Writes at most LONGEST_FLOAT characters; returns the end.
char *write_float(double value, char *out);

}  // namespace flowd
