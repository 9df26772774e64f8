// The seeds of all hashes of this process, drawn once when it is loaded.
#include <random>

#include "caches/value_table.hpp"

namespace flowd {

namespace {

HashSeeds draw_seeds() {
    HashSeeds seeds;
    std::random_device device;
    for (uint64_t &seed : seeds.s) seed = (static_cast<uint64_t>(device()) << 32 | device()) | 1;
    return seeds;
}

}  // namespace

const HashSeeds drawn_seeds = draw_seeds();

}  // namespace flowd
