"""A strict Forward server in a process of its own, for the tests of the Forward sink: it writes each chunk into a file,
as a line of JSON, and acknowledges it then.

    python forward_receiver.py '{"listen": 0, "log": "chunks.jsonl"}'

It says its port on standard output. `listen` is a port of 127.0.0.1, 0 for any, or a unix socket's path; `ack` is
`each`, `never` (nothing is answered), `backwards` (four at a time, the last one first, and whatever is left after a
moment) or `nonsense`. `shared_key`, `users`, `hostname`, `keepalive` make it ask for a handshake; `certificate`, `key`,
`client_ca` for TLS; with `is_mute` it does not say why it refuses. What is against the protocol ends the process.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import secrets
import ssl
import struct
import sys
import traceback
from typing import Any

import msgpack

BACKWARDS = 4
MOMENT_S = 0.2


def digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def read_ext(code: int, data: bytes) -> list[int]:
    assert code == 0, f"extension {code}"
    return list(struct.unpack(">II", data))


def read_entries(entries: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, ext_hook=read_ext, max_buffer_size=1 << 28)
    unpacker.feed(entries)
    found = list(unpacker)
    assert unpacker.tell() == len(entries), "entries do not end with a record"
    for time, record in found:
        assert isinstance(time, list), time
        assert isinstance(record, dict), record
    return found


class Receiver:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.held: list[str] = []

    async def serve(self) -> None:
        listen = self.told["listen"]
        if isinstance(listen, str):
            server = await asyncio.start_unix_server(self.receive, listen)
            print(listen, flush=True)
        else:
            server = await asyncio.start_server(self.receive, "127.0.0.1", listen, ssl=self.tls())
            print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    def tls(self) -> ssl.SSLContext | None:
        if "certificate" not in self.told:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.told["certificate"], self.told["key"])
        if "client_ca" in self.told:
            context.load_verify_locations(self.told["client_ca"])
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 28)
        try:
            if "shared_key" in self.told and not await self.admit(reader, writer, unpacker):
                return
            while received := await reader.read(1 << 16):
                unpacker.feed(received)
                for message in unpacker:
                    self.take(message, writer)
                    if self.told.get("keepalive") is False:
                        await writer.drain()
                        return
        except OSError:
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(3)
        finally:
            writer.close()

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unpacker: Any) -> bool:
        key, users = self.told["shared_key"].encode(), self.told.get("users", {})
        nonce, auth = secrets.token_bytes(16), secrets.token_bytes(16) if users else b""
        keepalive = self.told.get("keepalive", True)
        writer.write(msgpack.packb(["HELO", {"nonce": nonce, "auth": auth, "keepalive": keepalive}]))
        ping = None
        while ping is None:
            received = await reader.read(1 << 16)
            if not received:
                return False
            unpacker.feed(received)
            ping = next(iter(unpacker), None)
        word, hostname, salt, key_digest, user, password_digest = ping
        assert word == "PING", word
        assert all(isinstance(said, str) for said in ping), "Fluent Bit takes texts only"
        name = self.told.get("hostname", "receiver").encode()
        why = ""
        if key_digest != digest(salt.encode(), hostname.encode(), nonce, key):
            why = "shared_key mismatch"
        elif users and password_digest != digest(auth, user.encode(), users.get(user, "").encode()):
            why = "username/password mismatch"
        if why and self.told.get("is_mute"):
            return False
        proof = (
            ""
            if why
            else digest(salt.encode(), name, nonce, self.told.get("answer_key", self.told["shared_key"]).encode())
        )
        writer.write(msgpack.packb(["PONG", not why, why, "" if why else name.decode(), proof]))
        await writer.drain()
        return not why

    def take(self, message: Any, writer: asyncio.StreamWriter) -> None:
        tag, entries, option = message
        assert isinstance(tag, str), tag
        assert isinstance(entries, bytes), type(entries)
        assert option.keys() <= {"chunk", "size", "compressed"}, option
        compressed = option.get("compressed", "text")
        records = read_entries(gzip.decompress(entries) if compressed == "gzip" else entries)
        assert option["size"] == len(records), (option["size"], len(records))
        chunk = {"chunk": option["chunk"], "tag": tag, "compressed": compressed, "records": records}
        with os.fdopen(os.dup(self.log), "a") as log:
            log.write(json.dumps(chunk) + "\n")
        if self.told.get("ack", "each") == "each":
            writer.write(msgpack.packb({"ack": option["chunk"]}))
        elif self.told["ack"] == "nonsense":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.told["ack"] == "backwards":
            self.held.append(option["chunk"])
            if len(self.held) >= BACKWARDS:
                self.acknowledge(writer)
            else:
                asyncio.get_running_loop().call_later(MOMENT_S, self.acknowledge, writer)

    def acknowledge(self, writer: asyncio.StreamWriter) -> None:
        while self.held:
            writer.write(msgpack.packb({"ack": self.held.pop()}))


if __name__ == "__main__":
    asyncio.run(Receiver(json.loads(sys.argv[1])).serve())
