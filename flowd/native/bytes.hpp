// A growing run of bytes that is used again and again: scratch for the miss path, so that the steady state allocates
// nothing. Running out of memory is remembered in `failed` instead of thrown.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace flowd {

class Bytes {
  public:
    Bytes() = default;
    Bytes(const Bytes &) = delete;
    Bytes &operator=(const Bytes &) = delete;
    ~Bytes() { std::free(p_); }

    void clear() {
        n_ = 0;
        failed_ = false;
    }
    const uint8_t *data() const { return p_; }
    uint8_t *data() { return p_; }
    size_t size() const { return n_; }
    size_t room() const { return room_; }
    bool failed() const { return failed_; }
    void fail() { failed_ = true; }  // what belongs here could not be made

    void push(uint8_t c) {
        if (n_ == room_ && !grow(1)) return;
        p_[n_++] = c;
    }
    void append(const void *from, size_t n) {
        if (n == 0 || (n > room_ - n_ && !grow(n))) return;
        std::memcpy(p_ + n_, from, n);
        n_ += n;
    }
    void append(const char *text) { append(text, std::strlen(text)); }
    // Room for so many bytes more, or false. What is written there belongs to it once `shrink` has said so.
    bool make_room(size_t n) { return n <= room_ - n_ || grow(n); }
    void give_back(size_t most) {  // to the system, where a huge input has made it larger than that; it is empty then
        if (room_ <= most) return;
        std::free(p_);
        p_ = nullptr;
        n_ = room_ = 0;
    }
    void pop() { n_--; }
    uint8_t back() const { return p_[n_ - 1]; }
    void shrink(size_t n) { n_ = n; }

  private:
    bool grow(size_t more) {
        size_t room = room_ ? room_ * 2 : 256;
        while (room - n_ < more) room *= 2;
        void *p = std::realloc(p_, room);
        if (p == nullptr) {
            failed_ = true;
            return false;
        }
        p_ = static_cast<uint8_t *>(p);
        room_ = room;
        return true;
    }

    uint8_t *p_ = nullptr;
    size_t n_ = 0;
    size_t room_ = 0;
    bool failed_ = false;
};

}  // namespace flowd
