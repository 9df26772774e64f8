// The door to libhs, the linear engine: Hyperscan, or Vectorscan, which was made from it. Built without it, the same
// functions say that it is absent, so that nothing above this file asks how flowd was built. Never matches by itself,
// knows nothing of fields.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef FLOWD_LINEAR
#include <hs.h>
#endif

namespace flowd {

#ifdef FLOWD_LINEAR

constexpr bool has_linear = true;
using LinearDatabase = hs_database_t;
using LinearScratch = hs_scratch_t;

inline const char *linear_version() { return hs_version(); }

// Compiles `count` expressions into one database; the id of expression i is i. On failure *database is null, *bad is
// the expression's index (or -1) and `message` holds the reason.
inline bool linear_compile(const char *const *expressions, const unsigned *flags, unsigned count,
                           LinearDatabase **database, int *bad, char *message, size_t message_size) {
    unsigned *ids = new unsigned[count ? count : 1];
    for (unsigned i = 0; i < count; i++) ids[i] = i;
    hs_compile_error_t *error = nullptr;
    *database = nullptr;
    *bad = -1;
    hs_error_t rc = hs_compile_multi(expressions, flags, ids, count, HS_MODE_BLOCK, nullptr, database, &error);
    delete[] ids;
    if (rc == HS_SUCCESS) return true;
    if (error != nullptr) {
        *bad = error->expression;
        size_t i = 0;
        for (; i + 1 < message_size && error->message[i]; i++) message[i] = error->message[i];
        if (message_size) message[i] = 0;
        hs_free_compile_error(error);
    }
    return false;
}

inline void linear_free(LinearDatabase *database) { hs_free_database(database); }
inline bool linear_grow_scratch(const LinearDatabase *database, LinearScratch **scratch) {
    return hs_alloc_scratch(database, scratch) == HS_SUCCESS;
}
inline void linear_free_scratch(LinearScratch *scratch) { hs_free_scratch(scratch); }

struct LinearMatches {
    unsigned *ids;
    unsigned n;
    unsigned room;
};

static int collect_match(unsigned id, unsigned long long, unsigned long long, unsigned, void *context) {
    LinearMatches *matches = static_cast<LinearMatches *>(context);
    if (matches->n < matches->room) matches->ids[matches->n++] = id;
    return 0;
}

// Writes the ids of the expressions found in the text into `ids` (room for one of each); returns how many, or -1.
inline int linear_scan(const LinearDatabase *database, LinearScratch *scratch, const char *text, size_t n,
                       unsigned *ids, unsigned room) {
    LinearMatches matches{ids, 0, room};
    if (n > 0xFFFFFFFFu) return -1;
    hs_error_t rc = hs_scan(database, text, static_cast<unsigned>(n), 0, scratch, collect_match, &matches);
    return rc == HS_SUCCESS ? static_cast<int>(matches.n) : -1;
}

#else

constexpr bool has_linear = false;
struct LinearDatabase {};
struct LinearScratch {};

inline const char *linear_version() { return ""; }
inline bool linear_compile(const char *const *, const unsigned *, unsigned, LinearDatabase **database, int *bad,
                           char *message, size_t message_size) {
    *database = nullptr;
    *bad = -1;
    if (message_size) message[0] = 0;
    return false;
}
inline void linear_free(LinearDatabase *) {}
inline bool linear_grow_scratch(const LinearDatabase *, LinearScratch **) { return false; }
inline void linear_free_scratch(LinearScratch *) {}
inline int linear_scan(const LinearDatabase *, LinearScratch *, const char *, size_t, unsigned *, unsigned) {
    return -1;
}

#endif

}  // namespace flowd
