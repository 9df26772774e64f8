/* A durable consumer of flowd's journal in C: libzmq and msgpack-c, nothing of flowd.
 *
 *     cc -o consumer consumer.c -lzmq -lmsgpackc      (Debian: libzmq3-dev libmsgpack-dev)
 *     ./consumer ipc:///run/flowd/consume.sock siem flows 3
 *
 * Writes the kept lines of a stream to standard output, from the cursor of the name given, and commits each batch after
 * it is written: whatever ends it, it goes on behind the last one. Ends after so many batches, if a number is given. What
 * was lost before it could be read is said on standard error.
 */
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { ERR = 6, ATTACH = 32, ATTACHED, BATCH, CREDIT, COMMIT, COMMITTED, GONE, GONE_OK, CAUGHT_UP, FENCED };
enum { WINDOW_BYTES = 4 << 20, WINDOW_BATCHES = 16 };

static void *sock;
static msgpack_sbuffer out;
static msgpack_packer pk;

static void put_key(const char *key) {
    msgpack_pack_str_with_body(&pk, key, strlen(key));
}

static void begin(size_t keys) {
    msgpack_sbuffer_clear(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, keys);
}

static void put_number(const char *key, uint64_t value) {
    put_key(key);
    msgpack_pack_uint64(&pk, value);
}

static void put_text(const char *key, const char *value) {
    put_key(key);
    put_key(value);
}

static void say(int type) {
    const unsigned char head[8] = {'F', 'L', 'W', 1, (unsigned char) type, 0, 0, 0};
    zmq_send(sock, head, sizeof head, ZMQ_SNDMORE);
    zmq_send(sock, out.data, out.size, 0);
}

static const msgpack_object *find(const msgpack_object *map, const char *key) {
    for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        if (pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == strlen(key)
            && !memcmp(pair->key.via.str.ptr, key, strlen(key)))
            return &pair->val;
    }
    return NULL;
}

static uint64_t number(const msgpack_object *map, const char *key) {
    const msgpack_object *value = find(map, key);
    return value && value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? value->via.u64 : 0;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s ENDPOINT NAME STREAM [BATCHES]\n", argv[0]);
        return 2;
    }
    long left = argc > 4 ? atol(argv[4]) : -1;
    uint64_t generation = 0;
    void *context = zmq_ctx_new();
    sock = zmq_socket(context, ZMQ_DEALER);
    const int linger = 1000;
    zmq_setsockopt(sock, ZMQ_LINGER, &linger, sizeof linger);
    msgpack_sbuffer_init(&out);
    if (zmq_connect(sock, argv[1])) {
        fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(zmq_errno()));
        return 1;
    }
    begin(4);
    put_text("c", argv[2]);
    put_text("st", argv[3]);
    put_number("cb", WINDOW_BYTES);
    put_number("cm", WINDOW_BATCHES);
    say(ATTACH);
    while (left) {
        zmq_msg_t frames[3];
        int n = 0, more = 1;
        for (; more && n < 3; n++) {
            zmq_msg_init(&frames[n]);
            if (zmq_msg_recv(&frames[n], sock, 0) < 0)
                return 1;
            more = zmq_msg_more(&frames[n]);
        }
        const unsigned char *head = zmq_msg_data(&frames[0]);
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        if (n < 2 || more || zmq_msg_size(&frames[0]) != 8 || memcmp(head, "FLW\1", 4)
            || msgpack_unpack_next(&unpacked, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), NULL)
                   != MSGPACK_UNPACK_SUCCESS) {
            fprintf(stderr, "not FLW/1\n");
            return 1;
        }
        const msgpack_object *header = &unpacked.data;
        size_t size = n == 3 ? zmq_msg_size(&frames[2]) : 0;
        switch (head[4]) {
        case ATTACHED:
            generation = number(header, "gen");
            break;
        case BATCH:
            if (size && (fwrite(zmq_msg_data(&frames[2]), 1, size, stdout) != size || fflush(stdout)))
                return 1;
            begin(2);
            put_number("q", number(header, "q"));
            put_number("gen", generation);
            say(COMMIT);
            begin(2);
            put_number("cb", size);
            put_number("cm", 1);
            say(CREDIT);
            break;
        case COMMITTED:
            left -= left > 0;
            break;
        case GONE: {
            const msgpack_object *lost = find(header, "lost");
            if (lost && lost->type == MSGPACK_OBJECT_ARRAY && lost->via.array.size == 2)
                fprintf(stderr, "lost %llu lines\n", (unsigned long long) lost->via.array.ptr[1].via.u64);
            begin(0);
            say(GONE_OK);
            break;
        }
        case ERR:
        case FENCED:
            fprintf(stderr, "the daemon ended the conversation\n");
            return 1;
        }
        msgpack_unpacked_destroy(&unpacked);
        for (int i = 0; i < n; i++)
            zmq_msg_close(&frames[i]);
    }
    zmq_close(sock);
    zmq_ctx_term(context);
    return 0;
}
