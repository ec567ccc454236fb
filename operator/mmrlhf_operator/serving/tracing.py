"""Sends spans to an OpenTelemetry collector, by OTLP over HTTP.

Spans wait in memory, few of them, and are sent in a thread: a collector that is slow or away costs
traces alone. What could not be sent is counted, and logged once until something could be again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import islice
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from mmrlhf_operator.planning.spans import Span

__all__ = ["SpanSender", "otlp_exporter", "readable"]

_LOG = logging.getLogger(__name__)
_SERVICE: Final = "mmrlhf-operator"
_PATH: Final = "/v1/traces"
_MOST: Final = 8192
"""Spans that wait at most: those of some dozens of jobs with a hundred pods each."""
_AT_ONCE: Final = 512
_PAUSE_SECONDS: Final = 1.0
"""What ends within it is sent together."""
_FAREWELL_SECONDS: Final = 5.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def otlp_exporter(url: str) -> SpanExporter:
    """Return what sends spans to a collector.

    Args:
        url: Of the collector, without the path of traces.
    """
    # Its own words about failures may come with each batch, and have the server's answer in them.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter(endpoint=url.rstrip("/").removesuffix(_PATH) + _PATH)


class SpanSender:
    """Keeps spans until they are sent.

    Args:
        exporter: Sends them.
        count: Told how many were sent, failed or were dropped.
        most: How many may wait.
        pause: Seconds between two batches.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        count: Callable[[str, int], None],
        most: int = _MOST,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        self._exporter = exporter
        self._count = count
        self._most = most
        self._pause = pause
        self._waiting: deque[Span] = deque()
        self._resource = Resource.create(
            {"service.name": _SERVICE, "service.version": version("mmrlhf")}
        )
        self._troubled = False

    def tell(self, spans: Sequence[Span]) -> None:
        """Take spans; those for which there is no room are dropped, and counted."""
        room = max(0, self._most - len(self._waiting))
        self._waiting.extend(spans[:room])
        if len(spans) > room:
            self._count("dropped", len(spans) - room)

    async def run(self) -> None:
        """Send until cancelled, and then what is left, for some seconds at most."""
        try:
            while True:
                await asyncio.sleep(self._pause)
                while self._waiting:
                    await self._send()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while self._waiting:
                    await self._send()
        except TimeoutError:
            self._count("dropped", len(self._waiting))
        self._exporter.shutdown()

    async def _send(self) -> None:
        batch = list(islice(self._waiting, _AT_ONCE))
        made = [readable(span, self._resource) for span in batch]
        result = await asyncio.to_thread(self._export, made)
        for _ in batch:
            self._waiting.popleft()
        self._count("sent" if result else "failed", len(batch))
        if self._troubled and result:
            _LOG.info("traces are sent again")
        elif not self._troubled and not result:
            _LOG.warning("traces are lost: the collector of tracingUrl does not take them")
        self._troubled = not result

    def _export(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - a library's; no trace is worth an operator
            return False


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span as the library has it."""
    trace = int(span.trace, 16)
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = None if span.parent is None else int(span.parent, 16)
    failed = span.failure is not None
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace, int(span.id, 16), is_remote=False, trace_flags=flags),
        parent=None
        if parent is None
        else SpanContext(trace, parent, is_remote=True, trace_flags=flags),
        resource=resource,
        attributes=dict(span.attributes),
        status=Status(StatusCode.ERROR, span.failure) if failed else Status(StatusCode.UNSET),
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=InstrumentationScope("mmrlhf_operator", version("mmrlhf")),
    )


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
