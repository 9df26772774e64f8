// Which SIMD level runs: asked of the machine once, at the first use.
#include <cstdlib>
#include <cstring>

#include "scan/scan.hpp"

namespace flowd {

extern const SimdLevel level_avx512, level_avx2, level_sse42, level_neon, level_portable;

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
        bool bmi = bits && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                   __builtin_cpu_supports("aes");
        if (bmi && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vbmi2"))
            list[n++] = level_avx512;
        if (bmi && __builtin_cpu_supports("avx2")) list[n++] = level_avx2;
        if (bits && __builtin_cpu_supports("sse4.2")) list[n++] = level_sse42;
#elif defined(__aarch64__)
        list[n++] = level_neon;
#endif
        list[n++] = level_portable;
        list[n] = SimdLevel{};
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
