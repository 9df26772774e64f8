// Which SIMD level runs: asked of the machine once, at the first use.
#include <cstdlib>
#include <cstring>

#include "scan.hpp"

namespace flowd {

#define FLOWD_LEVEL(name)                                                                                         \
    size_t scan_lines_##name(const Plan &plan, const uint8_t **cursor, const uint8_t *end, Line *lines,           \
                             Span *values, size_t room);

#if defined(__x86_64__)
FLOWD_LEVEL(avx512)
FLOWD_LEVEL(avx2)
FLOWD_LEVEL(sse42)
#elif defined(__aarch64__)
FLOWD_LEVEL(neon)
#endif
FLOWD_LEVEL(portable)

namespace {

constexpr size_t MOST_LEVELS = 5;

struct Levels {
    SimdLevel list[MOST_LEVELS];
    const SimdLevel *chosen;

    Levels() {
        size_t n = 0;
#if defined(__x86_64__)
        __builtin_cpu_init();
        bool bits = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt");
        bool bmi = bits && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
        if (bmi && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
            list[n++] = SimdLevel{"avx512", scan_lines_avx512};
        if (bmi && __builtin_cpu_supports("avx2")) list[n++] = SimdLevel{"avx2", scan_lines_avx2};
        if (bits && __builtin_cpu_supports("sse4.2")) list[n++] = SimdLevel{"sse42", scan_lines_sse42};
#elif defined(__aarch64__)
        list[n++] = SimdLevel{"neon", scan_lines_neon};
#endif
        list[n++] = SimdLevel{"portable", scan_lines_portable};
        list[n] = SimdLevel{nullptr, nullptr};
        chosen = &list[0];
        const char *forced = std::getenv("FLOWD_SIMD");
        if (forced != nullptr)
            for (size_t i = 0; i < n; i++)
                if (std::strcmp(forced, list[i].name) == 0) chosen = &list[i];
    }
};

const Levels &levels() {
    static const Levels found;
    return found;
}

}  // namespace

const SimdLevel &simd_level() { return *levels().chosen; }
const SimdLevel *simd_levels() { return levels().list; }

}  // namespace flowd
