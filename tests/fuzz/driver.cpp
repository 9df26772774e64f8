// Feeds a fuzz target without libFuzzer: mutated samples, from a seed, for a number of seconds.
// Usage: <target> SECONDS SEED SAMPLE...
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz.hpp"

namespace {

using Input = std::vector<uint8_t>;

std::vector<Input> read_lines(int count, char **paths) {
    std::vector<Input> lines;
    for (int i = 0; i < count; i++) {
        std::ifstream file(paths[i], std::ios::binary);
        Input all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        Input line;
        for (uint8_t c : all) {
            line.push_back(c);
            if (c == '\n') {
                lines.push_back(line);
                line.clear();
            }
        }
        if (!line.empty()) lines.push_back(line);
    }
    if (lines.empty()) lines.push_back({'{', '}'});
    return lines;
}

void mutate(Input &input, const std::vector<Input> &lines, std::mt19937_64 &draw) {
    static const char odd[] = "\"\\{}[],: \n\r\t\0\x1f\x7f\x80\xbf\xc3\xe2\xf0\xffu0n-.e5*";
    auto below = [&](size_t n) { return n ? static_cast<size_t>(draw() % n) : 0; };
    for (size_t times = 1 + below(6); times; times--) {
        size_t at = below(input.size());
        switch (below(7)) {
        case 0:
            if (!input.empty()) input[at] = static_cast<uint8_t>(odd[below(sizeof odd - 1)]);
            break;
        case 1:
            input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), static_cast<uint8_t>(odd[below(sizeof odd - 1)]));
            break;
        case 2:
            if (!input.empty()) input.erase(input.begin() + static_cast<std::ptrdiff_t>(at));
            break;
        case 3:
            input.resize(at);
            break;
        case 4: {
            const Input &other = lines[below(lines.size())];
            input.insert(input.end(), other.begin(), other.end());
            break;
        }
        case 5: {  // a piece of itself again
            size_t n = below(input.size() - at);
            Input piece(input.begin() + static_cast<std::ptrdiff_t>(at), input.begin() + static_cast<std::ptrdiff_t>(at + n));
            input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size())), piece.begin(), piece.end());
            break;
        }
        default:
            if (!input.empty()) input[at] = static_cast<uint8_t>(draw());
        }
    }
    if (input.size() > 20000) input.resize(20000);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s SECONDS SEED SAMPLE...\n", argv[0]);
        return 2;
    }
    std::mt19937_64 draw(std::strtoull(argv[2], nullptr, 10));
    std::vector<Input> lines = read_lines(argc - 3, argv + 3);
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
    uint64_t count = 0;
    for (; std::chrono::steady_clock::now() < end; count++) {
        Input input = lines[draw() % lines.size()];
        if (count >= lines.size()) mutate(input, lines, draw);
        fuzz_one(input.data(), input.size());
    }
    std::printf("%s: %llu inputs, nothing found\n", argv[0], static_cast<unsigned long long>(count));
    return 0;
}
