// Lines as collectors write them, grown so that what matters stands near where the walk goes over from one block to the
// next: plain mutation seldom gets there. And lines that are nearly like these.
#pragma once

#include <random>
#include <string>
#include <vector>

class Grown {
  public:
    explicit Grown(uint64_t seed) : draw_(seed) {}

    size_t below(size_t n) { return n ? static_cast<size_t>(draw_() % n) : 0; }
    bool one_in(size_t n) { return below(n) == 0; }
    template <typename T> const T &any(const std::vector<T> &of) { return of[below(of.size())]; }

    // A buffer of some lines, the last of which may lack its newline.
    std::string buffer(const std::vector<std::string> &keys) {
        std::string all;
        const size_t kind = below(3);
        for (size_t lines = 1 + below(one_in(8) ? 20 : 5); lines; lines--) {
            const bool is_text = kind == 0 || (kind == 2 && one_in(2));
            std::string line = one_in(25) ? blank_line() : is_text ? text_line() : json_line(keys);
            if (one_in(6)) spoil(line);
            all += line;
            if (lines > 1 || !one_in(3)) all += '\n';
        }
        return all;
    }

  private:
    // How long something is to be: near a border, most of the time.
    size_t length() {
        static const std::vector<size_t> borders = {64, 128, 192, 250, 255, 256, 320, 384, 512};
        if (one_in(4)) return below(600);
        return any(borders) + below(9) - 4;
    }

    std::string blank_line() {
        std::string line;
        for (size_t n = below(one_in(4) ? 200 : 4); n; n--) line += any(std::vector<char>{' ', '\t', '\r'});
        return line;
    }

    std::string word(size_t most) {
        static const std::string letters = "abcdefghijkz0123456789-*.=[],{}:\"\\\xc3\xa9\x01\x0c\x1a\x7f\xff\t";
        std::string word;
        const size_t choice = one_in(5) ? letters.size() : 20;
        for (size_t n = below(most + 1); n; n--) word += letters[below(choice)];
        return word;
    }

    std::string text_line() {
        static const std::vector<size_t> counts = {22, 23, 23, 23, 23, 24, 25, 26, 26, 26, 27, 31, 32, 33};
        std::vector<std::string> columns(1 + any(counts));
        const size_t most = any(std::vector<size_t>{0, 1, 3, 6, 9, 14, 40});
        static const std::vector<std::string> known = {"net", "pub", "pvt", "-", "ne", "pubx"};
        for (std::string &column : columns) column = one_in(8) ? any(known) : word(most);
        if (one_in(12)) columns[below(columns.size())] = "[a b]";
        size_t n = columns.size() - 1;
        for (const std::string &column : columns) n += column.size();
        // One column is as long as the line needs: what is behind it stands near the border, too.
        const size_t wanted = length();
        if (wanted > n) columns[one_in(2) ? columns.size() - 1 : below(columns.size())] += std::string(wanted - n, 'p');
        std::string line;
        for (size_t i = 0; i < columns.size(); i++) line += (i ? " " : "") + columns[i];
        if (one_in(6)) line += '\r';
        return line;
    }

    std::string json_string(size_t most) {
        std::string text = "\"";
        for (size_t n = below(most + 1); n; n--) {
            if (!one_in(10)) {
                text += "abcdefgh ,:{}[]"[below(one_in(4) ? 15 : 8)];
            } else if (one_in(4)) {  // as many backslashes as make the quote behind them one of the string, or its end
                text += std::string(2 * below(70), '\\');
            } else {
                static const std::vector<std::string> escapes = {"\\\"", "\\\\", "\\n", "\\u0041",
                                                                 "\\ud83d\\ude00", "\\x", "\x0c", "\x1a"};
                text += any(escapes);
            }
        }
        return text + '"';
    }

    std::string json_value(size_t depth) {
        static const std::vector<std::string> scalars = {"1", "-0.5e3", "null", "true", "false", "1234567", "x", "1 2"};
        if (one_in(300)) {  // as much structure as a list can hold, and more
            std::string value = "[";
            const std::string pair = any(std::vector<std::string>{"[],", "1,", "{\"a\":1},", "[[[]]],"});
            for (size_t n = any(std::vector<size_t>{60, 200, 250, 340, 500, 510}) + below(12); n; n--) value += pair;
            return value + "1]";
        }
        if (one_in(200)) {
            const size_t levels = 55 + below(12);
            return std::string(levels, '[') + std::string(levels, ']');
        }
        if (depth && one_in(3)) {
            std::string value;
            const bool is_list = one_in(2);
            for (size_t n = below(one_in(10) ? 70 : 5); n; n--) {
                value += value.empty() ? "" : ",";
                value += (is_list ? "" : json_string(3) + ":") + json_value(depth - 1);
            }
            return (is_list ? "[" : "{") + value + (is_list ? "]" : "}");
        }
        return one_in(3) ? any(scalars) : json_string(one_in(4) ? 90 : 12);
    }

    // A string whose backslashes end with a block, or nearly: whether they escape what begins the next one is all that says
    // so there, where nothing else is unusual.
    void cross_border(std::string &line) {
        line += "\"p\":\"";
        const size_t backslashes = 1 + below(4);
        line += std::string((128 - (line.size() + backslashes) % 64) % 64 + below(20) / 19, 'p');
        line += std::string(backslashes, '\\') + "\"";
        if (one_in(2)) line += std::string(70, 'p') + "\"";
        line += ",\"q\":\"" + std::string(70 + below(64), 'q') + "\",";
    }

    std::string json_line(const std::vector<std::string> &keys) {
        std::string line = "{";
        const size_t pairs = one_in(20) ? 300 : below(12);
        // Long ones reach what a place in the list can say.
        const size_t border = one_in(60) ? 65408 + below(140) - 70 : length();
        const size_t padded = below(pairs + 1);
        for (size_t i = 0; i < pairs; i++) {
            if (i) line += ',';
            if (i == padded && border > line.size() + 10)
                line += "\"p\":\"" + std::string(border - line.size() - 7, 'p') + "\",";
            if (one_in(30)) cross_border(line);
            std::string key = "\"" + any(keys) + "\"";
            if (!one_in(3)) key = one_in(6) ? json_string(8) : "\"k" + std::to_string(i) + "\"";
            if (one_in(60)) key = "\"\\u0061\"";
            line += key + ":" + json_value(3);
        }
        line += '}';
        static const std::vector<std::string> ends = {" ", "\r", "\t ", "  \r", "}", ",", "x", std::string(70, ' ')};
        if (one_in(8)) line += any(ends);
        return line;
    }

    void spoil(std::string &line) {
        static const std::string odd("\"\\{}[],: \r\t\0\x0c\x1a\x7f\xff" "0n\n", 19);
        for (size_t times = 1 + below(2); times && !line.empty(); times--) {
            const size_t at = below(line.size());
            switch (below(4)) {
            case 0:
                line[at] = odd[below(odd.size())];
                break;
            case 1:
                line.insert(at, 1, odd[below(odd.size())]);
                break;
            case 2:
                line.erase(at, 1 + below(3));
                break;
            default:
                line.resize(at);
            }
        }
    }

    std::mt19937_64 draw_;
};
