"""Settings of the storage service."""

from typing import Annotated

from pydantic import Field

from vms.common.settings import SettingsModel
from vms.common.volumes import VolumeSettings


class StorageSettings(SettingsModel):
    """Section ``storage`` of the configuration. Times in seconds unless the name says otherwise, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9092
    # Names beside localhost that requests may use for this service, such as vms.example.lan.
    allowed_hosts: tuple[str, ...] = ()
    # Origins whose pages may read recordings, beside the API's own page.
    cors_origins: tuple[str, ...] = ()
    # There are no users yet: whoever reaches another address than loopback may watch everything.
    allow_insecure_network: bool = False
    # Port of the API, whose page plays recordings from here.
    api_port: Annotated[int, Field(ge=1, le=65535)] = 9095
    # Directories that hold recordings, usually one per disk; empty: one named "main" in the data directory.
    volumes: tuple[VolumeSettings, ...] = ()
    # For cameras that are not configured any more; the others have their own.
    retention_default_days: Annotated[float, Field(gt=0, le=36500)] = 30
    retention_interval_s: Annotated[float, Field(gt=0)] = 86_400
    # Before the first deletion by age: long enough for the API to pass on the configuration of every camera.
    retention_first_s: Annotated[float, Field(ge=0)] = 600
    pressure_interval_s: Annotated[float, Field(gt=0)] = 60
    # Compare the catalogue with the disk at every start.
    reconcile: bool = True
    # Write checksum_{HH}.sha256 for closed files.
    checksums: bool = True
    max_playlist_s: Annotated[int, Field(ge=60)] = 86_400
    max_clip_s: Annotated[int, Field(ge=1)] = 2 * 3600
    # Threads for file work.
    file_threads: Annotated[int, Field(ge=1, le=64)] = 8
    # Of the files of `sink: bus` cameras; less than an hour is for tests.
    rotation_s: Annotated[int, Field(ge=1, le=3600)] = 3600
    queue_max_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20
