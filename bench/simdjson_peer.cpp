// What is compared with flowd's JSON lines: simdjson's On-Demand parser, stopped at the two wanted keys of each line.
//
//     simdjson_peer FILE     reads `lines` or `many` from standard input, walks once, answers SECONDS KEPT
//
// `lines` gives each line to the parser alone, `many` lets it find the documents of a batch itself. Keys are looked up in
// the order in which Calico writes them, which is the fastest way that On-Demand has. Built by bench/json_peer.py on the
// spot, never shipped.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

#include <simdjson.h>

using namespace simdjson;

static constexpr size_t BATCH_BYTES = 1 << 20;

static bool is_kept(ondemand::object object) {
    std::string_view source, dest;
    if (object.find_field("source_namespace").get_string().get(source) == SUCCESS &&
        source.find("dev") != std::string_view::npos)
        return false;
    if (object.find_field("dest_namespace").get_string().get(dest) == SUCCESS &&
        dest.find("dev") != std::string_view::npos)
        return false;
    return true;
}

static size_t walk_lines(ondemand::parser &parser, const char *text, size_t size) {
    size_t kept = 0;
    const char *end = text + size;
    for (const char *line = text; line < end;) {
        const char *newline = static_cast<const char *>(memchr(line, '\n', size_t(end - line)));
        const size_t length = size_t(newline - line);
        const padded_string_view padded(line, length, length + SIMDJSON_PADDING + size_t(end - newline));
        ondemand::document document;
        ondemand::object object;
        if (parser.iterate(padded).get(document) == SUCCESS && document.get_object().get(object) == SUCCESS)
            kept += is_kept(object);
        line = newline + 1;
    }
    return kept;
}

static size_t walk_many(ondemand::parser &parser, const char *text, size_t size) {
    size_t kept = 0;
    ondemand::document_stream stream;
    if (parser.iterate_many(text, size, BATCH_BYTES).get(stream) != SUCCESS) return 0;
    for (auto found : stream) {
        ondemand::object object;
        if (found.get_object().get(object) == SUCCESS) kept += is_kept(object);
    }
    return kept;
}

int main(int argc, char **argv) {
    padded_string text;
    if (argc != 2 || padded_string::load(argv[1]).get(text) != SUCCESS) {
        fprintf(stderr, "usage: simdjson_peer FILE\n");
        return 2;
    }
    ondemand::parser parser;
    printf("%d.%d.%d %s\n", SIMDJSON_VERSION_MAJOR, SIMDJSON_VERSION_MINOR, SIMDJSON_VERSION_REVISION, get_active_implementation()->name().c_str());
    fflush(stdout);
    for (std::string way; std::cin >> way;) {
        const auto began = std::chrono::steady_clock::now();
        const size_t kept = (way == "many" ? walk_many : walk_lines)(parser, text.data(), text.size());
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        printf("%.9f %zu\n", took.count(), kept);
        fflush(stdout);
    }
    return 0;
}
