import pytest
from tests.support.http import http_client

from vms.common.camera import CameraState, CameraStatus
from vms.common.types import CameraId
from vms.ingest.endpoints import IngestChecks, create_app
from vms.telemetry.metrics import MetricsRegistry, gauge
from vms.web.access import AccessPolicy

ONLINE = CameraStatus(camera_id=CameraId("cam1"), state=CameraState.ONLINE, since_us=7)


@pytest.mark.parametrize(
    ("recording", "bus", "cameras", "status", "code"),
    [
        (None, None, None, "ok", 200),
        (None, "not connected", None, "degraded", 200),
        (None, None, "not online: cam1", "degraded", 200),
        ("No space left on device", None, None, "failed", 503),
    ],
)
async def test_health_fails_only_when_recording_does(
    recording: str | None, bus: str | None, cameras: str | None, status: str, code: int
) -> None:
    checks = IngestChecks(recording=lambda: recording, bus=lambda: bus, cameras=lambda: cameras)
    app = create_app(MetricsRegistry(), checks=checks, statuses=list, policy=AccessPolicy())
    async with http_client(app, 9091) as client:
        reply = await client.get("/health")
        assert (reply.status_code, reply.json()["status"], reply.json()["service"]) == (code, status, "ingest")
        assert reply.json()["checks"]["recording"] == (recording or "ok")


async def test_metrics_and_status_are_served_and_strangers_are_refused() -> None:
    registry = MetricsRegistry()
    registry.add(lambda: [gauge("vms_answer", "The answer", 42)])
    checks = IngestChecks(recording=lambda: None, bus=lambda: None, cameras=lambda: None)
    app = create_app(registry, checks=checks, statuses=lambda: [ONLINE], policy=AccessPolicy())
    async with http_client(app, 9091) as client:
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "vms_answer 42.0" in metrics.text
        (status,) = (await client.get("/status")).json()
        assert CameraStatus.model_validate(status) == ONLINE
        assert (await client.get("/status", headers={"Host": "evil.example"})).status_code == 403
        missing = await client.get("/nothing")
        assert missing.headers["content-type"] == "application/problem+json"
