"""The Forward sink, as the daemon runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowd.sinks.forward.delivery import Delivery
from flowd.sinks.forward.settings import ForwardSettings
from flowd.sinks.sink import Feed, Report


class ForwardSink:
    """Carries its feeds to Forward servers. Each batch reaches one of them at least once; see flowd.sinks.sink.Sink."""

    def __init__(self, settings: ForwardSettings) -> None:
        self._settings = settings
        self._delivery: Delivery | None = None

    async def run(self, feeds: Sequence[Feed], report: Report) -> None:
        """Delivers until the feeds have ended."""
        self._delivery = Delivery(self._settings, feeds, report)
        try:
            await self._delivery.run()
        finally:
            self._delivery = None

    def describe(self) -> dict[str, Any]:
        """More of how it is, for the status."""
        delivery = self._delivery
        return delivery.describe() if delivery is not None else {}
