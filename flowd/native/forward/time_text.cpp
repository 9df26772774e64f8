#include "forward/time_text.hpp"

namespace flowd {

namespace {

// A text that is read from its beginning; what does not fit makes it fail for good.
class Reader {
  public:
    Reader(const uint8_t *p, size_t n) : p_(p), end_(p + n) {}

    bool is_digit() const { return p_ < end_ && *p_ >= '0' && *p_ <= '9'; }
    uint8_t take() { return p_ < end_ ? *p_++ : 0; }
    bool take_if(uint8_t c) {
        if (p_ == end_ || *p_ != c) return false;
        p_++;
        return true;
    }
    int64_t number(int digits) {
        int64_t value = 0;
        for (; digits; digits--) {
            has_failed_ |= !is_digit();
            value = value * 10 + (take() - '0');
        }
        return value;
    }
    void want(bool is_so) { has_failed_ |= !is_so; }
    bool is_done() const { return p_ == end_ && !has_failed_; }

  private:
    const uint8_t *p_, *end_;
    bool has_failed_ = false;
};

bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int64_t days_of_month(int64_t year, int64_t month) {
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return DAYS[month - 1] + (month == 2 && is_leap(year));
}

// Days from 1970 on; of years from 1970 on.
int64_t days_since_1970(int64_t year, int64_t month, int64_t day) {
    const int64_t before = year - 1;
    int64_t days = 365 * (year - 1970) + (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
    for (int64_t i = 1; i < month; i++) days += days_of_month(year, i);
    return days + day - 1;
}

}  // namespace

bool read_time_text(const uint8_t *p, size_t n, uint32_t *seconds, uint32_t *ns) {
    Reader text(p, n);
    const int64_t year = text.number(4);
    text.want(text.take() == '-');
    const int64_t month = text.number(2);
    text.want(text.take() == '-');
    const int64_t day = text.number(2);
    const uint8_t between = text.take();
    text.want(between == 'T' || between == 't' || between == ' ');
    const int64_t hour = text.number(2);
    text.want(text.take() == ':');
    const int64_t minute = text.number(2);
    text.want(text.take() == ':');
    const int64_t second = text.number(2);
    uint32_t fraction = 0;
    if (text.take_if('.')) {
        text.want(text.is_digit());
        for (uint32_t digit = 100000000; text.is_digit(); digit /= 10) fraction += (text.take() - '0') * digit;
    }
    int64_t offset_s = 0;
    const uint8_t zone = text.take();
    if (zone == '+' || zone == '-') {
        offset_s = text.number(2) * 3600;
        text.take_if(':');
        offset_s += text.number(2) * 60;
        if (zone == '-') offset_s = -offset_s;
    } else {
        text.want(zone == 'Z' || zone == 'z');
    }
    // No offset, of 100 hours at most, makes a time of an entry of an earlier year than 1969.
    if (!text.is_done() || year < 1969 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month)) return false;
    if (hour > 23 || minute > 59 || second > 59) return false;
    const int64_t since = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    if (since < 0 || since > static_cast<int64_t>(MOST_SECONDS_OF_ENTRY)) return false;
    *seconds = static_cast<uint32_t>(since);
    *ns = fraction;
    return true;
}

}  // namespace flowd
