"""Metrics, collected when they are scraped: hot paths only add to plain integers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as VendorMetric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class MetricKind(StrEnum):
    """Prometheus types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: name with unit suffix, meaning, and its samples by label values.

    ``labels`` names the labels, bounded sets only (cameras, volumes, causes; never session ids).
    """

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()
    samples: Sequence[tuple[tuple[str, ...], float]] = field(default_factory=tuple)


Source = Callable[[], Iterable[Metric]]


def gauge(name: str, meaning: str, value: float) -> Metric:
    """A gauge without labels."""
    return Metric(name, MetricKind.GAUGE, meaning, (), (((), value),))


def counter(name: str, meaning: str, value: float) -> Metric:
    """A counter without labels; ``name`` ends in ``_total``."""
    return Metric(name, MetricKind.COUNTER, meaning, (), (((), value),))


def labelled(kind: MetricKind, name: str, meaning: str, *, label: str, values: Mapping[str, float]) -> Metric:
    """A family with one label."""
    return Metric(name, kind, meaning, (label,), [((key,), value) for key, value in values.items()])


class MetricsRegistry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def add(self, source: Source) -> None:
        """Ask ``source`` for its metrics at each scrape."""
        self._registry.register(_SourceCollector(source))

    def render(self) -> bytes:
        """Text exposition format of everything."""
        return generate_latest(self._registry)


class _SourceCollector(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterable[VendorMetric]:
        return ()  # names are not known before the first scrape

    def collect(self) -> Iterator[VendorMetric]:
        for metric in self._source():
            family = (
                CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
                if metric.kind is MetricKind.COUNTER
                else GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            )
            for values, value in metric.samples:
                family.add_metric(list(values), value)
            yield family
