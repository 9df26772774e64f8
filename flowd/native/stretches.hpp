// A file read by several threads at once: in stretches of one size, each with the lines that begin in it, which are
// given out whole, and whose turns to be written come in the file's order. Knows nothing of filters and output.
//
// The end is where the first stretch, in that order, met it. What a later one found there (a file grows) is not used:
// so the lines are those that one reader from front to back would have got.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace flowd {

// A thread's room, and the lines of the stretch that it holds now. They stay where they are until the next `take`.
struct Stretch {
    uint8_t *room = nullptr;
    size_t room_bytes = 0;
    uint64_t number = 0;
    const uint8_t *lines = nullptr;
    size_t n = 0;
    uint64_t end = 0;      // of the lines, in the file
    bool is_last = false;  // the file ended here, or could not be read further
    int error = 0;         // the errno of why it could not be read further
};

class StretchedFile {
  public:
    // The descriptor is borrowed. `from` is where the first line begins.
    StretchedFile(int fd, uint64_t from, size_t stretch_bytes);

    // Reads the next stretch. 0: here it is; 1: there is no other; -1: no memory for a line as long as this one.
    int take(Stretch *stretch);

    // Waits until all stretches before this one are finished. False: the file ended before it, or `stop` was called.
    bool wait_for_turn(const Stretch &stretch);

    // Lets the next one have its turn. Its turn is given back with it.
    void finish(const Stretch &stretch);

    // Gives no stretch out any more, and no turn.
    void stop();

  private:
    int read(Stretch *stretch) const;
    bool fill(Stretch *stretch, uint64_t at, size_t *filled, size_t wanted) const;

    const int fd_;
    const uint64_t from_;
    const size_t stretch_bytes_;
    std::mutex lock_;
    std::condition_variable has_turned_;
    uint64_t next_ = 0;  // to be taken
    uint64_t turn_ = 0;  // to be finished
    bool is_over_ = false;
};

// Gives the room back.
void free_room(Stretch *stretch);

}  // namespace flowd
