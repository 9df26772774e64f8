// Steps between places one by one, for levels without wide registers. Included by scan_<level>.cpp.

struct PlaceStep {
    uint16_t n = 0;
    PlaceStep() = default;
    explicit PlaceStep(uint16_t step) : n(step) {}
    inline uint64_t find(const uint16_t *places) const {
        uint64_t found = 0;
        for (unsigned i = 0; i < 64; i++) {
            uint16_t step = static_cast<uint16_t>(places[i] - (places - 1)[i]);
            found |= static_cast<uint64_t>(step == n) << i;
        }
        return found;
    }
};
