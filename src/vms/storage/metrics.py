"""Metrics of the storage service."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vms.bus.client import Bus
from vms.storage.catalogue import Catalogue
from vms.storage.checksums import ChecksumWriter
from vms.storage.keeper import Keeper
from vms.storage.sink import BusSink
from vms.telemetry.metrics import Metric, MetricKind, MetricsRegistry, counter, gauge, labelled


@dataclass
class StorageFigures:
    """Numbers that have to be asked for, taken just before a scrape."""

    files: Mapping[str, float] = field(default_factory=dict)
    size_bytes: Mapping[str, float] = field(default_factory=dict)
    free_bytes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageParts:
    """What counts."""

    bus: Bus
    catalogue: Catalogue
    keeper: Keeper
    sink: BusSink
    checksums: ChecksumWriter


def storage_metrics(parts: StorageParts, figures: StorageFigures) -> MetricsRegistry:
    """A registry that asks these parts when it is scraped."""

    def by_volume(name: str, meaning: str, values: Mapping[str, float]) -> Metric:
        return labelled(MetricKind.GAUGE, name, meaning, label="volume", values=values)

    def source() -> list[Metric]:
        catalogue, keeper, sink, checksums = parts.catalogue, parts.keeper, parts.sink, parts.checksums
        return [
            by_volume("vms_storage_recordings", "Catalogued files", figures.files),
            by_volume("vms_storage_recordings_bytes", "Size of catalogued files", figures.size_bytes),
            by_volume("vms_storage_free_bytes", "Free space, as an ordinary process may use it", figures.free_bytes),
            gauge("vms_storage_bus_connected", "1 while connected to the message bus", float(parts.bus.connected)),
            gauge(
                "vms_storage_catalogue_lag_seconds", "Age of the last frame announced, when catalogued", catalogue.lag_s
            ),
            counter("vms_storage_announcements_total", "Announcements catalogued", catalogue.applied_total),
            counter("vms_storage_announcements_failed_total", "Tries that failed", catalogue.failed_total),
            counter("vms_storage_announcements_skipped_total", "Files gone before catalogued", catalogue.skipped_total),
            labelled(
                MetricKind.COUNTER,
                "vms_storage_deletions_total",
                "Recordings deleted, by reason",
                label="reason",
                values=keeper.deleted_total,
            ),
            counter("vms_storage_deletions_failed_total", "Deletions that failed", keeper.failed_total),
            counter("vms_storage_sink_fragments_total", "Fragments from the bus written", sink.written_total),
            counter("vms_storage_sink_duplicates_total", "Fragments that came again", sink.duplicates_total),
            counter("vms_storage_sink_failed_total", "Fragments that could not be written at a try", sink.failed_total),
            counter("vms_storage_checksums_total", "Files whose checksum was written", checksums.written_total),
            counter("vms_storage_checksums_failed_total", "Checksums that failed", checksums.failed_total),
            gauge("vms_storage_checksums_waiting", "Files that wait for their checksum", checksums.waiting),
        ]

    registry = MetricsRegistry()
    registry.add(source)
    return registry
