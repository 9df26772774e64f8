// Times as RFC 3339 writes them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flowd {

// The largest second of a Forward entry's time.
constexpr uint64_t MOST_SECONDS_OF_ENTRY = 0xFFFFFFFF;

// Seconds and nanoseconds since 1970 of a whole text like 2023-11-14T22:13:20.5+01:30. False where it is no such time, or
// none that an entry can have. A blank may stand for the T, and the offset's colon may be missing; digits behind the ninth
// are left out.
bool read_time_text(const uint8_t *p, size_t n, uint32_t *seconds, uint32_t *ns);

}  // namespace flowd
