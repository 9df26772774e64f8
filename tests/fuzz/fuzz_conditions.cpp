// Addresses and numbers as flowd's own conditions read them, and a sample's choice, on anything at all.
#include "matching/address_index.hpp"
#include "fuzz.hpp"
#include "values/number.hpp"
#include "sampling.hpp"

using namespace flowd;

void fuzz_one(const uint8_t *from, size_t n) {
    static AddressIndex *index = nullptr;
    if (index == nullptr) {
        index = new AddressIndex();
        const uint8_t zeros[16] = {};
        const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 2, 3};
        FUZZ_CHECK(index->add(zeros, 0, 0) && index->add(mapped, 96, 1) && index->add(mapped, 128, 2) && index->finish());
    }
    std::vector<uint8_t> copy = exact_copy(from, n);
    const uint8_t *p = copy.data();
    uint8_t states[3] = {0, 0, 0};
    index->mark(p, n, states, 1);
    Address address;
    FUZZ_CHECK((states[0] == 1) == parse_address(p, n, &address));
    FUZZ_CHECK(states[0] >= states[1] && states[1] >= states[2]);
    Number number;
    if (parse_number(p, n, &number)) {
        Bound low{number, LESS}, lowest{number, LESS_OR_EQUAL}, high{number, GREATER}, highest{number, GREATER_OR_EQUAL};
        FUZZ_CHECK(!holds(number, low) && holds(number, lowest) && !holds(number, high) && holds(number, highest));
    }
    FUZZ_CHECK(is_in_sample(p, n, 7, 1));
    FUZZ_CHECK(is_in_sample(p, n, 7, 1000) == is_in_sample(p, n, 7, 1000));
}
