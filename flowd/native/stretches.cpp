#include "stretches.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace flowd {
namespace {

// Room before the stretch's first byte, for the byte before it, that leaves the stretch where a page begins: the
// kernel copies whole pages fastest to where one begins.
constexpr size_t BEFORE = 4096;

// What is read behind a stretch at once: most lines that begin in it end there.
constexpr size_t BEHIND = 4096;

bool has_room(Stretch *stretch, size_t bytes) {
    if (bytes <= stretch->room_bytes) return true;
    auto *more = static_cast<uint8_t *>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096));
    if (more == nullptr) return false;
    if (stretch->room != nullptr) std::memcpy(more, stretch->room, stretch->room_bytes);
    std::free(stretch->room);
    stretch->room = more;
    stretch->room_bytes = (bytes + 4095) / 4096 * 4096;
    return true;
}

const uint8_t *find_newline(const uint8_t *p, size_t n) {
    return static_cast<const uint8_t *>(std::memchr(p, '\n', n));
}

}  // namespace

void free_room(Stretch *stretch) {
    std::free(stretch->room);
    stretch->room = nullptr;
    stretch->room_bytes = 0;
}

StretchedFile::StretchedFile(int fd, uint64_t from, size_t stretch_bytes)
    : fd_(fd), from_(from), stretch_bytes_(stretch_bytes) {}

int StretchedFile::take(Stretch *stretch) {
    {
        const std::lock_guard<std::mutex> guard(lock_);
        if (is_over_) return 1;
        stretch->number = next_++;
    }
    const int rc = read(stretch);
    if (rc < 0) stop();
    return rc;
}

bool StretchedFile::wait_for_turn(const Stretch &stretch) {
    std::unique_lock<std::mutex> guard(lock_);
    has_turned_.wait(guard, [&] { return is_over_ || turn_ == stretch.number; });
    return !is_over_;
}

void StretchedFile::finish(const Stretch &stretch) {
    {
        const std::lock_guard<std::mutex> guard(lock_);
        turn_ = stretch.number + 1;
        if (stretch.is_last) is_over_ = true;
    }
    has_turned_.notify_all();
}

void StretchedFile::stop() {
    {
        const std::lock_guard<std::mutex> guard(lock_);
        is_over_ = true;
    }
    has_turned_.notify_all();
}

// Reads on until `wanted` bytes are there. False: the file ended before that, or failed (`error`).
bool StretchedFile::fill(Stretch *stretch, uint64_t at, size_t *filled, size_t wanted) const {
    uint8_t *first = stretch->room + BEFORE - 1;
    while (*filled < wanted) {
        const ssize_t got = pread(fd_, first + *filled, wanted - *filled, static_cast<off_t>(at + *filled));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) stretch->error = errno;
        if (got <= 0) return false;
        *filled += static_cast<size_t>(got);
    }
    return true;
}

int StretchedFile::read(Stretch *stretch) const {
    const uint64_t begin = from_ + stretch->number * stretch_bytes_;
    const bool is_first = stretch->number == 0;
    stretch->n = 0;
    stretch->error = 0;
    if (!has_room(stretch, BEFORE + stretch_bytes_ + BEHIND)) return -1;
    // One byte earlier than the stretch: it says whether a line begins with the stretch.
    size_t filled = 0;
    size_t wanted = stretch_bytes_ + BEHIND + 1;
    stretch->room[BEFORE - 1] = '\n';
    if (is_first) filled = 1;  // as if a line had ended there
    bool has_more = fill(stretch, begin - 1, &filled, wanted);

    const size_t owned = filled <= 1 ? 0 : (filled - 1 < stretch_bytes_ ? filled - 1 : stretch_bytes_);
    size_t start = 0;
    if (owned == 0 || stretch->room[BEFORE - 1] != '\n') {
        const uint8_t *newline = owned ? find_newline(stretch->room + BEFORE, owned) : nullptr;
        start = newline ? static_cast<size_t>(newline - (stretch->room + BEFORE)) + 1 : owned;
    }
    size_t end = owned;
    stretch->is_last = !has_more && owned < stretch_bytes_;
    if (owned == stretch_bytes_ && start < owned && stretch->room[BEFORE + owned - 1] != '\n') {
        // The last line goes on behind the stretch, however far that is.
        size_t looked = owned;
        for (;;) {
            const uint8_t *newline = find_newline(stretch->room + BEFORE + looked, filled - 1 - looked);
            if (newline != nullptr) {
                end = static_cast<size_t>(newline - (stretch->room + BEFORE)) + 1;
                break;
            }
            end = looked = filled - 1;
            if (!has_more) {
                stretch->is_last = true;
                break;
            }
            wanted *= 2;
            if (!has_room(stretch, BEFORE + wanted)) return -1;
            has_more = fill(stretch, begin - 1, &filled, wanted);
        }
    }
    if (stretch->error) {
        if (stretch->is_last) {  // half a line, of which nobody knows the rest, is none
            while (end > start && stretch->room[BEFORE + end - 1] != '\n') --end;
        } else {
            stretch->error = 0;  // it is met again by whoever needs what could not be read
        }
    }
    stretch->lines = stretch->room + BEFORE + start;
    stretch->n = end - start;
    stretch->end = begin + end;
    return 0;
}

}  // namespace flowd
