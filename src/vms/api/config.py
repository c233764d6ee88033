"""Settings of the API service."""

from typing import Annotated

from pydantic import Field

from vms.common.settings import SettingsModel


class ApiSettings(SettingsModel):
    """Section ``api`` of the configuration. Times in seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9095
    # Names beside localhost that requests may use for this service, such as vms.example.lan.
    allowed_hosts: tuple[str, ...] = ()
    # Origins of other sites whose pages may call the API, such as https://wall.example.lan.
    cors_origins: tuple[str, ...] = ()
    # There are no users yet: whoever reaches another address than loopback may watch and delete everything.
    allow_insecure_network: bool = False
    # Where browsers find the storage service; absent: the name they used for the API, and storage_port.
    storage_url: str | None = None
    storage_port: Annotated[int, Field(ge=1, le=65535)] = 9092
    storage_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    probe_timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0
    # How often desired state in KV is compared with the database, beside after each reconnection.
    reconcile_interval_s: Annotated[float, Field(ge=1)] = 300.0
    # A camera whose worker has been silent this long is shown as offline.
    status_timeout_s: Annotated[float, Field(ge=1)] = 35.0
