// Networks (CIDR) on one field, all at once: one look-up for each prefix length that networks have, however many
// networks there are. Built once, then read by any number of threads.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "caches/value_table.hpp"

namespace flowd {

// An address as 16 bytes; IPv4 as the last four behind ::ffff:0:0/96, so that both ways to write one are the same.
struct Address {
    uint8_t bytes[16];
};

// Reads an address without a zone or a prefix. False where the text is none.
inline bool parse_address(const uint8_t *p, size_t n, Address *address) {
    char text[INET6_ADDRSTRLEN];
    if (n < 2 || n >= sizeof text) return false;
    std::memcpy(text, p, n);
    text[n] = 0;
    if (std::memchr(text, ':', n) != nullptr) return inet_pton(AF_INET6, text, address->bytes) == 1;
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    std::memcpy(address->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, address->bytes + 12) == 1;
}

class AddressIndex {
  public:
    // A network by its 16 bytes (bits behind the prefix are overlooked) and its prefix' length, 0 to 128. False where
    // memory runs out.
    bool add(const uint8_t *bytes, uint32_t prefix, uint32_t predicate) {
        try {
            Network network{{}, prefix, predicate, NONE};
            std::memcpy(network.address.bytes, bytes, sizeof network.address.bytes);
            clear_behind(&network.address, prefix);
            networks_.push_back(network);
            return true;
        } catch (const std::bad_alloc &) {
            return false;
        }
    }

    bool finish() {
        try {
            size_t room = 16;
            while (room < networks_.size() * 2) room *= 2;
            heads_.assign(room, NONE);
            for (size_t i = 0; i < networks_.size(); i++) {
                uint32_t &head = heads_[hash(networks_[i].address, networks_[i].prefix) & (room - 1)];
                networks_[i].next = head;
                head = static_cast<uint32_t>(i);
                add_prefix(networks_[i].prefix);
            }
            return true;
        } catch (const std::bad_alloc &) {
            return false;
        }
    }

    // Sets the state of every predicate that has a network with the address in the text.
    void mark(const uint8_t *text, size_t n, uint8_t *states, uint8_t state) const {
        Address address;
        if (!parse_address(text, n, &address)) return;
        for (uint32_t prefix : prefixes_) {
            clear_behind(&address, prefix);  // longest first, so that what is cleared stays cleared
            uint32_t at = heads_[hash(address, prefix) & (heads_.size() - 1)];
            for (; at != NONE; at = networks_[at].next) {
                const Network &network = networks_[at];
                if (network.prefix == prefix &&
                    std::memcmp(network.address.bytes, address.bytes, sizeof address.bytes) == 0)
                    states[network.predicate] = state;
            }
        }
    }

  private:
    static constexpr uint32_t NONE = 0xFFFFFFFFu;

    struct Network {
        Address address;
        uint32_t prefix;
        uint32_t predicate;
        uint32_t next;
    };

    static void clear_behind(Address *address, uint32_t prefix) {
        for (uint32_t i = (prefix + 7) / 8; i < sizeof address->bytes; i++) address->bytes[i] = 0;
        if (prefix % 8) address->bytes[prefix / 8] &= static_cast<uint8_t>(0xFF00u >> (prefix % 8));
    }

    static uint64_t hash(const Address &address, uint32_t prefix) {
        const HashSeeds &seeds = hash_seeds();
        return mix(load_word(address.bytes) ^ seeds.s[0], load_word(address.bytes + 8) ^ seeds.s[1] ^ prefix);
    }

    void add_prefix(uint32_t prefix) {
        size_t at = 0;
        while (at < prefixes_.size() && prefixes_[at] > prefix) at++;
        if (at == prefixes_.size() || prefixes_[at] != prefix)
            prefixes_.insert(prefixes_.begin() + static_cast<std::ptrdiff_t>(at), prefix);
    }

    std::vector<Network> networks_;
    std::vector<uint32_t> heads_;
    std::vector<uint32_t> prefixes_;  // that occur, longest first
};

}  // namespace flowd
