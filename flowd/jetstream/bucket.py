"""Where cursors are stored: a key-value bucket of JetStream, a key for each consumer and what it reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowd.errors import Fenced
from flowd.jetstream.cursor import Cursor
from flowd.wire.jetstream import CURSORS, as_token

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

ATTEMPTS = 4
"""How often a cursor is stored at once, where it or its bucket has changed meanwhile."""
_KEY = re.compile(r"[^A-Za-z0-9_=-]")


class CursorBucket:
    """One consumer's cursor. Whoever opened it last may store: the revision shows whether that is still this one."""

    def __init__(self, subject: str, name: str, incarnation: str, replicas: int) -> None:
        self._key = f"{as_token(name).replace('~', '=')}.{_KEY.sub('=', subject)}"
        self._name = name
        self._incarnation = incarnation
        self._replicas = replicas
        self._jetstream: JetStreamContext | None = None
        self._bucket: KeyValue | None = None
        self._revision = 0

    def use(self, jetstream: JetStreamContext) -> None:
        """By this connection from now on."""
        self._jetstream, self._bucket = jetstream, None

    async def open(self) -> Cursor | None:
        """Returns the cursor: None where there is none yet. What is stored next takes it over. Raises what the library
        raises, and WireError where something else is stored there."""
        value, self._revision = await self._look()
        return None if value is None else Cursor.unpack(value)

    async def store(self, cursor: Cursor) -> None:
        """Raises Fenced where another consumer has opened the cursor since, and what the library raises."""
        from nats.js.errors import KeyWrongLastSequenceError, NoStreamResponseError

        for _ in range(ATTEMPTS):
            bucket = self._bucket or await self._make_bucket()
            try:
                self._revision = await bucket.update(self._key, cursor.pack(), last=self._revision)
            except KeyWrongLastSequenceError:
                await self._look_who()
            except NoStreamResponseError:
                self._bucket, self._revision = None, 0  # the bucket was deleted, or has no leader now
            else:
                return
        raise TimeoutError("the bucket of cursors changes all the time")

    async def _look_who(self) -> None:
        """Somebody has stored meanwhile: this consumer itself, where the answer was lost, or another. One that is
        deleted is made anew."""
        value, self._revision = await self._look()
        if value is not None and Cursor.unpack(value).incarnation != self._incarnation:
            raise Fenced(
                f"another consumer named {self._name!r} reads the same",
                hint="give each consumer a name of its own",
            )

    async def _look(self) -> tuple[bytes | None, int]:
        """What is stored, None where nothing is, and its revision."""
        from nats.js.errors import KeyNotFoundError

        bucket = self._bucket or await self._make_bucket()
        try:
            entry = await bucket.get(self._key)
        except KeyNotFoundError as error:
            deleted = error.entry
            return None, (deleted.revision or 0) if deleted is not None else 0
        return entry.value or b"", entry.revision or 0

    async def _make_bucket(self) -> KeyValue:
        from nats.js.api import KeyValueConfig
        from nats.js.errors import BucketNotFoundError

        assert self._jetstream is not None, "use comes first"
        try:
            self._bucket = await self._jetstream.key_value(CURSORS)
        except BucketNotFoundError:
            self._bucket = await self._jetstream.create_key_value(
                KeyValueConfig(bucket=CURSORS, history=1, replicas=self._replicas, description="cursors of flowd")
            )
        return self._bucket
