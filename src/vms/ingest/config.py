"""Settings of the ingest service."""

from typing import Annotated

from pydantic import Field

from vms.common.settings import SettingsModel


class IngestSettings(SettingsModel):
    """Section ``ingest`` of the configuration. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9091
    # Names beside localhost that requests may use for this service, such as vms.example.lan.
    allowed_hosts: tuple[str, ...] = ()
    # There are no users yet: whoever reaches another address than loopback sees every camera's state.
    allow_insecure_network: bool = False
    worker: str | None = None  # name of this worker in leases; made once per data directory when absent
    tick_s: Annotated[float, Field(gt=0, le=0.1)] = 0.005  # poll interval of the media sockets
    ring_s: Annotated[float, Field(ge=1, le=120)] = 8.0
    ring_max_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20  # per stream; a longer GOP is cut
    fragment_s: Annotated[float, Field(gt=0, le=1.0)] = 1.0
    rotation_s: Annotated[int, Field(ge=1, le=3600)] = 3600  # less than an hour is for tests
    sync_interval_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    queue_max_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20  # per volume, waiting for its writer thread
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    stall_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    retry_first_s: Annotated[float, Field(gt=0)] = 0.5
    retry_limit_s: Annotated[float, Field(gt=0)] = 30.0
    retry_recent_limit_s: Annotated[float, Field(gt=0)] = 4.0  # while the camera was online in the last two minutes
    status_interval_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    lease_ttl_s: Annotated[float, Field(gt=1)] = 10.0
