"""Metrics of the API service."""

from vms.api.projection import CameraProjection
from vms.api.status import StatusMirror
from vms.bus.client import Bus
from vms.common.camera import CameraState
from vms.telemetry.metrics import Metric, MetricKind, MetricsRegistry, counter, gauge, labelled


def api_metrics(bus: Bus, statuses: StatusMirror, projection: CameraProjection) -> MetricsRegistry:
    """A registry that asks these parts when it is scraped."""

    def source() -> list[Metric]:
        return [
            labelled(
                MetricKind.GAUGE,
                "vms_api_cameras",
                "Cameras that a worker reports on, by state",
                label="state",
                values={state.value: 0.0 for state in CameraState} | statuses.counts(),
            ),
            gauge("vms_api_bus_connected", "1 while connected to the message bus", float(bus.connected)),
            gauge("vms_api_projection_behind", "1 while desired state is not passed on", float(bool(projection.error))),
            counter("vms_api_reconciliations_total", "Comparisons of KV and database", projection.reconciled_total),
            counter("vms_api_invalid_statuses_total", "Camera states that could not be read", statuses.invalid_total),
        ]

    registry = MetricsRegistry()
    registry.add(source)
    return registry
