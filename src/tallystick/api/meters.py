"""What an operator's Prometheus reads: a registry of our own, filled at the moment of asking.

Label values are route templates, phases and status codes: bounded sets, never what a caller sent.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEDIA_TYPE: Final = "text/plain; version=0.0.4"
BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What stands at one moment."""

    entries: int
    blocks: int
    queue: int
    phases: Tally[str]
    workers: int
    lines: int
    anchors: int
    uploads: int


class _Standing(Collector):
    """Asks for the gauges at every scrape."""

    def __init__(self, look: Callable[[], Gauges]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        seen = self._look()
        yield GaugeMetricFamily("tallystick_log_entries", "Durable entries of the log.", seen.entries)
        yield GaugeMetricFamily("tallystick_log_blocks", "Blocks of the log.", seen.blocks)
        yield GaugeMetricFamily("tallystick_ledger_queue", "Submissions that wait for a block.", seen.queue)
        yield GaugeMetricFamily("tallystick_workers_connected", "Workers with an open line.", seen.workers)
        yield GaugeMetricFamily("tallystick_open_lines", "Open sockets and event streams.", seen.lines)
        yield GaugeMetricFamily("tallystick_anchors", "Checkpoints anchored on a chain.", seen.anchors)
        yield GaugeMetricFamily("tallystick_uploads_open", "Uploads that are not complete.", seen.uploads)
        jobs = GaugeMetricFamily("tallystick_jobs", "Orders by where they are.", labels=["state"])
        for state, count in sorted(seen.phases.items()):
            jobs.add_metric([state], count)
        yield jobs


class Meters:
    """The registry and what is counted as it happens."""

    def __init__(self, look: Callable[[], Gauges]) -> None:
        """Begin at zero; ``look`` tells what stands, in the thread that renders."""
        self._registry = CollectorRegistry()
        self._registry.register(_Standing(look))
        self._requests = Histogram(
            "tallystick_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._uploaded = Counter("tallystick_uploaded_bytes", "Bytes that came in by uploads.", registry=self._registry)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def uploaded(self, size: int) -> None:
        """Count bytes that were written."""
        self._uploaded.inc(size)

    def render(self) -> bytes:
        """Return the text format."""
        return generate_latest(self._registry)
