"""Volumes: named directories, usually one per disk, that recordings live on."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, field_validator

from vms.common.settings import SettingsModel, Sources

DEFAULT_VOLUME: Final = "main"


class VolumeSettings(SettingsModel):
    """One volume. ``min_free_bytes`` is the floor below which the oldest recordings go."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    path: Path
    min_free_bytes: Annotated[int, Field(ge=0)] = 2 << 30


def default_volumes(data_dir: Path) -> tuple[VolumeSettings, ...]:
    """The one volume of an installation that configures none: the data directory itself."""
    return (VolumeSettings(name=DEFAULT_VOLUME, path=data_dir),)


def configured_volumes(sources: Sources) -> tuple[VolumeSettings, ...]:
    """The volumes of ``storage.volumes``; the data directory when there are none. Raises VmsError(INVALID)."""
    section = sources.values.get("storage")
    raw = section.get("volumes") if isinstance(section, dict) else None
    return _Volumes.checked(sources, raw).volumes or default_volumes(sources.data_dir)


class _Volumes(SettingsModel):
    volumes: tuple[VolumeSettings, ...] = ()

    @field_validator("volumes")
    @classmethod
    def _distinct(cls, value: tuple[VolumeSettings, ...]) -> tuple[VolumeSettings, ...]:
        # Two writer threads on one directory, or one volume hidden behind another, would lose recordings.
        if len({volume.name for volume in value}) < len(value) or len({volume.path for volume in value}) < len(value):
            raise ValueError("each volume needs a name and a path of its own")
        return value

    @classmethod
    def checked(cls, sources: Sources, raw: object) -> "_Volumes":
        view = Sources(values={"storage": {"volumes": raw} if raw else {}}, origin=sources.origin)
        return view.section("storage", cls)
