#include "matching/linear_check.hpp"

#include <cstdio>
#include <cstring>

#include "matching/linear_engine.hpp"

namespace flowd {

#ifdef FLOWD_LINEAR

namespace {

// Hyperscan's last release was 5.4.2; Vectorscan began with 5.4.6.
constexpr int LAST_OF_HYPERSCAN = 5;
// Up to this one Vectorscan's searches for one and for two bytes skip some of a value's last ones, or of each register's:
// https://github.com/VectorCamp/vectorscan/issues/382 and pull requests 368, 375, 378. 5.4.9 was found to be wrong for one in
// a hundred values of more than 64 bytes, with expressions as in PROBES, where Hyperscan 5.4.0 never was.
constexpr int LAST_FAULTY = 12;

struct Probe {
    const char *expression;
    const char *match;
};
// Each has been seen to be overlooked by a released version.
constexpr Probe PROBES[] = {
    {"\\Ax+\\z|9", "9"},
    {"9.?8", "98"},
    {"9?0.*", "0"},
    {"(?:qabq)?0|\\Aa+", "0"},
    {"curl.*\\|\\s*python", "curl | python"},
};
constexpr size_t LONGEST = 200;  // several of the widest registers

int patch_number() {
    int major = 0, minor = 0, patch = 0;
    return std::sscanf(linear_version(), "%d.%d.%d", &major, &minor, &patch) == 3 && major == 5 && minor == 4 ? patch : -1;
}

// Whether the expression is found behind and before every number of other bytes, and not in these alone.
bool is_found(const Probe &probe) {
    const unsigned flags = HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY;
    LinearDatabase *database;
    LinearScratch *scratch = nullptr;
    int bad;
    char message[1];
    if (!linear_compile(&probe.expression, &flags, 1, &database, &bad, message, 0)) return false;
    bool is_right = linear_grow_scratch(database, &scratch);
    char value[LONGEST];
    unsigned id;
    const size_t n = std::strlen(probe.match);
    for (size_t before = 0; is_right && before + n <= LONGEST; before++) {
        std::memset(value, 'z', sizeof value);
        is_right = linear_scan(database, scratch, value, before, &id, 1) == 0;
        std::memcpy(value + before, probe.match, n);
        const size_t behind = (LONGEST - before - n) % 67;  // few, many, none, by turns
        is_right = is_right && linear_scan(database, scratch, value, before + n, &id, 1) == 1 &&
                   linear_scan(database, scratch, value, before + n + behind, &id, 1) == 1;
    }
    if (scratch != nullptr) linear_free_scratch(scratch);
    linear_free(database);
    return is_right;
}

const char *find_fault() {
    const int patch = patch_number();
    if (patch > LAST_OF_HYPERSCAN && patch <= LAST_FAULTY) return "this version overlooks matches in long values";
    for (const Probe &probe : PROBES)
        if (!is_found(probe)) return "it overlooks matches on this machine";
    return "";
}

}  // namespace

const char *linear_name() {
    const int patch = patch_number();
    return patch >= 0 && patch <= LAST_OF_HYPERSCAN ? "hyperscan" : "vectorscan";
}

const char *linear_fault() {
    static const char *const fault = find_fault();
    return fault;
}

#else

const char *linear_name() { return ""; }
const char *linear_fault() { return "flowd was built without it"; }

#endif

}  // namespace flowd
