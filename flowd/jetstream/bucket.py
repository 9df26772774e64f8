"""Where cursors are stored: a key-value bucket of JetStream, a key for each consumer and what it reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowd.errors import Fenced
from flowd.jetstream.cursor import Cursor
from flowd.wire.jetstream import CURSORS, as_token

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

_KEY = re.compile(r"[^A-Za-z0-9_=-]")


class CursorBucket:
    """One consumer's cursor. Whoever opened it last may store: the revision shows whether that is still this one."""

    def __init__(self, jetstream: JetStreamContext, subject: str, name: str, incarnation: str, replicas: int) -> None:
        self._jetstream = jetstream
        self._key = f"{as_token(name).replace('~', '=')}.{_KEY.sub('=', subject)}"
        self._name = name
        self._incarnation = incarnation
        self._replicas = replicas
        self._bucket: KeyValue | None = None
        self._revision = 0

    async def open(self) -> Cursor | None:
        """Takes the cursor over, and returns it: None where there is none yet. Raises what the library raises, and
        WireError where something else is stored there."""
        from nats.js.errors import KeyNotFoundError

        self._bucket = await self._make_bucket()
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            return None
        cursor = Cursor.unpack(entry.value)
        self._revision = entry.revision or 0
        await self._put(cursor._replace(incarnation=self._incarnation))
        return cursor

    async def store(self, cursor: Cursor) -> None:
        """Raises Fenced where another consumer has opened the cursor since, and what the library raises."""
        await self._put(cursor)

    async def _put(self, cursor: Cursor) -> None:
        from nats.js.errors import KeyWrongLastSequenceError

        assert self._bucket is not None, "open comes first"
        try:
            self._revision = await self._bucket.update(self._key, cursor.pack(), last=self._revision)
        except KeyWrongLastSequenceError:
            await self._look_who(cursor)

    async def _look_who(self, cursor: Cursor) -> None:
        """Somebody has stored meanwhile: this consumer itself, where the answer was lost, or another."""
        assert self._bucket is not None
        entry = await self._bucket.get(self._key)
        if Cursor.unpack(entry.value).incarnation != self._incarnation:
            raise Fenced(
                f"another consumer named {self._name!r} reads the same",
                hint="give each consumer a name of its own",
            )
        self._revision = await self._bucket.update(self._key, cursor.pack(), last=entry.revision)

    async def _make_bucket(self) -> Any:
        from nats.js.api import KeyValueConfig
        from nats.js.errors import BucketNotFoundError

        try:
            return await self._jetstream.key_value(CURSORS)
        except BucketNotFoundError:
            return await self._jetstream.create_key_value(
                KeyValueConfig(bucket=CURSORS, history=1, replicas=self._replicas, description="cursors of flowd")
            )
