"""The volumes of this service: where they are, whether they are there, how much room they have."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vms.common.errors import ErrorKind, VmsError
from vms.common.volumes import VolumeSettings
from vms.format.layout import CAMERAS_DIRECTORY
from vms.storage.retention import VolumeState
from vms.storage.segments import SegmentFacts


class Volumes:
    """Named directories that hold recordings."""

    def __init__(self, volumes: Sequence[VolumeSettings]) -> None:
        self._volumes = {volume.name: volume for volume in volumes}

    @property
    def names(self) -> list[str]:
        """The names, in the order of the configuration."""
        return list(self._volumes)

    def root(self, name: str) -> Path:
        """The directory of a volume. Raises VmsError(NOT_FOUND) for a volume of another host or configuration."""
        volume = self._volumes.get(name)
        if volume is None:
            known = ", ".join(self._volumes)
            raise VmsError(ErrorKind.NOT_FOUND, f"this service has no volume '{name}', only {known}", volume=name)
        return volume.path

    def media_path(self, facts: SegmentFacts) -> Path:
        """Where a file is. Raises VmsError(NOT_FOUND)."""
        return self.root(facts.volume) / PurePosixPath(facts.path)

    def is_mounted(self, name: str) -> bool:
        """Whether the volume is there: an empty mount point must not be taken for deleted recordings."""
        volume = self._volumes.get(name)
        return volume is not None and (volume.path / CAMERAS_DIRECTORY).is_dir()

    def state(self, name: str) -> VolumeState | None:
        """Free space and floor; None when the volume is not there."""
        if not self.is_mounted(name):
            return None
        volume = self._volumes[name]
        try:
            found = os.statvfs(volume.path)
        except OSError:
            return None
        # f_bavail: what is left for us; f_bfree counts the blocks reserved for root as well.
        return VolumeState(found.f_bavail * found.f_frsize, volume.min_free_bytes)
