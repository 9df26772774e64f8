// A copy of bytes that begins where a page begins, or ends where one ends, beside pages that cannot be read: a read
// outside of it is seen even where the sanitizers do not look, as in the kernels' masked loads.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fuzz.hpp"

class Guarded {
  public:
    static constexpr size_t PAGE = 65536;  // no machine's pages are larger

    explicit Guarded(size_t most) : room_((most + PAGE - 1) / PAGE * PAGE) {
        void *all = mmap(nullptr, room_ + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FUZZ_CHECK(all != MAP_FAILED);
        first_ = static_cast<uint8_t *>(all) + PAGE;
        FUZZ_CHECK(mprotect(first_, room_, PROT_READ | PROT_WRITE) == 0);
    }
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;
    ~Guarded() { munmap(first_ - PAGE, room_ + 2 * PAGE); }

    const uint8_t *at_end(const uint8_t *p, size_t n) { return put(first_ + room_ - n, p, n); }
    const uint8_t *at_begin(const uint8_t *p, size_t n) { return put(first_, p, n); }

  private:
    static const uint8_t *put(uint8_t *place, const uint8_t *p, size_t n) {
        if (n) std::memcpy(place, p, n);
        return place;
    }

    size_t room_;
    uint8_t *first_;
};
